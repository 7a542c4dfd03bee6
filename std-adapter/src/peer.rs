//! One remote and the session with it, as anyone in the program may hold it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devp2p_core::capability::Capability;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::hello::{Hello, NodeId};

use crate::counters::{Counters, Traffic};
use crate::info::{NetworkInfo, PeerInfo};
use crate::session::SessionInner;
use crate::time::to_std_duration;

/// A live session, or one that has ended. Cheap to clone.
#[derive(Clone)]
pub struct PeerHandle {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) session: Arc<SessionInner>,
    /// Whether messages go compressed.
    pub(crate) compresses: bool,
    pub(crate) id: NodeId,
    pub(crate) client_name: String,
    /// As the remote's Hello stated them, `name/version`.
    pub(crate) capabilities: Vec<String>,
    pub(crate) version: u64,
    pub(crate) inbound: bool,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) began: Instant,
    pub(crate) counters: Arc<[Counters]>,
    pub(crate) trusted: AtomicBool,
    pub(crate) is_static: AtomicBool,
}

/// What the remote's Hello says, kept after its bytes are gone.
pub(crate) struct HelloText {
    pub(crate) client_name: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) version: u64,
}

impl HelloText {
    /// What can be read of it; a malformed one is the core's to refuse.
    pub(crate) fn read(payload: &[u8]) -> Self {
        let Ok(hello) = Hello::decode(payload) else {
            return Self {
                client_name: String::new(),
                capabilities: Vec::new(),
                version: 0,
            };
        };
        let capabilities = hello.capabilities();
        Self {
            client_name: String::from_utf8_lossy(hello.client_name).into_owned(),
            capabilities: capabilities
                .map(|c| format!("{}/{}", String::from_utf8_lossy(c.name), c.version))
                .collect(),
            version: hello.version,
        }
    }
}

impl PeerHandle {
    /// The remote's identity.
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// What the remote calls its client.
    pub fn client_name(&self) -> &str {
        &self.inner.client_name
    }

    /// Every capability that the remote offers, as `name/version`.
    pub fn capabilities(&self) -> &[String] {
        &self.inner.capabilities
    }

    /// The remote's base protocol version.
    pub fn version(&self) -> u64 {
        self.inner.version
    }

    /// The capabilities of this session, in the order of their codes.
    pub fn shared(&self) -> Vec<Capability> {
        let session = &self.inner.session;
        session.with(|machine| {
            let protocol = |index: u8| session.env.protocols().get(usize::from(index));
            machine
                .peer()
                .shared()
                .iter()
                .filter_map(|entry| Some(protocol(entry.subprotocol)?.capability()))
                .collect()
        })
    }

    /// The first message code of the protocol with this index in the host's list, if it is shared.
    pub fn offset(&self, protocol: usize) -> Option<u32> {
        self.inner
            .session
            .with(|machine| machine.peer().shared().offset(protocol))
    }

    /// Whether the remote dialled us.
    pub fn is_inbound(&self) -> bool {
        self.inner.inbound
    }

    /// Where the remote is, if the transport has addresses.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.inner.remote
    }

    /// Our end of the connection, if the transport has addresses.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.local
    }

    /// How long the session has been active.
    pub fn lifetime(&self) -> Duration {
        self.inner.began.elapsed()
    }

    /// Ends the session: the remote is told `reason`.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.inner.session.close(CloseReason::Local(reason));
    }

    /// Why the session ends; `None` while it lives.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.inner.session.close_reason()
    }

    /// Waits until the session is closed.
    pub fn closed(&self) -> CloseReason {
        self.inner.session.wait_closed()
    }

    /// Asks for a Ping now rather than at the next interval; [`round_trip`](Self::round_trip) changes when its Pong comes.
    /// Send at most one every few seconds: some peers end the session otherwise.
    pub fn ping(&self) {
        self.inner
            .session
            .change(|machine, _| machine.request_ping());
    }

    /// The last measured round trip of Ping and Pong.
    pub fn round_trip(&self) -> Option<Duration> {
        self.inner
            .session
            .with(|machine| machine.peer().round_trip())
            .map(to_std_duration)
    }

    /// How many of our Pings were answered by a Pong.
    pub fn pongs(&self) -> u32 {
        self.inner.session.with(|machine| machine.peer().pongs())
    }

    /// Traffic of the protocol with this index in the host's list, in this session.
    pub fn traffic(&self, protocol: usize) -> Traffic {
        self.inner
            .counters
            .get(protocol)
            .map(Counters::traffic)
            .unwrap_or_default()
    }

    /// What go-ethereum's `admin_peers` tells of a peer.
    pub fn info(&self) -> PeerInfo {
        let inner = &self.inner;
        let protocols = inner.session.env.protocols().iter().enumerate();
        let protocols = protocols.filter(|(index, _)| self.offset(*index).is_some());
        PeerInfo::new(
            inner.id,
            (&inner.client_name, &inner.capabilities),
            inner.remote,
            NetworkInfo::new(
                (inner.local, inner.remote),
                inner.inbound,
                inner.trusted.load(Ordering::Relaxed),
                inner.is_static.load(Ordering::Relaxed),
            ),
            protocols.map(|(_, protocol)| protocol),
        )
    }
}

impl std::fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerHandle")
            .field("id", &self.inner.id)
            .field("name", &self.inner.client_name)
            .finish()
    }
}
