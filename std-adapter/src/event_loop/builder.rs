//! What an event node is started with.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use devp2p_core::hello::NodeId;

use super::handler::Factory;
use super::node::EventNode;
use crate::host::Host;
use crate::node::StartError;
use crate::throttle::InboundThrottle;
use crate::time::to_core_duration;

pub(super) struct Settings {
    pub(super) host: Arc<Host>,
    pub(super) factory: Factory,
    pub(super) listen: Option<String>,
    pub(super) loops: usize,
    pub(super) max_peers: usize,
    pub(super) max_pending: usize,
    pub(super) dial_timeout: Duration,
    pub(super) inbound_interval: devp2p_core::time::Duration,
    pub(super) output_limit: usize,
    pub(super) trusted: Vec<NodeId>,
}

/// Collects what an [`EventNode`] is started with.
#[must_use]
pub struct Builder(Settings);

impl Builder {
    pub(super) fn new(host: Arc<Host>, factory: Factory) -> Self {
        Self(Settings {
            host,
            factory,
            listen: None,
            loops: thread::available_parallelism().map_or(1, NonZero::get),
            max_peers: 50,
            max_pending: 50,
            dial_timeout: Duration::from_secs(15),
            inbound_interval: InboundThrottle::DEFAULT_INTERVAL,
            output_limit: 1024 * 1024,
            trusted: Vec::new(),
        })
    }

    /// Where to listen, `host:port`; port 0 is any that is free. Default: the node does not listen.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.0.listen = Some(address.to_string());
        self
    }

    /// How many threads drive sessions, each its share of them. Default: as many as the system runs at once; at least 1.
    pub fn loops(mut self, threads: usize) -> Self {
        self.0.loops = threads.max(1);
        self
    }

    /// The most sessions at once, from which trusted peers are exempt. Default: 50.
    pub fn max_peers(mut self, peers: usize) -> Self {
        self.0.max_peers = peers;
        self
    }

    /// The most connections of each direction that are not sessions yet. While so many inbound ones are opening, further ones
    /// are not accepted and wait. Default: 50, at least 1.
    pub fn max_pending(mut self, connections: usize) -> Self {
        self.0.max_pending = connections.max(1);
        self
    }

    /// How long connecting may take. Default: 15 s.
    pub fn dial_timeout(mut self, limit: Duration) -> Self {
        self.0.dial_timeout = limit;
        self
    }

    /// How long an address outside the local nets must wait from one inbound attempt to the next. Default: 30 s.
    pub fn inbound_interval(mut self, interval: Duration) -> Self {
        self.0.inbound_interval = to_core_duration(interval);
        self
    }

    /// Bytes that may wait for the wire in each session, and as many that handles have queued, before writers are told to
    /// wait. An empty output takes any message. Default: 1 MiB.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.0.output_limit = bytes;
        self
    }

    /// Lets this node pass the limit on sessions.
    pub fn trusted(mut self, id: NodeId) -> Self {
        self.0.trusted.push(id);
        self
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// [`StartError`] if it cannot listen there, or the system has no thread or poller to give.
    pub fn start(self) -> Result<EventNode, StartError> {
        EventNode::start(self.0)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("host", &self.0.host.id())
            .field("listen", &self.0.listen)
            .field("loops", &self.0.loops)
            .finish_non_exhaustive()
    }
}
