//! The messages of the base protocol that we send: they go out before the next grant of the write token.

use crate::code::WireCode;
use crate::config::Local;
use crate::disconnect::{self, DisconnectReason};
use crate::inbox::copy;
use crate::rlp::NoRoom;

/// A message of the base protocol, to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Control {
    /// Our Hello. Never compressed.
    Hello,
    /// Disconnect with this reason, the last message of ours.
    Disconnect(DisconnectReason),
    /// Ping.
    Ping,
    /// Pong.
    Pong,
}

/// Bytes that hold the payload of every control message but Hello, compressed or not.
pub const CONTROL_LENGTH: usize = 5;

impl Control {
    /// Its code.
    pub const fn code(self) -> WireCode {
        match self {
            Control::Hello => WireCode::HELLO,
            Control::Disconnect(_) => WireCode::DISCONNECT,
            Control::Ping => WireCode::PING,
            Control::Pong => WireCode::PONG,
        }
    }

    /// Writes its payload; returns the bytes of it. `compressed` says whether Snappy is on (it never is for Hello): the
    /// fixed payloads are stated as the literal blocks that they are.
    ///
    /// # Errors
    /// [`NoRoom`] if `out` is too small: [`CONTROL_LENGTH`] does for all but Hello.
    pub fn encode(
        self,
        local: &Local<'_>,
        compressed: bool,
        out: &mut [u8],
    ) -> Result<usize, NoRoom> {
        let (plain, compact);
        let payload = match self {
            Control::Hello => return local.encode_hello(out).map_err(|_| NoRoom),
            Control::Ping | Control::Pong if compressed => &[0x01, 0x00, 0xc0][..],
            Control::Ping | Control::Pong => &[0xc0][..],
            Control::Disconnect(reason) if compressed => {
                compact = disconnect::encode_compressed(reason);
                compact.0.get(..compact.1).unwrap_or_default()
            }
            Control::Disconnect(reason) => {
                plain = disconnect::encode(reason);
                plain.0.get(..plain.1).unwrap_or_default()
            }
        };
        let to = out.get_mut(..payload.len()).ok_or(NoRoom)?;
        copy(to, payload);
        Ok(payload.len())
    }
}
