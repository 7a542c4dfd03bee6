//! When sealed messages leave at once, and when they wait for more to leave with them in one write.

use devp2p_core::time::{Duration, Instant};

/// Bytes that messages of a burst gather before they are written.
const ENOUGH: usize = 64 * 1024;

/// A message that follows the last one so closely belongs to a burst.
const CLOSE: Duration = Duration::from_micros(20);

/// How long the first of those gathered waits while others follow.
const GATHER: Duration = Duration::from_micros(200);

/// Tells bursts from lone messages.
#[derive(Debug, Default)]
pub(super) struct Cork {
    /// When the last message was sealed; nothing once a thread waited for the remote since.
    last: Option<Instant>,
    /// When the bytes that wait began to, if they wait for more.
    since: Option<Instant>,
}

impl Cork {
    /// A message was sealed, and `waiting` bytes wait. Whether they leave now.
    pub(super) fn on_sealed(&mut self, now: Instant, waiting: usize) -> bool {
        let pause = self.last.replace(now).map(|at| now.saturating_since(at));
        let follows = pause.is_some_and(|pause| pause < CLOSE);
        let since = *self.since.get_or_insert(now);
        let leaves = !follows || waiting >= ENOUGH || now.saturating_since(since) >= GATHER;
        if leaves {
            self.since = None;
        }
        leaves
    }

    /// What waited leaves.
    pub(super) fn on_leave(&mut self) {
        self.since = None;
    }

    /// A thread waits for the remote: what it writes after that is no part of a burst.
    pub(super) fn on_wait(&mut self) {
        self.last = None;
        self.since = None;
    }

    /// Whether bytes wait for more.
    pub(super) fn holds(&self) -> bool {
        self.since.is_some()
    }

    /// Whether what waits has done so for long enough at `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.since
            .is_none_or(|since| now.saturating_since(since) >= GATHER)
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(1_000 + micros)
    }

    #[test]
    fn messages_with_pauses_between_them_leave_at_once() {
        let mut cork = Cork::default();
        assert!((0..100).all(|i| cork.on_sealed(at(20 * i), 100)));
        assert!(!cork.holds());
    }

    #[test]
    fn a_message_after_a_wait_for_the_remote_leaves_at_once() {
        let mut cork = Cork::default();
        for i in 0..100 {
            assert!(cork.on_sealed(at(5 * i), 100));
            cork.on_wait();
        }
    }

    #[test]
    fn a_burst_gathers_until_its_first_message_has_waited_long_enough() {
        let mut cork = Cork::default();
        assert!(cork.on_sealed(at(0), 100));
        assert!((1..21).all(|i| !cork.on_sealed(at(10 * i), 100)));
        assert!(cork.holds() && !cork.is_due(at(209)) && cork.is_due(at(210)));
        assert!(
            cork.on_sealed(at(210), 100),
            "200 us after the first of these"
        );
        assert!(!cork.holds());
    }

    #[test]
    fn a_burst_gathers_until_it_is_worth_a_write() {
        let mut cork = Cork::default();
        assert!(cork.on_sealed(at(0), 100));
        assert!(!cork.on_sealed(at(1), ENOUGH - 1));
        assert!(cork.on_sealed(at(2), ENOUGH));
    }

    #[test]
    fn what_leaves_begins_a_new_burst() {
        let mut cork = Cork::default();
        assert!(cork.on_sealed(at(0), 100));
        assert!(!cork.on_sealed(at(1), 200));
        cork.on_leave();
        assert!(!cork.holds() && cork.is_due(at(2)));
    }
}
