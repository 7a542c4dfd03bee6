//! A node: listens and dials over TCP, admits peers, keeps static ones connected, and shuts down in bounded time.
//!
//! There is one form of it for all ways to serve a session: by threads ([`Threads`]), or by callbacks from a few threads
//! ([`Loops`](crate::event_loop::Loops)). Its own thread accepts and dials; what is connected it gives to the service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use devp2p_core::capability::Capability;
use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::keccak256;

use crate::enode::Enode;
use crate::host::Host;
use crate::info::{IdHash, NodeInfo, PeerInfo, Ports, ProtocolInfo};
use crate::session::Report;

mod builder;
mod connector;
mod dialling;
mod dials;
mod error;
mod pending;
pub mod schedule;
pub(crate) mod service;
pub(crate) mod shared;
mod table;
mod threads;

pub use builder::Builder;
pub use dialling::Dialling;
pub use error::{DialError, StartError};
pub use service::{Remote, Service};
use shared::Shared;
pub use threads::Threads;

/// Time beyond two closing deadlines that shutting down allows the threads of a session.
const MARGIN: Duration = Duration::from_secs(1);

/// Listens and dials for one [`Host`]. Usable from several threads at once; dropping it is [`shutdown`](Self::shutdown).
///
/// A remote is checked as go-ethereum's server does it, before Hello, when it only claims to be somebody and the Disconnect is
/// sent in place of Hello, and again after, when a frame has proved it:
/// * TooManyPeers, if there are as many sessions as there may be and it is not trusted;
/// * AlreadyConnected, if there is a session with it. The first session that passes the check after Hello stays; while both
///   nodes dial each other, the one that the node with the smaller identity dials;
/// * Self, if it is this node.
///
/// What a remote only claims ends its own connection at most: no other connection, dial or table changes by it. A session that
/// is ending counts no more: its last callbacks, or run closures, may still run when its successor begins, and the event of its
/// end may be told after that of its successor's beginning.
pub struct Node<S: Service = Threads> {
    shared: Arc<Shared<S>>,
    external_ip: Option<IpAddr>,
    connector: Mutex<Option<JoinHandle<()>>>,
}

/// How a node was shut down.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// The sessions that were ended, in the order of their ends.
    pub reports: Vec<Report>,
    /// Run closures that did not return within the closing deadline: their threads go on.
    pub stuck: Vec<Stuck>,
    /// Connections that did not end in time. Zero, unless something outside of this crate blocks: a callback, or a logger.
    pub unfinished: usize,
}

/// A run closure that did not return within the closing deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stuck {
    /// Of the session with this node.
    pub peer: NodeId,
    /// The protocol.
    pub capability: Capability,
}

impl Node<Threads> {
    /// Begins a node for this host, whose sessions are served by threads.
    pub fn builder(host: Arc<Host>) -> Builder {
        Builder::new(host, ())
    }
}

impl<S: Service> Node<S> {
    /// What all sessions share. Subscribe to their events there.
    pub fn host(&self) -> &Arc<Host<S>> {
        &self.shared.host
    }

    pub(crate) fn service(&self) -> &S {
        &self.shared.service
    }

