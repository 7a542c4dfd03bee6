//! Decoding as the bytes arrive.

use core::fmt;

use crate::inbox::{WIDE, Window};

/// Why bytes are not a Snappy block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// The uncompressed length does not fit in 32 bits, or in 5 bytes.
    Length,
    /// A copy whose offset is zero, or reaches before the beginning of the output.
    Offset,
    /// The elements produce more than the length that was stated, or bytes follow the last one.
    TooLong,
    /// The input ended before the stated length was produced.
    Truncated,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "invalid uncompressed length",
            Self::Offset => "copy from outside of the output",
            Self::TooLong => "more data than the stated length",
            Self::Truncated => "less data than the stated length",
        })
    }
}

impl core::error::Error for DecodeError {}

/// Reads the uncompressed length that begins a block (Snappy format description, section 1): the length, and how many bytes
/// (1 to 5) state it. `None` if more input is needed.
///
/// A length that takes more bytes than it must is accepted, up to 5 bytes (`80 00` is zero), as other decoders do. Some of them
/// read up to 10 bytes; here a sixth is an error.
///
/// # Errors
/// [`DecodeError::Length`], as soon as the bytes seen cannot become a length of 32 bits.
pub fn parse_length(input: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (i, &byte) in input.iter().enumerate() {
        // The fifth byte has room for four bits, and none for "one more".
        if i == 4 && byte > 0x0F {
            return Err(DecodeError::Length);
        }
        value |= u32::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            return Ok(Some((value, i + 1)));
        }
    }
    Ok(None)
}

/// By the kind of a copy's tag: its size in bytes, and which bits of its last four bytes are offset.
const SIZES: [u8; 4] = [1, 2, 3, 5];
const MASKS: [u32; 4] = [0, 0xFF, 0xFFFF, u32::MAX];

/// Decodes the elements of one block, in pieces that may be cut anywhere, into a [`Window`].
///
/// # Driving it
/// 1. [`new`](Self::new) with the length that [`parse_length`] read.
/// 2. For each piece of input, [`decode`](Self::decode), with [`room_for`](Self::room_for) bytes of room if possible. If it took
///    only a part, call again with the rest and a window that has more room. To drop the output, call [`skip`](Self::skip)
///    instead, from the beginning or from any point on.
/// 3. After the last piece, [`finish`](Self::finish).
///
/// An error is final: every later call returns it again. Offsets are checked against what this decoder produced, whatever
/// else the window holds before that.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// The stated length.
    length: u32,
    produced: u32,
    /// Bytes of the current literal that are still to come. Never more than `length - produced`.
    literal: u32,
    /// Bytes of the current copy still to be written, from `offset` back. The last byte of its tag is not taken yet.
    copy: u32,
    offset: u32,
    /// The first `held` bytes of a tag that was cut; zero after them.
    tag: [u8; 5],
    held: u8,
    error: Option<DecodeError>,
}

impl Decoder {
    /// A decoder of a block whose stated length is `length` bytes.
    pub const fn new(length: u32) -> Self {
        Self {
            length,
            produced: 0,
            literal: 0,
            copy: 0,
            offset: 0,
            tag: [0; 5],
            held: 0,
            error: None,
        }
    }

    /// Bytes of output so far, skipped ones included.
    pub const fn produced(&self) -> u32 {
        self.produced
    }

    /// Bytes of output that are still to come.
    pub const fn remaining(&self) -> u32 {
        self.length - self.produced
    }

    /// The most output, in bytes, that the next `input_len` bytes can produce. With that much room, [`decode`](Self::decode)
    /// takes all of them.
    pub fn room_for(&self, input_len: usize) -> usize {
        if input_len == 0 {
            return 0;
        }
        let literal = (self.literal as usize).min(input_len);
        // The densest element is a copy of 64 bytes in a tag of 3: 22 a byte, rounded up.
        let tags = (input_len - literal).saturating_add(usize::from(self.held));
        tags.saturating_mul(22)
            .saturating_add(64)
            .saturating_add(literal)
            .saturating_add(self.copy as usize)
            .min(self.remaining() as usize)
    }

    /// Takes input and appends its output to `window`; returns how many bytes were taken. They are all, unless the window is
    /// full: then pass the rest again, with more room. When all was taken, nothing waits to be written.
    ///
    /// # Errors
    /// The block is invalid. What was written to the window is of no use.
    pub fn decode(&mut self, input: &[u8], window: &mut Window<'_>) -> Result<usize, DecodeError> {
        self.latched(input, Some(window))
    }

    /// Takes all of `input` and checks it as [`decode`](Self::decode) does, without output.
    ///
    /// # Errors
    /// The block is invalid.
    pub fn skip(&mut self, input: &[u8]) -> Result<(), DecodeError> {
        self.latched(input, None).map(|_| ())
    }

    /// Says that the input is over.
    ///
    /// # Errors
    /// An earlier error, or [`DecodeError::Truncated`] if less than the stated length was produced.
    pub fn finish(&self) -> Result<(), DecodeError> {
        // No tag can be half read when the whole length is there: its first byte would have been `TooLong`.
        match self.error {
            Some(error) => Err(error),
            None if self.produced == self.length => Ok(()),
            None => Err(DecodeError::Truncated),
        }
    }

