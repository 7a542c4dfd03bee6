//! Live sessions with go-ethereum.
mod local;
mod polite_admission;
mod polite_basics;
mod polite_disconnect;
mod polite_end;
mod polite_hello;
mod polite_identity;
mod polite_payloads;
mod polite_ping;
mod polite_traffic;
mod polite_version;
