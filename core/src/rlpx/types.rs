//! What the parts of the handshake have in common.

/// The encrypted handshake failed. Why is not said: an answer that differs would be an oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HandshakeError;

impl core::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the encrypted handshake failed")
    }
}

impl core::error::Error for HandshakeError {}

/// Which side of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Role {
    /// Dialled, and sends auth.
    Initiator,
    /// Was dialled, and answers with ack.
    Recipient,
}

/// A handshake nonce.
pub type Nonce = [u8; 32];