    fn latched(
        &mut self,
        input: &[u8],
        window: Option<&mut Window<'_>>,
    ) -> Result<usize, DecodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let result = self.run(input, window);
        self.error = result.err();
        result
    }

    fn run(
        &mut self,
        input: &[u8],
        mut window: Option<&mut Window<'_>>,
    ) -> Result<usize, DecodeError> {
        let mut rest = input;
        loop {
            if self.literal > 0 {
                let n = rest.len().min(self.literal as usize);
                let (bytes, _) = rest.split_at_checked(n).unwrap_or_default();
                let n = match &mut window {
                    Some(window) => window.push(bytes),
                    None => n,
                };
                if n == 0 {
                    break;
                }
                rest = rest.get(n..).unwrap_or_default();
                self.literal -= n as u32;
                self.produced += n as u32;
                continue;
            }
            if WIDE
                && self.held == 0
                && self.copy == 0
                && let Some(window) = &mut window
            {
                rest = self.run_whole(rest, window)?;
                if self.literal > 0 {
                    continue;
                }
            }
            let Some((&byte, after)) = rest.split_first() else {
                break;
            };
            if self.copy == 0 && !self.read_tag(byte)? {
                rest = after;
                continue;
            }
            if let Some(window) = &mut window {
                let n = window.room().min(self.copy as usize);
                if !window.repeat(self.offset as usize, n) {
                    return Err(DecodeError::Offset);
                }
                self.produced += n as u32;
                self.copy -= n as u32;
                if self.copy > 0 {
                    break;
                }
            } else {
                self.produced += self.copy;
                self.copy = 0;
            }
            rest = after;
        }
        Ok(input.len() - rest.len())
    }

    /// Takes the next byte of a tag. True if that makes a copy; a literal, or a tag that is not whole yet, is in the state only.
    fn read_tag(&mut self, byte: u8) -> Result<bool, DecodeError> {
        if let Some(to) = self.tag.get_mut(usize::from(self.held)) {
            *to = byte;
        }
        self.held += 1;
        let room = self.length - self.produced;
        if room == 0 {
            return Err(DecodeError::TooLong);
        }
        let [first, low @ ..] = self.tag;
        let short = u32::from(first >> 2);
        let operand = u32::from_le_bytes(low);
        let (size, length, offset) = match first & 3 {
            0 if short < 60 => (1, short, 0),
            0 => (short as u8 - 58, operand, 0),
            1 => (
                2,
                3 + (short & 7),
                u32::from(first >> 5) << 8 | (operand & 0xFF),
            ),
            2 => (3, short, operand),
            _ => (5, short, operand),
        };
        if self.held < size {
            return Ok(false);
        }
        self.held = 0;
        self.tag = [0; 5];
        // All lengths are stated less one; a literal's can be 2^32.
        if length >= room {
            return Err(DecodeError::TooLong);
        }
        if first & 3 == 0 {
            self.literal = length + 1;
            return Ok(false);
        }
        if offset == 0 || offset > self.produced {
            return Err(DecodeError::Offset);
        }
        self.copy = length + 1;
        self.offset = offset;
        Ok(true)
    }

    /// The fast part of [`run`](Self::run): elements that are whole in `input` and fit in the window with room to spare.
    /// Returns what is left, which begins with a tag or in the literal that [`Self::literal`] says.
    fn run_whole<'i>(
        &mut self,
        input: &'i [u8],
        window: &mut Window<'_>,
    ) -> Result<&'i [u8], DecodeError> {
        let mut rest = input;
        let mut produced = self.produced;
        let mut literal = 0;
        // A window of its own, so that its fields can live in registers.
        let mut to = window.reborrow();
        while to.room() >= 64
            && let Some(&[first, a, b, c, d]) = rest.first_chunk()
        {
            let room = self.length - produced;
            let short = u32::from(first >> 2);
            if first & 3 == 0 {
                if short >= 60 {
                    break;
                }
                let length = short + 1;
                if length > room {
                    return Err(DecodeError::TooLong);
                }
                let bytes = rest.get(1..).unwrap_or_default();
                if !to.push_short(bytes, length as usize) {
                    literal = length;
                    rest = bytes;
                    break;
                }
                produced += length;
                rest = bytes.get(length as usize..).unwrap_or_default();
                continue;
            }
            // Which kind of copy comes next cannot be predicted: selections, not branches.
            let near = first & 3 == 1;
            let high = if near { u32::from(first >> 5) << 8 } else { 0 };
            let length = if near { 4 + (short & 7) } else { short + 1 };
            let size = SIZES[usize::from(first & 3)];
            let offset = high | (u32::from_le_bytes([a, b, c, d]) & MASKS[usize::from(first & 3)]);
            if length > room {
                return Err(DecodeError::TooLong);
            }
            if offset > produced || !to.repeat(offset as usize, length as usize) {
                return Err(DecodeError::Offset);
            }
            produced += length;
            rest = rest.get(usize::from(size)..).unwrap_or_default();
        }
        let filled = to.len();
        window.fill_to(filled);
        self.produced = produced;
        self.literal = literal;
        Ok(rest)
    }
}
