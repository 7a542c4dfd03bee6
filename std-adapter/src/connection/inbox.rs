//! Inboxes of one session: messages that arrived and wait for the handler, each in a buffer of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use devp2p_core::capability::Protocol;
use devp2p_core::inbox::{Admit, Inboxes, Meta, Window};

use crate::limits::Limits;
use crate::memory::{MemoryCap, Reservation};

/// Buffers of messages, lent to sessions one after the other, so that a session without a message has none.
#[derive(Debug, Default)]
pub(crate) struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// Buffers that are kept, and the largest of them.
    const KEPT: (usize, usize) = (8, 64 * 1024);

    /// A buffer whose bytes are initialised but mean nothing.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&mut self, buffer: Vec<u8>) {
        let (count, largest) = Self::KEPT;
        if self.0.len() < count && (1..=largest).contains(&buffer.capacity()) {
            self.0.push(buffer);
        }
    }
}

/// A message that arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) subprotocol: usize,
    pub(crate) meta: Meta,
    /// Of which the first `meta.length` are the payload; `None` if it was too large.
    pub(crate) bytes: Option<Vec<u8>>,
    /// Held for its lifetime.
    _memory: Reservation,
}

/// What waits for one subprotocol.
#[derive(Debug, Default)]
struct Lane {
    /// Arrived while the subprotocol was paused, or after one that did.
    waiting: VecDeque<Arrived>,
    /// Messages and bytes of payload that wait, here or among those that can be delivered.
    count: usize,
    bytes: usize,
    paused: bool,
    /// Nobody reads any more: what comes is thrown away.
    abandoned: bool,
}

/// What waits in one session.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// In the order of their arrival.
    ready: VecDeque<Arrived>,
    lanes: Box<[Lane]>,
    /// Each subprotocol takes its messages itself; else they are delivered in the order of their arrival.
    by_lane: bool,
}

impl Inbox {
    pub(crate) fn new(protocols: usize) -> Self {
        Self {
            ready: VecDeque::new(),
            lanes: (0..protocols).map(|_| Lane::default()).collect(),
            by_lane: false,
        }
    }

    /// An inbox whose messages are taken by [`pop`](Self::pop).
    pub(crate) fn by_subprotocol(protocols: usize) -> Self {
        Self {
            by_lane: true,
            ..Self::new(protocols)
        }
    }

    /// The next message of a subprotocol.
    pub(crate) fn pop(&mut self, subprotocol: usize) -> Option<Arrived> {
        let lane = self.lanes.get_mut(subprotocol)?;
        let message = lane.waiting.pop_front()?;
        lane.count -= 1;
        lane.bytes -= message.bytes.as_ref().map_or(0, |_| message.length());
        Some(message)
    }

    /// Whether a message waits for a subprotocol.
    pub(crate) fn has_message(&self, subprotocol: usize) -> bool {
        let lane = self.lanes.get(subprotocol);
        lane.is_some_and(|lane| !lane.waiting.is_empty())
    }

    /// Nobody reads this subprotocol any more: gives back the memory of what waits.
    pub(crate) fn abandon(&mut self, subprotocol: usize) -> VecDeque<Arrived> {
        let Some(lane) = self.lanes.get_mut(subprotocol) else {
            return VecDeque::new();
        };
        lane.abandoned = true;
        (lane.count, lane.bytes) = (0, 0);
        std::mem::take(&mut lane.waiting)
    }

    /// The next message that can be delivered.
    pub(crate) fn next(&mut self) -> Option<Arrived> {
        let message = loop {
            let Some(message) = self.ready.pop_front() else {
                // What a resumed subprotocol left.
                let mut lanes = self.lanes.iter_mut();
                let resumed = lanes.find(|lane| !lane.paused && !lane.waiting.is_empty());
                let lane = resumed?;
                let message = lane.waiting.pop_front();
                if lane.waiting.is_empty() {
                    lane.waiting = VecDeque::new();
                }
                break message?;
            };
            match self.lanes.get_mut(message.subprotocol) {
                Some(lane) if lane.paused || !lane.waiting.is_empty() => {
                    lane.waiting.push_back(message);
                }
                _ => break message,
            }
        };
        if let Some(lane) = self.lanes.get_mut(message.subprotocol) {
            lane.count -= 1;
            lane.bytes -= message.bytes.as_ref().map_or(0, |_| message.length());
        }
        Some(message)
    }

