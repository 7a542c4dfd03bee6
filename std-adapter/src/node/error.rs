//! Why a node does not start, and why a dial makes no session.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;

/// Why a node does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// It cannot listen there.
    Listen {
        /// The address as it was given.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// The system has no thread or poller to give.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => {
                write!(f, "cannot listen on {address}: {error}")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::AddrInUse => "; choose another port, or 0 for any that is free",
                    io::ErrorKind::AddrNotAvailable => {
                        "; choose an address of this machine, or 0.0.0.0 for all of them"
                    }
                    io::ErrorKind::PermissionDenied => "; choose a port from 1024 on",
                    io::ErrorKind::InvalidInput => "; write HOST:PORT, as in 127.0.0.1:30303",
                    _ => "",
                })
            }
            Self::Thread(error) => write!(
                f,
                "the system gave no thread or poller for the node: {error}"
            ),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { error, .. } | Self::Thread(error) => Some(error),
        }
    }
}

/// Why a dial made no session. The message says what happened and what to do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DialError {
    /// The node is shut down.
    ShutDown,
    /// The enode names this node itself.
    ToSelf,
    /// As many sessions as the node may have; trusted peers are exempt.
    TooManyPeers(usize),
    /// As many dials at once as the node may make.
    TooManyPending(usize),
    /// The enode states no address that can be dialled, or its name was not found.
    Lookup(Arc<io::Error>),
    /// No TCP connection.
    Connect {
        /// The address tried last.
        address: SocketAddr,
        /// What the system says.
        error: Arc<io::Error>,
    },
    /// No TCP connection within the dial timeout.
    TimedOut(Duration),
    /// The session ended before it was active; the reason says who ended it and why.
    Closed(CloseReason),
    /// The system has no thread, descriptor or the like to give.
    System(Arc<io::Error>),
}

impl DialError {
    /// The reason in the remote's Disconnect, if that is what ended the dial.
    pub fn remote_reason(&self) -> Option<DisconnectReason> {
        match self {
            Self::Closed(CloseReason::RemoteRequested(reason)) => *reason,
            _ => None,
        }
    }

    /// Whether this side or the remote ended the dial because the two have a session, or open one.
    pub(crate) fn is_already_connected(&self) -> bool {
        let reason = match self {
            Self::Closed(CloseReason::RemoteRequested(reason)) => *reason,
            Self::Closed(CloseReason::Rejected(reason)) => Some(*reason),
            _ => None,
        };
        reason == Some(DisconnectReason::ALREADY_CONNECTED)
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShutDown => f.write_str("this node is shut down: dial before that"),
            Self::ToSelf => f.write_str("the enode names this node itself: dial another one"),
            Self::TooManyPeers(limit) => write!(
                f,
                "this node has {limit} sessions, its limit: raise the limit, or trust this peer"
            ),
            Self::TooManyPending(limit) => write!(
                f,
                "this node is making {limit} dials, its limit: raise the limit, or dial later"
            ),
            Self::Lookup(error) => write!(
                f,
                "the host in the enode was not found: {error}; check its name and port"
            ),
            Self::Connect { address, error } => {
                write!(f, "no connection to {address}: {error}")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::ConnectionRefused => {
                        "; nothing listens there: check that the remote runs, and its port"
                    }
                    _ => "; check the address in the enode, and the network",
                })
            }
            Self::TimedOut(limit) => write!(
                f,
                "no connection within {} s: check the address in the enode, and firewalls on the way",
                limit.as_secs_f32()
            ),
            Self::Closed(reason) => {
                write!(f, "{reason}")?;
                f.write_str(advice(*reason))
            }
            Self::System(error) => write!(f, "the system gave no thread or socket: {error}"),
        }
    }
}

fn advice(reason: CloseReason) -> &'static str {
    use DisconnectReason as R;
    match reason {
        CloseReason::Transport(_) => {
            "; it ended during the handshake: check that the identity in the enode is the remote's, and that the remote is not \
             refusing connections"
        }
        CloseReason::HandshakeTimeout => {
            "; the remote accepts connections but does not answer: check that its port is one of devp2p"
        }
        CloseReason::RemoteRequested(Some(R::TOO_MANY_PEERS)) => {
            "; dial later, or have the remote trust this node"
        }
        CloseReason::RemoteRequested(Some(R::ALREADY_CONNECTED)) => {
            "; the remote has a session with this identity: end that one, or use another key"
        }
        CloseReason::RemoteRequested(Some(R::SELF)) => {
            "; both nodes use the same key: give each its own"
        }
        CloseReason::UselessPeer | CloseReason::RemoteRequested(Some(R::USELESS_PEER)) => {
            "; offer a protocol and version that the remote offers too"
        }
        _ => "",
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lookup(error) | Self::System(error) | Self::Connect { error, .. } => Some(error),
            Self::Closed(reason) => Some(reason),
            _ => None,
        }
    }
}
