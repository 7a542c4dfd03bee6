//! The light client: messages, fork identifiers, headers, proofs.

mod bytes;
mod chain;
mod client;
mod eth_messages;
mod fork_id;
mod made_chain;
mod made_node;
mod trie;
mod wire;
