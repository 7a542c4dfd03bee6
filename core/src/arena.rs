//! Inboxes of fixed size in one lent byte slice, for firmware.
//!
//! Each subprotocol's share is a queue of records, a header and a contiguous payload each. A message reserves its
//! uncompressed length when it is opened; one that is larger than the share, or than the protocol's message limit, is
//! reported as oversize, which takes a header only.

use core::task::{Context, Poll, Waker};

use crate::MAX_PROTOCOLS;
use crate::capability::{Overflow, Protocol};
use crate::code::LocalCode;
use crate::error::CloseReason;
use crate::fmt::debug;
use crate::inbox::{Admit, Inboxes, Meta, Window, copy};
use crate::time::Instant;
use crate::waiter::{Waiter, poll_take};

/// Bytes of an inbox that each waiting message takes besides its payload.
pub const RECORD_OVERHEAD: usize = 21;

/// A message that waits in an inbox, lent to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Code, lengths and time of arrival.
    pub meta: Meta,
    /// The payload, or `None` if the message was too large for its inbox and was skipped.
    pub payload: Option<&'a [u8]>,
}

impl Message<'_> {
    /// Whether the message was too large and its payload is lost.
    pub const fn is_oversize(&self) -> bool {
        self.payload.is_none()
    }
}

/// The lent slice is smaller than the inboxes of the registered protocols together, or there are too many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ArenaTooSmall {
    /// Bytes that the registered protocols ask for.
    pub needed: usize,
}

impl core::fmt::Display for ArenaTooSmall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "the inboxes of the registered protocols need {} bytes: lend more, or make them smaller",
            self.needed
        )
    }
}

impl core::error::Error for ArenaTooSmall {}

/// What an inbox has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InboxCounters {
    /// Messages committed, oversize ones included.
    pub messages: u32,
    /// Bytes of payload committed, uncompressed.
    pub bytes: u64,
    /// Messages dropped because the inbox was full.
    pub dropped: u32,
    /// Messages too large for the inbox.
    pub oversize: u32,
}

#[derive(Debug)]
struct Inbox {
    /// Its share of the arena.
    start: usize,
    size: usize,
    message_limit: u32,
    overflow: Overflow,
    /// Next record to read, and where the next one is written, from `start`.
    read: usize,
    write: usize,
    /// Where the records before the wrap end; equal to `size` or less while wrapped.
    end: usize,
    wrapped: bool,
    records: usize,
    messages: u32,
    /// Low and high half: so that nothing here wants an alignment of 8.
    bytes: [u32; 2],
    dropped: u32,
    oversize: u32,
    reader: Waiter,
}

impl Inbox {
    const EMPTY: Self = Self {
        start: 0,
        size: 0,
        message_limit: 0,
        overflow: Overflow::HoldBack,
        read: 0,
        write: 0,
        end: 0,
        wrapped: false,
        records: 0,
        messages: 0,
        bytes: [0; 2],
        dropped: 0,
        oversize: 0,
        reader: Waiter::new(),
    };

    /// Where a record of `length` bytes can stand now: its place, and whether it is the first after a wrap.
    fn place(&self, length: usize) -> Option<(usize, bool)> {
        if self.records == 0 {
            (self.size >= length).then_some((0, true))
        } else if self.wrapped {
            (self.read - self.write >= length).then_some((self.write, false))
        } else if self.size - self.write >= length {
            Some((self.write, false))
        } else {
            (self.read >= length).then_some((0, true))
        }
    }
}

/// An open slot of an [`Arena`].
#[derive(Debug)]
pub struct Slot {
    subprotocol: usize,
    at: usize,
    wraps: bool,
    length: usize,
    filled: usize,
    oversize: bool,
}

/// Fixed inboxes for up to `N` protocols over one lent slice.
pub struct Arena<'a, const N: usize = 4> {
    bytes: &'a mut [u8],
    inboxes: [Inbox; N],
    /// Bit `i`: messages came to `i` since its reader was last woken.
    arrived: u32,
}

/// Without the messages: they are their reader's.
impl<const N: usize> core::fmt::Debug for Arena<'_, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Arena")
            .field("inboxes", &self.inboxes)
            .finish_non_exhaustive()
    }
}

