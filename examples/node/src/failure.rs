//! What went wrong, what would have been right, and what to do about it.

use std::fmt;

use clap::error::ErrorKind;
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
    /// Whether standard output takes nothing more, not even this.
    #[serde(skip)]
    pub(crate) is_of_output: bool,
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
            is_of_output: false,
        }
    }

    /// Standard output cannot be written.
    pub(crate) fn output(what: impl fmt::Display) -> Self {
        Self {
            is_of_output: true,
            ..Self::new(
                what,
                "a reader of standard output that takes all lines",
                "write to a file if the reader ends early",
            )
        }
    }

    /// The same with other advice.
    pub(crate) fn advise(self, advice: impl Into<String>) -> Self {
        Self {
            advice: advice.into(),
            ..self
        }
    }

    /// The arguments make no sense.
    pub(crate) fn arguments(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut parts = text.split("\n\n").map(words);
        let what = match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command is given".to_owned(),
            _ => parts.next().unwrap_or_default(),
        };
        let usage = parts.find_map(|part| part.strip_prefix("Usage: ").map(str::to_owned));
        Self::new(
            what.strip_prefix("error: ").unwrap_or(&what),
            usage.unwrap_or_else(|| "arguments as its --help says".to_owned()),
            "`devp2p --help` lists the commands, and `devp2p COMMAND --help` the arguments of one",
        )
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
