//! Sealed bytes that wait for the wire, in a buffer that an idle session does not have.

use devp2p_core::error::WriteError;
use devp2p_core::output::{self, Room};
use devp2p_core::ring::BLOCK;

/// Room that is kept for the next session; a larger buffer is given back.
const KEPT: usize = 256 * 1024;

/// Room that a session with a buffer of its own keeps while it is idle.
const KEPT_IDLE: usize = 4 * 1024;

/// Bytes lent to the sealer at a time.
const SLICE: usize = 16 * 1024;

/// Bytes that wait, oldest first.
#[derive(Debug, Default)]
pub struct Output {
    /// All initialised, once; those that wait are `taken..end`.
    bytes: Vec<u8>,
    taken: usize,
    end: usize,
    /// Bytes that a thread has taken and the wire has not.
    in_flight: usize,
}

/// Bytes that wait, in the hands of a thread that writes them.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    bytes: Vec<u8>,
    end: usize,
}

impl InFlight {
    pub(crate) fn readable(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    /// Gives back room that a burst took.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.len() > KEPT_IDLE {
            *self = Self::default();
        }
    }
}

impl Output {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.end - self.taken + self.in_flight
    }

    /// Whether bytes wait that no thread has taken.
    pub(crate) fn has_unsent(&self) -> bool {
        self.taken < self.end
    }

    /// Hands out the bytes that wait, in exchange for a buffer whose bytes were written. They count as waiting until they are
    /// [consumed](Self::consume). Not for an output of which bytes were consumed otherwise.
    pub(crate) fn take(&mut self, written: &mut InFlight) {
        debug_assert_eq!(self.taken, 0, "only whole outputs are taken");
        written.end = std::mem::take(&mut self.end);
        self.in_flight += written.end;
        std::mem::swap(&mut self.bytes, &mut written.bytes);
    }

    /// Gives back room that a burst took.
    pub(crate) fn shrink(&mut self) {
        if !self.has_unsent() && self.bytes.len() > KEPT_IDLE {
            self.bytes = Vec::new();
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits.
    pub fn readable(&self) -> &[u8] {
        self.bytes.get(self.taken..self.end).unwrap_or_default()
    }

    /// The wire took `n` bytes.
    pub fn consume(&mut self, n: usize) {
        if self.in_flight > 0 {
            self.in_flight -= n.min(self.in_flight);
            return;
        }
        self.taken += n.min(self.len());
        if self.is_empty() {
            (self.taken, self.end) = (0, 0);
        } else if self.taken > self.end / 2 {
            self.bytes.copy_within(self.taken..self.end, 0);
            self.end -= self.taken;
            self.taken = 0;
        }
    }

    /// Gives an empty buffer back.
    pub fn release(&mut self, spare: &mut Option<Vec<u8>>) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            let bytes = std::mem::take(&mut self.bytes);
            (self.taken, self.end) = (0, 0);
            if spare.is_none() && bytes.capacity() <= KEPT {
                *spare = Some(bytes);
            }
        }
    }

    /// Bytes of memory that it has.
    #[cfg(feature = "testing")]
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// `n` bytes of room after those that wait.
    fn room(&mut self, n: usize, spare: &mut Option<Vec<u8>>) -> &mut [u8] {
        if self.bytes.capacity() == 0 {
            self.bytes = spare.take().unwrap_or_default();
        }
        let end = self.end + n;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.end..end]
    }
}

/// What an output takes: it may be full, but an empty one takes any frame.
#[derive(Debug)]
pub struct Limited<'a> {
    /// The output.
    pub output: &'a Output,
    /// Bytes that may wait.
    pub limit: usize,
}

impl Limited<'_> {
    fn left(&self) -> usize {
        self.limit.saturating_sub(self.output.len())
    }
}

impl Room for Limited<'_> {
    const GROWS: bool = true;

    fn len(&self) -> usize {
        self.output.len()
    }

    fn free(&self) -> usize {
        match self.output.is_empty() {
            true => usize::MAX / BLOCK * BLOCK,
            false => self.left() / BLOCK * BLOCK,
        }
    }

    fn fits(&self, length: usize) -> Result<(), WriteError> {
        match self.output.is_empty() || length <= self.left() {
            true => Ok(()),
            false => Err(WriteError::WouldBlock { free: self.left() }),
        }
    }
}

/// An output that is lent to the session machine for one call.
#[derive(Debug)]
pub struct Lent<'a> {
    /// The output.
    pub output: &'a mut Output,
    /// Where the buffer comes from.
    pub spare: &'a mut Option<Vec<u8>>,
    /// Bytes that may wait.
    pub limit: usize,
    /// Bytes that are still to come of those that were announced; they have room whatever the limit is.
    pub expected: usize,
}

impl Lent<'_> {
    /// Where the payload of the next frame stands, after `at` bytes for what comes before it; it has at most `length` bytes.
    pub fn compose(&mut self, at: usize, length: usize) -> &mut [u8] {
        &mut self.output.room(at + length, self.spare)[at..]
    }

    fn limited(&self) -> Limited<'_> {
        Limited {
            output: self.output,
            limit: self.limit,
        }
    }
}

impl Room for Lent<'_> {
    const GROWS: bool = true;

    fn len(&self) -> usize {
        self.output.len()
    }

    fn free(&self) -> usize {
        self.limited().free().max(self.expected)
    }

    fn fits(&self, length: usize) -> Result<(), WriteError> {
        self.limited().fits(length)
    }
}

impl output::Output for Lent<'_> {
    fn expect(&mut self, n: usize) {
        self.expected = self.expected.max(n.next_multiple_of(BLOCK));
        self.output.room(self.expected, self.spare);
    }

    fn writable(&mut self) -> &mut [u8] {
        let n = match self.expected {
            0 => self.free(),
            expected => expected,
        };
        self.output.room(n.min(SLICE), self.spare)
    }

    fn commit(&mut self, n: usize) {
        self.output.end = (self.output.end + n).min(self.output.bytes.len());
        self.expected = self.expected.saturating_sub(n);
    }

    fn push(&mut self, from: &[u8]) -> bool {
        self.output
            .room(from.len(), self.spare)
            .copy_from_slice(from);
        self.commit(from.len());
        true
    }

    fn readable(&self) -> &[u8] {
        self.output.readable()
    }

    fn consume(&mut self, n: usize) {
        self.output.consume(n);
    }

    fn clear(&mut self) {
        self.output.clear();
    }
}
