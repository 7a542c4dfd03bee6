//! When each session of a loop wants to be called. Moving a deadline later costs nothing until the old one comes.

use std::collections::BTreeSet;

use devp2p_core::time::{Instant, PollAt};

/// What a session keeps of its place among the deadlines.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// When the loop will look at it again: perhaps too early, never too late.
    queued: Option<Instant>,
}

/// One entry for each session at most, in order of time. Every operation is O(log n).
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Instant, usize)>);

impl Deadlines {
    /// The session `index` wants to be called at `at`.
    pub(super) fn set(&mut self, index: usize, place: &mut Place, at: PollAt) {
        let PollAt::At(at) = at else { return };
        match place.queued {
            Some(queued) if queued <= at => return,
            Some(queued) => self.0.remove(&(queued, index)),
            None => false,
        };
        self.0.insert((at, index));
        place.queued = Some(at);
    }

    /// The session is gone.
    pub(super) fn remove(&mut self, index: usize, place: &mut Place) {
        if let Some(queued) = place.queued.take() {
            self.0.remove(&(queued, index));
        }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The first that is due: whom to look at. Then [`Place::taken`] is to be called for it, and [`set`](Self::set) again.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        let &(at, index) = self.0.first()?;
        if at > now {
            return None;
        }
        self.0.remove(&(at, index));
        Some(index)
    }
}

impl Place {
    /// Its entry was taken.
    pub(super) fn taken(&mut self) {
        self.queued = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> PollAt {
        PollAt::At(Instant::from_micros(n))
    }

    #[test]
    fn a_deadline_that_moves_later_is_looked_at_when_the_old_one_comes() {
        let (mut all, mut place) = (Deadlines::default(), Place::default());
        all.set(7, &mut place, at(10));
        all.set(7, &mut place, at(20));
        assert_eq!(all.next(), Some(Instant::from_micros(10)));
        assert_eq!(all.take_due(Instant::from_micros(9)), None);
        assert_eq!(all.take_due(Instant::from_micros(10)), Some(7));
        place.taken();
        all.set(7, &mut place, at(20));
        assert_eq!(all.take_due(Instant::from_micros(19)), None);
        assert_eq!(all.take_due(Instant::from_micros(20)), Some(7));
    }

    #[test]
    fn a_deadline_that_moves_earlier_has_one_entry() {
        let (mut all, mut place) = (Deadlines::default(), Place::default());
        for n in (0..1000).rev() {
            all.set(7, &mut place, at(n));
            assert_eq!(all.0.len(), 1);
        }
        assert_eq!(all.take_due(Instant::from_micros(0)), Some(7));
        assert_eq!(all.next(), None);
    }

    #[test]
    fn deadlines_come_in_order_and_those_of_a_session_that_is_gone_do_not() {
        let mut all = Deadlines::default();
        let mut places: Vec<_> = (0..4).map(|_| Place::default()).collect();
        for (index, n) in [(0, 30), (1, 10), (2, 20), (3, 20)] {
            all.set(index, &mut places[index], at(n));
        }
        all.set(0, &mut places[0], PollAt::Idle);
        all.remove(2, &mut places[2]);
        let due: Vec<_> = std::iter::from_fn(|| all.take_due(Instant::from_micros(30))).collect();
        assert_eq!(due, [1, 3, 0]);
    }
}
