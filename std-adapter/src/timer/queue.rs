//! Deadlines in order of time, where moving one later costs two atomic operations.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use devp2p_core::time::{Instant, PollAt};

const NEVER: u64 = u64::MAX;

/// One deadline. Whoever moves it and whoever keeps the queue share it without a lock:
/// * the one stores `deadline`, then loads `queued`;
/// * the other stores `queued`, then loads `deadline`.
///
/// Sequentially consistent, so at least one of the two sees the other's value, and no early deadline is overlooked.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    /// When the target wants to be called, in microseconds.
    deadline: AtomicU64,
    /// When the queue will look at this slot again: perhaps too early, which costs a look, never too late.
    queued: AtomicU64,
}

impl Slot {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            deadline: AtomicU64::new(NEVER),
            queued: AtomicU64::new(NEVER),
        }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Moves the deadline. `true` if the queue would look too late: then [`Queue::pull_in`] must follow.
    #[must_use]
    pub(super) fn set(&self, at: PollAt) -> bool {
        let at = micros(at);
        self.deadline.store(at, SeqCst);
        at < self.queued.load(SeqCst)
    }

    /// As [`set`](Self::set), unless the deadline is earlier already.
    #[must_use]
    pub(super) fn set_if_earlier(&self, at: PollAt) -> bool {
        let at = micros(at);
        self.deadline.fetch_min(at, SeqCst).min(at) < self.queued.load(SeqCst)
    }

    /// Takes the deadline away if it is due at `now`.
    fn take_due(&self, now: u64) -> bool {
        self.deadline
            .fetch_update(SeqCst, SeqCst, |at| (at <= now).then_some(NEVER))
            .is_ok()
    }
}

fn micros(at: PollAt) -> u64 {
    match at {
        PollAt::Now => 0,
        PollAt::At(at) => at.as_micros(),
        PollAt::Idle => NEVER,
    }
}

