//! Whether a thread that waits for a reply polls the transport for a while before it sleeps.
//!
//! To sleep and be woken takes longer than all the rest of a round trip over a fast link; to poll keeps a core busy. So only a
//! thread that has written since it last waited polls, and each subprotocol only while most of its replies come in time: each
//! miss doubles the number of waits that go without, each hit halves it. One-way traffic never polls, and a conversation that
//! is slow does so about once in [`MAX_SKIPPED`] replies.

use devp2p_core::time::{Duration, Instant};

/// So many misses are counted, and at most so many waits in a row go without polling.
const MAX_MISSES: u8 = 10;
const MAX_SKIPPED: u16 = (1 << MAX_MISSES) - 1;

/// What a miss counts more while another thread keeps the core.
const CROWDED: u8 = 3;

/// Learns from what polling brought. For each wait: [`begin`](Self::begin); then, if that says so, look until
/// [`on_bytes`](Self::on_bytes), or [`on_nothing`](Self::on_nothing) says that it is enough.
#[derive(Debug)]
pub(crate) struct BusyPoll {
    /// How long one wait polls.
    limit: Duration,
    /// When this wait first and last found nothing.
    looked: Option<(Instant, Instant)>,
    /// Misses less hits.
    misses: u8,
    /// Waits that still go without.
    skipped: u16,
}

impl BusyPoll {
    /// Polls at most so long in one wait; zero: never.
    pub(crate) const fn new(limit: Duration) -> Self {
        Self {
            limit,
            looked: None,
            misses: 0,
            skipped: 0,
        }
    }

    /// How long one wait polls at most.
    pub(crate) const fn limit(&self) -> Duration {
        self.limit
    }

    /// A wait begins, perhaps for a reply. Whether to poll.
    pub(crate) fn begin(&mut self, for_reply: bool) -> bool {
        self.looked = None;
        if !for_reply || self.limit == Duration::ZERO {
            return false;
        }
        let skips = self.skipped > 0;
        self.skipped = self.skipped.saturating_sub(1);
        !skips
    }

    /// There is nothing at `now`. Whether to look again; else the thread sleeps.
    pub(crate) fn on_nothing(&mut self, now: Instant) -> bool {
        let (first, last) = self.looked.unwrap_or((now, now));
        self.looked = Some((first, now));
        if now.saturating_since(first) < self.limit {
            return true;
        }
        self.on_miss(now.saturating_since(last) >= self.limit);
        false
    }

    /// Bytes were there at `now`.
    pub(crate) fn on_bytes(&mut self, now: Instant) {
        match self.looked {
            // Nothing is learnt: to sleep would have been as good.
            None => {}
            Some((_, last)) if now.saturating_since(last) >= self.limit => self.on_miss(true),
            Some(_) => self.misses = self.misses.saturating_sub(1),
        }
    }

    /// The transport cannot be polled.
    pub(crate) fn on_unsupported(&mut self) {
        self.limit = Duration::ZERO;
    }

