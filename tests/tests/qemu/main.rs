//! Firmware in QEMU: each board with its peers.
mod boards;
mod bounds;
mod cable;
mod dialled;
mod dialling;
mod links;
mod pings;
mod serial;
