//! The memory of a session, lent to it for each call.

use crate::arena::{self, Arena};
use crate::inbox::Inboxes;
use crate::output::{Output, Room};
use crate::ring::Ring;

/// What a [`Connection`](super::Connection) needs memory for.
pub trait Buffers {
    /// An open slot of the inboxes.
    type Slot;
    /// Where messages wait for their subprotocol.
    type Inboxes: Inboxes<Slot = Self::Slot>;
    /// Where sealed bytes wait for the wire.
    type Output: Output;

    /// Whether the driver looks at the remote's Hello before it is judged: the connection then keeps it until
    /// [`Connection::handle_hello`](super::Connection::handle_hello) is called.
    const KEEPS_HELLO: bool = false;

    /// The inboxes.
    fn inboxes(&mut self) -> &mut Self::Inboxes;

    /// The output.
    fn output(&mut self) -> &mut Self::Output;

    /// The two buffers of the opening, which keep what was written to them from call to call until the remote's Hello is
    /// judged: the handshake packet that goes out is made in the first, of [`MAX_SENT`](crate::rlpx::MAX_SENT) bytes or more;
    /// the second gathers what comes in, the handshake packet and then the first frame, of
    /// [`MIN_INBOX_MEMORY`](super::MIN_INBOX_MEMORY) bytes or more.
    fn handshake(&mut self) -> (&mut [u8], &mut [u8]);

    /// The first `length` bytes of the first of those buffers are to go over the wire.
    fn send_packet(&mut self, length: usize);
}

/// Fixed memory: the handshake overlays inboxes and ring, which are empty until it is done.
#[derive(Debug)]
pub struct Fixed<'a, const N: usize = 4> {
    /// The inboxes.
    pub inboxes: Arena<'a, N>,
    /// The output.
    pub ring: Ring<'a>,
}

impl<'a, const N: usize> Buffers for Fixed<'a, N> {
    type Slot = arena::Slot;
    type Inboxes = Arena<'a, N>;
    type Output = Ring<'a>;

    fn inboxes(&mut self) -> &mut Arena<'a, N> {
        &mut self.inboxes
    }

    fn output(&mut self) -> &mut Ring<'a> {
        &mut self.ring
    }

    fn handshake(&mut self) -> (&mut [u8], &mut [u8]) {
        (self.ring.storage(), self.inboxes.scratch())
    }

    fn send_packet(&mut self, length: usize) {
        debug_assert!(
            self.ring.is_empty(),
            "the packet stands where the ring begins"
        );
        self.ring.commit(length);
    }
}
