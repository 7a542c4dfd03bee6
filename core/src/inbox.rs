//! Where messages wait for their subprotocol: open a slot, fill it, commit or abort.
//!
//! A frame's payload is written into its slot as it arrives. Nothing of it is visible before [`Inboxes::commit`], which the
//! receiver calls only after the frame's MAC was verified.

use crate::code::LocalCode;
use crate::time::Instant;

/// A contiguous piece of a slot: what was written so far, and room after it.
///
/// `bytes[..filled]` is payload; the rest may be written. Contiguity makes Snappy's back-references plain indexing.
#[derive(Debug)]
pub struct Window<'a> {
    bytes: &'a mut [u8],
    filled: usize,
}

impl<'a> Window<'a> {
    /// A window over `bytes` of which the first `filled` are payload already (at most all of them).
    pub fn new(bytes: &'a mut [u8], filled: usize) -> Self {
        let filled = filled.min(bytes.len());
        Self { bytes, filled }
    }

    /// The payload so far.
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Bytes of payload so far.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Bytes that can still be written.
    pub fn room(&self) -> usize {
        self.bytes.len() - self.filled
    }

    /// Appends as much of `from` as there is room for; returns how many bytes that was.
    pub fn push(&mut self, from: &[u8]) -> usize {
        let n = copy(self.bytes.get_mut(self.filled..).unwrap_or_default(), from);
        self.filled += n;
        n
    }

    /// Appends `length` bytes that begin `offset` bytes before the end, where the two may overlap (the bytes then repeat,
    /// as Snappy's copies do). Returns false, having written nothing, if `offset` is zero or reaches before the beginning,
    /// or if there is no room.
    #[must_use]
    #[inline]
    pub fn repeat(&mut self, offset: usize, length: usize) -> bool {
        let at = self.filled;
        if offset == 0 || offset > at || length > self.room() {
            return false;
        }
        let room = self.bytes.get_mut(at - offset..).unwrap_or_default();
        if !(WIDE && repeat_wide(room, offset, length)) {
            repeat_plain(room, offset, length);
        }
        self.filled += length;
        true
    }
}

/// Whether loads of 8 and 16 bytes at any address are cheap. Where they are not, the code that uses them is left out: it would
/// cost flash, and gain nothing.
pub(crate) const WIDE: bool = cfg!(target_pointer_width = "64");

/// Copies as many bytes as both have; returns how many. Unlike `copy_from_slice` it links no panic. Not inlined, it is known
/// that the two do not overlap: where speed is asked for, the loop becomes a `memcpy`.
#[inline(never)]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) -> usize {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    to.len().min(from.len())
}

/// Repeats the first `offset` bytes of `bytes` over the `length` bytes after them.
fn repeat_plain(bytes: &mut [u8], offset: usize, length: usize) {
    let Some(bytes) = bytes.get_mut(..offset + length) else {
        return;
    };
    // What was copied extends the pattern, so the pieces double.
    let mut have = offset;
    while have < bytes.len() {
        let (from, to) = bytes.split_at_mut(have);
        have += copy(to, from);
    }
}

/// The same in steps of 16 or 8 bytes, which write up to 32 bytes more than asked. Returns false, having written nothing, if
/// there is no room for those.
#[inline(always)]
fn repeat_wide(bytes: &mut [u8], offset: usize, length: usize) -> bool {
    let end = offset + length;
    if bytes.len() < end + 32 {
        return false;
    }
    if offset >= 16 {
        let mut i = offset;
        while i < end {
            copy_chunk::<16>(bytes, i - offset, i);
            i += 16;
        }
        return true;
    }
    // A pattern shorter than a step is first repeated until it is one.
    let mut distance = offset;
    while distance < 8 {
        distance *= 2;
    }
    for i in offset..distance {
        copy_chunk::<1>(bytes, i - offset, i);
    }
    let mut i = distance;
    while i < end {
        copy_chunk::<8>(bytes, i - distance, i);
        i += 8;
    }
    true
}

#[inline(always)]
fn copy_chunk<const N: usize>(bytes: &mut [u8], from: usize, to: usize) {
    if let Some(&chunk) = bytes.get(from..).and_then(<[u8]>::first_chunk::<N>)
        && let Some(to) = bytes.get_mut(to..).and_then(<[u8]>::first_chunk_mut)
    {
        *to = chunk;
    }
}

