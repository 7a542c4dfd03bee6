//! When to dial a static peer again.

use devp2p_core::time::{Duration, Instant};

/// How long to wait between dials of one peer. Start from [`BackoffConfig::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackoffConfig {
    /// The wait after the first failure; it doubles with each further one. Default: 1 s.
    pub first: Duration,
    /// The longest wait, before jitter. Default: 40 s, beyond the 30 s in which go-ethereum refuses a second attempt from one
    /// address.
    pub longest: Duration,
    /// A session that lasted this long counts as success: the next wait is the first again. Default: 30 s.
    pub reset_after: Duration,
}

impl BackoffConfig {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(40),
            reset_after: Duration::from_secs(30),
        }
    }
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// The waits between dials of one peer: exponential, each up to a quarter longer by jitter, so that peers which failed together
/// are not dialled together for ever.
///
/// Call [`session_ended`](Self::session_ended) after a session and [`dial_failed`](Self::dial_failed) after an attempt that
/// made none; both say when to dial next.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    wait: Duration,
    random: u64,
}

impl Backoff {
    /// A peer that was not dialled yet. `seed` makes the jitter: any number that differs from peer to peer.
    pub const fn new(config: BackoffConfig, seed: u64) -> Self {
        Self {
            config,
            wait: config.first,
            random: seed,
        }
    }

    /// A dial failed at `now`, or its session was refused: when to dial again.
    pub fn dial_failed(&mut self, now: Instant) -> Instant {
        let longest = self.config.longest.as_micros();
        let wait = self.wait.as_micros().min(longest);
        self.wait = Duration::from_micros(wait.saturating_mul(2).min(longest));
        let jitter = self.next_random() % (wait / 4 + 1);
        now.saturating_add(Duration::from_micros(wait.saturating_add(jitter)))
    }

    /// A session that had lasted for `lasted` ended at `now`: when to dial again.
    pub fn session_ended(&mut self, now: Instant, lasted: Duration) -> Instant {
        if lasted >= self.config.reset_after {
            self.wait = self.config.first;
        }
        self.dial_failed(now)
    }

    /// The next number of SplitMix64: jitter needs no secrecy.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
