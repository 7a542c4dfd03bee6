//! A node: listens and dials over TCP, admits peers, keeps static ones connected, and shuts down in bounded time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, mem};

use devp2p_core::capability::Capability;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::keccak256;

use crate::enode::Enode;
use crate::host::Host;
use crate::info::{IdHash, NodeInfo, PeerInfo, Ports, ProtocolInfo};
use crate::peer::PeerHandle;
use crate::session::Report;

mod builder;
mod connect;
mod dial;
mod error;
pub(crate) mod listener;
pub mod schedule;
mod shared;
mod table;

pub use builder::Builder;
pub use error::{DialError, StartError};
use shared::Shared;

/// Time beyond two closing deadlines that shutting down allows the threads of a session.
const MARGIN: Duration = Duration::from_secs(1);

/// Listens and dials for one [`Host`]. Usable from several threads at once; dropping it is [`shutdown`](Self::shutdown).
///
/// A connection is made and a session opened in a thread of its own. Active, it has one for each shared subprotocol, and others
/// that come and go with work which none of these does: to read while none waits for a message, to write control messages. A
/// remote is checked as go-ethereum's server does it, before Hello, when it only claims to be somebody and the Disconnect is sent
/// in place of Hello, and again after, when a frame has proved it:
/// * TooManyPeers, if there are as many sessions as there may be and it is not trusted;
/// * AlreadyConnected, if there is a session with it. The first session that passes the check after Hello stays; while both
///   nodes dial each other, the one that the node with the smaller identity dials;
/// * Self, if it is this node.
///
/// What a remote only claims ends its own connection at most: no other connection, dial or table changes by it.
///
/// A session that is ending is no hindrance: its successor waits for its end, at most two closing deadlines.
pub struct Node {
    shared: Arc<Shared>,
    local_addr: Option<SocketAddr>,
    external_ip: Option<IpAddr>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// How a node was shut down.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// The sessions that were ended, in the order of their ends.
    pub reports: Vec<Report>,
    /// Run closures that did not return within the closing deadline: their threads go on.
    pub stuck: Vec<Stuck>,
    /// Connections whose thread did not end in time. Zero, unless something outside of this crate blocks it, as a logger may.
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

impl Node {
    /// Begins a node for this host.
    pub fn builder(host: Arc<Host>) -> Builder {
        Builder::new(host)
    }

    /// What all sessions share. Subscribe to their events there.
    pub fn host(&self) -> &Arc<Host> {
        &self.shared.host
    }

    /// Where the node listens, if it does.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// What others dial. There is no discovery, so its discovery port is 0; without a listener its TCP port is too.
    pub fn enode(&self) -> Enode {
        let ip = match (self.external_ip, self.local_addr.map(|addr| addr.ip())) {
            (Some(ip), _) => ip,
            (None, Some(IpAddr::V6(ip))) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            (None, Some(ip)) if !ip.is_unspecified() => ip,
            (None, _) => Ipv4Addr::LOCALHOST.into(),
        };
        let port = self.local_addr.map_or(0, |addr| addr.port());
        let enode = Enode::new(self.shared.host.id(), SocketAddr::new(ip, port));
        Enode { udp: 0, ..enode }
    }

    // ---- Peers ----

    /// Waits for a session with this node to be active: one that is there already, whoever dialled it, or else a new one.
    ///
    /// Its threads go on after this returns. Where several dial one node at once, they get the same session, or error. A remote
    /// that has a session with this node already, or is opening one, says so and ends the dial: then that session is waited
    /// for, as long as a handshake may take.
    ///
    /// # Errors
    /// [`DialError`] says what happened and what to do.
    pub fn dial(&self, enode: &Enode) -> Result<PeerHandle, DialError> {
        let id = enode.id;
        if id == self.shared.host.id() {
            return Err(DialError::ToSelf);
        }
        let mut dial = None;
        let mut patience = None;
        let mut state = self.shared.lock();
        loop {
            let outcome = dial
                .as_ref()
                .and_then(|dial: &Arc<table::Outcome>| dial.get());
            if let Some(Ok(peer)) = outcome {
                return Ok(peer.clone());
            }
            if let Some(peer) = state.table.live_with(id) {
                return Ok(peer.clone());
            }
            if state.is_closing {
                return Err(DialError::ShutDown);
            }
            if let Some(Err(error)) = outcome {
                // Without a listener there is no session but those that were dialled here.
                if !error.is_already_connected() || self.local_addr.is_none() {
                    return Err(error.clone());
                }
                let until = *patience.get_or_insert_with(|| self.shared.handshake_end());
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(error.clone());
                }
                state = self.shared.wait_timeout(state, left);
                continue;
            }
            let known = state.table.with_node(id);
            let (mut dials, mut is_known) = (None, false);
            for entry in known {
                is_known = true;
                dials = dials.or(entry.dial.as_ref());
            }
            if is_known {
                // One that opens, and its outcome counts; or one that ends, and is waited for.
                if dial.is_none() {
                    dial = dials.filter(|dial| dial.get().is_none()).cloned();
                }
                state = self.shared.wait(state);
                continue;
            }
            dial = Some(self.shared.start_dial(&mut state, enode.clone())?);
        }
    }

