//! The Snappy block format: streaming decoder and resumable encoder, no buffers of their own.
//!
//! A block is the uncompressed length as a varint, then elements: a literal (bytes that follow), or a copy (an offset back into
//! the output, and a length). Base protocol version 5 compresses each payload after Hello as one block (EIP-706).
//!
//! Decoding: [`parse_length`] once there are enough bytes, then a [`Decoder`] takes the rest as it arrives, and writes into a
//! [`Window`](crate::inbox::Window). Encoding: [`measure`], since a frame states its size first, then [`Encoder::emit`] in
//! pieces of any size; or [`compress`] at once into a buffer that is large enough.

mod decode;
mod encode;

pub use decode::{DecodeError, Decoder, parse_length};
pub use encode::{Encoder, compress, max_compressed_length, measure};
