//! Where sealed bytes wait for the wire: what a session needs of it, whether it is fixed ([`Ring`](crate::ring::Ring)) or grows.

use crate::error::WriteError;

/// What an output can take now.
pub trait Room {
    /// Whether the storage grows. Its room is then always contiguous, and its limit holds for messages, not for the last
    /// control message of a session.
    const GROWS: bool = false;

    /// Bytes that wait for the wire.
    fn len(&self) -> usize;

    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that can be written before some are taken, in whole blocks of [`BLOCK`](crate::ring::BLOCK).
    fn free(&self) -> usize;

    /// Whether a whole frame of `length` bytes can be written now.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`] if it never can be, [`WriteError::WouldBlock`] if it cannot be now.
    fn fits(&self, length: usize) -> Result<(), WriteError>;
}

/// A queue of sealed bytes, written in place.
pub trait Output: Room {
    /// `n` bytes follow at once, for which [`fits`](Room::fits) or [`free`](Room::free) has said that there is room: storage
    /// that grows does so here, once a frame.
    #[inline]
    fn expect(&mut self, n: usize) {
        let _ = n;
    }

    /// Room for the next bytes: whole blocks, contiguous, perhaps not all that is free. Storage that grows lends at most
    /// 16 KiB at a time, so that the MAC finds in the cache what the cipher wrote.
    fn writable(&mut self) -> &mut [u8];

    /// Makes `n` bytes of [`writable`](Self::writable) wait for the wire.
    fn commit(&mut self, n: usize);

    /// Appends all of `from`, or nothing if it does not fit.
    #[must_use]
    fn push(&mut self, from: &[u8]) -> bool;

    /// The next bytes for the wire: contiguous, perhaps not all that wait.
    fn readable(&self) -> &[u8];

    /// The wire took `n` bytes of [`readable`](Self::readable).
    fn consume(&mut self, n: usize);

    /// Forgets everything that waits.
    fn clear(&mut self);
}
