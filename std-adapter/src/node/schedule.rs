//! Which static peers are to be dialled, and when: decisions only, without threads, sockets or a clock.

use std::collections::HashMap;

use devp2p_core::hello::NodeId;
use devp2p_core::time::{Instant, PollAt};

use crate::backoff::{Backoff, BackoffConfig};
use crate::enode::Enode;

/// The static peers of a node. Each is dialled at once when it is added, and again with [`Backoff`] after every failure and
/// every session; never while there is a session with it.
///
/// Drive it so:
/// 1. Dial what [`next_due`](Self::next_due) returns, until it is `None`; again when [`poll_at`](Self::poll_at) says so.
/// 2. Report what became of a dial by [`connected`](Self::connected) or [`dial_failed`](Self::dial_failed).
/// 3. Report sessions that began and ended, whoever dialled: [`connected`](Self::connected),
///    [`session_ended`](Self::session_ended).
///
/// Reports about nodes that are not static do nothing.
#[derive(Debug)]
pub struct DialSchedule {
    config: BackoffConfig,
    peers: HashMap<NodeId, StaticPeer>,
}

#[derive(Debug)]
struct StaticPeer {
    enode: Enode,
    backoff: Backoff,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// To be dialled at this time.
    Waiting(Instant),
    Dialling,
    /// In a session since this time.
    Connected(Instant),
}

impl DialSchedule {
    /// No static peers yet.
    pub fn new(config: BackoffConfig) -> Self {
        Self {
            config,
            peers: HashMap::new(),
        }
    }

    /// Adds a static peer, due at once; one that is there already is from now on dialled where `enode` says.
    pub fn add(&mut self, enode: Enode, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&enode.id) {
            peer.enode = enode;
            return;
        }
        let seed = enode.id.0.first_chunk().copied().unwrap_or_default();
        let peer = StaticPeer {
            backoff: Backoff::new(self.config, u64::from_be_bytes(seed)),
            state: State::Waiting(now),
            enode,
        };
        self.peers.insert(peer.enode.id, peer);
    }

    /// Forgets a static peer.
    pub fn remove(&mut self, id: &NodeId) {
        self.peers.remove(id);
    }

    /// Whether the node is a static peer.
    pub fn contains(&self, id: &NodeId) -> bool {
        self.peers.contains_key(id)
    }

    /// Where the static peers are.
    pub fn enodes(&self) -> impl Iterator<Item = &Enode> {
        self.peers.values().map(|peer| &peer.enode)
    }

    /// A peer to dial now; it counts as being dialled until the outcome is reported.
    pub fn next_due(&mut self, now: Instant) -> Option<Enode> {
        let is_due = |peer: &&mut StaticPeer| matches!(peer.state, State::Waiting(at) if at <= now);
        let peer = self.peers.values_mut().find(is_due)?;
        peer.state = State::Dialling;
        Some(peer.enode.clone())
    }

    /// A session with this node became active.
    pub fn connected(&mut self, id: &NodeId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.state = State::Connected(now);
        }
    }

    /// The dial that [`next_due`](Self::next_due) asked for made no session.
    pub fn dial_failed(&mut self, id: &NodeId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(id)
            && matches!(peer.state, State::Dialling)
        {
            peer.state = State::Waiting(peer.backoff.dial_failed(now));
        }
    }

    /// The session with this node ended.
    pub fn session_ended(&mut self, id: &NodeId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(id)
            && let State::Connected(since) = peer.state
        {
            let lasted = now.saturating_since(since);
            peer.state = State::Waiting(peer.backoff.session_ended(now, lasted));
        }
    }

    /// When [`next_due`](Self::next_due) has something next.
    pub fn poll_at(&self) -> PollAt {
        let due = self.peers.values().filter_map(|peer| match peer.state {
            State::Waiting(at) => Some(at),
            State::Dialling | State::Connected(_) => None,
        });
        due.min().map_or(PollAt::Idle, PollAt::At)
    }
}
