//! The light client: messages, fork identifiers, headers, proofs.

mod bytes;
mod chain;
mod eth_messages;
mod fork_id;
mod made_chain;
mod trie;