    /// Another thread may have wanted the core and kept it: one that polls lets all others go first, while one that sleeps has
    /// it as soon as it is woken.
    fn on_miss(&mut self, is_crowded: bool) {
        let more = if is_crowded { CROWDED } else { 0 };
        let misses = (self.misses + more).min(MAX_MISSES);
        // After the first, none.
        self.skipped = MAX_SKIPPED >> (MAX_MISSES - misses);
        self.misses = (misses + 1).min(MAX_MISSES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(50);

    /// Waits for replies, which polling finds after so many microseconds or not at all; looks every 10.
    struct Bench {
        poll: BusyPoll,
        now: Instant,
    }

    impl Bench {
        fn new(limit: Duration) -> Self {
            Self {
                poll: BusyPoll::new(limit),
                now: Instant::from_micros(1_000),
            }
        }

        fn pass(&mut self, micros: u64) {
            self.now = self.now.saturating_add(Duration::from_micros(micros));
        }

        /// How long the wait for a reply that comes `after` polls; nothing if it does not poll.
        fn wait(&mut self, after: u64) -> Option<Duration> {
            if !self.poll.begin(true) {
                self.pass(after);
                return None;
            }
            let began = self.now;
            let comes = began.saturating_add(Duration::from_micros(after));
            while self.now < comes {
                if !self.poll.on_nothing(self.now) {
                    return Some(self.now.saturating_since(began));
                }
                self.pass(10);
            }
            self.poll.on_bytes(self.now);
            Some(self.now.saturating_since(began))
        }

        /// How many of `count` waits for replies that come `after` poll.
        fn polls(&mut self, count: usize, after: u64) -> usize {
            (0..count).filter_map(|_| self.wait(after)).count()
        }
    }

    #[test]
    fn a_wait_for_replies_that_come_soon_polls_each_time() {
        let mut bench = Bench::new(LIMIT);
        assert_eq!(bench.polls(100, 0), 100);
        assert_eq!(bench.polls(100, 20), 100);
    }

    #[test]
    fn a_wait_polls_no_longer_than_its_limit() {
        let mut bench = Bench::new(LIMIT);
        assert_eq!(bench.wait(1_000), Some(LIMIT));
        assert_eq!(bench.wait(50), Some(LIMIT), "it came at the very end");
    }

    #[test]
    fn each_miss_doubles_the_waits_without_up_to_1023() {
        let mut bench = Bench::new(LIMIT);
        for skipped in [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023] {
            assert_eq!(bench.wait(1_000), Some(LIMIT));
            assert_eq!(bench.polls(skipped, 1_000), 0);
        }
        assert_eq!(bench.wait(1_000), Some(LIMIT));
    }

    #[test]
    fn a_single_miss_is_forgiven() {
        let mut bench = Bench::new(LIMIT);
        for _ in 0..100 {
            assert_eq!(bench.polls(2, 10), 2);
            assert_eq!(bench.wait(1_000), Some(LIMIT));
        }
    }

    #[test]
    fn where_most_replies_are_late_hardly_any_wait_polls() {
        let mut bench = Bench::new(LIMIT);
        let polled = (0..30_000).filter_map(|i| bench.wait([10, 1_000, 1_000][i % 3]));
        let polled = polled.count();
        assert!(polled < 600, "{polled} of 30 000");
    }

    #[test]
    fn a_slow_conversation_that_becomes_lively_polls_again() {
        let mut bench = Bench::new(LIMIT);
        bench.polls(10_000, 1_000);
        bench.polls(1_023, 10);
        assert_eq!(bench.polls(100, 10), 100);
    }

    #[test]
    fn where_other_threads_keep_the_core_hardly_any_wait_polls() {
        for found in [false, true] {
            let mut bench = Bench::new(LIMIT);
            for skipped in [7, 127, 1023, 1023] {
                assert!(bench.poll.begin(true));
                assert!(bench.poll.on_nothing(bench.now));
                bench.pass(3_000);
                match found {
                    true => bench.poll.on_bytes(bench.now),
                    false => assert!(!bench.poll.on_nothing(bench.now)),
                }
                assert_eq!(bench.polls(skipped, 10), 0);
            }
            assert_eq!(bench.polls(100, 10), 100);
        }
    }

    #[test]
    fn a_reply_that_is_there_already_does_not_tell_whether_to_poll() {
        let mut bench = Bench::new(LIMIT);
        assert_eq!(bench.polls(3, 1_000), 2);
        assert_eq!(bench.polls(1, 0), 1);
        assert_eq!(bench.wait(1_000), Some(LIMIT));
        assert_eq!(bench.polls(3, 10), 0, "it is the third miss");
    }

    #[test]
    fn what_is_no_wait_for_a_reply_neither_polls_nor_counts() {
        let mut bench = Bench::new(LIMIT);
        assert_eq!(bench.polls(2, 1_000), 2);
        assert!((0..100).all(|_| !bench.poll.begin(false)));
        assert_eq!(bench.wait(10), None, "this one is skipped still");
        assert_eq!(bench.wait(10), Some(Duration::from_micros(10)));
    }

    #[test]
    fn without_time_or_a_transport_that_can_nothing_polls() {
        assert_eq!(Bench::new(Duration::ZERO).polls(1_000, 0), 0);
        let mut bench = Bench::new(LIMIT);
        assert!(bench.poll.begin(true));
        bench.poll.on_unsupported();
        assert_eq!(bench.polls(1_000, 0), 0);
    }
}
