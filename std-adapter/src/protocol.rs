//! Protocols as they are registered with a host: a capability, limits, and what serves it in each session.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use devp2p_core::capability::{self, Capability, InvalidName, Overflow};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::WriteError;
use devp2p_core::hello::NodeId;
use serde_json::Value;

use crate::event_loop::Loops;
use crate::handle::Subprotocol;
use crate::node::{Service, Threads};

/// Bytes of messages that may wait in an inbox by default.
pub const DEFAULT_INBOX: usize = 1024 * 1024;

pub(crate) type Run = dyn Fn(&mut Subprotocol) -> Result<(), Failure> + Send + Sync;
type NodeInfo = dyn Fn() -> Value + Send + Sync;
type PeerInfo = dyn Fn(&NodeId) -> Option<Value> + Send + Sync;

/// A protocol that a host offers, and what serves it: [`Threads`], each with its run closure, or the handlers of [`Loops`]. A
/// host has protocols of one kind, and a node serves hosts of one kind:
///
/// ```compile_fail,E0308
/// # use devp2p_std::{host::Host, node::Node, protocol::Protocol};
/// # let key = devp2p_core::rlpx::NodeKey::new(&[1; 32])?;
/// let host = Host::builder(key).protocol(Protocol::for_handlers("echo", 1, 2)?).build()?;
/// let node = Node::builder(host).start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Protocol<S: Service = Threads> {
    pub(crate) core: capability::Protocol,
    pub(crate) run: S::Run,
    pub(crate) node_info: Option<Arc<NodeInfo>>,
    pub(crate) peer_info: Option<Arc<PeerInfo>>,
}

impl Protocol {
    /// The protocol `name/version` with `length` message codes. In each session whose remote shares it, `run` is called in a
    /// thread of its own; when it returns, the session ends.
    ///
    /// # Errors
    /// [`InvalidName`] if the name cannot be a capability's.
    pub fn new(
        name: &str,
        version: u32,
        length: u32,
        run: impl Fn(&mut Subprotocol) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Result<Self, InvalidName> {
        Self::served(name, version, length, Arc::new(run))
    }
}

impl Protocol<Loops> {
    /// The protocol `name/version` with `length` message codes, for the handlers of an
    /// [`EventNode`](crate::event_loop::EventNode).
    ///
    /// # Errors
    /// [`InvalidName`] if the name cannot be a capability's.
    pub fn for_handlers(name: &str, version: u32, length: u32) -> Result<Self, InvalidName> {
        Self::served(name, version, length, ())
    }
}

impl<S: Service> Protocol<S> {
    fn served(name: &str, version: u32, length: u32, run: S::Run) -> Result<Self, InvalidName> {
        let core = capability::Protocol::new(name, version, length, DEFAULT_INBOX)?;
        Ok(Self {
            core,
            run,
            node_info: None,
            peer_info: None,
        })
    }

    /// The largest payload accepted, in bytes; a larger one is skipped and reported as oversize. Default: 16 777 215.
    #[must_use]
    pub fn message_limit(mut self, bytes: u32) -> Self {
        self.core.message_limit = bytes.min(devp2p_core::MAX_MESSAGE_LENGTH);
        self
    }

    /// Bytes of messages that may wait to be read. An empty inbox takes any message within the message limit. Default:
    /// [`DEFAULT_INBOX`].
    #[must_use]
    pub fn inbox(mut self, bytes: usize) -> Self {
        self.core.inbox = bytes;
        self
    }

    /// What happens to a message that finds the inbox full. Default: hold back.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.core.overflow = overflow;
        self
    }

    /// What this protocol tells of the node, for [`NodeInfo`](crate::info::NodeInfo).
    #[must_use]
    pub fn node_info(mut self, info: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.node_info = Some(Arc::new(info));
        self
    }

    /// What this protocol tells of one of its peers, for [`PeerInfo`](crate::info::PeerInfo).
    #[must_use]
    pub fn peer_info(
        mut self,
        info: impl Fn(&NodeId) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        self.peer_info = Some(Arc::new(info));
        self
    }

    /// Name and version.
    pub fn capability(&self) -> Capability {
        self.core.capability
    }
}

impl<S: Service> Clone for Protocol<S> {
    fn clone(&self) -> Self {
        Self {
            core: self.core,
            run: self.run.clone(),
            node_info: self.node_info.clone(),
            peer_info: self.peer_info.clone(),
        }
    }
}

impl<S: Service> fmt::Debug for Protocol<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protocol")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

/// Why a run closure failed, and the Disconnect reason that tells the remote.
///
/// Every error converts by `?`. The reason is 0x10 (subprotocol error), or 0x02 (breach of protocol) for a payload that could
/// not be decoded and a code that is out of range; [`Failure::new`] gives any other.
pub struct Failure {
    reason: DisconnectReason,
    text: String,
}

impl Failure {
    /// A failure with this reason; `text` goes to the log.
    pub fn new(reason: DisconnectReason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }

    /// The Disconnect reason.
    pub fn reason(&self) -> DisconnectReason {
        self.reason
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let any: &dyn Any = &error;
        let is_breach =
            any.is::<rlp::DecoderError>() || any.downcast_ref() == Some(&WriteError::InvalidCode);
        let reason = if is_breach {
            DisconnectReason::PROTOCOL_ERROR
        } else {
            DisconnectReason::SUBPROTOCOL_ERROR
        };
        Self {
            reason,
            text: error.to_string(),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.text)
    }
}
