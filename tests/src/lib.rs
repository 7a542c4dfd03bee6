//! Harness shared by the system tests.
//!
//! * [`pair`]: two [`endpoint`]s, a [`link`] with seeded faults in each direction, and a virtual clock.
//! * [`node`]: a session with scripted writers and readers; [`rogue`]: a peer that says whatever it is told.
//! * [`kind`]: sessions over RLPx, in fixed memory and in [`growable`] one, and over a framing of their own, which the same
//!   tests run over.
//! * [`embassy_sim`], [`embassy_pipe`], [`embassy_node`]: an executor in virtual time, connections in memory, and peers of
//!   the Embassy adapter on them.
//! * [`geth`]: a go-ethereum peer in a process of its own; [`geth_node`]: a whole go-ethereum node, with a chain.
//! * [`board`]: an emulated board, in QEMU; [`relay`]: connections that a test can break.
//! * [`command`]: the `devp2p` program, built once.
//! * [`image`]: sizes and symbols of linked images.
//! * [`suite`]: what subprotocols see, played by both adapters.
//! * [`random`], [`wake`], [`fixture`]: random numbers, counting wakers, keys and protocols.

pub mod board;
pub mod command;
pub mod embassy_node;
pub mod embassy_pipe;
pub mod embassy_sim;
pub mod endpoint;
pub mod fixture;
pub mod geth;
pub mod geth_node;
pub mod growable;
pub mod image;
pub mod kind;
pub mod link;
pub mod node;
pub mod pair;
pub mod random;
pub mod relay;
pub mod rogue;
pub mod suite;
pub mod wake;

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
