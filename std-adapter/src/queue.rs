//! Inboxes that grow: each message in a buffer of its own, given away to its reader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use devp2p_core::capability::Overflow;
use devp2p_core::error::CloseReason;
use devp2p_core::inbox::{Admit, Inboxes, Meta, Window};
use devp2p_core::waiter::{Waiter, poll_take};

use crate::limits::Limits;
use crate::memory::{MemoryCap, Reservation};

/// A message as its queue keeps it; without a payload if it was too large.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) meta: Meta,
    pub(crate) payload: Option<Vec<u8>>,
    /// Held for its lifetime.
    _memory: Reservation,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Queued>,
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
    pub(crate) fn new(inbox: usize, message_limit: u32, overflow: Overflow) -> Self {
        Self {
            state: Mutex::default(),
            limits: Limits {
                inbox,
                message: message_limit,
                overflow,
            },
        }
    }

    /// The next message, or the cause once the session closes and none is left.
    pub(crate) fn poll_next(
        &self,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<Queued, CloseReason>> {
        let mut state = self.lock();
        let Some(next) = state.messages.pop_front() else {
            let State { reader, closed, .. } = &mut *state;
            return poll_take(None, *closed, reader, cx);
        };
        state.bytes -= next.payload.as_ref().map_or(0, Vec::len);
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

/// Told of each message that was committed or dropped, outside the queue's lock.
pub(crate) trait Observer: Send {
    fn received(&self, subprotocol: usize, meta: &Meta);
    fn dropped(&self, subprotocol: usize, meta: &Meta);
}

/// The inboxes of one session, as its receiver fills them.
#[derive(Debug)]
pub(crate) struct Queues<O> {
    queues: Arc<[Queue]>,
    memory: Arc<MemoryCap>,
    observer: O,
    /// Bit `i`: subprotocol `i` got a message since its reader was last woken.
    filled: u32,
}

impl<O> Queues<O> {
    pub(crate) fn new(queues: Arc<[Queue]>, memory: Arc<MemoryCap>, observer: O) -> Self {
        Self {
            queues,
            memory,
            observer,
            filled: 0,
        }
    }

    /// What the inboxes of all sessions share.
    pub(crate) fn memory(&self) -> &Arc<MemoryCap> {
        &self.memory
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

/// The message that is arriving. It grows with the bytes that arrive: a length is only the peer's word.
#[derive(Debug)]
pub(crate) struct OpenSlot {
    subprotocol: usize,
    /// Initialised bytes, of which the first `filled` are payload.
    bytes: Vec<u8>,
    filled: usize,
    length: usize,
    oversize: bool,
    memory: Reservation,
}

/// By how much a message's room grows when it is used up: fewer copies of what is there, for room that a peer which stops
/// leaves unused. The densest Snappy makes more of what arrives.
const GROWTH: usize = 4;

impl<O: Observer> Inboxes for Queues<O> {
    type Slot = OpenSlot;

    fn open(&mut self, subprotocol: usize, length: u32) -> Admit<OpenSlot> {
        let Some(queue) = self.queues.get(subprotocol) else {
            return Admit::Drop;
        };
        let state = queue.lock();
        let waiting = (state.messages.len(), state.bytes);
        drop(state);
        let slot = |memory, oversize| OpenSlot {
            subprotocol,
            bytes: Vec::new(),
            filled: 0,
            length: length as usize,
            oversize,
            memory,
        };
        queue.limits.admit(waiting, length, &self.memory, slot)
    }

    fn with<R>(
        &mut self,
        slot: &mut OpenSlot,
        room: usize,
        f: impl FnOnce(&mut Window<'_>) -> R,
    ) -> R {
        let wanted = slot.filled.saturating_add(room).min(slot.length);
        if wanted > slot.bytes.len() {
            let grown = wanted
                .max(slot.filled.saturating_mul(GROWTH))
                .min(slot.length);
            slot.memory.extend(grown - slot.bytes.len());
            slot.bytes.reserve_exact(grown - slot.bytes.len());
            slot.bytes.resize(grown, 0);
        }
        let mut window = Window::new(&mut slot.bytes, slot.filled);
        let result = f(&mut window);
        slot.filled = window.len();
        result
    }

    fn commit(&mut self, mut slot: OpenSlot, meta: Meta) {
        let Some(queue) = self.queues.get(slot.subprotocol) else {
            return;
        };
        slot.bytes.truncate(slot.filled);
        let subprotocol = slot.subprotocol;
        let payload = (!slot.oversize).then_some(slot.bytes);
        let message = Queued {
            meta,
            payload,
            _memory: slot.memory,
        };
        // Before it is visible: its reader must not be seen to answer what nobody saw arrive.
        self.observer.received(subprotocol, &meta);
        let mut state = queue.lock();
        if state.abandoned {
            return;
        }
        state.bytes += message.payload.as_ref().map_or(0, Vec::len);
        state.messages.push_back(message);
        drop(state);
        self.filled |= 1 << subprotocol;
    }

    fn abort(&mut self, slot: OpenSlot) {
        drop(slot);
    }

    fn dropped(&mut self, subprotocol: usize, meta: Meta) {
        self.observer.dropped(subprotocol, &meta);
    }
}
