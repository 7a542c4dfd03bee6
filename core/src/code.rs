//! Message codes as they stand on the wire, and as one subprotocol counts them.

/// A message code on the wire: below 16 the base protocol's, above it an offset plus a [`LocalCode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WireCode(pub u32);

impl WireCode {
    /// Hello, the first message of each side.
    pub const HELLO: Self = Self(0x00);
    /// Disconnect, the last one.
    pub const DISCONNECT: Self = Self(0x01);
    /// Ping, which asks for a Pong.
    pub const PING: Self = Self(0x02);
    /// Pong, the answer.
    pub const PONG: Self = Self(0x03);
}

/// A message code inside its subprotocol, from 0 up to the subprotocol's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LocalCode(pub u32);

impl core::fmt::Display for WireCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

impl core::fmt::Display for LocalCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}
