//! Unit-level behaviour in the words of the specification: encodings, matching, compression, cryptography, and the state
//! machines one by one.
mod arena;
mod disconnect;
mod hello;
mod lifecycle;
mod message_level;
mod ping;
mod ring;
mod rlp;
mod rlpx;
mod router;
mod shared_capabilities;
mod snappy;
mod watch;
mod write_token;
