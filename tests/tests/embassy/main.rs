//! The Embassy adapter: two peers over a connection in memory, in virtual time.

mod again;
mod basics;
mod ends;
mod idle;