    /// Gives back the room that a burst of messages took.
    pub(crate) fn shrink(&mut self) {
        if self.ready.is_empty() && self.ready.capacity() > 0 {
            self.ready = VecDeque::new();
        }
    }

    pub(crate) fn set_paused(&mut self, subprotocol: usize, paused: bool) {
        if let Some(lane) = self.lanes.get_mut(subprotocol) {
            lane.paused = paused;
        }
    }

    /// Whether a message waits that can be delivered.
    pub(crate) fn has_next(&self) -> bool {
        let mut lanes = self.lanes.iter();
        !self.ready.is_empty() || lanes.any(|lane| !lane.paused && !lane.waiting.is_empty())
    }
}

impl Arrived {
    /// Bytes of payload.
    pub(crate) fn length(&self) -> usize {
        self.meta.length as usize
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
    /// Bytes that are accounted for.
    counted: usize,
    oversize: bool,
    memory: Reservation,
}

/// Told of each message that was committed or dropped.
pub(crate) trait Observer {
    fn received(&self, subprotocol: usize, meta: &Meta);
    fn dropped(&self, subprotocol: usize);
}

/// The inbox as the receiver fills it.
pub(crate) struct Filling<'a, O> {
    pub(crate) inbox: &'a mut Inbox,
    pub(crate) pool: &'a mut Pool,
    pub(crate) protocols: &'a [Protocol],
    pub(crate) memory: &'a Arc<MemoryCap>,
    pub(crate) observer: O,
}

impl<O: Observer> Inboxes for Filling<'_, O> {
    type Slot = OpenSlot;

    fn open(&mut self, subprotocol: usize, length: u32) -> Admit<OpenSlot> {
        let lane = self.inbox.lanes.get(subprotocol);
        let (Some(lane), Some(protocol)) = (lane, self.protocols.get(subprotocol)) else {
            return Admit::Drop;
        };
        let limits = Limits {
            inbox: protocol.inbox,
            message: protocol.message_limit,
            overflow: protocol.overflow,
        };
        let slot = |memory, oversize| OpenSlot {
            subprotocol,
            bytes: Vec::new(),
            filled: 0,
            length: length as usize,
            counted: 0,
            oversize,
            memory,
        };
        limits.admit((lane.count, lane.bytes), length, self.memory, slot)
    }

    fn with<R>(
        &mut self,
        slot: &mut OpenSlot,
        room: usize,
        f: impl FnOnce(&mut Window<'_>) -> R,
    ) -> R {
        let wanted = slot.filled.saturating_add(room).min(slot.length);
        if wanted > slot.bytes.len() {
            if slot.bytes.is_empty() {
                slot.bytes = self.pool.take();
            }
            let grown = wanted
                .max(slot.bytes.len().saturating_mul(2))
                .min(slot.length);
            if grown > slot.bytes.len() {
                slot.bytes.reserve_exact(grown - slot.bytes.len());
                slot.bytes.resize(grown, 0);
            }
        }
        let end = slot.bytes.len().min(slot.length);
        if end > slot.counted {
            slot.memory.extend(end - slot.counted);
            slot.counted = end;
        }
        let mut window = Window::new(slot.bytes.get_mut(..end).unwrap_or_default(), slot.filled);
        let result = f(&mut window);
        slot.filled = window.len();
        result
    }

    fn commit(&mut self, slot: OpenSlot, meta: Meta) {
        let Some(lane) = self.inbox.lanes.get_mut(slot.subprotocol) else {
            return;
        };
        debug_assert!(slot.oversize || slot.filled == meta.length as usize);
        self.observer.received(slot.subprotocol, &meta);
        if lane.abandoned {
            return;
        }
        lane.count += 1;
        lane.bytes += if slot.oversize { 0 } else { slot.filled };
        let message = Arrived {
            subprotocol: slot.subprotocol,
            meta,
            bytes: (!slot.oversize).then_some(slot.bytes),
            _memory: slot.memory,
        };
        match self.inbox.by_lane {
            true => lane.waiting.push_back(message),
            false => self.inbox.ready.push_back(message),
        }
    }

    fn abort(&mut self, slot: OpenSlot) {
        self.pool.give_back(slot.bytes);
    }

    fn dropped(&mut self, subprotocol: usize, _meta: Meta) {
        self.observer.dropped(subprotocol);
    }
}
