//! The host's monotonic clock as the core's instants.

use devp2p_core::time::{Duration, Instant};
use std::time;

/// Translates between [`std::time::Instant`] and the core's [`Instant`], whose epoch is the moment that this clock was made.
///
/// Instants of two clocks cannot be compared: a node has one and copies it to all that need it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: time::Instant,
}

impl Clock {
    /// A clock whose epoch is now.
    pub fn new() -> Self {
        Self::with_epoch(time::Instant::now())
    }

    /// A clock with the given epoch.
    pub const fn with_epoch(epoch: time::Instant) -> Self {
        Self { epoch }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.to_core(time::Instant::now())
    }

    /// The core's instant for `at`, rounded down to a microsecond; the epoch for what lies before it.
    pub fn to_core(&self, at: time::Instant) -> Instant {
        let since = at.saturating_duration_since(self.epoch);
        Instant::from_micros(to_core_duration(since).as_micros())
    }

    /// The host's instant for `at`, or `None` if that lies beyond what the host can tell: it never comes.
    pub fn to_std(&self, at: Instant) -> Option<time::Instant> {
        if at == Instant::MAX {
            return None;
        }
        let since = time::Duration::from_micros(at.as_micros());
        self.epoch.checked_add(since)
    }

    /// How long from now until `at`: zero if it has passed, `None` if it never comes.
    pub fn until(&self, at: Instant) -> Option<time::Duration> {
        let at = self.to_std(at)?;
        Some(at.saturating_duration_since(time::Instant::now()))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The core's span for `span`, rounded down to a microsecond, at most [`Duration::MAX`].
pub fn to_core_duration(span: time::Duration) -> Duration {
    Duration::from_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

/// The host's span for `span`.
pub const fn to_std_duration(span: Duration) -> time::Duration {
    time::Duration::from_micros(span.as_micros())
}
