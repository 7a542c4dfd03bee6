//! One message on its way into the output, chunk by chunk, through a ring of any size.

use super::cipher::FrameKeys;
use super::sponge::Sponge;
use super::transmit::{HEADER_LENGTH, MAC_LENGTH, TransmitHalf, frame_length, padded};
use crate::code::WireCode;
use crate::output::Output;
use crate::ring::BLOCK;
use crate::{MAX_MESSAGE_LENGTH, rlp};

#[cfg(feature = "snappy")]
use crate::snappy;

/// How a payload goes over the wire.
#[derive(Debug)]
pub enum Compression<'t> {
    /// As it is: one of the sides speaks a version without Snappy.
    None,
    /// The slices are compressed already, by the caller: the form in which they go over the wire.
    Done {
        /// Bytes of the payload before that.
        length: u32,
    },
    /// There are no slices: the compressed payload stands in the room of the output already, after room for the frame's header
    /// ([`HEADER_LENGTH`] bytes) and for the code. The output grows, and takes the frame whole.
    InPlace {
        /// Bytes of the payload before it was compressed.
        length: u32,
        /// Bytes of it now.
        wire_length: u32,
    },
    /// As one Snappy literal block: no table, no gain, no search.
    #[cfg(feature = "snappy")]
    Literal,
    /// By Snappy with a table lent for the time of the message; a power of two of entries.
    #[cfg(feature = "snappy")]
    Snappy(&'t mut [u16]),
    #[doc(hidden)]
    #[cfg(not(feature = "snappy"))]
    Never(core::convert::Infallible, core::marker::PhantomData<&'t ()>),
}

impl Compression<'_> {
    /// Bytes of the payload before it was compressed.
    pub(crate) fn length(&self, payload: &[&[u8]]) -> u32 {
        match self {
            Compression::Done { length } | Compression::InPlace { length, .. } => *length,
            _ => total(payload) as u32,
        }
    }

    /// A reborrow, for one call.
    pub fn reborrow(&mut self) -> Compression<'_> {
        match self {
            Compression::None => Compression::None,
            Compression::Done { length } => Compression::Done { length: *length },
            Compression::InPlace {
                length,
                wire_length,
            } => Compression::InPlace {
                length: *length,
                wire_length: *wire_length,
            },
            #[cfg(feature = "snappy")]
            Compression::Literal => Compression::Literal,
            #[cfg(feature = "snappy")]
            Compression::Snappy(table) => Compression::Snappy(table),
            #[cfg(not(feature = "snappy"))]
            Compression::Never(never, _) => match *never {},
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Body,
    Mac,
    Done,
}

/// A message whose frame is being sealed. The same payload is passed to every call.
#[derive(Debug)]
pub struct MessageWriter {
    stage: Stage,
    code: [u8; 5],
    code_length: usize,
    /// Bytes of the body, and how many of its padded bytes are sealed.
    body_length: usize,
    sealed: usize,
    /// Position in the uncompressed payload: slice, and bytes of it.
    position: (usize, usize),
    #[cfg(feature = "snappy")]
    encoder: snappy::Encoder,
}

/// The message is too large for a frame, compressed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TooLarge;

/// Bytes of all slices together; `usize::MAX` if that is no length.
pub fn total(payload: &[&[u8]]) -> usize {
    payload
        .iter()
        .fold(0, |sum: usize, slice| sum.saturating_add(slice.len()))
}

impl MessageWriter {
    /// Measures the message: a frame states its length first, which with Snappy is known only after a first pass.
    ///
    /// # Errors
    /// [`TooLarge`] if the payload has more than [`MAX_MESSAGE_LENGTH`] bytes, or the frame's body would have.
    pub fn new(
        code: WireCode,
        payload: &[&[u8]],
        compression: Compression<'_>,
    ) -> Result<Self, TooLarge> {
        let plain = total(payload);
        if plain > MAX_MESSAGE_LENGTH as usize {
            return Err(TooLarge);
        }
        let length = match compression {
            Compression::None | Compression::Done { .. } => plain,
            Compression::InPlace { wire_length, .. } => wire_length as usize,
            #[cfg(feature = "snappy")]
            Compression::Literal => snappy::measure(payload, None),
            #[cfg(feature = "snappy")]
            Compression::Snappy(table) => snappy::measure(payload, Some(table)),
            #[cfg(not(feature = "snappy"))]
            Compression::Never(never, _) => match never {},
        };
        let (code, code_length) = rlp::encode_code(code.0);
        let body_length = code_length.saturating_add(length);
        if body_length > MAX_MESSAGE_LENGTH as usize {
            return Err(TooLarge);
        }
        Ok(Self {
            stage: Stage::Header,
            code,
            code_length,
            body_length,
            sealed: 0,
            position: (0, 0),
            #[cfg(feature = "snappy")]
            encoder: snappy::Encoder::new(),
        })
    }

    /// Bytes of the whole frame.
    pub fn frame_length(&self) -> usize {
        frame_length(self.body_length)
    }

    /// Bytes of payload as they go over the wire.
    pub fn wire_length(&self) -> usize {
        self.body_length - self.code_length
    }

    /// Whether a byte is sealed, so that the frame must be completed.
    pub fn has_begun(&self) -> bool {
        self.stage != Stage::Header
    }

    /// Seals as much as the output has room for, and not much more than `budget` bytes. Returns the bytes sealed by this call
    /// and whether the frame is whole.
    pub fn seal<S: Sponge, O: Output>(
        &mut self,
        transmit: &mut TransmitHalf<S>,
        keys: &FrameKeys,
        output: &mut O,
        payload: &[&[u8]],
        mut compression: Compression<'_>,
        budget: usize,
    ) -> (usize, bool) {
        output.expect(self.left().min(budget).min(output.free()));
        let mut sealed = 0;
        if self.stage == Stage::Header && output.free() >= HEADER_LENGTH {
            let fits = output.push(&transmit.header(keys, self.body_length as u32));
            debug_assert!(fits, "there was room for the header");
            sealed += HEADER_LENGTH;
            self.stage = Stage::Body;
        }
        while self.stage == Stage::Body {
            let left = padded(self.body_length) - self.sealed;
            if left == 0 {
                self.stage = Stage::Mac;
                break;
            }
            if sealed >= budget {
                return (sealed, false);
            }
            let room = output.writable();
            let n = room.len().min(left);
            let Some(chunk) = room.get_mut(..n).filter(|chunk| !chunk.is_empty()) else {
                return (sealed, false);
            };
            self.fill(chunk, payload, compression.reborrow());
            transmit.body(keys, chunk);
            output.commit(n);
            self.sealed += n;
            sealed += n;
        }
        if self.stage == Stage::Mac && output.free() >= MAC_LENGTH {
            let fits = output.push(&transmit.finish(keys));
            debug_assert!(fits, "there was room for the MAC");
            sealed += MAC_LENGTH;
            self.stage = Stage::Done;
        }
        (sealed, self.stage == Stage::Done)
    }

    /// Bytes of the frame that are not sealed.
    fn left(&self) -> usize {
        let header = if self.has_begun() { 0 } else { HEADER_LENGTH };
        header + padded(self.body_length) - self.sealed + MAC_LENGTH
    }

    /// Writes the next bytes of the padded body; `out` is whole blocks, and never more than are left.
    fn fill(&mut self, out: &mut [u8], payload: &[&[u8]], compression: Compression<'_>) {
        debug_assert!(out.len().is_multiple_of(BLOCK), "whole blocks");
        let code = if self.sealed == 0 {
            self.code_length
        } else {
            0
        };
        let Some((head, out)) = out.split_at_mut_checked(code) else {
            return;
        };
        head.copy_from_slice(self.code.get(..code).unwrap_or_default());
        let written = match compression {
            Compression::None | Compression::Done { .. } => self.copy(out, payload),
            Compression::InPlace { .. } => {
                let content = self.body_length.saturating_sub(self.sealed + code);
                content.min(out.len())
            }
            #[cfg(feature = "snappy")]
            Compression::Literal => self.encoder.emit(payload, None, out),
            #[cfg(feature = "snappy")]
            Compression::Snappy(table) => self.encoder.emit(payload, Some(table), out),
            #[cfg(not(feature = "snappy"))]
            Compression::Never(never, _) => match never {},
        };
        out.get_mut(written..).unwrap_or_default().fill(0);
    }

    fn copy(&mut self, out: &mut [u8], payload: &[&[u8]]) -> usize {
        let (slice, at) = &mut self.position;
        let mut written = 0;
        while let Some(from) = payload.get(*slice) {
            let from = from.get(*at..).unwrap_or_default();
            let to = out.get_mut(written..).unwrap_or_default();
            let n = from.len().min(to.len());
            if let (Some(to), Some(from)) = (to.get_mut(..n), from.get(..n)) {
                to.copy_from_slice(from);
            }
            written += n;
            if n < from.len() {
                *at += n;
                break;
            }
            (*slice, *at) = (*slice + 1, 0);
        }
        written
    }
}
