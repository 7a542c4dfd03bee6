//! Writing a message: token, room, compression, frame.

use devp2p_core::MAX_MESSAGE_LENGTH;
use devp2p_core::code::LocalCode;
use devp2p_core::error::WriteError;
use devp2p_core::rlp;
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, frame_length};
use devp2p_core::time::Instant;

use super::{Connection, Phase, seal};
use crate::blocking::Written;
use crate::event_loop::tools::Tools;

impl Connection {
    /// Writes one message, or says why not.
    pub(crate) fn try_write(
        &mut self,
        now: Instant,
        tools: &mut Tools,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
    ) -> Result<Written, WriteError> {
        if let Some(reason) = self.peer.close_reason() {
            return Err(WriteError::Closed(reason));
        }
        let shared = self.peer.shared();
        let Some(wire) = shared.wire_code(subprotocol, code) else {
            return Err(match shared.is_shared(subprotocol) {
                true => WriteError::InvalidCode,
                false => WriteError::NotShared,
            });
        };
        let length = payload.iter().fold(0, |sum: usize, slice| {
            sum.saturating_add(slice.len()) // No overflow: what is too large is refused below.
        });
        if length > MAX_MESSAGE_LENGTH as usize {
            return Err(WriteError::TooLarge);
        }
        self.seal_control(now, tools);
        let busy = WriteError::WouldBlock {
            free: tools.output_limit.saturating_sub(self.output.len()),
        };
        // Before compressing, which may be for nothing. The least that it can become: Snappy gains a factor of 21 or so.
        if !self.fits(tools, frame_length(1 + length / 24)) || !self.peer.can_acquire() {
            return Err(busy);
        }
        let (code_bytes, code_length) = rlp::encode_code(wire.0);
        let mut buffer = std::mem::take(self.output.buffer(&mut tools.spare));
        let start = buffer.len();
        buffer.resize(start + HEADER_LENGTH, 0);
        buffer.extend_from_slice(&code_bytes[..code_length]);
        if self.peer.compresses() {
            tools.compress(payload, &mut buffer);
        } else {
            for slice in payload {
                buffer.extend_from_slice(slice);
            }
        }
        let body = buffer.len() - start - HEADER_LENGTH;
        let written = Written {
            length: length as u32,
            wire_length: (body - code_length) as u32,
        };
        *self.output.buffer(&mut None) = buffer;
        let result = if body > MAX_MESSAGE_LENGTH as usize {
            Err(WriteError::TooLarge)
        } else if !self.fits_after(tools, start, frame_length(body)) {
            Err(busy)
        } else {
            Ok(written)
        };
        let acquired =
            result.and_then(
                |written| match self.peer.poll_acquire(subprotocol, code, None) {
                    std::task::Poll::Ready(acquired) => acquired.map(|_| written),
                    std::task::Poll::Pending => Err(busy),
                },
            );
        let buffer = self.output.buffer(&mut None);
        let Phase::Live(live) = &mut self.phase else {
            buffer.truncate(start);
            return Err(WriteError::NotShared);
        };
        if acquired.is_err() || live.finished {
            buffer.truncate(start);
            return acquired;
        }
        let sealed = seal(live, buffer, start, body);
        self.peer.on_sealed(now, sealed);
        self.peer.complete_write(subprotocol);
        acquired
    }

    /// Whether the output takes a frame of `length` bytes now.
    fn fits(&self, tools: &Tools, length: usize) -> bool {
        let waiting = self.output.len();
        waiting == 0 || waiting.saturating_add(length) <= tools.output_limit
    }

    /// The same, while what is to be sealed stands from `start` in the buffer already.
    fn fits_after(&self, tools: &Tools, start: usize, length: usize) -> bool {
        let waiting = self.output.waiting_before(start);
        waiting == 0 || waiting.saturating_add(length) <= tools.output_limit
    }
}
