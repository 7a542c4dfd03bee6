//! Live sessions with go-ethereum.
mod local;
mod polite;
