//! Unit-level behaviour in the words of the specification: encodings, matching, compression, cryptography.
mod disconnect;
mod hello;
mod rlp;
mod rlpx;
mod shared_capabilities;
mod snappy;
