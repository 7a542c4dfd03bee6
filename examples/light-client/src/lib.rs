//! An Ethereum light client on top of devp2p: `no_std`, no allocator, no I/O, no clock.
//!
//! # The layers, bottom to top
//! * [`primitives`], [`header`]: hashes, addresses, block headers over borrowed bytes.
//! * [`fork_id`]: chains, and which nodes can be on the same one.
//! * [`eth`]: the messages of `eth/68` to `eth/72`, as views, and their encoders.
//!
//! Nothing that a peer sends can panic, or make memory grow: every reader is total, over the bytes that arrived.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod eth;
pub mod fork_id;
pub mod header;
pub mod primitives;
