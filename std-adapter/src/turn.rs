//! Several threads of one subprotocol take turns in the order in which they asked.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::block::block_until;

/// A fair lock without a value.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The first is whose turn it is; the others wait, each with a waker of its own.
    queue: VecDeque<(u64, Option<Waker>)>,
}

impl State {
    fn enter(&mut self) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.queue.push_back((ticket, None));
        ticket
    }

    fn poll(&mut self, ticket: u64, cx: &Context<'_>) -> Poll<()> {
        let place = self.queue.iter().position(|(other, _)| *other == ticket);
        match place.and_then(|place| Some((place, self.queue.get_mut(place)?))) {
            Some((place, (_, waker))) if place > 0 => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Turns, u64);

impl Turns {
    /// Waits for a turn; `None` if it does not come before `deadline`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Turn<'_>> {
        // Leaves the queue when dropped, its turn come or not.
        let turn = Turn(self, self.lock().enter());
        block_until(deadline, |cx| self.lock().poll(turn.1, cx)).map(|()| turn)
    }

    /// Takes a turn if nobody waits.
    pub(crate) fn try_take(&self) -> Option<Turn<'_>> {
        let mut state = self.lock();
        state
            .queue
            .is_empty()
            .then(|| state.enter())
            .map(|ticket| Turn(self, ticket))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.queue.retain(|(ticket, _)| *ticket != self.1);
        let next = state.queue.front_mut().and_then(|(_, waker)| waker.take());
        drop(state);
        next.into_iter().for_each(Waker::wake);
    }
}
