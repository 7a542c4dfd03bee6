//! The `eth` protocol, versions 68 to 72, as far as one needs it who follows headers.
//!
//! Messages are read as views over the bytes that arrived, and written into bytes that the caller lends. What is defined
//! here: devp2p specification, `caps/eth.md`; EIP-7642 (version 69: Status with a range of blocks, BlockRangeUpdate),
//! EIP-7975 (70), EIP-8159 (71), EIP-8070 (72).

mod headers;
mod polite;
mod status;

pub use headers::{BlockHeaders, GetBlockHeaders, Headers, Origin};
pub use polite::{EmptyAnswer, empty_answer};
pub use status::{BlockRange, Status};

/// What Hello calls the protocol.
pub const NAME: &str = "eth";

/// The versions that are understood here, and the number of message codes of each, lowest first. A wrong number for one moves
/// the codes of every protocol that sorts behind it.
pub const VERSIONS: [(u32, u32); 5] = [(68, 17), (69, 18), (70, 18), (71, 20), (72, 22)];

/// Message codes.
pub mod code {
    /// The first message of each side.
    pub const STATUS: u32 = 0x00;
    /// Asks for headers.
    pub const GET_BLOCK_HEADERS: u32 = 0x03;
    /// Answers with headers.
    pub const BLOCK_HEADERS: u32 = 0x04;
    /// Asks for bodies.
    pub const GET_BLOCK_BODIES: u32 = 0x05;
    /// Asks for transactions that wait.
    pub const GET_POOLED_TRANSACTIONS: u32 = 0x09;
    /// Asks for receipts.
    pub const GET_RECEIPTS: u32 = 0x0f;
    /// Tells which blocks the sender has (from version 69).
    pub const BLOCK_RANGE_UPDATE: u32 = 0x11;
    /// Asks for block access lists (from version 71).
    pub const GET_BLOCK_ACCESS_LISTS: u32 = 0x12;
    /// Asks for cells of blobs (from version 72).
    pub const GET_CELLS: u32 = 0x14;
}

/// How many message codes a version has; `None` if it is not understood here.
pub fn length(version: u32) -> Option<u32> {
    let known = VERSIONS.iter().find(|(known, _)| *known == version);
    known.map(|(_, length)| *length)
}
