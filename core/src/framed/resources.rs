//! What a session is made from: our side of Hello, inboxes, and bytes that wait for the wire.

use core::task::Waker;

use crate::arena::{Arena, ArenaTooSmall};
use crate::config::Local;
use crate::inbox::{Inboxes, copy};
use crate::output::{self, Room};
use crate::ring::Ring;

/// The memory of one session after the other, fixed or growing, and what this side says of itself.
pub trait Resources {
    /// Where messages wait for their subprotocol.
    type Inboxes: Inboxes;
    /// Where frames wait for the wire.
    type Output: Output;

    /// What this side says of itself: the same in every session.
    fn local(&self) -> Local<'_>;

    /// Bytes that wait for the wire.
    fn output(&self) -> &Self::Output;

    /// Each part by itself.
    fn parts(&mut self) -> Parts<'_, Self::Inboxes, Self::Output>;

    /// Memory for a Hello of `length` bytes, and whom it is compared with. What was written there stays until the session is
    /// active; before, no inbox is opened. Fewer bytes than `length`: the Hello is refused as too large.
    fn hello(&mut self, length: usize) -> (Local<'_>, &mut [u8]);

    /// The next session begins: forgets the messages of the last one.
    fn clear(&mut self);

    /// A reader to wake: one whose inbox got a message, or any if `closed`. Called until `None`.
    fn next_wake(&mut self, closed: bool) -> Option<Waker> {
        let _ = closed;
        None
    }
}

/// The parts of [`Resources`].
#[derive(Debug)]
pub struct Parts<'a, I, O> {
    /// What this side says of itself.
    pub local: Local<'a>,
    /// Where messages wait for their subprotocol.
    pub inboxes: &'a mut I,
    /// Where frames wait for the wire.
    pub output: &'a mut O,
}

/// A queue of bytes that wait for the wire.
pub trait Output {
    /// Bytes that wait.
    fn length(&self) -> usize;

    /// Bytes that writers may append now.
    fn free(&self) -> usize;

    /// Whether a frame of so many bytes may be appended whole now.
    fn fits(&self, frame: usize) -> bool {
        frame <= self.free()
    }

    /// Whether a frame of so many bytes could ever be appended whole.
    fn can_fit(&self, frame: usize) -> bool;

    /// The most bytes that [`room`](Self::room) lends now.
    fn contiguous(&self) -> usize;

    /// Lends room for the next `length` bytes: contiguous, perhaps for fewer; for none only if that many do not fit.
    fn room(&mut self, length: usize) -> &mut [u8];

    /// Makes `length` bytes of [`room`](Self::room) wait for the wire.
    fn commit(&mut self, length: usize);

    /// Appends bytes that fit.
    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = copy(self.room(bytes.len()), bytes);
            if n == 0 {
                return;
            }
            self.commit(n);
            bytes = bytes.get(n..).unwrap_or_default();
        }
    }

    /// The next bytes for the wire: contiguous, perhaps not all that wait.
    fn readable(&self) -> &[u8];

    /// The wire took `length` bytes of [`readable`](Self::readable).
    fn consume(&mut self, length: usize);
}

impl Output for Ring<'_> {
    fn length(&self) -> usize {
        Room::len(self)
    }

    fn free(&self) -> usize {
        // Frames are not whole blocks here, to which the ring's own method rounds down.
        self.capacity() - Room::len(self)
    }

    fn can_fit(&self, frame: usize) -> bool {
        frame <= self.capacity()
    }

    fn contiguous(&self) -> usize {
        self.contiguous_room()
    }

    fn room(&mut self, length: usize) -> &mut [u8] {
        self.room(length.min(Output::free(self)))
    }

    fn commit(&mut self, length: usize) {
        output::Output::commit(self, length);
    }

    fn readable(&self) -> &[u8] {
        output::Output::readable(self)
    }

    fn consume(&mut self, length: usize) {
        output::Output::consume(self, length);
    }
}

/// Lent memory of fixed size, for firmware.
#[derive(Debug)]
pub struct Fixed<'a, const N: usize = 4> {
    pub(super) local: Local<'a>,
    pub(super) inboxes: Arena<'a, N>,
    pub(super) output: Ring<'a>,
}

impl<'a, const N: usize> Fixed<'a, N> {
    /// Memory for the inboxes (the sum of the protocols' `inbox`, and at least as many bytes as the remote's Hello has, which
    /// overlays it), and for bytes that wait for the wire: rounded down to a multiple of 16, at least a frame with our Hello. A
    /// larger frame goes through it in pieces.
    ///
    /// # Errors
    /// [`ArenaTooSmall`] if the inboxes need more, or are more than `N`.
    pub fn new(
        local: Local<'a>,
        inboxes: &'a mut [u8],
        output: &'a mut [u8],
    ) -> Result<Self, ArenaTooSmall> {
        Ok(Self {
            inboxes: Arena::new(inboxes, local.protocols)?,
            output: Ring::new(output),
            local,
        })
    }
}

impl<'a, const N: usize> Resources for Fixed<'a, N> {
    type Inboxes = Arena<'a, N>;
    type Output = Ring<'a>;

    fn local(&self) -> Local<'_> {
        self.local
    }

    fn output(&self) -> &Ring<'a> {
        &self.output
    }

    fn parts(&mut self) -> Parts<'_, Arena<'a, N>, Ring<'a>> {
        Parts {
            local: self.local,
            inboxes: &mut self.inboxes,
            output: &mut self.output,
        }
    }

    fn hello(&mut self, _length: usize) -> (Local<'_>, &mut [u8]) {
        (self.local, self.inboxes.scratch())
    }

    fn clear(&mut self) {
        self.inboxes.clear();
    }

    fn next_wake(&mut self, closed: bool) -> Option<Waker> {
        self.inboxes.next_wake(closed)
    }
}
