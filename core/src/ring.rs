//! The transmit ring: sealed bytes that wait for the wire, in one lent slice.

use crate::inbox::copy;

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

    /// Bytes that wait for the wire.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes that can be written before some are taken, in whole blocks.
    pub fn free(&self) -> usize {
        (self.capacity() - self.length) / BLOCK * BLOCK
    }

    /// Room for the next bytes: whole blocks, contiguous, perhaps not all that is free.
    pub fn writable(&mut self) -> &mut [u8] {
        self.room(self.free())
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

    /// Makes `n` bytes of [`writable`](Self::writable) wait for the wire.
    pub fn commit(&mut self, n: usize) {
        self.length = self.length.saturating_add(n).min(self.capacity());
    }

    /// Appends all of `from`, or nothing if it does not fit.
    #[must_use]
    pub fn push(&mut self, mut from: &[u8]) -> bool {
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

    /// The next bytes for the wire: contiguous, perhaps not all that wait.
    pub fn readable(&self) -> &[u8] {
        let end = self.capacity().min(self.read + self.length);
        self.bytes.get(self.read..end).unwrap_or_default()
    }

    /// The wire took `n` bytes of [`readable`](Self::readable).
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.length);
        self.length -= n;
        self.read += n;
        if self.read >= self.capacity() {
            self.read -= self.capacity();
        }
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        (self.read, self.length) = (0, 0);
    }

    /// The whole lent slice. While the ring was empty, what is committed next stands at its beginning and stays there
    /// after it was taken, until more is written: so the handshake keeps its packet.
    pub fn storage(&mut self) -> &mut [u8] {
        self.bytes
    }
}
