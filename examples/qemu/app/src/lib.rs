//! What the boards with a network card do, without anything of a board: boot parameters in, a status out.
//!
//! A board brings an [`embassy_net::Stack`] whose runner runs in a task of its own, a time driver, random bytes, and memory
//! ([`Memory`]); then [`run`] does the rest. The host can run the same over a stack of its own.
//!
//! [`session::run`] is what happens on one connection; everything else here only makes connections.
#![no_std]

#[cfg(test)]
extern crate std;

mod fmt;

pub mod network;
pub mod parameters;
pub mod session;
pub mod transport;

pub use network::{Memory, run};
pub use parameters::{Parameters, Remote};

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
