//! Sessions over a link that is private already: whole messages over a framing of your own, without RLPx and Snappy.
//!
//! A serial line to a microcontroller, a pipe between two processes, a tunnel that encrypts: what carries the bytes is any
//! [`Transport`](crate::transport::Transport), and what makes messages of them is a [`Framing`].
//! * [`Endpoint`] runs it: a thread that reads, one that writes, one for deadlines. Its [`session`](Endpoint::session) gives
//!   blocking handles, one for each subprotocol.
//! * [`Machine`] is the same without threads, I/O or clock, for a driver that has its own: core's
//!   [`FramedSession`](devp2p_core::framed::FramedSession), in memory that grows.
//!
//! An identity proves nothing here: each side says in Hello who it is, and is believed. The base protocol version is
//! [`VERSION`], the last without Snappy.

mod endpoint;
mod handle;
mod machine;
mod resources;

use devp2p_core::capability::Protocol;
use devp2p_core::config::Config;
use devp2p_core::hello::NodeId;
use devp2p_core::peer::Expected;

use crate::host::DEFAULT_MEMORY_LIMIT;

pub use devp2p_core::framed::{Decoded, Framing, MAX_MARK, Mark, VERSION};
pub use endpoint::{Endpoint, SessionError};
pub use handle::{Peer, Session, Subprotocol};
pub use machine::{Delivered, Machine};

/// Our side of the sessions.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our identity.
    pub id: NodeId,
    /// What Hello calls this client. Default: the crate's name and version.
    pub client_name: String,
    /// What is offered, at most [`MAX_PROTOCOLS`](crate::host::MAX_PROTOCOLS).
    pub protocols: Vec<Protocol>,
    /// Deadlines and policies.
    pub config: Config,
    /// Whom the remote's Hello must name. Default: anyone but ourselves.
    pub expected: Expected,
    /// Bytes that all inboxes may hold together: payloads that wait for their reader, and 64 bytes for each message. Beyond it
    /// input is held back, and a message that is larger by itself is reported as oversize. What the framing holds is not in
    /// it. Default: [`DEFAULT_MEMORY_LIMIT`].
    pub memory_limit: usize,
}

impl Settings {
    /// This identity and these protocols, everything else at its default.
    pub fn new(id: NodeId, protocols: Vec<Protocol>) -> Self {
        Self {
            id,
            client_name: concat!("devp2p-rs/v", env!("CARGO_PKG_VERSION")).to_owned(),
            protocols,
            config: Config::new(),
            expected: Expected::Anyone,
            memory_limit: DEFAULT_MEMORY_LIMIT,
        }
    }
}