    /// Keeps this node connected: it is dialled at once, and again, with backoff, whenever that fails or a session with it
    /// ends. A node that is static already is from now on dialled at the new address. This node itself is ignored.
    pub fn add_static(&self, enode: Enode) {
        if enode.id == self.shared.host.id() {
            log::warn!("not dialling {enode}: it is this node itself");
            return;
        }
        let id = enode.id;
        let now = self.shared.now();
        let mut state = self.shared.lock();
        state.schedule.add(enode, now);
        let live = state.table.live_with(id).cloned();
        if let Some(peer) = live {
            peer.inner.is_static.store(true, Ordering::Relaxed);
            state.schedule.connected(&id, now);
        }
        let poll_at = state.schedule.poll_at();
        drop(state);
        self.shared.set_timer(poll_at);
    }

    /// Does not dial this node again. A session with it goes on: [`PeerHandle::disconnect`] ends it.
    pub fn remove_static(&self, id: &NodeId) {
        let mut state = self.shared.lock();
        state.schedule.remove(id);
        if let Some(peer) = state.table.live_with(*id) {
            peer.inner.is_static.store(false, Ordering::Relaxed);
        }
    }

    /// Lets this node pass the limit on sessions.
    pub fn add_trusted(&self, id: NodeId) {
        let mut state = self.shared.lock();
        state.table.trusted.insert(id);
        if let Some(peer) = state.table.live_with(id) {
            peer.inner.trusted.store(true, Ordering::Relaxed);
        }
    }

    /// This node no longer passes the limit. A session with it goes on.
    pub fn remove_trusted(&self, id: &NodeId) {
        let mut state = self.shared.lock();
        state.table.trusted.remove(id);
        if let Some(peer) = state.table.live_with(*id) {
            peer.inner.trusted.store(false, Ordering::Relaxed);
        }
    }

    /// The sessions that are active.
    pub fn peers(&self) -> Vec<PeerHandle> {
        self.shared.lock().table.live().cloned().collect()
    }

    /// The active session with this node.
    pub fn peer(&self, id: &NodeId) -> Option<PeerHandle> {
        self.shared.lock().table.live_with(*id).cloned()
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
            listen_addr: self
                .local_addr
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
        let mut infos: Vec<_> = self.peers().iter().map(PeerHandle::info).collect();
        infos.sort_by_key(|info| info.id);
        infos
    }

    // ---- The end ----

    /// Ends every session with Disconnect 0x08 (client quitting), stops listening and dialling, and joins every thread. Takes
    /// at most two closing deadlines and a second: a run closure that does not return is left behind, and named.
    ///
    /// What ends while another call shuts down, or after, is reported by the first only; later calls wait for it as well.
    pub fn shutdown(&self) -> Shutdown {
        let shared = &self.shared;
        let mut state = shared.lock();
        let is_first = !mem::replace(&mut state.is_closing, true);
        let aborts: Vec<_> = match is_first {
            true => state
                .table
                .entries()
                .filter_map(|entry| entry.abort.clone())
                .collect(),
            false => Vec::new(),
        };
        drop(state);
        shared.changed.notify_all();
        aborts
            .into_iter()
            .for_each(|abort| abort.call(DisconnectReason::CLIENT_QUITTING));
        if let Some(timer) = shared.timer.get() {
            shared.host.timekeeper.unregister(timer);
        }
        shared.wake_listener();
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.take() {
            // It panics nowhere.
            let _ = listener.join();
        }
        drop(listener);
        self.wait_for_all()
    }

    fn wait_for_all(&self) -> Shutdown {
        let shared = &self.shared;
        let deadline = Instant::now() + 2 * shared.closing_timeout() + MARGIN;
        let mut state = shared.lock();
        while !state.table.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let unfinished = state.table.entries().count();
        let reports = mem::take(&mut state.reports);
        let ended = state.ended.take();
        drop(state);
        if let Some(ended) = ended {
            let _ = ended.join();
        }
        if unfinished > 0 {
            log::error!("{unfinished} connections did not end in time");
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

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.shared.host.id())
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}