    /// Where the node listens, if it does.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.shared.local_addr
    }

    /// What others dial. There is no discovery, so its discovery port is 0; without a listener its TCP port is too.
    pub fn enode(&self) -> Enode {
        let local = self.local_addr();
        let ip = match (self.external_ip, local.map(|addr| addr.ip())) {
            (Some(ip), _) => ip,
            (None, Some(IpAddr::V6(ip))) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            (None, Some(ip)) if !ip.is_unspecified() => ip,
            (None, _) => Ipv4Addr::LOCALHOST.into(),
        };
        let port = local.map_or(0, |addr| addr.port());
        let enode = Enode::new(self.shared.host.id(), SocketAddr::new(ip, port));
        Enode { udp: 0, ..enode }
    }

    // ---- Peers ----

    /// Waits for a session with this node to be active: one that is there already, whoever dialled it, or else a new one.
    ///
    /// Its threads go on after this returns. Dials of one node at once are one, and end alike; one that begins while a session
    /// with the node is ending waits for that. A remote that has a session with this node already, or is opening one, says so
    /// and ends the dial: then that session is waited for, as long as a handshake may take.
    ///
    /// # Errors
    /// [`DialError`] says what happened and what to do.
    pub fn dial(&self, enode: &Enode) -> Result<S::Peer, DialError> {
        self.begin_dial(enode)?.wait()
    }

    /// [`dial`](Self::dial) without waiting.
    ///
    /// # Errors
    /// [`DialError`] if it cannot begin.
    pub fn begin_dial(&self, enode: &Enode) -> Result<Dialling<S::Peer>, DialError> {
        self.shared.dial(enode.clone())
    }

    /// Begins a session over a connection that was made to this node. If there is a session or a dial already, that is the
    /// answer, and the connection is closed.
    ///
    /// # Errors
    /// [`DialError`] if it cannot begin.
    pub fn dial_over(&self, stream: TcpStream, id: NodeId) -> Result<Dialling<S::Peer>, DialError> {
        self.shared.dial_over(stream, id)
    }

    /// Begins a session over a connection that the remote made. Unlike those that the node's listener accepts, it opens at once,
    /// wherever it comes from and however many there are; it gives way to others as they do.
    ///
    /// # Errors
    /// If the socket refuses a setting, or the system has no thread to give.
    pub fn accept(&self, stream: TcpStream) -> io::Result<()> {
        self.shared.accept(stream)
    }

    /// Keeps this node connected: it is dialled at once, and again, with backoff, whenever that fails or a session with it
    /// ends. A node that is static already is from now on dialled at the new address. This node itself is ignored.
    pub fn add_static(&self, enode: Enode) {
        if enode.id == self.shared.host.id() {
            log::warn!("not dialling {enode}: it is this node itself");
            return;
        }
        let (id, now) = (enode.id, self.shared.now());
        let mut state = self.shared.lock();
        state.schedule.add(enode, now);
        if let Some(peer) = state.table.peer(&id) {
            peer.mark(None, Some(true));
            state.schedule.connected(&id, now);
        }
        state.wakes = true;
        self.shared.unlock(state);
    }

    /// Does not dial this node again. A session with it goes on.
    pub fn remove_static(&self, id: &NodeId) {
        let mut state = self.shared.lock();
        state.schedule.remove(id);
        state.forget(id);
        if let Some(peer) = state.table.peer(id) {
            peer.mark(None, Some(false));
        }
    }

    /// Lets this node pass the limit on sessions.
    pub fn add_trusted(&self, id: NodeId) {
        let mut state = self.shared.lock();
        state.table.trusted.insert(id);
        if let Some(peer) = state.table.peer(&id) {
            peer.mark(Some(true), None);
        }
    }

    /// This node no longer passes the limit. A session with it goes on.
    pub fn remove_trusted(&self, id: &NodeId) {
        let mut state = self.shared.lock();
        state.table.trusted.remove(id);
        state.forget(id);
        if let Some(peer) = state.table.peer(id) {
            peer.mark(Some(false), None);
        }
    }

    /// The sessions that are active.
    pub fn peers(&self) -> Vec<S::Peer> {
        self.shared.lock().table.peers().cloned().collect()
    }

    /// How many sessions are active.
    pub fn peer_count(&self) -> usize {
        self.shared.lock().table.peers().count()
    }

    /// The active session with this node.
    pub fn peer(&self, id: &NodeId) -> Option<S::Peer> {
        self.shared.lock().table.peer(id).cloned()
    }

    // ---- What it tells ----

    /// What go-ethereum's `admin_nodeInfo` tells.
    pub fn info(&self) -> NodeInfo {
        let enode = self.enode();
        let protocols = self.shared.host.protocols().iter();
        NodeInfo {
            id: IdHash(keccak256(&[&enode.id.0])),
            name: self.shared.host.client_name().to_owned(),
            enr: String::new(),
            ip: match &enode.host {
                crate::enode::Host::Ip(ip) => ip.to_string(),
                crate::enode::Host::Name(name) => name.clone(),
            },
            ports: Ports {
                discovery: enode.udp,
                listener: enode.tcp,
            },
            listen_addr: (self.local_addr())
                .map(|addr| addr.to_string())
                .unwrap_or_default(),
            protocols: protocols
                .map(|protocol| {
                    let info = protocol.node_info.as_ref();
                    let info =
                        info.map_or(ProtocolInfo::Unknown, |info| ProtocolInfo::Known(info()));
                    (protocol.capability().name.to_string(), info)
                })
                .collect(),
            enode: enode.to_string(),
        }
    }

    /// What go-ethereum's `admin_peers` tells: of each active session, in the order of their `id`.
    pub fn peer_infos(&self) -> Vec<PeerInfo> {
        let mut infos: Vec<_> = self.peers().iter().map(Remote::info).collect();
        infos.sort_by_key(|info| info.id);
        infos
    }

    // ---- The end ----

    /// Ends every session with Disconnect 0x08 (client quitting), stops listening and dialling, and joins every thread. Takes
    /// at most two closing deadlines and a second: a run closure that does not return is left behind, and named. Not for
    /// callbacks, which it would wait for.
    ///
    /// What ends while another call shuts down, or after, is reported by the first only; later calls wait for it as well.
    pub fn shutdown(&self) -> Shutdown {
        let shared = &self.shared;
        shared.begin_shutdown();
        let mut connector = (self.connector.lock()).unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = connector.take() {
            // The thread that connects does not panic.
            let _ = connector.join();
        }
        drop(connector);
        let limit = 2 * shared.closing_timeout() + MARGIN;
        let (reports, unfinished) = shared.wait_for_all(limit);
        match unfinished {
            0 => shared.service.join(),
            n => log::error!("{n} connections did not end in time"),
        }
        let mut stuck = Vec::new();
        for report in &reports {
            let Some(peer) = report.id else { continue };
            let capabilities = report.stuck.iter();
            stuck.extend(capabilities.map(|&capability| Stuck { peer, capability }));
        }
        Shutdown {
            stuck,
            reports,
            unfinished,
        }
    }
}

impl<S: Service> Drop for Node<S> {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl<S: Service> fmt::Debug for Node<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.shared.host.id())
            .field("local_addr", &self.local_addr())
            .finish_non_exhaustive()
    }
}