/// What the Snappy decoder uses beyond the public part.
#[cfg(feature = "snappy")]
impl Window<'_> {
    /// The same window, as a value whose fields can live in registers. [`Self::fill_to`] takes over what was written.
    pub(crate) fn reborrow(&mut self) -> Window<'_> {
        Window {
            bytes: self.bytes,
            filled: self.filled,
        }
    }

    /// Says that the first `filled` bytes are payload now.
    pub(crate) fn fill_to(&mut self, filled: usize) {
        self.filled = filled.min(self.bytes.len());
    }

    /// Appends the first `length` bytes of `from`. Returns false, having written nothing, if there are fewer, or if there is no
    /// room. A short piece is moved as 32 bytes where possible, so room after the payload can be overwritten.
    #[inline(always)]
    pub(crate) fn push_short(&mut self, from: &[u8], length: usize) -> bool {
        let Some(to) = self.bytes.get_mut(self.filled..) else {
            return false;
        };
        if length <= 32
            && let Some(to) = to.first_chunk_mut::<32>()
            && let Some(from) = from.first_chunk::<32>()
        {
            *to = *from;
        } else if let Some(to) = to.get_mut(..length)
            && let Some(from) = from.get(..length)
        {
            copy(to, from);
        } else {
            return false;
        }
        self.filled += length;
        true
    }
}

/// The answer to [`Inboxes::open`].
#[derive(Debug)]
pub enum Admit<S> {
    /// Here is the slot.
    Open(S),
    /// The message can never fit: skip its payload, then commit this slot, which reports it in order as oversize.
    Oversize(S),
    /// The inbox has no room now: stop taking bytes, ask again later.
    Hold,
    /// The memory that this session shares with others has no room now: stop taking bytes, ask again later.
    Wait,
    /// No room, and the subprotocol prefers to lose the message: skip it, then call [`Inboxes::dropped`].
    Drop,
    /// No room, and the subprotocol prefers to end the session.
    Refuse,
}

/// Why a receiver takes no bytes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Hold {
    /// The inbox of this subprotocol, by its index in the registered list, is full.
    Inbox(u8),
    /// The memory that this session shares with others is.
    Memory,
}

/// Bytes of room that a slot has from the beginning, or its whole length if that is less: what the first block of a frame can
/// become.
pub const FIRST_ROOM: usize = 512;

/// What is known of a message besides its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Meta {
    /// Its code inside the subprotocol.
    pub code: LocalCode,
    /// Bytes of payload, uncompressed.
    pub length: u32,
    /// Bytes of payload as they were on the wire, compressed or not.
    pub wire_length: u32,
    /// When its last byte was handled.
    pub at: Instant,
}

/// Storage for messages of all subprotocols of a session.
///
/// `subprotocol` is the index of the protocol in the list that was registered. One slot is open at a time.
pub trait Inboxes {
    /// An open slot.
    type Slot;

    /// Asks for a slot for a message of `length` uncompressed bytes, with room for the first [`FIRST_ROOM`] of them. A length
    /// is the peer's word: storage that grows must not take more for it before the bytes arrive.
    fn open(&mut self, subprotocol: usize, length: u32) -> Admit<Self::Slot>;

    /// Makes sure that the slot has at least `room` bytes of room, or all that is left up to the opened length. False if the
    /// memory for that is not there now: it may be there for less, or later.
    fn reserve(&mut self, slot: &mut Self::Slot, room: usize) -> bool;

    /// Lends the slot's window, with as much room as was [reserved](Self::reserve).
    fn with<R>(&mut self, slot: &mut Self::Slot, f: impl FnOnce(&mut Window<'_>) -> R) -> R;

    /// Makes the message visible to its reader.
    fn commit(&mut self, slot: Self::Slot, meta: Meta);

    /// Gives the slot back; nothing of it was ever visible.
    fn abort(&mut self, slot: Self::Slot);

    /// A message was skipped because [`Inboxes::open`] answered [`Admit::Drop`].
    fn dropped(&mut self, subprotocol: usize, meta: Meta);
}
