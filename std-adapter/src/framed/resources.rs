//! The memory of a link's sessions: inboxes and output that grow, and are given back.

use std::sync::{Arc, OnceLock};

use devp2p_core::capability::Protocol;
use devp2p_core::config::Local;
use devp2p_core::error::CloseReason;
use devp2p_core::framed::{Output, Parts, Resources, VERSION};
use devp2p_core::hello::NodeId;
use devp2p_core::inbox::Meta;

use crate::counters::Counters;
use crate::inbox::Observer;
use crate::memory::Account;
use crate::peer::HelloText;
use crate::queue::{Queue, Queues};

/// Framed bytes that may wait for the wire before writers wait. An empty output takes any message.
const OUTPUT_LIMIT: usize = 1024 * 1024;
/// Room that an idle session keeps for output.
pub(super) const KEPT_OUTPUT: usize = 4 * 1024;

/// Our side of every session.
pub(super) struct LocalNode {
    pub(super) id: NodeId,
    pub(super) client_name: String,
    pub(super) protocols: Vec<Protocol>,
}

impl LocalNode {
    pub(super) fn local(&self) -> Local<'_> {
        Local {
            id: self.id,
            client_name: &self.client_name,
            version: VERSION,
            listen_port: 0,
            protocols: &self.protocols,
        }
    }
}

/// What handles share of one session, which they may outlive.
pub(super) struct SessionShared {
    pub(super) queues: Arc<[Queue]>,
    pub(super) counters: Arc<[Counters]>,
    /// Who the remote says it is and what else its Hello said, once that was accepted.
    pub(super) hello: OnceLock<(NodeId, HelloText)>,
    /// Why the session is closed, once it is.
    pub(super) closed: OnceLock<CloseReason>,
}

impl SessionShared {
    fn new(protocols: &[Protocol]) -> Arc<Self> {
        let queue = |protocol: &Protocol| Queue::new(protocol.into());
        Arc::new(Self {
            queues: protocols.iter().map(queue).collect(),
            counters: protocols.iter().map(|_| Counters::default()).collect(),
            hello: OnceLock::new(),
            closed: OnceLock::new(),
        })
    }
}

/// Counts messages.
pub(super) struct TrafficObserver(Arc<[Counters]>);

impl Observer for TrafficObserver {
    fn received(&self, subprotocol: usize, meta: &Meta) {
        if let Some(counters) = self.0.get(subprotocol) {
            counters.received(meta.length, meta.wire_length);
        }
    }

    fn dropped(&self, subprotocol: usize, _meta: &Meta) {
        if let Some(counters) = self.0.get(subprotocol) {
            counters.dropped();
        }
    }
}

/// What a link's sessions are made from, one after the other.
pub(super) struct Growable {
    pub(super) node: LocalNode,
    pub(super) shared: Arc<SessionShared>,
    pub(super) inboxes: Queues<TrafficObserver>,
    output: GrowableOutput,
    /// The remote's Hello.
    hello: Vec<u8>,
}

impl Growable {
    pub(super) fn new(node: LocalNode, account: Arc<Account>) -> Self {
        let shared = SessionShared::new(&node.protocols);
        Self {
            inboxes: inboxes(&shared, account),
            shared,
            node,
            output: GrowableOutput::default(),
            hello: Vec::new(),
        }
    }

    /// The remote's Hello, once it was accepted: taken once.
    pub(super) fn take_hello(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.hello)
    }
}

fn inboxes(shared: &SessionShared, account: Arc<Account>) -> Queues<TrafficObserver> {
    let observer = TrafficObserver(Arc::clone(&shared.counters));
    Queues::new(Arc::clone(&shared.queues), account, observer)
}

impl Resources for Growable {
    type Inboxes = Queues<TrafficObserver>;
    type Output = GrowableOutput;

    fn local(&self) -> Local<'_> {
        self.node.local()
    }

    fn output(&self) -> &GrowableOutput {
        &self.output
    }

    fn parts(&mut self) -> Parts<'_, Queues<TrafficObserver>, GrowableOutput> {
        Parts {
            local: self.node.local(),
            inboxes: &mut self.inboxes,
            output: &mut self.output,
        }
    }

    fn hello(&mut self, length: usize) -> (Local<'_>, &mut [u8]) {
        self.hello.resize(length, 0);
        (self.node.local(), &mut self.hello)
    }

    fn clear(&mut self) {
        self.shared = SessionShared::new(&self.node.protocols);
        self.inboxes = inboxes(&self.shared, Arc::clone(self.inboxes.account()));
    }
}

/// Bytes that wait for the wire, in one buffer.
#[derive(Debug, Default)]
pub(super) struct GrowableOutput {
    /// What was lent as room, but not committed, stands at the end.
    bytes: Vec<u8>,
    /// Bytes at the front that the wire took, and those up to which the buffer is in use.
    taken: usize,
    end: usize,
}

impl Output for GrowableOutput {
    fn length(&self) -> usize {
        self.end - self.taken
    }

    fn free(&self) -> usize {
        OUTPUT_LIMIT.saturating_sub(self.length())
    }

    fn fits(&self, frame: usize) -> bool {
        self.length() == 0 || frame <= self.free()
    }

    fn can_fit(&self, _frame: usize) -> bool {
        true
    }

    fn contiguous(&self) -> usize {
        usize::MAX
    }

    fn room(&mut self, length: usize) -> &mut [u8] {
        // Moving the rest to the front costs no more than what was taken since the last time.
        if self.taken > 0 && self.taken >= self.length() {
            self.bytes.copy_within(self.taken..self.end, 0);
            self.end -= self.taken;
            self.taken = 0;
        }
        self.bytes.resize(self.end.saturating_add(length), 0);
        &mut self.bytes[self.end..]
    }

    fn commit(&mut self, length: usize) {
        self.end = self.end.saturating_add(length).min(self.bytes.len());
    }

    fn readable(&self) -> &[u8] {
        &self.bytes[self.taken..self.end]
    }

    fn consume(&mut self, length: usize) {
        self.taken += length.min(self.length());
        if self.taken == self.end {
            (self.taken, self.end) = (0, 0);
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_OUTPUT);
        }
    }
}
