//! Points in time and spans between them. Nothing here reads a clock: the driver passes `now`.
//!
//! All arithmetic saturates, so no deadline that a configuration states can overflow.

/// A span of time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Duration(u64);

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// Longer than any session lives.
    pub const MAX: Self = Self(u64::MAX);

    /// A span of `n` microseconds.
    pub const fn from_micros(n: u64) -> Self {
        Self(n)
    }
    /// A span of `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }
    /// A span of `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }
    /// The span in microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
    /// The span in whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }
    /// The sum, at most [`Duration::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A point in time: microseconds since an epoch that the driver chooses, the same for one session's whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The driver's epoch.
    pub const ZERO: Self = Self(0);
    /// The far end of time: a deadline that never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `n` microseconds after the epoch.
    pub const fn from_micros(n: u64) -> Self {
        Self(n)
    }
    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
    /// This instant moved later by `span`, at most [`Instant::MAX`].
    #[must_use]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub const fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

/// When a state machine wants to be called again, if nothing else happens first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PollAt {
    /// At once: there is work to do.
    Now,
    /// At this instant: a deadline falls due.
    At(Instant),
    /// Only when new input arrives.
    Idle,
}

impl PollAt {
    /// The earlier of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self, other) {
            (PollAt::Now, _) | (_, PollAt::Now) => PollAt::Now,
            (PollAt::At(a), PollAt::At(b)) => PollAt::At(a.min(b)),
            (PollAt::At(a), PollAt::Idle) | (PollAt::Idle, PollAt::At(a)) => PollAt::At(a),
            (PollAt::Idle, PollAt::Idle) => PollAt::Idle,
        }
    }

    /// Whether this moment has come at `now`.
    pub fn is_due(self, now: Instant) -> bool {
        match self {
            PollAt::Now => true,
            PollAt::At(at) => at <= now,
            PollAt::Idle => false,
        }
    }
}

impl From<Option<Instant>> for PollAt {
    fn from(deadline: Option<Instant>) -> Self {
        deadline.map_or(PollAt::Idle, PollAt::At)
    }
}
