//! The first frame of a session, which is gathered whole: Hello, or Disconnect in its place.

use super::{ReceiveHalf, Stage};
use crate::error::{TransportError, Violation};
use crate::hello::MAX_HELLO_LENGTH;
use crate::rlp;
use crate::rlpx::cipher::FrameKeys;
use crate::rlpx::mac::tags_match;
use crate::rlpx::sponge::Sponge;
use crate::rlpx::transmit::{HEADER_LENGTH, MAC_LENGTH, padded};

/// The first frame of a session, as [`ReceiveHalf::handle_first`] found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First<'a> {
    /// More bytes are needed.
    NeedInput,
    /// A verified message: its code, and its payload as it is on the wire.
    Message(u64, &'a [u8]),
    /// The remote broke the protocol.
    Violation(Violation),
    /// The transport broke.
    Broken(TransportError),
}

impl<Slot, S: Sponge> ReceiveHalf<Slot, S> {
    /// Takes bytes of the first frame, Hello or Disconnect, gathering it in `buffer` of
    /// [`FIRST_FRAME_BUFFER`](super::FIRST_FRAME_BUFFER) bytes, the
    /// same for each call. Returns how many bytes were consumed: those of a following frame are left.
    pub fn handle_first<'a>(
        &mut self,
        keys: &FrameKeys,
        bytes: &[u8],
        buffer: &'a mut [u8],
    ) -> (usize, First<'a>) {
        let mut consumed = 0;
        if matches!(self.stage, Stage::Header) {
            consumed = self.fill_stash(HEADER_LENGTH, bytes);
            if self.stashed < HEADER_LENGTH {
                return (consumed, First::NeedInput);
            }
            let Some(length) = self.open_header(keys) else {
                return (consumed, First::Broken(TransportError::BadMac));
            };
            if length as usize > MAX_HELLO_LENGTH + 1
                || padded(length as usize) + MAC_LENGTH > buffer.len()
            {
                // The header alone is authentic: nothing of the body needs to be gathered.
                return (consumed, First::Violation(Violation::HelloTooLarge));
            }
            (self.wire_length, self.left) = (length, 0);
            self.stage = Stage::FirstBlock;
        }
        let whole = padded(self.wire_length as usize) + MAC_LENGTH;
        let rest = bytes.get(consumed..).unwrap_or_default();
        let n = rest.len().min(whole.saturating_sub(self.left));
        if let (Some(to), Some(from)) = (buffer.get_mut(self.left..self.left + n), rest.get(..n)) {
            to.copy_from_slice(from);
            self.left += n;
            consumed += n;
        }
        if self.left < whole {
            return (consumed, First::NeedInput);
        }
        self.stage = Stage::Header;
        let Some((body, tail)) = buffer
            .get_mut(..whole)
            .and_then(|b| b.split_at_mut_checked(whole - MAC_LENGTH))
        else {
            return (consumed, First::Broken(TransportError::BadMac));
        };
        self.mac.update(body);
        if !tags_match(&self.mac.body(&keys.mac), tail) {
            return (consumed, First::Broken(TransportError::BadMac));
        }
        self.cipher.apply(&keys.frame, body);
        self.received.messages = 1;
        let body = body.get(..self.wire_length as usize).unwrap_or_default();
        match rlp::decode_code(body) {
            Ok((code, used)) => (
                consumed,
                First::Message(code, body.get(used..).unwrap_or_default()),
            ),
            Err(_) => (consumed, First::Violation(Violation::MalformedCode)),
        }
    }
}