impl<'a, const N: usize> Arena<'a, N> {
    /// Splits `bytes` among `protocols` by their `inbox` sizes.
    ///
    /// # Errors
    /// [`ArenaTooSmall`] if they need more bytes, or are more than `N` or [`MAX_PROTOCOLS`].
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn new(bytes: &'a mut [u8], protocols: &[Protocol]) -> Result<Self, ArenaTooSmall> {
        let needed = protocols
            .iter()
            .fold(0usize, |sum, protocol| sum.saturating_add(protocol.inbox));
        if needed > bytes.len() || protocols.len() > N.min(MAX_PROTOCOLS) {
            return Err(ArenaTooSmall { needed });
        }
        let mut start = 0;
        let mut protocols = protocols.iter();
        let inboxes = core::array::from_fn(|_| {
            let mut inbox = Inbox {
                start,
                ..Inbox::EMPTY
            };
            if let Some(protocol) = protocols.next() {
                inbox.size = protocol.inbox;
                inbox.message_limit = protocol.message_limit;
                inbox.overflow = protocol.overflow;
                start += protocol.inbox;
            }
            inbox
        });
        Ok(Self {
            bytes,
            inboxes,
            arrived: 0,
        })
    }

    /// Forgets every message, for a new session with the same storage. Counters go on.
    pub fn clear(&mut self) {
        for inbox in &mut self.inboxes {
            (inbox.read, inbox.write, inbox.wrapped, inbox.records) = (0, 0, false, 0);
        }
    }

    /// The whole lent slice, for use before the first message of a session arrives (handshake and Hello overlay it).
    pub fn scratch(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// The first waiting message of `subprotocol`. It stays until [`pop`](Self::pop).
    pub fn peek(&self, subprotocol: usize) -> Option<Message<'_>> {
        let inbox = self
            .inboxes
            .get(subprotocol)
            .filter(|inbox| inbox.records > 0)?;
        let record = self
            .bytes
            .get(inbox.start + inbox.read..inbox.start + inbox.size)?;
        let (header, rest) = record.split_first_chunk::<RECORD_OVERHEAD>()?;
        let meta = decode_header(header);
        let oversize = header[RECORD_OVERHEAD - 1] != 0;
        let payload = if oversize {
            None
        } else {
            Some(rest.get(..meta.length as usize)?)
        };
        Some(Message { meta, payload })
    }

    /// Removes the first waiting message of `subprotocol`; its room is free again.
    pub fn pop(&mut self, subprotocol: usize) {
        let Some(length) = self
            .peek(subprotocol)
            .map(|m| RECORD_OVERHEAD + m.payload.map_or(0, <[u8]>::len))
        else {
            return;
        };
        let Some(inbox) = self.inboxes.get_mut(subprotocol) else {
            return;
        };
        inbox.read += length;
        inbox.records -= 1;
        if inbox.wrapped && inbox.read >= inbox.end {
            inbox.read = 0;
            inbox.wrapped = false;
        }
    }

    /// Ready when a message waits for `subprotocol`, or with the cause when `closed` says that none will come.
    pub fn poll_readable(
        &mut self,
        subprotocol: usize,
        closed: Option<CloseReason>,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>> {
        let waits = self
            .inboxes
            .get(subprotocol)
            .is_some_and(|inbox| inbox.records > 0);
        match self.inboxes.get_mut(subprotocol) {
            Some(inbox) => poll_take(waits.then_some(()), closed, &mut inbox.reader, cx),
            None => Poll::Pending,
        }
    }

    /// A reader to wake: one whose inbox got a message, or any if `closed`. Call until `None`.
    pub fn next_wake(&mut self, closed: bool) -> Option<Waker> {
        if closed {
            return self
                .inboxes
                .iter_mut()
                .find_map(|inbox| inbox.reader.take());
        }
        while self.arrived != 0 {
            let first = self.arrived.trailing_zeros() as usize;
            self.arrived &= self.arrived - 1;
            if let Some(waker) = self
                .inboxes
                .get_mut(first)
                .and_then(|inbox| inbox.reader.take())
            {
                return Some(waker);
            }
        }
        None
    }

    /// What the inbox of `subprotocol` has seen.
    pub fn counters(&self, subprotocol: usize) -> InboxCounters {
        let Some(inbox) = self.inboxes.get(subprotocol) else {
            return InboxCounters::default();
        };
        let [low, high] = inbox.bytes.map(u64::from);
        InboxCounters {
            messages: inbox.messages,
            bytes: high << 32 | low,
            dropped: inbox.dropped,
            oversize: inbox.oversize,
        }
    }
}

fn encode_header(meta: &Meta, oversize: bool) -> [u8; RECORD_OVERHEAD] {
    let mut header = [0; RECORD_OVERHEAD];
    header[..4].copy_from_slice(&meta.code.0.to_le_bytes());
    header[4..8].copy_from_slice(&meta.length.to_le_bytes());
    header[8..12].copy_from_slice(&meta.wire_length.to_le_bytes());
    header[12..20].copy_from_slice(&meta.at.as_micros().to_le_bytes());
    header[20] = u8::from(oversize);
    header
}

fn decode_header(header: &[u8; RECORD_OVERHEAD]) -> Meta {
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let at = u64::from(word(12)) | u64::from(word(16)) << 32;
    Meta {
        code: LocalCode(word(0)),
        length: word(4),
        wire_length: word(8),
        at: Instant::from_micros(at),
    }
}

impl<const N: usize> Inboxes for Arena<'_, N> {
    type Slot = Slot;

