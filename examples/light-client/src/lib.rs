//! An Ethereum light client on top of devp2p: `no_std`, no allocator, no I/O, no clock.
//!
//! # The layers, bottom to top
//! * [`primitives`], [`header`]: hashes, addresses, block headers over borrowed bytes.
//! * [`fork_id`]: chains, and which nodes can be on the same one.
//! * [`eth`]: the messages of `eth/68` to `eth/72`, as views, and their encoders; [`snap`]: those of `snap/1` and `snap/2`.
//! * [`evidence`]: what is trusted and what is claimed; [`link`], [`ring`], [`chain`]: headers that follow each other.
//! * [`trie`], [`state`]: proofs of accounts and storage slots.
//! * [`client`]: one machine of all this, for a session with a peer.
//!
//! Nothing that a peer sends can panic, or make memory grow: every reader is total, over the bytes that arrived.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod chain;
pub mod client;
pub mod eth;
pub mod evidence;
pub mod fork_id;
pub mod header;
pub mod link;
pub mod primitives;
pub mod ring;
pub mod snap;
pub mod state;
pub mod trie;
