//! A devp2p peer as poll-driven state machines: `no_std`, no allocator, no I/O, no clock.
//!
//! # The layers, bottom to top
//! * [`time`], [`rlp`], [`capability`], [`code`], [`disconnect`], [`node_id`], [`hello`]: values and their encodings.
//! * [`shared_capabilities`]: which subprotocols a session has, and where their codes begin.
//! * [`inbox`]: where messages wait for their subprotocol; [`router`] picks the inbox. [`output`]: where sealed bytes wait for
//!   the wire.
//! * [`ping`], [`write_token`], [`lifecycle`]: one concern each; [`peer`] composes them.
//! * `snappy`, `rlpx` (features, on by default): compression and the encrypted transport.
//! * `session` (with `rlpx`): one connection from its first byte to its end.
//! * [`framed`]: the same over a framing of one's own; [`delivery`] is a message's way from its code to its inbox.
//!
//! Time, bytes and randomness come in as arguments; the caller lends every buffer.
#![cfg_attr(
    all(feature = "rlpx", feature = "snappy"),
    doc = concat!("\n# A driver\n```\n", include_str!("../examples/pair.rs"), "```")
)]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The C library's state is shared by threads: only hosts have it.
#[cfg(any(test, feature = "libsecp256k1"))]
extern crate std;

mod fmt;

pub mod arena;
pub mod capability;
pub mod code;
pub mod config;
pub mod control;
pub mod delivery;
pub mod disconnect;
pub mod error;
pub mod framed;
pub mod hello;
pub mod inbox;
pub mod lifecycle;
pub mod node_id;
pub mod output;
pub mod peer;
pub mod ping;
pub mod ring;
pub mod rlp;
pub mod router;
pub mod shared_capabilities;
#[cfg(feature = "snappy")]
pub mod snappy;
pub mod time;
pub mod waiter;
pub mod watch;
pub mod write_token;

#[cfg(feature = "rlpx")]
pub mod rlpx;
#[cfg(feature = "rlpx")]
pub mod session;

/// Codes below this one belong to the base protocol (RLPx specification, "Message ID-based multiplexing").
pub const BASE_PROTOCOL_LENGTH: u32 = 16;
/// The largest frame body and the largest uncompressed payload, in bytes: what 24 bits can state.
pub const MAX_MESSAGE_LENGTH: u32 = 0xFF_FFFF;
/// The base protocol version that compresses with Snappy (EIP-706).
pub const SNAPPY_VERSION: u8 = 5;
/// The most protocols that one peer can register.
pub const MAX_PROTOCOLS: usize = 32;
