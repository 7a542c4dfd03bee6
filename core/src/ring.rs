//! The transmit ring: sealed bytes that wait for the wire, in one lent slice.

use crate::error::WriteError;
use crate::inbox::copy;
use crate::output::{Output, Room};

/// The block that frames are made of, in bytes. The ring's capacity is a multiple of it, so a block never wraps.
pub const BLOCK: usize = 16;

/// A byte queue over a lent slice, of which a multiple of [`BLOCK`] bytes is used.
pub struct Ring<'a> {
    bytes: &'a mut [u8],
    read: usize,
    length: usize,
}

/// Without the bytes: the handshake composes its packet here, before it is encrypted.
impl core::fmt::Debug for Ring<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ring")
            .field("capacity", &self.capacity())
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl<'a> Ring<'a> {
    /// An empty ring over `bytes`, rounded down to whole blocks.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        let whole = bytes.len() / BLOCK * BLOCK;
        let bytes = bytes.get_mut(..whole).unwrap_or_default();
        Self {
            bytes,
            read: 0,
            length: 0,
        }
    }

    /// Bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// How many of the free bytes are contiguous.
    pub(crate) fn contiguous_room(&self) -> usize {
        match (self.read + self.length).checked_sub(self.capacity()) {
            _ if self.length == 0 => self.capacity(),
            None => self.capacity() - self.read - self.length,
            Some(at) => self.read - at,
        }
    }

    /// The contiguous part of the next `n` bytes, which are free.
    pub(crate) fn room(&mut self, n: usize) -> &mut [u8] {
        if self.length == 0 {
            self.read = 0;
        }
        let mut at = self.read + self.length;
        if at >= self.capacity() {
            at -= self.capacity();
        }
        let end = self.capacity().min(at + n);
        self.bytes.get_mut(at..end).unwrap_or_default()
    }

    /// The whole lent slice. While the ring was empty, what is committed next stands at its beginning and stays there
    /// after it was taken, until more is written: so the handshake keeps its packet.
    pub fn storage(&mut self) -> &mut [u8] {
        self.bytes
    }
}

impl Room for Ring<'_> {
    fn len(&self) -> usize {
        self.length
    }

    /// While the last bytes are not whole blocks (only a handshake's packet is not) there is none: the next block would wrap.
    fn free(&self) -> usize {
        let aligned = self.length == 0 || (self.read + self.length).is_multiple_of(BLOCK);
        if aligned {
            (self.capacity() - self.length) / BLOCK * BLOCK
        } else {
            0
        }
    }

    fn fits(&self, length: usize) -> Result<(), WriteError> {
        let free = self.free();
        if length <= free {
            Ok(())
        } else if length > self.capacity() {
            Err(WriteError::TooLarge)
        } else {
            Err(WriteError::WouldBlock { free })
        }
    }
}

impl Output for Ring<'_> {
    fn writable(&mut self) -> &mut [u8] {
        self.room(self.free())
    }

    fn commit(&mut self, n: usize) {
        self.length = self.length.saturating_add(n).min(self.capacity());
    }

    fn push(&mut self, mut from: &[u8]) -> bool {
        // Not by `free` and `writable`, which round down: between two pieces that would leave no room for the second.
        if from.len() > self.capacity() - self.length {
            return false;
        }
        while !from.is_empty() {
            let to = self.room(from.len());
            let n = to.len().min(from.len());
            let (Some(to), Some((head, rest))) = (to.get_mut(..n), from.split_at_checked(n)) else {
                return false;
            };
            copy(to, head);
            self.commit(n);
            from = rest;
        }
        true
    }

    fn readable(&self) -> &[u8] {
        let end = self.capacity().min(self.read + self.length);
        self.bytes.get(self.read..end).unwrap_or_default()
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.length);
        self.length -= n;
        self.read += n;
        if self.read >= self.capacity() {
            self.read -= self.capacity();
        }
    }

    fn clear(&mut self) {
        (self.read, self.length) = (0, 0);
    }
}
