//! What a node is started with.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use devp2p_core::hello::NodeId;

use super::connector::{Bound, Connector};
use super::error::StartError;
use super::schedule::DialSchedule;
use super::service::Service;
use super::shared::{Limits, Shared};
use super::table::Table;
use super::{Node, Threads};
use crate::backoff::BackoffConfig;
use crate::enode::Enode;
use crate::host::Host;
use crate::throttle::InboundThrottle;
use crate::time::to_core_duration;

/// Collects what a [`Node`] is started with.
#[must_use]
pub struct Builder<S: Service = Threads> {
    host: Arc<Host<S>>,
    pub(crate) service: S::Settings,
    listen: Option<String>,
    external_ip: Option<IpAddr>,
    max_peers: usize,
    limits: Limits,
    backoff: BackoffConfig,
    inbound_interval: Duration,
    static_peers: Vec<Enode>,
    trusted: HashSet<NodeId>,
}

impl<S: Service> Builder<S> {
    pub(crate) fn new(host: Arc<Host<S>>, service: S::Settings) -> Self {
        Self {
            host,
            service,
            listen: None,
            external_ip: None,
            max_peers: 50,
            limits: Limits {
                max_pending: 50,
                dial_timeout: Duration::from_secs(15),
            },
            backoff: BackoffConfig::new(),
            inbound_interval: Duration::from_secs(30),
            static_peers: Vec::new(),
            trusted: HashSet::new(),
        }
    }

    /// Where to listen, `host:port`; port 0 is any that is free. Default: the node does not listen.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen = Some(address.to_string());
        self
    }

    /// The address in the node's enode. Default: the one it listens on, or loopback if that is all of them.
    pub fn external_ip(mut self, ip: IpAddr) -> Self {
        self.external_ip = Some(ip);
        self
    }

    /// The most sessions at once, from which trusted peers are exempt. Default: 50.
    pub fn max_peers(mut self, peers: usize) -> Self {
        self.max_peers = peers;
        self
    }

    /// The most connections of each direction that are opening. Default: 50, at least 1.
    ///
    /// An inbound one opens from its first byte on, which must come within 2 s; until then, and while there is no place, it
    /// waits, with up to four times as many others. A range of addresses that is not of a local net, an IPv6 /64 or an IPv4
    /// /24, may have a quarter of the places. Where they are scarce, the oldest connection gives way that has not sent a
    /// handshake packet after 500 ms; one place in eight is added for the addresses of static and trusted peers, as far as
    /// they are known, which neither give way nor are throttled. What finds no place to wait in is not accepted yet.
    pub fn max_pending(mut self, connections: usize) -> Self {
        self.limits.max_pending = connections.max(1);
        self
    }

    /// How long looking up and connecting may take together. Default: 15 s.
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.limits.dial_timeout = timeout;
        self
    }

    /// The waits between dials of a static peer.
    pub fn backoff(mut self, backoff: BackoffConfig) -> Self {
        self.backoff = backoff;
        self
    }

    /// The time in which one address, unless of a local net, may make one inbound attempt, and one IPv4 /24 eight of them; an
    /// IPv6 /64 counts as one address. Default: 30 s.
    pub fn inbound_interval(mut self, interval: Duration) -> Self {
        self.inbound_interval = interval;
        self
    }

    /// Adds a static peer, as [`Node::add_static`] does.
    pub fn static_peer(mut self, enode: Enode) -> Self {
        self.static_peers.push(enode);
        self
    }

    /// Adds a trusted peer, as [`Node::add_trusted`] does.
    pub fn trusted(mut self, id: NodeId) -> Self {
        self.trusted.insert(id);
        self
    }

    /// Starts the node: it listens when this returns, and its static peers are being dialled.
    ///
    /// # Errors
    /// [`StartError`] if it cannot listen where it should, or the system has no thread or poller to give.
    pub fn start(self) -> Result<Node<S>, StartError> {
        let listen_error = |error| match &self.listen {
            Some(address) => StartError::Listen {
                address: address.clone(),
                error,
            },
            None => StartError::Thread(error),
        };
        self.host.memory.guarantee(self.max_peers);
        let (bound, waker) = Bound::new(self.listen.as_deref()).map_err(listen_error)?;
        let local_addr = bound.local_addr().map_err(listen_error)?;
        if let Some(address) = local_addr {
            self.host.set_listen_port(address.port());
        }
        let (service, parts) = S::new(self.service).map_err(StartError::Thread)?;
        let interval = to_core_duration(self.inbound_interval);
        let shared = Arc::new(Shared::new(
            Arc::clone(&self.host),
            service,
            &self.limits,
            local_addr,
            waker,
            (
                Table::new(self.host.id(), self.max_peers, self.trusted),
                DialSchedule::new(self.backoff),
                InboundThrottle::new(interval, InboundThrottle::DEFAULT_CAPACITY),
            ),
        ));
        // If one of the threads does not start, the node is dropped, which ends the others.
        let mut node = Node {
            external_ip: self.external_ip,
            connector: Mutex::new(None),
            shared: Arc::clone(&shared),
        };
        S::start(&shared, parts).map_err(StartError::Thread)?;
        let connector = Connector::new(bound, shared);
        let thread = thread::Builder::new()
            .name("devp2p-connect".to_owned())
            .spawn(move || connector.run())
            .map_err(StartError::Thread)?;
        node.connector = Mutex::new(Some(thread));
        if local_addr.is_some() {
            log::info!("listening: {}", node.enode());
        }
        for enode in self.static_peers {
            node.add_static(enode);
        }
        Ok(node)
    }
}

impl<S: Service> std::fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("host", &self.host.id())
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
