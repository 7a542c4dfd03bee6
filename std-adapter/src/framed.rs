//! Sessions over a link that is private already: whole messages over a framing of your own, without RLPx and Snappy.
//!
//! A serial line to a microcontroller, a pipe between two processes, a tunnel that encrypts: what carries the bytes is any
//! [`Transport`](crate::transport::Transport), and what makes messages of them is a [`Framing`].
//! * [`Endpoint`] runs it: a thread that reads, one that writes, one for deadlines. Its [`session`](Endpoint::session) gives
//!   blocking handles, one for each subprotocol.
//! * [`Machine`] is the same without threads, I/O or clock, for a driver that has its own.
//!
//! An identity proves nothing here: each side says in Hello who it is, and is believed. The base protocol version is
//! [`VERSION`], the last without Snappy.

mod endpoint;
mod handle;
mod machine;

use devp2p_core::capability::Protocol;
use devp2p_core::code::WireCode;
use devp2p_core::config::Config;
use devp2p_core::hello::NodeId;
use devp2p_core::peer::Expected;
use devp2p_core::time::{Instant, PollAt};

use crate::host::DEFAULT_MEMORY_LIMIT;

pub use endpoint::{Endpoint, SessionError};
pub use handle::{Peer, Session, Subprotocol};
pub use machine::{Delivered, Machine};

/// The base protocol version of these sessions.
pub const VERSION: u8 = 4;

/// Makes messages of bytes, and bytes of messages.
///
/// On a transport with connections, where a session is one connection, the first three methods are all there is. A framing
/// for a line without connections, over which one session follows the other, says where they begin and end:
/// [`delimits_sessions`](Self::delimits_sessions) is true, and it does the rest of the methods too.
///
/// An [`Endpoint`] calls every method under the lock of its session, from whichever of its threads or the program's has
/// something to do: a method must not block, for reads from the wire, writes and deadlines wait meanwhile, and must not call the
/// endpoint or a handle of its session, which would wait for itself. One that panics ends the session as
/// [`TransportError::Io`](devp2p_core::error::TransportError::Io) and closes the transport; the framing is not called again.
/// Where a write or [`Endpoint::session`] called it ([`encode`](Self::encode), [`restart`](Self::restart)), the panic goes on in
/// that thread.
pub trait Framing: Send {
    /// Takes bytes from the front of `bytes`, which is not empty, up to and including what makes something of them: returns how
    /// many it took, at least one, and what they say. Without the latter it took all.
    ///
    /// A length that these bytes state is only the remote's word: take room for what has arrived, and refuse
    /// ([`Decoded::Damaged`]) more than [`MAX_MESSAGE_LENGTH`](devp2p_core::MAX_MESSAGE_LENGTH) of payload.
    fn decode(&mut self, bytes: &[u8]) -> (usize, Option<Decoded>);

    /// Whether a message has begun and is not whole: then the message deadline runs.
    fn is_inside_message(&self) -> bool;

    /// Appends a message to `out`. False, and nothing appended, if it cannot be framed because code or payload are too large.
    fn encode(&mut self, code: WireCode, payload: &[u8], out: &mut Vec<u8>) -> bool;

    /// Whether sessions follow each other on one transport.
    fn delimits_sessions(&self) -> bool {
        false
    }

    /// Whether the session has begun. Its deadline for Hello counts from there; before, nothing is sent and whatever is decoded
    /// is ignored.
    fn is_begun(&self) -> bool {
        true
    }

    /// Begins the next session: the last one is over.
    fn restart(&mut self) {}

    /// Appends to `out` that we say nothing more in this session. Called once a session.
    fn end(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Appends to `out` what the framing itself has to say now. Called after every other call and when
    /// [`poll_at`](Self::poll_at) says so.
    fn poll(&mut self, now: Instant, out: &mut Vec<u8>) {
        let _ = (now, out);
    }

    /// When [`poll`](Self::poll) has something to say, if nothing else happens first.
    fn poll_at(&self) -> PollAt {
        PollAt::Idle
    }
}

/// What bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A message.
    Message {
        /// Its code on the wire.
        code: u64,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// What came is not what was sent. A message may be lost, and a session without all its messages is none: it ends.
    Damaged,
    /// The session has begun: what follows belongs to it. Only from a framing that delimits sessions, as the following. If it was
    /// ended on our side before, it stays so: the remote is told, and nothing of it is taken.
    Begin,
    /// The remote says nothing more in this session.
    End,
    /// The remote has begun its next session, so this one is over. What follows is not taken before
    /// [`restart`](Framing::restart).
    Restart,
}

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