/// Slots and what belongs to each, in order of time. At most one entry for each slot, so memory is bounded by their number.
/// Every operation is O(log n).
#[derive(Debug)]
pub(super) struct Queue<T> {
    slots: HashMap<u64, (Arc<Slot>, T)>,
    by_time: BTreeSet<(u64, u64)>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: HashMap::new(),
            by_time: BTreeSet::new(),
        }
    }

    pub(super) fn insert(&mut self, slot: Arc<Slot>, value: T) {
        self.slots.insert(slot.id, (slot, value));
    }

    pub(super) fn get(&self, id: u64) -> Option<&(Arc<Slot>, T)> {
        self.slots.get(&id)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let (slot, value) = self.slots.remove(&id)?;
        self.by_time.remove(&(slot.queued.swap(NEVER, SeqCst), id));
        Some(value)
    }

    /// When to look next.
    pub(super) fn next(&self) -> Option<Instant> {
        let (at, _) = self.by_time.first()?;
        Some(Instant::from_micros(*at))
    }

    /// Moves a slot's entry forward to its deadline, if that is earlier. Nothing for a slot that was removed.
    pub(super) fn pull_in(&mut self, slot: &Slot) {
        if !self.slots.contains_key(&slot.id) {
            return;
        }
        let at = slot.deadline.load(SeqCst);
        let queued = slot.queued.load(SeqCst);
        if at < queued {
            self.by_time.remove(&(queued, slot.id));
            self.by_time.insert((at, slot.id));
            slot.queued.store(at, SeqCst);
        }
    }

    /// Puts the slots that are due into `due`, each once, and takes their deadlines away.
    pub(super) fn take_due(&mut self, now: Instant, due: &mut Vec<u64>) {
        self.take_due_with(now, due, || {});
    }

    /// As [`take_due`](Self::take_due); `between` runs where another thread may set the deadline.
    fn take_due_with(&mut self, now: Instant, due: &mut Vec<u64>, mut between: impl FnMut()) {
        let now = now.as_micros();
        while let Some(&(at, id)) = self.by_time.first().filter(|(at, _)| *at <= now) {
            self.by_time.remove(&(at, id));
            let Some((slot, _)) = self.slots.get(&id) else {
                continue;
            };
            slot.queued.store(NEVER, SeqCst);
            between();
            if slot.take_due(now) {
                // A deadline set from here on finds no entry, and makes one.
                due.push(id);
            } else {
                let slot = Arc::clone(slot);
                self.pull_in(&slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        queue: Queue<()>,
        slots: Vec<Arc<Slot>>,
    }

    impl Bench {
        fn new(count: u64) -> Self {
            let mut queue = Queue::new();
            let slots: Vec<_> = (0..count).map(|id| Arc::new(Slot::new(id))).collect();
            for slot in &slots {
                queue.insert(Arc::clone(slot), ());
            }
            Self { queue, slots }
        }

        /// Sets a deadline as the timekeeper does; whether the queue had to be touched.
        fn set(&mut self, slot: usize, at: u64) -> bool {
            let touched = self.slots[slot].set(PollAt::At(Instant::from_micros(at)));
            if touched {
                self.queue.pull_in(&self.slots[slot]);
            }
            touched
        }

        fn due(&mut self, now: u64) -> Vec<u64> {
            let mut due = Vec::new();
            self.queue.take_due(Instant::from_micros(now), &mut due);
            due
        }
    }

    #[test]
    fn deadlines_come_in_order_of_time_and_once() {
        let mut bench = Bench::new(4);
        for (slot, at) in [(0, 30), (1, 10), (2, 20), (3, 40)] {
            assert!(bench.set(slot, at));
        }
        assert_eq!(bench.queue.next(), Some(Instant::from_micros(10)));
        assert!(bench.due(9).is_empty());
        assert_eq!(bench.due(30), [1, 2, 0]);
        assert!(bench.due(39).is_empty());
        assert_eq!(bench.due(40), [3]);
        assert_eq!(bench.queue.next(), None);
    }

    #[test]
    fn a_deadline_that_moves_later_touches_the_queue_only_when_it_is_looked_at() {
        let mut bench = Bench::new(1);
        assert!(bench.set(0, 10));
        for later in [10, 11, 500, 1000] {
            assert!(!bench.set(0, later));
        }
        assert_eq!(bench.queue.next(), Some(Instant::from_micros(10)));
        assert!(bench.due(999).is_empty());
        assert_eq!(bench.queue.next(), Some(Instant::from_micros(1000)));
        assert_eq!(bench.due(1000), [0]);
    }

    #[test]
    fn a_deadline_that_moves_earlier_has_one_entry() {
        let mut bench = Bench::new(1);
        for at in (0..1000).rev() {
            assert!(bench.set(0, at));
            assert_eq!(bench.queue.by_time.len(), 1);
        }
        assert_eq!(bench.due(5000), [0]);
        assert!(bench.due(5000).is_empty());
    }

    #[test]
    fn no_deadline_is_never_due() {
        let mut bench = Bench::new(1);
        assert!(bench.set(0, 10));
        assert!(!bench.slots[0].set(PollAt::Idle));
        assert!(bench.due(NEVER - 1).is_empty());
        assert_eq!(bench.queue.next(), None);
    }

    #[test]
    fn what_is_set_during_a_call_and_what_the_call_returns_both_count() {
        let mut bench = Bench::new(1);
        assert!(bench.set(0, 10));
        assert_eq!(bench.due(10), [0]);
        assert!(bench.set(0, 20));
        assert!(!bench.slots[0].set_if_earlier(PollAt::At(Instant::from_micros(30))));
        assert_eq!(bench.queue.next(), Some(Instant::from_micros(20)));
        assert!(bench.slots[0].set_if_earlier(PollAt::At(Instant::from_micros(15))));
        bench.queue.pull_in(&bench.slots[0].clone());
        assert_eq!(bench.due(15), [0]);
        assert!(bench.due(NEVER - 1).is_empty());
    }

    #[test]
    fn a_removed_slot_is_not_queued_again() {
        let mut bench = Bench::new(2);
        assert!(bench.set(0, 10));
        assert!(bench.set(1, 20));
        assert_eq!(bench.queue.remove(0), Some(()));
        assert!(bench.set(0, 5));
        assert_eq!(bench.due(100), [1]);
        assert!(bench.queue.by_time.is_empty());
    }

    /// The queue gives up a slot's entry and takes its deadline; a deadline that is set in between must not get lost.
    #[test]
    fn a_deadline_set_while_the_queue_looks_is_not_overlooked() {
        // The deadline that the queue finds when it looks at 10, and one set in between: before, at and after that time.
        for found in [10, 15] {
            for set in [5, 10, 20] {
                let mut bench = Bench::new(1);
                assert!(bench.set(0, 10));
                assert!(!bench.set(0, found));
                let slot = Arc::clone(&bench.slots[0]);
                let mut must_pull_in = false;
                let mut due = Vec::new();
                bench
                    .queue
                    .take_due_with(Instant::from_micros(10), &mut due, || {
                        must_pull_in = slot.set(PollAt::At(Instant::from_micros(set)));
                    });
                if must_pull_in {
                    bench.queue.pull_in(&slot);
                }
                let called = due == [0] && set <= 10;
                let queued = bench.queue.next() == Some(Instant::from_micros(set));
                assert!(called != queued, "found {found}, set {set}");
            }
        }
    }
}
