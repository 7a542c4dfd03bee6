//! Why a session ends, as the Disconnect message says it (RLPx specification, "Disconnect (0x01)").

use core::fmt;

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
