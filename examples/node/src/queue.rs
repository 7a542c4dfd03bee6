//! A bounded queue in front of a thread that writes: whoever fills it never waits for the one that reads what is written.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often one that waits for room looks whether that is still worth it.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Queue<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Values that found no room, since the last that was taken.
    lost: u64,
    taken: u64,
    closed: bool,
}

/// What comes out of a queue.
pub(crate) struct Next<T> {
    pub(crate) value: T,
    /// How many found no room since the last one.
    pub(crate) lost: u64,
}

impl<T> Queue<T> {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                lost: 0,
                taken: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds `value`; if the queue is full, it is dropped and counted.
    pub(crate) fn push(&self, value: T) {
        self.add(self.lock(), value, self.capacity);
    }

    /// Adds `value`, also to a queue that is full: for what comes once.
    pub(crate) fn push_surely(&self, value: T) {
        self.add(self.lock(), value, usize::MAX);
    }

    /// Adds `value` once no more than a quarter of the room is taken, so that the rest stays for what does not wait. Where
    /// `gives_up` says so meanwhile, it is dropped and counted. Nothing is added once the queue is closed.
    pub(crate) fn push_patiently(&self, value: T, gives_up: impl Fn() -> bool) {
        let room = self.capacity.div_ceil(4);
        let mut state = self.lock();
        while state.waiting.len() >= room && !state.closed && !gives_up() {
            let woken = self.changed.wait_timeout(state, LOOK);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.add(state, value, room);
    }

    /// Waits for the next value; `None` once the queue is closed and empty.
    pub(crate) fn next(&self) -> Option<Next<T>> {
        let mut state = self.lock();
        loop {
            if let Some(value) = state.waiting.pop_front() {
                state.taken += 1;
                let lost = std::mem::take(&mut state.lost);
                drop(state);
                self.changed.notify_all();
                return Some(Next { value, lost });
            }
            if state.closed {
                return None;
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No more is added, and nobody waits for room.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for what `done` brings, as long as values are taken: at most `patience` without one.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub(crate) fn wait_for<U>(
        &self,
        done: &Receiver<U>,
        patience: Duration,
    ) -> Result<U, RecvTimeoutError> {
        let mut taken = self.lock().taken;
        loop {
            match done.recv_timeout(patience) {
                Err(RecvTimeoutError::Timeout) => {}
                result => return result,
            }
            let before = std::mem::replace(&mut taken, self.lock().taken);
            if before == taken {
                return Err(RecvTimeoutError::Timeout);
            }
        }
    }

    /// How many found no room since the last that was taken.
    pub(crate) fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn add(&self, mut state: MutexGuard<'_, State<T>>, value: T, room: usize) {
        if state.closed {
            return;
        }
        if state.waiting.len() >= room {
            state.lost += 1;
            return;
        }
        state.waiting.push_back(value);
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_with_what_comes_after() {
        let queue = Queue::new(2);
        (0..5).for_each(|n| queue.push(n));
        let next = || queue.next().map(|next| (next.value, next.lost));
        assert_eq!(next(), Some((0, 3)));
        assert_eq!(next(), Some((1, 0)));
        (5..8).for_each(|n| queue.push(n));
        queue.push_surely(8);
        queue.close();
        queue.push_surely(9);
        assert_eq!(next(), Some((5, 1)));
        assert_eq!(next(), Some((6, 0)));
        assert_eq!(next(), Some((8, 0)));
        assert_eq!(next(), None);
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn the_patient_wait_while_a_quarter_is_taken_and_lose_nothing() {
        let queue = Arc::new(Queue::new(4));
        let from = Arc::clone(&queue);
        let patient = thread::spawn(move || {
            (0..10).for_each(|n| from.push_patiently(n, || false));
            from.close();
        });
        let all: Vec<_> = std::iter::from_fn(|| queue.next())
            .inspect(|_| assert!(queue.lock().waiting.len() <= 1))
            .map(|next| (next.value, next.lost))
            .collect();
        patient.join().expect("no panic");
        assert_eq!(all, (0..10).map(|n| (n, 0)).collect::<Vec<_>>());
    }

    #[test]
    fn an_end_is_waited_for_as_long_as_values_are_taken() {
        let queue = Arc::new(Queue::new(3));
        let (sender, done) = channel();
        let from = Arc::clone(&queue);
        queue.push(0);
        queue.close();
        let writes = thread::spawn(move || {
            while from.next().is_some() {}
            sender.send("written").map(|()| sender)
        });
        assert_eq!(queue.wait_for(&done, LOOK * 1000), Ok("written"));
        let sender = writes.join().expect("no panic");
        let late = queue.wait_for(&done, LOOK);
        assert_eq!(late, Err(RecvTimeoutError::Timeout));
        drop(sender);
        let gone = queue.wait_for(&done, LOOK);
        assert_eq!(gone, Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn the_patient_wait_no_longer_than_it_is_worth() {
        let queue = Queue::new(4);
        queue.push(0);
        queue.push_patiently(1, || true);
        assert_eq!(queue.lost(), 1);
        queue.close();
        queue.push_patiently(2, || false);
    }
}
