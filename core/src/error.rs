//! Why a session closed, and what single operations can answer.

use core::fmt;

use crate::disconnect::DisconnectReason;

/// Why a session ended. The first cause wins; later ones are not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CloseReason {
    /// The remote sent Disconnect; the reason is absent if its payload could not be read.
    RemoteRequested(Option<DisconnectReason>),
    /// A local call asked for it, with this reason.
    Local(DisconnectReason),
    /// A subprotocol returned: its work is done.
    ProtocolReturned {
        /// Index of the subprotocol in the registered list.
        subprotocol: u8,
    },
    /// A subprotocol failed.
    ProtocolError {
        /// Index of the subprotocol in the registered list.
        subprotocol: u8,
        /// The reason it gave: 0x10 unless it chose another, 0x02 for a message that it could not decode.
        reason: DisconnectReason,
    },
    /// The remote broke the protocol in a message that is authentically its own.
    Violation(Violation),
    /// The transport broke; nothing could be sent any more.
    Transport(TransportError),
    /// A writer went away inside a frame, so that nothing can follow it on the wire.
    WriteAbandoned,
    /// No message came within the pong deadline after our Ping.
    PingTimeout,
    /// A message did not arrive whole within the message deadline.
    ReadTimeout,
    /// The wire did not take our bytes within the write deadline.
    WriteTimeout,
    /// An inbox was full for longer than the hold-back limit, or its subprotocol prefers an end to waiting.
    Stalled {
        /// Index of the subprotocol in the registered list.
        subprotocol: u8,
    },
    /// The memory that all sessions of this node share stayed full, and of those that hold it this session held most.
    MemoryFull,
    /// Handshake and Hello together took longer than their deadline.
    HandshakeTimeout,
    /// The remote's base protocol version is below the lowest that is spoken here.
    IncompatibleVersion,
    /// No capability in common, where one is required.
    UselessPeer,
    /// The remote's identity is null or has the wrong size.
    InvalidIdentity,
    /// The remote is not the node that was dialled.
    UnexpectedIdentity,
    /// The identity in the remote's Hello is not the one that its handshake proved.
    IdentityMismatch,
    /// The remote is this node itself.
    SelfConnection,
    /// The driver did not admit the remote, and said this reason.
    Rejected(DisconnectReason),
}

impl CloseReason {
    /// The reason that a Disconnect carries for this cause, or `None` if none is sent.
    pub const fn disconnect(self) -> Option<DisconnectReason> {
        use DisconnectReason as R;
        Some(match self {
            Self::RemoteRequested(_)
            | Self::Transport(_)
            | Self::WriteAbandoned
            | Self::WriteTimeout => return None,
            Self::Local(reason) | Self::Rejected(reason) | Self::ProtocolError { reason, .. } => {
                reason
            }
            Self::ProtocolReturned { .. } => R::CLIENT_QUITTING,
            Self::Violation(_) => R::PROTOCOL_ERROR,
            Self::PingTimeout | Self::ReadTimeout | Self::HandshakeTimeout => R::READ_TIMEOUT,
            Self::Stalled { .. } => R::SUBPROTOCOL_ERROR,
            Self::MemoryFull => R::TOO_MANY_PEERS,
            Self::IncompatibleVersion => R::INCOMPATIBLE_VERSION,
            Self::UselessPeer => R::USELESS_PEER,
            Self::InvalidIdentity => R::INVALID_IDENTITY,
            Self::UnexpectedIdentity | Self::IdentityMismatch => R::UNEXPECTED_IDENTITY,
            Self::SelfConnection => R::SELF,
        })
    }

