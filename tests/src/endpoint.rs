//! What a [`Pair`](crate::pair::Pair) drives: anything that takes and gives bytes and knows when it wants to be called.

use devp2p_core::error::TransportError;
use devp2p_core::time::{Instant, PollAt};

/// How an endpoint ends its sending direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing more is sent; what comes is still read.
    HalfClose,
    /// The transport is dropped: nothing more is sent or read.
    Drop,
}

/// One side of a [`Pair`](crate::pair::Pair).
pub trait Endpoint {
    /// Does what can be done at `now`, noting it in `trace`; true if anything was.
    fn advance(&mut self, now: Instant, trace: &mut dyn FnMut(String)) -> bool;
    /// Bytes for the wire.
    fn output(&self) -> &[u8];
    /// The wire took `n` bytes of them.
    fn consume_output(&mut self, now: Instant, n: usize);
    /// Whether bytes would be taken.
    fn wants_input(&mut self) -> bool;
    /// Takes bytes; returns how many.
    fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize;
    /// The incoming direction ended, or the transport broke.
    fn handle_end(&mut self, now: Instant, error: TransportError);
    /// How it ended its sending direction, told once each.
    fn take_ending(&mut self) -> Option<Ending>;
    /// When it wants to be called.
    fn poll_at(&self) -> PollAt;
}
