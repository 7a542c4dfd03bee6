//! Several threads of one subprotocol take turns in the order in which they asked.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A fair lock without a value.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The first is whose turn it is.
    queue: VecDeque<u64>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Turns, u64);

impl Turns {
    /// Waits for a turn; `None` if it does not come before `deadline`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Turn<'_>> {
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.queue.push_back(ticket);
        while state.queue.front() != Some(&ticket) {
            let Some(deadline) = deadline else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.queue.retain(|waiting| *waiting != ticket);
                return None;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Some(Turn(self, ticket))
    }

    /// Takes a turn if nobody waits.
    pub(crate) fn try_take(&self) -> Option<Turn<'_>> {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            return None;
        }
        let ticket = state.next;
        state.next += 1;
        state.queue.push_back(ticket);
        Some(Turn(self, ticket))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.queue.retain(|waiting| *waiting != self.1);
        let others = !state.queue.is_empty();
        drop(state);
        if others {
            self.0.changed.notify_all();
        }
    }
}
