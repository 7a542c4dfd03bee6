//! What went wrong, what would have been right, and what to do about it.

use std::fmt;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use serde::Serialize;

/// Why the command ends without success. On a terminal three lines, with `--json` one object.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    #[serde(rename = "error")]
    what: String,
    expected: String,
    advice: String,
}

impl Failure {
    pub(crate) fn new(
        what: impl fmt::Display,
        expected: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            what: what.to_string(),
            expected: expected.into(),
            advice: advice.into(),
        }
    }

    /// What happened.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Something of the system that should always work did not.
    pub(crate) fn system(what: &str, error: impl fmt::Display) -> Self {
        Self::new(
            format_args!("{what}: {error}"),
            "the system to grant what every program gets",
            "check its limits (ulimit -a), then try again",
        )
    }

    /// A session with another node ended too early.
    pub(crate) fn session(reason: CloseReason) -> Self {
        let advice = match reason {
            CloseReason::RemoteRequested(Some(reason)) => advice_on(reason),
            CloseReason::RemoteRequested(None) => "ask the operator of the remote, or read its log",
            CloseReason::Transport(TransportError::Handshake | TransportError::EndOfStream) => {
                "check that the enode is the one the remote prints now: a wrong identity ends so; behind it, the remote may be \
                 refusing this address for some seconds (go-ethereum: 30 s), so wait and try again"
            }
            CloseReason::HandshakeTimeout => {
                "check that the port is the remote's devp2p port, and not one of another service"
            }
            CloseReason::SelfConnection => "give the enode of another node",
            CloseReason::UnexpectedIdentity | CloseReason::IdentityMismatch => {
                "take the enode from the remote again: its key has changed"
            }
            _ => "try again; `-v` logs what happens on the way",
        };
        Self::new(
            format_args!("no session: {reason}"),
            "a session that lasts until the command ends it",
            advice,
        )
    }
}

fn advice_on(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::TOO_MANY_PEERS => {
            "the remote is alive but full: try again later, or let its operator add this node as a trusted peer"
        }
        DisconnectReason::ALREADY_CONNECTED => {
            "another process holds a session with this key: end it, or use another key"
        }
        DisconnectReason::USELESS_PEER => {
            "the remote found no capability in common: `devp2p ping` shows which it offers"
        }
        DisconnectReason::SELF => "give the enode of another node",
        DisconnectReason::UNEXPECTED_IDENTITY => {
            "take the enode from the remote again: its key has changed"
        }
        DisconnectReason::CLIENT_QUITTING => "the remote is ending: start it again",
        _ => "read the remote's log for its reason",
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error: {}\n  expected: {}\n  to do:    {}",
            self.what, self.expected, self.advice
        )
    }
}
