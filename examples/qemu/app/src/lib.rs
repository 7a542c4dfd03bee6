//! What the boards with a network card do, without anything of a board: boot parameters in, a status out.
//!
//! A board brings a driver of its network card, or the two halves of a serial line; a time driver; random bytes; and memory.
//! Then [`tcp::serve`] or [`pipe::serve`] does the rest, in one task. The host runs the same over its own sockets:
//! [`network::run`] takes any [`socket::Network`].
//!
//! Tick rate, timer queue and executor are the board's choice: nothing here sets any of them.
//!
//! [`session`] is what happens in one devp2p session; everything else here only makes connections.
#![no_std]

#[cfg(test)]
extern crate std;

mod fmt;

pub mod network;
pub mod parameters;
pub mod pipe;
pub mod session;
pub mod socket;
#[cfg(feature = "embassy-net")]
pub mod tcp;

#[cfg(test)]
mod tests;

pub use parameters::{Parameters, Remote, Secret};

use devp2p_core::rlpx::NodeKey;

/// The memory of a peer: its buffers and its key. All zero at first, so that it costs no flash.
#[derive(Debug)]
pub struct Memory {
    peer: session::Resources,
    payload: [u8; session::LARGEST],
    key: Option<NodeKey>,
}

impl Memory {
    /// Fits in a `ConstStaticCell`.
    pub const fn new() -> Self {
        Self {
            peer: session::Resources::new(),
            payload: [0; session::LARGEST],
            key: None,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// How the work ended: the board's exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Status {
    /// As it should.
    Success,
    /// The boot parameters make no sense.
    BadParameters,
    /// No connection, or a session did not go as it should.
    Failure,
}

impl Status {
    /// The status as a process has it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::BadParameters => 2,
        }
    }
}

/// The node's key: the one that the parameters give, which is wiped there, or a new one from `entropy`. `None` if it is no key.
fn key<'m>(
    place: &'m mut Option<NodeKey>,
    parameters: &mut Parameters,
    entropy: &mut impl FnMut(&mut [u8]),
) -> Option<&'m NodeKey> {
    let mut fresh = Secret([0; 32]);
    let secret = parameters.key.as_ref().unwrap_or_else(|| {
        entropy(&mut fresh.0);
        &fresh
    });
    let key = NodeKey::new(&secret.0).ok();
    // In its place: what is moved away leaves its bytes behind.
    parameters.key = None;
    Some(place.insert(key?))
}
