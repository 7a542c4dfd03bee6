//! Frames into the ring, a piece at a time.

use crate::queue::Queue;
use qemu_framing::{Crc, Header, TRAILER_LENGTH};

/// Seals one frame after the other into a ring that may be smaller than a frame.
#[derive(Debug)]
pub(crate) struct Sender<'a> {
    ring: Queue<'a>,
    frame: Option<Frame>,
}

#[derive(Debug)]
struct Frame {
    /// Bytes of payload still to come.
    left: usize,
    crc: Crc,
    /// Who wrote it went away: it is filled up and its CRC spoilt, so that the receiver drops it and stays in step.
    spoilt: bool,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(ring: &'a mut [u8]) -> Self {
        Self {
            ring: Queue::new(ring),
            frame: None,
        }
    }

    /// Bytes that can be sealed now.
    pub(crate) fn free(&self) -> usize {
        self.ring.free()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Bytes sealed that the wire did not take yet.
    pub(crate) fn pending(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn output(&self) -> &[u8] {
        self.ring.readable()
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.ring.consume(n);
    }

    pub(crate) fn is_inside_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Bytes of payload that the frame in progress lacks.
    pub(crate) fn left(&self) -> usize {
        self.frame.as_ref().map_or(0, |frame| frame.left)
    }

    /// Whether a frame with this header could be sealed whole now.
    pub(crate) fn fits(&self, header: Header) -> bool {
        self.frame.is_none() && header.frame_length() <= self.free()
    }

    /// Seals a whole frame, which [`fits`](Self::fits).
    pub(crate) fn frame(&mut self, header: Header, payload: &[u8]) {
        self.begin(header);
        self.push(payload);
        self.finish();
    }

    /// Begins a frame, if there is room for its header.
    pub(crate) fn begin(&mut self, header: Header) -> bool {
        let (bytes, crc) = header.encode();
        if self.frame.is_some() || !self.ring.push(&bytes) {
            return false;
        }
        self.frame = Some(Frame {
            left: header.payload_length(),
            crc,
            spoilt: false,
        });
        true
    }

    /// Seals as much of the payload as there is room for; returns how much that was.
    pub(crate) fn push(&mut self, payload: &[u8]) -> usize {
        let n = self.ring.free().min(payload.len());
        let (Some(frame), Some(payload)) = (&mut self.frame, payload.get(..n)) else {
            return 0;
        };
        let Some(payload) = payload.get(..n.min(frame.left)) else {
            return 0;
        };
        if !self.ring.push(payload) {
            return 0;
        }
        frame.crc.update(payload);
        frame.left -= payload.len();
        payload.len()
    }

    /// Ends the frame, if its payload is complete and there is room for the trailer.
    pub(crate) fn finish(&mut self) -> bool {
        let Some(frame) = &self.frame else {
            return false;
        };
        let mut trailer = frame.crc.value();
        if frame.spoilt {
            trailer = trailer.map(|byte| !byte);
        }
        if frame.left > 0 || self.ring.free() < TRAILER_LENGTH || !self.ring.push(&trailer) {
            return false;
        }
        self.frame = None;
        true
    }

    /// Whoever wrote the frame in progress went away.
    pub(crate) fn spoil(&mut self) {
        if let Some(frame) = &mut self.frame {
            frame.spoilt = true;
        }
    }

    /// Fills up a spoilt frame as far as there is room.
    pub(crate) fn fill(&mut self) {
        while self.frame.as_ref().is_some_and(|frame| frame.spoilt) {
            if self.push(&[0; 16]) == 0 {
                self.finish();
                return;
            }
        }
    }
}