    /// Whether the remote asked for the end.
    pub const fn is_remote_requested(self) -> bool {
        matches!(self, Self::RemoteRequested(_))
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoteRequested(Some(reason)) => write!(f, "the remote disconnected: {reason}"),
            Self::RemoteRequested(None) => {
                f.write_str("the remote disconnected without a readable reason")
            }
            Self::Local(reason) => write!(f, "closed here: {reason}"),
            Self::ProtocolReturned { subprotocol } => {
                write!(f, "subprotocol {subprotocol} returned")
            }
            Self::ProtocolError {
                subprotocol,
                reason,
            } => write!(f, "subprotocol {subprotocol} failed: {reason}"),
            Self::Violation(violation) => write!(f, "the remote broke the protocol: {violation}"),
            Self::Transport(error) => write!(f, "transport: {error}"),
            Self::WriteAbandoned => f.write_str("a writer went away inside a frame"),
            Self::PingTimeout => f.write_str("no answer to a Ping in time"),
            Self::ReadTimeout => f.write_str("a message did not arrive whole in time"),
            Self::WriteTimeout => f.write_str("the wire did not take our bytes in time"),
            Self::Stalled { subprotocol } => {
                write!(f, "the inbox of subprotocol {subprotocol} stayed full")
            }
            Self::MemoryFull => f.write_str("the memory for messages of all sessions stayed full"),
            Self::HandshakeTimeout => f.write_str("handshake and Hello did not complete in time"),
            Self::IncompatibleVersion => {
                f.write_str("the remote's base protocol version is not spoken here")
            }
            Self::UselessPeer => f.write_str("no capability in common"),
            Self::InvalidIdentity => f.write_str("the remote's identity is null or malformed"),
            Self::UnexpectedIdentity => f.write_str("the remote is not the node that was dialled"),
            Self::IdentityMismatch => {
                f.write_str("the identity in Hello is not the one that the handshake proved")
            }
            Self::SelfConnection => f.write_str("connected to ourselves"),
            Self::Rejected(reason) => write!(f, "not admitted: {reason}"),
        }
    }
}

impl core::error::Error for CloseReason {}

/// What the remote did against the protocol, in a frame whose MAC holds. Answered by Disconnect 0x02.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Violation {
    /// A frame without a message code, or one whose code is not a canonical RLP integer.
    MalformedCode,
    /// A code that belongs to no shared subprotocol.
    CodeOutOfRange,
    /// A payload that is not one whole Snappy block of the length it states.
    BadSnappy,
    /// A payload that states more than 16 777 215 uncompressed bytes.
    MessageTooLarge,
    /// A Hello larger than 2 KiB.
    HelloTooLarge,
    /// A Hello that cannot be decoded.
    MalformedHello,
    /// Something else than Hello or Disconnect came first.
    ExpectedHello,
    /// A Ping, Pong, reserved message or second Hello of more than 2 KiB. A Disconnect of any size is a Disconnect.
    BaseMessageTooLarge,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MalformedCode => "malformed message code",
            Self::CodeOutOfRange => "message code out of range",
            Self::BadSnappy => "invalid Snappy data",
            Self::MessageTooLarge => "message larger than 16 777 215 bytes",
            Self::HelloTooLarge => "Hello larger than 2 KiB",
            Self::MalformedHello => "malformed Hello",
            Self::ExpectedHello => "expected Hello",
            Self::BaseMessageTooLarge => "base protocol message larger than 2 KiB",
        })
    }
}

/// How the transport broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum TransportError {
    /// The encrypted handshake failed. Why is not said: an answer that differs would be an oracle.
    Handshake,
    /// A frame's MAC does not fit: its bytes were altered on the way.
    BadMac,
    /// The stream ended.
    EndOfStream,
    /// Reading or writing failed; the driver knows the error.
    Io,
    /// The random bytes for the handshake cannot be random, or are those of the session before: nothing was sent.
    Entropy,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "the encrypted handshake failed",
            Self::BadMac => "a frame's MAC does not fit",
            Self::EndOfStream => "end of stream",
            Self::Io => "input/output error",
            Self::Entropy => "the random number generator repeats itself",
        })
    }
}

impl core::error::Error for TransportError {}

/// Why a write was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WriteError {
    /// The session is closing or closed.
    Closed(CloseReason),
    /// The code is not below the subprotocol's length.
    InvalidCode,
    /// The payload is larger than a frame, or for `try_write` than the transmit ring, can ever hold.
    TooLarge,
    /// `try_write` only: the token is taken, or the frame does not fit now.
    WouldBlock {
        /// Bytes of the transmit ring that are free; zero if another subprotocol is writing.
        free: usize,
    },
    /// The protocol is not shared with this remote.
    NotShared,
    /// The write could not begin in the time that the caller gave it; nothing was sent.
    TimedOut,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => write!(f, "the session is closed: {reason}"),
            Self::InvalidCode => f.write_str("the code is not below the subprotocol's length"),
            Self::TooLarge => f.write_str("the message is too large to be sent"),
            Self::WouldBlock { free } => {
                write!(f, "the message cannot be sent now ({free} bytes free)")
            }
            Self::NotShared => f.write_str("the remote does not share this protocol"),
            Self::TimedOut => f.write_str("the write could not begin in the given time"),
        }
    }
}

impl core::error::Error for WriteError {}
