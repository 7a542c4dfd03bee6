//! Frames into the output, a piece at a time.

use super::framing::{Framing, MAX_MARK};
use super::resources::Output;
use crate::code::WireCode;
use crate::inbox::copy;

/// Seals one frame after the other into an output that may be smaller than a frame.
#[derive(Debug)]
pub(super) struct Sealer {
    frame: Option<Frame>,
}

#[derive(Debug)]
struct Frame {
    /// Bytes of payload still to come.
    left: usize,
    /// Its writer went away: it is filled up and marked, so that the receiver drops it and stays in step.
    spoilt: bool,
}

impl Sealer {
    pub(super) const fn new() -> Self {
        Self { frame: None }
    }

    pub(super) const fn is_inside_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Bytes of payload that the frame in progress lacks.
    pub(super) fn left(&self) -> usize {
        self.frame.as_ref().map_or(0, |frame| frame.left)
    }

    /// Begins a frame; false if it cannot be framed. There is no other, and room for its header.
    pub(super) fn begin<F: Framing + ?Sized>(
        &mut self,
        framing: &mut F,
        output: &mut impl Output,
        code: WireCode,
        length: usize,
    ) -> bool {
        if length > crate::MAX_MESSAGE_LENGTH as usize {
            return false;
        }
        let Some(header) = framing.begin(code, length) else {
            return false;
        };
        output.push(header.as_bytes());
        self.frame = Some(Frame {
            left: length,
            spoilt: false,
        });
        true
    }

    /// Seals as much of the payload as fits within `limit` bytes.
    pub(super) fn push<F: Framing + ?Sized>(
        &mut self,
        framing: &mut F,
        output: &mut impl Output,
        payload: &[u8],
        limit: usize,
    ) {
        let Some(frame) = &mut self.frame else {
            return;
        };
        let end = payload.len().min(limit).min(frame.left);
        let mut payload = payload.get(..end).unwrap_or_default();
        while !payload.is_empty() {
            let room = output.room(payload.len());
            let n = copy(room, payload);
            if n == 0 {
                return;
            }
            framing.payload(room.get_mut(..n).unwrap_or_default());
            output.commit(n);
            frame.left -= n;
            payload = payload.get(n..).unwrap_or_default();
        }
    }

    /// Seals a payload that `write` writes into the room for it, which is contiguous.
    pub(super) fn write<F: Framing + ?Sized>(
        &mut self,
        framing: &mut F,
        output: &mut impl Output,
        write: impl FnOnce(&mut [u8]),
    ) {
        let Some(frame) = &mut self.frame else {
            return;
        };
        let room = output.room(frame.left);
        let room = room.get_mut(..frame.left).unwrap_or_default();
        write(room);
        framing.payload(room);
        let n = room.len();
        output.commit(n);
        frame.left -= n;
    }

    /// Ends the frame if its payload is complete.
    pub(super) fn finish<F: Framing + ?Sized>(
        &mut self,
        framing: &mut F,
        output: &mut impl Output,
    ) -> bool {
        let Some(frame) = self.frame.as_ref().filter(|frame| frame.left == 0) else {
            return false;
        };
        let trailer = framing.finish(!frame.spoilt);
        output.push(trailer.as_bytes());
        self.frame = None;
        true
    }

    /// The writer of the frame in progress went away.
    pub(super) fn spoil(&mut self) {
        if let Some(frame) = &mut self.frame {
            frame.spoilt = true;
        }
    }

    /// Forgets the frame in progress: nothing can follow it.
    pub(super) fn clear(&mut self) {
        self.frame = None;
    }

    /// Whether what comes next has room: of a new frame the header, of the one in progress a byte of payload, or the trailer.
    pub(super) fn has_room<F: Framing + ?Sized>(&self, framing: &F, output: &impl Output) -> bool {
        match &self.frame {
            None => output.fits(framing.header_length()),
            Some(frame) if frame.left > 0 => output.free() > 0,
            Some(_) => output.fits(framing.trailer_length()),
        }
    }

    /// Whether [`fill`](Self::fill) would do something.
    pub(super) fn can_fill<F: Framing + ?Sized>(&self, framing: &F, output: &impl Output) -> bool {
        let is_spoilt = self.frame.as_ref().is_some_and(|frame| frame.spoilt);
        is_spoilt && self.has_room(framing, output)
    }

    /// Fills up a spoilt frame as far as there is room.
    pub(super) fn fill<F: Framing + ?Sized>(&mut self, framing: &mut F, output: &mut impl Output) {
        while self.can_fill(framing, output) {
            match self.left() {
                0 => _ = self.finish(framing, output),
                _ => self.push(framing, output, &[0; MAX_MARK], output.free()),
            }
        }
    }
}
