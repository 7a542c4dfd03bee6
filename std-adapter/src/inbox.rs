//! The inboxes of one session, for one owner: messages that arrived, each in a buffer of its own.

mod slot;

use std::collections::VecDeque;
use std::sync::Arc;

use devp2p_core::capability::Protocol;
use devp2p_core::inbox::{Admit, Inboxes, Meta, Window};

pub(crate) use slot::{Arrived, Limits, Slot};

use crate::memory::Account;

/// What waits in one session. At most 32 subprotocols.
#[derive(Debug)]
pub(crate) struct Inbox {
    queues: Box<[Queue]>,
    /// Bit `i`: messages wait for subprotocol `i`; it is paused.
    waiting: u32,
    paused: u32,
    /// Bit `i`: nobody reads subprotocol `i` any more; what comes is thrown away.
    abandoned: u32,
    /// Messages that have arrived.
    arrived: u64,
}

/// What waits for one subprotocol.
#[derive(Debug, Default)]
struct Queue {
    /// Each with its place in the order of all arrivals.
    messages: VecDeque<(u64, Arrived)>,
    /// What they cost.
    bytes: usize,
}

impl Inbox {
    pub(crate) fn new(protocols: usize) -> Self {
        Self {
            queues: (0..protocols).map(|_| Queue::default()).collect(),
            waiting: 0,
            paused: 0,
            abandoned: 0,
            arrived: 0,
        }
    }

    /// The next message of a subprotocol that is not paused, in the order of arrival.
    pub(crate) fn next(&mut self) -> Option<Arrived> {
        let ready = bits(self.waiting & !self.paused);
        let first = ready.min_by_key(|index| {
            let front = self.queues.get(*index)?.messages.front();
            front.map(|(place, _)| *place)
        });
        self.pop(first?)
    }

    /// The next message of `subprotocol`, paused or not.
    pub(crate) fn pop(&mut self, subprotocol: usize) -> Option<Arrived> {
        let queue = self.queues.get_mut(subprotocol)?;
        let (_, message) = queue.messages.pop_front()?;
        queue.bytes -= message.cost();
        if queue.messages.is_empty() {
            self.waiting &= !(1 << subprotocol);
        }
        Some(message)
    }

    /// Whether a message waits for `subprotocol`.
    pub(crate) fn has_message(&self, subprotocol: usize) -> bool {
        self.waiting & bit(subprotocol) != 0
    }

    /// Nobody reads `subprotocol` any more. Returns what waits for it, whose memory is given back when that is dropped.
    pub(crate) fn abandon(&mut self, subprotocol: usize) -> impl Sized + use<> {
        self.abandoned |= bit(subprotocol);
        self.waiting &= !self.abandoned;
        self.queues.get_mut(subprotocol).map(std::mem::take)
    }

    /// Whether a message waits for a subprotocol that is not paused.
    pub(crate) fn has_next(&self) -> bool {
        self.waiting & !self.paused != 0
    }

    pub(crate) fn set_paused(&mut self, subprotocol: usize, paused: bool) {
        match paused {
            true => self.paused |= bit(subprotocol),
            false => self.paused &= !bit(subprotocol),
        }
    }

    /// Gives back the room that a burst of messages took.
    pub(crate) fn shrink(&mut self) {
        for queue in &mut self.queues {
            if queue.messages.is_empty() && queue.messages.capacity() > 0 {
                queue.messages = VecDeque::new();
            }
        }
    }

    fn push(&mut self, message: Arrived) {
        let subprotocol = message.subprotocol;
        if self.abandoned & bit(subprotocol) != 0 {
            return;
        }
        if let Some(queue) = self.queues.get_mut(subprotocol) {
            queue.bytes += message.cost();
            queue.messages.push_back((self.arrived, message));
            self.arrived += 1;
            self.waiting |= 1 << subprotocol;
        }
    }
}

fn bit(subprotocol: usize) -> u32 {
    u32::try_from(subprotocol).map_or(0, |n| 1_u32.checked_shl(n).unwrap_or(0))
}

/// The indices of the bits that are set.
fn bits(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let first = bits.trailing_zeros() as usize;
        bits &= bits.checked_sub(1)?;
        Some(first)
    })
}

/// Told of each message that was committed or dropped.
pub(crate) trait Observer {
    fn received(&self, subprotocol: usize, meta: &Meta);
    fn dropped(&self, subprotocol: usize, meta: &Meta);
}

/// The inbox as the receiver fills it.
pub(crate) struct Filling<'a, O> {
    pub(crate) inbox: &'a mut Inbox,
    pub(crate) protocols: &'a [Protocol],
    /// Nothing before the session is active: no message is taken then.
    pub(crate) account: Option<&'a Arc<Account>>,
    /// Bytes that are about to be handled: a message that begins in them need not grow for each part of them.
    pub(crate) arrived: usize,
    pub(crate) observer: O,
}

impl<O: Observer> Inboxes for Filling<'_, O> {
    type Slot = Slot;

    fn open(&mut self, subprotocol: usize, length: u32) -> Admit<Slot> {
        let queue = self.inbox.queues.get(subprotocol);
        let (Some(queue), Some(protocol)) = (queue, self.protocols.get(subprotocol)) else {
            return Admit::Drop;
        };
        let Some(account) = self.account else {
            return Admit::Wait;
        };
        let limits = Limits::from(protocol);
        Slot::open(subprotocol, length, limits, queue.bytes, account)
    }

    fn reserve(&mut self, slot: &mut Slot, room: usize) -> bool {
        slot.reserve(room, self.arrived)
    }

    fn with<R>(&mut self, slot: &mut Slot, f: impl FnOnce(&mut Window<'_>) -> R) -> R {
        slot.with(f)
    }

    fn commit(&mut self, slot: Slot, meta: Meta) {
        self.observer.received(slot.subprotocol(), &meta);
        self.inbox.push(slot.commit(meta));
    }

    fn abort(&mut self, slot: Slot) {
        slot.abort();
    }

    fn dropped(&mut self, subprotocol: usize, meta: Meta) {
        self.observer.dropped(subprotocol, &meta);
    }
}
