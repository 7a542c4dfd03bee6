//! What a peer did for which it is left.

use core::fmt;

use devp2p_core::disconnect::DisconnectReason;

use super::Protocol;
use crate::chain::ChainError;
use crate::fork_id::ForkIdError;
use crate::primitives::{DecodeError, Hash};
use crate::state::ProofError;

/// Why the session with a peer has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Fault {
    /// Its Status states another version than the session's.
    OtherVersion(u32),
    /// It is on another network.
    OtherNetwork(u64),
    /// Its chain has another genesis block.
    OtherGenesis(Hash),
    /// Its forks do not go with ours.
    OtherForks(ForkIdError),
    /// Its Status did not come in time.
    NoStatus,
    /// Its first message was another one than Status, or a second Status came.
    StatusOutOfPlace,
    /// A message cannot be read.
    Malformed {
        /// Of which protocol it is.
        protocol: Protocol,
        /// Its code.
        code: u32,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// An answer to no question.
    Unasked {
        /// Of which protocol it is.
        protocol: Protocol,
        /// Its code.
        code: u32,
    },
    /// The answer to a question did not come in time.
    NoAnswer,
    /// The least that can be asked for was answered by more than the inbox takes.
    AnswerTooLarge {
        /// Bytes of the answer.
        length: u32,
    },
    /// Headers that do not fit, or that it does not have.
    Chain(ChainError),
    /// A proof that proves nothing.
    Proof(ProofError),
}

impl Fault {
    /// The reason to disconnect with.
    pub const fn reason(self) -> DisconnectReason {
        match self {
            Self::NoStatus | Self::NoAnswer => DisconnectReason::READ_TIMEOUT,
            Self::OtherVersion(_)
            | Self::OtherNetwork(_)
            | Self::OtherGenesis(_)
            | Self::OtherForks(_)
            | Self::AnswerTooLarge { .. }
            | Self::Chain(
                ChainError::Lacks(_)
                | ChainError::ConflictsWithTrusted
                | ChainError::DeepReorganisation
                | ChainError::WrongGenesis(_),
            ) => DisconnectReason::USELESS_PEER,
            Self::StatusOutOfPlace
            | Self::Malformed { .. }
            | Self::Unasked { .. }
            | Self::Chain(_)
            | Self::Proof(_) => DisconnectReason::PROTOCOL_ERROR,
        }
    }

    /// Whether no honest node does this, so that the peer is not to be asked again.
    pub fn is_lie(self) -> bool {
        self.reason() == DisconnectReason::PROTOCOL_ERROR
    }
}

impl From<ChainError> for Fault {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

impl From<ProofError> for Fault {
    fn from(error: ProofError) -> Self {
        Self::Proof(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherVersion(version) => {
                write!(
                    f,
                    "its Status is one of eth/{version}, which is not the session's"
                )
            }
            Self::OtherNetwork(id) => write!(f, "it is on another network, {id}"),
            Self::OtherGenesis(hash) => write!(f, "its chain has another genesis block, {hash}"),
            Self::OtherForks(error) => error.fmt(f),
            Self::NoStatus => f.write_str("its Status did not come in time"),
            Self::StatusOutOfPlace => {
                f.write_str("Status was not its first message, or came twice")
            }
            Self::Malformed {
                protocol,
                code,
                error,
            } => write!(
                f,
                "message {code:#04x} of {protocol} cannot be read: {error}"
            ),
            Self::Unasked { protocol, code } => {
                write!(f, "message {code:#04x} of {protocol} answers no question")
            }
            Self::NoAnswer => f.write_str("no answer came in time"),
            Self::AnswerTooLarge { length } => {
                write!(f, "an answer of {length} bytes is larger than the inbox")
            }
            Self::Chain(error) => error.fmt(f),
            Self::Proof(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Fault {}
