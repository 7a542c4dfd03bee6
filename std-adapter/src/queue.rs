//! Inboxes that grow: each message in a buffer of its own, given away to its reader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use devp2p_core::error::CloseReason;
use devp2p_core::inbox::{Admit, Inboxes, Meta, Window};
use devp2p_core::waiter::{Waiter, poll_take};

use crate::inbox::{Arrived, Limits, Observer, Slot};
use crate::memory::Account;

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Arrived>,
    /// What they cost.
    bytes: usize,
    closed: Option<CloseReason>,
    /// Nobody will read any more: what waits was thrown away, and so is what comes.
    abandoned: bool,
    reader: Waiter,
    /// The receiver that waits for room here.
    room: Option<Waker>,
}

/// The inbox of one subprotocol.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    limits: Limits,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::default(),
            limits,
        }
    }

    /// The next message, or the cause once the session closes and none is left.
    pub(crate) fn poll_next(
        &self,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<Arrived, CloseReason>> {
        let mut state = self.lock();
        let Some(next) = state.messages.pop_front() else {
            let State { reader, closed, .. } = &mut *state;
            return poll_take(None, *closed, reader, cx);
        };
        state.bytes -= next.cost();
        let room = state.room.take();
        drop(state);
        room.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(next))
    }

    /// No more messages come, for this reason; those that wait can still be read.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut state = self.lock();
        state.closed.get_or_insert(reason);
        let wakers = [state.reader.take(), state.room.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// The reader went away: gives back the memory of what it did not read.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.bytes = 0;
        let unread = std::mem::take(&mut state.messages);
        drop(state);
        drop(unread);
        self.wake_receiver();
    }

    /// Wakes the receiver when a message was taken, or when it should look again.
    pub(crate) fn wait_for_room(&self, waker: &Waker) {
        self.lock().room = Some(waker.clone());
    }

    /// Has the receiver look again, if it waits for room here.
    pub(crate) fn wake_receiver(&self) {
        let room = self.lock().room.take();
        room.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inboxes of one session, as its receiver fills them.
#[derive(Debug)]
pub(crate) struct Queues<O> {
    queues: Arc<[Queue]>,
    account: Arc<Account>,
    observer: O,
    /// Bit `i`: subprotocol `i` got a message since its reader was last woken.
    filled: u32,
}

impl<O> Queues<O> {
    pub(crate) fn new(queues: Arc<[Queue]>, account: Arc<Account>, observer: O) -> Self {
        Self {
            queues,
            account,
            observer,
            filled: 0,
        }
    }

    /// The session's part of the memory.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Wakes the readers of what was committed since the last call: once for many messages.
    pub(crate) fn wake_readers(&mut self) {
        self.take_readers().into_iter().for_each(Waker::wake);
    }

    /// Wakes the readers of what was committed since the last call, all but the one that is returned.
    #[must_use]
    pub(crate) fn take_readers(&mut self) -> Option<Waker> {
        let mut first = None;
        let mut filled = std::mem::take(&mut self.filled);
        while filled != 0 {
            let index = filled.trailing_zeros();
            filled &= filled - 1;
            if let Some(queue) = self.queues.get(index as usize) {
                let reader = queue.lock().reader.take();
                match &first {
                    None => first = reader,
                    Some(_) => reader.into_iter().for_each(Waker::wake),
                }
            }
        }
        first
    }
}

impl<O: Observer> Inboxes for Queues<O> {
    type Slot = Slot;

    fn open(&mut self, subprotocol: usize, length: u32) -> Admit<Slot> {
        let Some(queue) = self.queues.get(subprotocol) else {
            return Admit::Drop;
        };
        let waiting = queue.lock().bytes;
        Slot::open(subprotocol, length, queue.limits, waiting, &self.account)
    }

    fn reserve(&mut self, slot: &mut Slot, room: usize) -> bool {
        slot.reserve(room, 0)
    }

    fn with<R>(&mut self, slot: &mut Slot, f: impl FnOnce(&mut Window<'_>) -> R) -> R {
        slot.with(f)
    }

    fn commit(&mut self, slot: Slot, meta: Meta) {
        let subprotocol = slot.subprotocol();
        let Some(queue) = self.queues.get(subprotocol) else {
            return;
        };
        let message = slot.commit(meta);
        // Before it is visible: its reader must not be seen to answer what nobody saw arrive.
        self.observer.received(subprotocol, &meta);
        let mut state = queue.lock();
        if state.abandoned {
            return;
        }
        state.bytes += message.cost();
        state.messages.push_back(message);
        drop(state);
        self.filled |= 1 << subprotocol;
    }

    fn abort(&mut self, slot: Slot) {
        slot.abort();
    }

    fn dropped(&mut self, subprotocol: usize, meta: Meta) {
        self.observer.dropped(subprotocol, &meta);
    }
}
