//! Checked frames for messages over a serial line: what RLPx does for TCP, without secrets.
//!
//! | bytes | field |
//! |---|---|
//! | 2 | `a5 5a`: where a frame may begin |
//! | 1 | kind: 1 begin, 2 message, 3 end |
//! | 2 | message code; of `Begin` the sender's session number, else 0. Little-endian, as all of them |
//! | 2 | bytes of payload; of `Begin` the receiver's session number, or 0 if the sender does not know it; else 0 |
//! | 2 | the low half of the CRC-32 over these five bytes |
//! | n | payload, of a message only |
//! | 4 | CRC-32 (IEEE 802.3) over kind to length, and payload |
//!
//! A line has no connections, so two kinds stand for what TCP says by opening and closing one: [`Opening`] tells how two sides
//! that start and restart at any time agree on where a session begins, and `End` is the end of a side's stream. [`Line`] is all
//! of this as a [`Framing`](devp2p_core::framed::Framing) of the library's sessions, for both ends.
//!
//! A header is believed only with its own check, so that a damaged length does not swallow what follows. After damage the
//! receiver slides over the bytes until a header holds again: garbage between two frames costs neither of them, a damaged
//! payload only its own frame, and lost bytes also what follows within the length that the header stated.
#![no_std]

#[cfg(test)]
extern crate std;

mod crc;
mod line;
mod opening;
mod receiver;

pub use crc::Crc;
pub use line::Line;
pub use opening::{Begun, Opening};
pub use receiver::{Event, Receiver};

/// Bytes of a frame before its payload.
pub const HEADER_LENGTH: usize = 9;
/// Bytes of a frame after its payload.
pub const TRAILER_LENGTH: usize = 4;
/// The largest payload, in bytes: what its length field can state.
pub const MAX_PAYLOAD: usize = u16::MAX as usize;

const SYNC: [u8; 2] = [0xa5, 0x5a];

/// What stands before a frame's payload: what the frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Header {
    /// The sender begins a session.
    Begin {
        /// The number that the sender gave it.
        sender: u16,
        /// The number that the receiver gave it, or 0 if the sender does not know.
        receiver: u16,
    },
    /// A message of the session.
    Message {
        /// Its code on the wire.
        code: u16,
        /// Bytes of payload.
        length: u16,
    },
    /// The sender says nothing more in this session.
    End,
}

impl Header {
    /// Bytes of payload between header and trailer.
    pub const fn payload_length(self) -> usize {
        match self {
            Self::Message { length, .. } => length as usize,
            Self::Begin { .. } | Self::End => 0,
        }
    }

    /// Bytes of the whole frame.
    pub const fn frame_length(self) -> usize {
        HEADER_LENGTH + self.payload_length() + TRAILER_LENGTH
    }

    /// Its bytes, and the state of the frame's CRC after them.
    pub fn encode(self) -> ([u8; HEADER_LENGTH], Crc) {
        let (kind, a, b) = match self {
            Self::Begin { sender, receiver } => (1, sender, receiver),
            Self::Message { code, length } => (2, code, length),
            Self::End => (3, 0, 0),
        };
        let ([a0, a1], [b0, b1]) = (a.to_le_bytes(), b.to_le_bytes());
        let mut crc = Crc::new();
        crc.update(&[kind, a0, a1, b0, b1]);
        let [check0, check1, ..] = crc.value();
        let bytes = [SYNC[0], SYNC[1], kind, a0, a1, b0, b1, check0, check1];
        (bytes, crc)
    }

    /// The header that stands at the beginning of `bytes`, if one does, and the state of the frame's CRC after it.
    pub fn decode(bytes: &[u8; HEADER_LENGTH]) -> Option<(Self, Crc)> {
        let [_, _, kind, a0, a1, b0, b1, ..] = *bytes;
        let (a, b) = (u16::from_le_bytes([a0, a1]), u16::from_le_bytes([b0, b1]));
        let header = match kind {
            1 => Self::Begin {
                sender: a,
                receiver: b,
            },
            2 => Self::Message { code: a, length: b },
            3 => Self::End,
            _ => return None,
        };
        let (expected, crc) = header.encode();
        (expected == *bytes).then_some((header, crc))
    }
}

#[cfg(test)]
mod tests;
