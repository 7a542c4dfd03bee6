//! What a node is started with.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use devp2p_core::hello::NodeId;

use super::Node;
use super::error::StartError;
use super::listener::Listener;
use super::schedule::DialSchedule;
use super::shared::{Redials, Shared};
use crate::backoff::BackoffConfig;
use crate::enode::Enode;
use crate::host::Host;
use crate::throttle::InboundThrottle;
use crate::time::to_core_duration;

/// Collects what a [`Node`] is started with.
#[derive(Debug, Clone)]
pub struct Builder {
    host: Arc<Host>,
    listen: Option<String>,
    external_ip: Option<IpAddr>,
    max_peers: usize,
    max_pending: usize,
    dial_timeout: Duration,
    backoff: BackoffConfig,
    inbound_interval: Duration,
    static_peers: Vec<Enode>,
    trusted: Vec<NodeId>,
}

impl Builder {
    pub(super) fn new(host: Arc<Host>) -> Self {
        Self {
            host,
            listen: None,
            external_ip: None,
            max_peers: 50,
            max_pending: 50,
            dial_timeout: Duration::from_secs(15),
            backoff: BackoffConfig::new(),
            inbound_interval: Duration::from_secs(30),
            static_peers: Vec::new(),
            trusted: Vec::new(),
        }
    }

    /// Where to listen, `host:port`; port 0 is any that is free. Default: the node does not listen.
    #[must_use]
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen = Some(address.to_string());
        self
    }

    /// The address in the node's enode. Default: the one it listens on, or loopback if that is all of them.
    #[must_use]
    pub fn external_ip(mut self, ip: IpAddr) -> Self {
        self.external_ip = Some(ip);
        self
    }

    /// The most sessions at once, from which trusted peers are exempt. Default: 50.
    #[must_use]
    pub fn max_peers(mut self, peers: usize) -> Self {
        self.max_peers = peers;
        self
    }

    /// The most connections of each direction that are not sessions yet. While so many inbound ones are opening, further ones
    /// are not accepted and wait. Default: 50, at least 1.
    #[must_use]
    pub fn max_pending(mut self, connections: usize) -> Self {
        self.max_pending = connections.max(1);
        self
    }

    /// How long looking up and connecting may take together. Default: 15 s.
    #[must_use]
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// The waits between dials of a static peer.
    #[must_use]
    pub fn backoff(mut self, backoff: BackoffConfig) -> Self {
        self.backoff = backoff;
        self
    }

    /// The time in which one address, unless of a local net, may make one inbound attempt. Default: 30 s.
    #[must_use]
    pub fn inbound_interval(mut self, interval: Duration) -> Self {
        self.inbound_interval = interval;
        self
    }

    /// Adds a static peer, as [`Node::add_static`] does.
    #[must_use]
    pub fn static_peer(mut self, enode: Enode) -> Self {
        self.static_peers.push(enode);
        self
    }

    /// Adds a trusted peer, as [`Node::add_trusted`] does.
    #[must_use]
    pub fn trusted(mut self, id: NodeId) -> Self {
        self.trusted.push(id);
        self
    }

    /// Starts the node: it listens when this returns, and its static peers are being dialled.
    ///
    /// # Errors
    /// [`StartError`] if it cannot listen where it should, or there is no thread.
    pub fn start(self) -> Result<Node, StartError> {
        let bound = match &self.listen {
            Some(address) => Some(Listener::bind(address).map_err(|error| StartError::Listen {
                address: address.clone(),
                error,
            })?),
            None => None,
        };
        self.host.memory.guarantee(self.max_peers);
        let interval = to_core_duration(self.inbound_interval);
        let shared = Arc::new(Shared::new(
            self.host,
            (self.max_peers, self.max_pending),
            self.dial_timeout,
            DialSchedule::new(self.backoff),
            InboundThrottle::new(interval, InboundThrottle::DEFAULT_CAPACITY),
        ));
        let mut node = Node {
            local_addr: None,
            external_ip: self.external_ip,
            listener: Mutex::new(None),
            shared: Arc::clone(&shared),
        };
        shared.lock().table.trusted.extend(self.trusted);
        if let Some((listener, waker)) = bound {
            let address = listener.local_addr();
            shared.host.set_listen_port(address.port());
            node.local_addr = Some(address);
            let _ = shared.listener.set(waker);
            let acceptor = Arc::clone(&shared);
            let thread = thread::Builder::new()
                .name("devp2p-listen".to_owned())
                .spawn(move || listener.run(&acceptor))
                .map_err(StartError::Thread)?;
            node.listener = Mutex::new(Some(thread));
            log::info!("listening: {}", node.enode());
        }
        let redials = Arc::new(Redials(Arc::clone(&shared)));
        let _ = shared.timer.set(shared.host.timekeeper.register(redials));
        for enode in self.static_peers {
            node.add_static(enode);
        }
        Ok(node)
    }
}
