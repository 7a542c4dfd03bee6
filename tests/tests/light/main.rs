//! The light client: messages, fork identifiers, headers, proofs.

mod bytes;
mod eth_messages;
mod fork_id;
