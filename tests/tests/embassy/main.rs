//! The Embassy adapter: two peers over a connection in memory, in virtual time.

mod again;
mod alike;
mod basics;
mod deadlines;
mod drops;
mod ends;
mod idle;
mod serial;
mod tcp;
mod threads;
