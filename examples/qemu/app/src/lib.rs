//! What the boards with a network card do, without anything of a board: boot parameters in, a status out.
//!
//! A board brings an `embassy_net::Stack` whose runner runs in a task of its own, a time driver, random bytes, and memory
//! (`tcp::Memory`); then `tcp::run` does the rest. The host runs the same over its own sockets: [`network::run`] takes any
//! [`socket::Network`].
//!
//! [`session`] is what happens in one devp2p session; everything else here only makes connections.
#![no_std]

#[cfg(test)]
extern crate std;

mod fmt;

pub mod network;
pub mod parameters;
pub mod session;
pub mod socket;
#[cfg(feature = "embassy-net")]
pub mod tcp;
#[cfg(feature = "embassy-net")]
pub mod transport;

pub use network::Identity;
pub use parameters::{Parameters, Remote, Secret};
#[cfg(feature = "embassy-net")]
pub use tcp::Memory;

use devp2p_core::capability::Protocol;
use devp2p_core::rlpx::NodeKey;
use static_cell::StaticCell;

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

/// The node's key and its protocols, made once: the key that the parameters give, which is wiped there, or a new one from
/// `entropy`.
pub fn identity(
    parameters: &mut Parameters,
    client_name: &'static str,
    entropy: fn(&mut [u8]),
) -> Option<Identity> {
    static KEY: StaticCell<NodeKey> = StaticCell::new();
    static PROTOCOLS: StaticCell<[Protocol; session::PROTOCOLS]> = StaticCell::new();
    let key = match &parameters.key {
        Some(secret) => NodeKey::new(&secret.0),
        None => {
            let mut secret = Secret([0; 32]);
            entropy(&mut secret.0);
            NodeKey::new(&secret.0)
        }
    };
    // In its place: what is moved away leaves its bytes behind.
    parameters.key = None;
    Some(Identity {
        key: KEY.init(key.ok()?),
        protocols: PROTOCOLS.init(session::protocols().ok()?),
        client_name,
    })
}
