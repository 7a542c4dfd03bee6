//! A message that arrives: its buffer grows with the bytes, and each byte of room is reserved before it is there.

use std::sync::Arc;

use devp2p_core::capability::{Overflow, Protocol};
use devp2p_core::inbox::{Admit, FIRST_ROOM, Meta, Window};

use crate::memory::{Account, Reservation};

/// What each message is taken to cost besides its payload, so that a flood of empty ones is bounded too.
pub(crate) const MESSAGE_COST: usize = 64;

/// By how much a buffer grows once it is used up: trades copies against memory that a peer which stops mid-message wastes.
const GROWTH: usize = 2;

/// The most bytes that a message which finds no memory waits for at a time: in smaller steps, many that have no end in sight
/// would share what comes free.
const MOST_WANTED: usize = 1024 * 1024;

/// The limits of one inbox, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) inbox: usize,
    pub(crate) message: u32,
    pub(crate) overflow: Overflow,
}

impl From<&Protocol> for Limits {
    fn from(protocol: &Protocol) -> Self {
        Self {
            inbox: protocol.inbox,
            message: protocol.message_limit,
            overflow: protocol.overflow,
        }
    }
}

/// A message that arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) subprotocol: usize,
    pub(crate) meta: Meta,
    /// `None` if it was too large.
    pub(crate) payload: Option<Vec<u8>>,
    /// Held for its lifetime.
    _memory: Reservation,
}

impl Arrived {
    /// Bytes of its inbox that it takes.
    pub(crate) fn cost(&self) -> usize {
        MESSAGE_COST + self.payload.as_ref().map_or(0, Vec::len)
    }
}

/// A message that is arriving.
#[derive(Debug)]
pub(crate) struct Slot {
    subprotocol: usize,
    /// Initialised bytes, of which the first `filled` are payload.
    bytes: Vec<u8>,
    filled: usize,
    length: usize,
    oversize: bool,
    /// [`MESSAGE_COST`] and the buffer.
    memory: Reservation,
}

impl Slot {
    /// Opens a slot for a message of `length` bytes, if its inbox, where messages of `waiting` bytes in all wait, and the
    /// session's memory have room for it. An empty inbox takes any message within the limit, so that one larger than the inbox
    /// can pass. One that the session could not hold even if no other held anything is oversize.
    pub(crate) fn open(
        subprotocol: usize,
        length: u32,
        limits: Limits,
        waiting: usize,
        account: &Arc<Account>,
    ) -> Admit<Self> {
        let whole = MESSAGE_COST.saturating_add(length as usize);
        let oversize = length > limits.message || whole > account.most();
        let cost = if oversize { MESSAGE_COST } else { whole };
        if waiting > 0 && waiting.saturating_add(cost) > limits.inbox {
            return match limits.overflow {
                Overflow::Drop => Admit::Drop,
                Overflow::Disconnect => Admit::Refuse,
                _ => Admit::Hold,
            };
        }
        let room = FIRST_ROOM.min(cost - MESSAGE_COST);
        let mut memory = account.reservation();
        if !memory.grow(MESSAGE_COST + room) {
            return Admit::Wait;
        }
        let slot = Self {
            subprotocol,
            bytes: vec![0; room],
            filled: 0,
            length: length as usize,
            oversize,
            memory,
        };
        match oversize {
            true => Admit::Oversize(slot),
            false => Admit::Open(slot),
        }
    }

    pub(crate) fn subprotocol(&self) -> usize {
        self.subprotocol
    }

    /// Makes room for `room` more bytes, if there is memory for it: perhaps for more, of which up to `arrived` are there.
    pub(crate) fn reserve(&mut self, room: usize, arrived: usize) -> bool {
        let least = self.filled.saturating_add(room).min(self.length);
        let have = self.bytes.len();
        if least <= have {
            return true;
        }
        let ample = least
            .max(arrived)
            .max(have.saturating_mul(GROWTH))
            .min(self.length);
        let sizes = [ample, least];
        let Some(size) = sizes.into_iter().find(|size| self.memory.grow(size - have)) else {
            self.memory.want((self.length - have).min(MOST_WANTED));
            return false;
        };
        self.bytes.reserve_exact(size - have);
        self.bytes.resize(size, 0);
        debug_assert!(self.bytes.capacity() + MESSAGE_COST <= self.memory.bytes());
        true
    }

    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut Window<'_>) -> R) -> R {
        let mut window = Window::new(&mut self.bytes, self.filled);
        let result = f(&mut window);
        self.filled = window.len();
        result
    }

    /// Nothing of it is wanted any more.
    pub(crate) fn abort(self) {
        self.memory.account().return_grant();
    }

    /// The message is whole.
    pub(crate) fn commit(self, meta: Meta) -> Arrived {
        self.memory.account().return_grant();
        debug_assert!(self.oversize || self.filled == meta.length as usize);
        let mut bytes = self.bytes;
        bytes.truncate(self.filled);
        Arrived {
            subprotocol: self.subprotocol,
            meta,
            payload: (!self.oversize).then_some(bytes),
            _memory: self.memory,
        }
    }
}
