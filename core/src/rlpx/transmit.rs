//! The transmit half: seals frames in place, and the message writer that feeds it chunk by chunk.
//!
//! A frame is a 16-byte header, its MAC, the body padded to whole blocks, and the body's MAC (RLPx specification, "Framing").

use super::cipher::{FrameCipher, FrameKeys};
use super::mac::Mac;
use super::sponge::{Keccak256, Sponge};
use crate::config::Local;
use crate::control::{CONTROL_LENGTH, Control};
use crate::inbox::copy;
use crate::output::Output;
use crate::ring::BLOCK;
use crate::rlp;

/// Bytes of a frame before its body: header and header MAC.
pub const HEADER_LENGTH: usize = 32;
/// Bytes of a frame after its body.
pub const MAC_LENGTH: usize = 16;

/// The bytes that a body of `length` bytes takes with its padding.
pub const fn padded(length: usize) -> usize {
    length.saturating_add(BLOCK - 1) / BLOCK * BLOCK
}

/// The bytes of a whole frame whose body has `length` bytes.
pub const fn frame_length(length: usize) -> usize {
    padded(length).saturating_add(HEADER_LENGTH + MAC_LENGTH)
}

/// Cipher and MAC of the direction that we send. Costs per frame: three keccak permutations and two AES blocks, plus one
/// permutation per 136 bytes and one AES block per 16.
#[derive(Debug)]
pub struct TransmitHalf<S: Sponge = Keccak256> {
    cipher: FrameCipher,
    mac: Mac<S>,
}

impl<S: Sponge> TransmitHalf<S> {
    /// The direction whose MAC state the handshake left as `mac`.
    pub fn new(mac: Mac<S>) -> Self {
        Self {
            cipher: FrameCipher::default(),
            mac,
        }
    }

    /// Seals the header of a frame whose body has `length` bytes, at most [`MAX_MESSAGE_LENGTH`](crate::MAX_MESSAGE_LENGTH).
    pub fn header(&mut self, keys: &FrameKeys, length: u32) -> [u8; HEADER_LENGTH] {
        let [_, a, b, c] = length.to_be_bytes();
        // The header-data that every peer sends: the list of capability id 0 and context id 0.
        let mut header = [a, b, c, 0xc2, 0x80, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.cipher.apply(&keys.frame, &mut header);
        let mac = self.mac.header(&keys.mac, &header);
        let mut out = [0; HEADER_LENGTH];
        let (head, tail) = out.split_at_mut(BLOCK);
        head.copy_from_slice(&header);
        tail.copy_from_slice(&mac);
        out
    }

    /// Seals whole blocks of the body in place; the last ones include the padding.
    pub fn body(&mut self, keys: &FrameKeys, blocks: &mut [u8]) {
        self.cipher.apply(&keys.frame, blocks);
        self.mac.update(blocks);
    }

    /// Ends the frame: the MAC of its body.
    pub fn finish(&mut self, keys: &FrameKeys) -> [u8; MAC_LENGTH] {
        self.mac.body(&keys.mac)
    }

    /// Seals one whole frame in place: `frame` is [`frame_length`]`(length)` bytes of which
    /// `frame[HEADER_LENGTH..][..length]` is the body. Returns false, having sealed nothing, if the sizes do not agree.
    #[must_use]
    pub fn seal(&mut self, keys: &FrameKeys, frame: &mut [u8], length: usize) -> bool {
        let body_end = HEADER_LENGTH.saturating_add(padded(length));
        if length > crate::MAX_MESSAGE_LENGTH as usize || frame.len() != frame_length(length) {
            return false;
        }
        let Some((rest, mac)) = frame.split_at_mut_checked(body_end) else {
            return false;
        };
        let Some((header, body)) = rest.split_at_mut_checked(HEADER_LENGTH) else {
            return false;
        };
        header.copy_from_slice(&self.header(keys, length as u32));
        body.get_mut(length..).unwrap_or_default().fill(0);
        for chunk in body.chunks_mut(SEAL_CHUNK) {
            self.body(keys, chunk);
        }
        mac.copy_from_slice(&self.finish(keys));
        true
    }

    /// Seals one message of the base protocol; returns the bytes of its frame, or 0, having sealed nothing, if there is no room
    /// for it. Our Hello is encoded in place, so the room for it must be contiguous: in an empty ring it is.
    pub fn seal_control<O: Output>(
        &mut self,
        keys: &FrameKeys,
        output: &mut O,
        local: &Local<'_>,
        control: Control,
        compressed: bool,
    ) -> usize {
        let (code, code_length) = rlp::encode_code(control.code().0);
        let code = code.get(..code_length).unwrap_or_default();
        if control == Control::Hello {
            return self.seal_hello(keys, output, local, code).unwrap_or(0);
        }
        let mut payload = [0; CONTROL_LENGTH];
        let length = control.encode(local, compressed, &mut payload);
        let payload = payload.get(..length.unwrap_or(0)).unwrap_or_default();
        self.seal_small(keys, output, code, payload)
    }

    /// Seals our Hello in place.
    fn seal_hello<O: Output>(
        &mut self,
        keys: &FrameKeys,
        output: &mut O,
        local: &Local<'_>,
        code: &[u8],
    ) -> Option<usize> {
        output.expect(frame_length(code.len() + local.hello_length()));
        let room = output.writable();
        let at = HEADER_LENGTH + code.len();
        let length = local.encode_hello(room.get_mut(at..)?).ok()?;
        copy(room.get_mut(HEADER_LENGTH..at)?, code);
        let body = code.len() + length;
        let frame = frame_length(body);
        if !self.seal(keys, room.get_mut(..frame)?, body) {
            return None;
        }
        output.commit(frame);
        Some(frame)
    }

    /// Seals one small frame, block by block: `code` and `payload`. Returns its bytes, or 0 if it does not fit.
    fn seal_small<O: Output>(
        &mut self,
        keys: &FrameKeys,
        output: &mut O,
        code: &[u8],
        payload: &[u8],
    ) -> usize {
        let length = code.len() + payload.len();
        let frame = frame_length(length);
        output.expect(frame);
        if output.free() < frame {
            return 0;
        }
        let mut fits = output.push(&self.header(keys, length as u32));
        let mut bytes = code.iter().chain(payload).copied();
        for _ in 0..padded(length) / BLOCK {
            let mut block = [0; BLOCK];
            for (to, from) in block.iter_mut().zip(&mut bytes) {
                *to = from;
            }
            self.body(keys, &mut block);
            fits &= output.push(&block);
        }
        fits &= output.push(&self.finish(keys));
        debug_assert!(fits, "there was room for the control message");
        frame
    }
}

/// Bytes sealed at a time: small enough that the MAC finds in the cache what the cipher wrote.
const SEAL_CHUNK: usize = 16 * 1024;