    fn open(&mut self, subprotocol: usize, length: u32) -> Admit<Slot> {
        let Some(inbox) = self.inboxes.get(subprotocol) else {
            return Admit::Drop;
        };
        let whole = RECORD_OVERHEAD.saturating_add(length as usize);
        let oversize = length > inbox.message_limit || whole > inbox.size;
        let room = if oversize { RECORD_OVERHEAD } else { whole };
        match inbox.place(room) {
            Some((at, wraps)) => {
                let length = room - RECORD_OVERHEAD;
                let slot = Slot {
                    subprotocol,
                    at,
                    wraps,
                    length,
                    filled: 0,
                    oversize,
                };
                if oversize {
                    Admit::Oversize(slot)
                } else {
                    Admit::Open(slot)
                }
            }
            None if room > inbox.size => Admit::Drop,
            None => match inbox.overflow {
                Overflow::HoldBack => Admit::Hold,
                Overflow::Drop => Admit::Drop,
                Overflow::Disconnect => Admit::Refuse,
            },
        }
    }

    /// The whole length was reserved when the slot was opened.
    fn reserve(&mut self, _slot: &mut Slot, _room: usize) -> bool {
        true
    }

    fn with<R>(&mut self, slot: &mut Slot, f: impl FnOnce(&mut Window<'_>) -> R) -> R {
        let from = self
            .inboxes
            .get(slot.subprotocol)
            .map_or(0, |inbox| inbox.start)
            + slot.at
            + RECORD_OVERHEAD;
        let bytes = self
            .bytes
            .get_mut(from..from + slot.length)
            .unwrap_or_default();
        let mut window = Window::new(bytes, slot.filled);
        let result = f(&mut window);
        slot.filled = window.len();
        result
    }

    fn commit(&mut self, slot: Slot, meta: Meta) {
        let Some(inbox) = self.inboxes.get_mut(slot.subprotocol) else {
            return;
        };
        let at = inbox.start + slot.at;
        if let Some(header) = self.bytes.get_mut(at..at + RECORD_OVERHEAD) {
            copy(header, &encode_header(&meta, slot.oversize));
        }
        if slot.wraps {
            if inbox.records == 0 {
                // Everything before the wrap was read meanwhile.
                inbox.read = 0;
            } else {
                inbox.end = inbox.write;
                inbox.wrapped = true;
            }
        }
        inbox.write = slot.at + RECORD_OVERHEAD + slot.length;
        inbox.records += 1;
        inbox.messages = inbox.messages.wrapping_add(1);
        inbox.oversize = inbox.oversize.wrapping_add(u32::from(slot.oversize));
        if !slot.oversize {
            let [low, high] = &mut inbox.bytes;
            let carry;
            (*low, carry) = low.overflowing_add(meta.length);
            *high = high.wrapping_add(u32::from(carry));
        }
        self.arrived |= 1 << slot.subprotocol;
    }

    fn abort(&mut self, _slot: Slot) {}

    fn dropped(&mut self, subprotocol: usize, meta: Meta) {
        debug!("dropped for inbox {}: {:?}", subprotocol, meta);
        if let Some(inbox) = self.inboxes.get_mut(subprotocol) {
            inbox.dropped = inbox.dropped.wrapping_add(1);
        }
    }
}
