//! Why a session ends, as the Disconnect message says it (RLPx specification, "Disconnect (0x01)").

use core::fmt;

use crate::rlp::{self, Item, Reader};

/// A Disconnect reason. All 256 values are reasons; those without a constant have no meaning in the specification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DisconnectReason(pub u8);

impl DisconnectReason {
    /// 0x00: somebody asked for it.
    pub const REQUESTED: Self = Self(0x00);
    /// 0x01: the TCP connection failed. Never sent: there is nothing left to send it on.
    pub const TCP_ERROR: Self = Self(0x01);
    /// 0x02: a breach of the protocol, such as a bad message or an unknown code.
    pub const PROTOCOL_ERROR: Self = Self(0x02);
    /// 0x03: no capability in common.
    pub const USELESS_PEER: Self = Self(0x03);
    /// 0x04: no place for one more peer.
    pub const TOO_MANY_PEERS: Self = Self(0x04);
    /// 0x05: there is a session with this node already.
    pub const ALREADY_CONNECTED: Self = Self(0x05);
    /// 0x06: the base protocol version is not spoken here.
    pub const INCOMPATIBLE_VERSION: Self = Self(0x06);
    /// 0x07: the node identity is null or has the wrong size.
    pub const INVALID_IDENTITY: Self = Self(0x07);
    /// 0x08: the client is shutting down.
    pub const CLIENT_QUITTING: Self = Self(0x08);
    /// 0x09: the identity is not the one that was expected.
    pub const UNEXPECTED_IDENTITY: Self = Self(0x09);
    /// 0x0a: the identity is our own.
    pub const SELF: Self = Self(0x0a);
    /// 0x0b: nothing was heard in time.
    pub const READ_TIMEOUT: Self = Self(0x0b);
    /// 0x10: an error inside a subprotocol.
    pub const SUBPROTOCOL_ERROR: Self = Self(0x10);

    /// What the specification calls this reason, or "unknown reason".
    pub const fn name(self) -> &'static str {
        match self.0 {
            0x00 => "disconnect requested",
            0x01 => "network error",
            0x02 => "breach of protocol",
            0x03 => "useless peer",
            0x04 => "too many peers",
            0x05 => "already connected",
            0x06 => "incompatible p2p protocol version",
            0x07 => "invalid node identity",
            0x08 => "client quitting",
            0x09 => "unexpected identity",
            0x0a => "connected to self",
            0x0b => "read timeout",
            0x10 => "subprotocol error",
            _ => "unknown reason",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#04x})", self.name(), self.0)
    }
}

impl fmt::Debug for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The payload that is sent: a list of the reason, `c1 xx` (`c2 81 xx` from 0x80 on): the first so many bytes of the array.
///
/// This form goes out in place of Hello, and in sessions without Snappy.
pub const fn encode(reason: DisconnectReason) -> ([u8; 3], usize) {
    match reason.0 {
        0 => ([0xc1, 0x80, 0], 2),
        code @ 0x01..=0x7f => ([0xc1, code, 0], 2),
        code @ 0x80..=0xff => ([0xc2, 0x81, code], 3),
    }
}

/// The payload that is sent after Hello where the session compresses: the list as a Snappy block, `02 04 c1 xx`
/// (`03 08 c2 81 xx` from 0x80 on): the first so many bytes of the array.
pub const fn encode_compressed(reason: DisconnectReason) -> ([u8; 5], usize) {
    let ([a, b, c], length) = encode(reason);
    match length {
        2 => ([2, literal_tag(2), a, b, 0], 4),
        _ => ([3, literal_tag(3), a, b, c], 5),
    }
}

/// The reason in a Disconnect's payload, whatever form the remote gave it; `None` if it gave none that can be read.
///
/// Peers send the list or the bare integer, and each of them compressed or not, at any time. Their lengths tell them apart:
/// what is one whole Snappy literal of at most 60 bytes is read as its content, everything else as it is. Then
/// * a list gives its first element, and what follows that element or the list is ignored;
/// * a string gives itself, if nothing follows it;
/// * either must be an integer up to 255, where zero bytes in front are allowed: some peers write 0 as `00`.
///
/// The one payload that is both, `00` (the bare zero, or Snappy of nothing), is reason 0. A Disconnect ends the session even
/// if this is `None`.
pub fn decode(payload: &[u8]) -> Option<DisconnectReason> {
    let content = match payload {
        [length @ 1..=60, tag, content @ ..]
            if *tag == literal_tag(*length) && content.len() == usize::from(*length) =>
        {
            content
        }
        _ => payload,
    };
    let mut reader = Reader::new(content);
    let digits = match reader.item().ok()? {
        Item::String(digits) if reader.is_empty() => digits,
        Item::String(_) => return None,
        Item::List(mut elements) => match elements.item().ok()? {
            Item::String(digits) => digits,
            Item::List(_) => return None,
        },
    };
    match rlp::significant(digits) {
        [] => Some(DisconnectReason(0)),
        [reason] => Some(DisconnectReason(*reason)),
        _ => None,
    }
}

/// The tag of a Snappy literal of 1 to 60 bytes: what the 60 possible lengths leave of a byte is zero.
const fn literal_tag(length: u8) -> u8 {
    length.wrapping_sub(1) << 2
}
