//! Every connection of a node, and the checks that a remote must pass, as go-ethereum's server makes them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::NodeId;

use super::error::DialError;
use crate::peer::PeerHandle;
use crate::session::Stopper;

/// What became of a dial, for those who wait for it.
pub(super) type Outcome = OnceLock<Result<PeerHandle, DialError>>;

/// A connection, from the moment that its thread starts to the end of that thread.
pub(super) struct Entry {
    /// The dial that makes it; `None` if the remote dialled.
    pub(super) dial: Option<Arc<Outcome>>,
    /// Whom we dialled, or who the remote proved to be by its Hello; not who it only claims to be.
    pub(super) id: Option<NodeId>,
    pub(super) stage: Stage,
    pub(super) abort: Option<Abort>,
    pub(super) thread: Option<JoinHandle<()>>,
}

pub(super) enum Stage {
    /// There is no connection yet.
    Connecting,
    /// In the handshake.
    Opening,
    /// The handshake is over and the first check was passed; no frame has proved who the remote is.
    Claimed,
    Active(PeerHandle),
}

/// How a connection is ended from outside.
#[derive(Clone)]
pub(super) enum Abort {
    Lookup(std::sync::mpsc::Sender<super::dial::Lookup>),
    Connect(Arc<mio::Waker>),
    Session(Stopper),
}

impl Abort {
    /// Ends it; a session is told `reason`. Call it without a lock.
    pub(super) fn call(self, reason: DisconnectReason) {
        match self {
            // Whoever waits has gone if this fails.
            Self::Lookup(sender) => drop(sender.send(super::dial::Lookup::CalledOff)),
            Self::Connect(waker) => {
                if let Err(error) = waker.wake() {
                    log::error!("a dial could not be called off: {error}");
                }
            }
            Self::Session(stopper) => stopper.stop(reason),
        }
    }
}

/// What a check says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admit,
    /// A session that is ending is in the way: ask again when the table changed.
    Wait,
    Reject(DisconnectReason),
}

pub(super) struct Table {
    own: NodeId,
    max_peers: usize,
    entries: BTreeMap<u64, Entry>,
    next: u64,
    pub(super) trusted: HashSet<NodeId>,
}

impl Table {
    pub(super) fn new(own: NodeId, max_peers: usize) -> Self {
        Self {
            own,
            max_peers,
            entries: BTreeMap::new(),
            next: 0,
            trusted: HashSet::new(),
        }
    }

    /// The number of the next entry.
    pub(super) fn next_ticket(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn insert(&mut self, ticket: u64, entry: Entry) {
        self.entries.insert(ticket, entry);
    }

    pub(super) fn get_mut(&mut self, ticket: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&ticket)
    }

    pub(super) fn remove(&mut self, ticket: u64) -> Option<Entry> {
        self.entries.remove(&ticket)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The connections with this node, as far as it is known whose they are.
    pub(super) fn with_node(&self, id: NodeId) -> impl Iterator<Item = &Entry> {
        self.entries().filter(move |entry| entry.id == Some(id))
    }

    /// The sessions that are active and not ending.
    pub(super) fn live(&self) -> impl Iterator<Item = &PeerHandle> {
        self.entries().filter_map(Entry::live)
    }

    /// The session with this node that is active and not ending.
    pub(super) fn live_with(&self, id: NodeId) -> Option<&PeerHandle> {
        self.with_node(id).find_map(Entry::live)
    }

    /// Connections of one direction that are not active yet.
    pub(super) fn pending(&self, inbound: bool) -> usize {
        self.entries()
            .filter(|entry| {
                entry.dial.is_none() == inbound && !matches!(entry.stage, Stage::Active(_))
            })
            .count()
    }

    pub(super) fn is_full_for(&self, id: &NodeId) -> bool {
        !self.trusted.contains(id) && self.live().count() >= self.max_peers
    }

    /// The check before Hello, of the node that the remote of this connection claims to be, and after it (`is_last`), of the
    /// one that it proved to be.
    ///
    /// The first session that passes the last check stays. While both nodes dial each other, that could be one session here
    /// and the other there, and both would end; so the node with the smaller identity turns the remote's session away at the
    /// first check while its own is opening, and the other node does not.
    ///
    /// A session that is ending counts no more, but is waited for; unless `is_patient`, it counts.
    pub(super) fn check(
        &self,
        ticket: u64,
        id: NodeId,
        is_last: bool,
        is_patient: bool,
    ) -> Verdict {
        let others = || {
            self.entries
                .iter()
                .filter(|(other, _)| **other != ticket)
                .map(|(_, entry)| entry)
        };
        let mut waits = false;
        let mut blocks = |live: bool, all: bool| {
            waits |= all;
            live || (all && !is_patient)
        };
        let live = others().filter(|entry| entry.live().is_some()).count();
        let all = others().filter(|entry| entry.is_active()).count();
        if !self.trusted.contains(&id) && blocks(live >= self.max_peers, all >= self.max_peers) {
            return Verdict::Reject(DisconnectReason::TOO_MANY_PEERS);
        }
        let same = || others().filter(|entry| entry.id == Some(id));
        let live = same().any(|entry| entry.live().is_some());
        if blocks(live, same().any(Entry::is_active)) {
            return Verdict::Reject(DisconnectReason::ALREADY_CONNECTED);
        }
        let inbound = self
            .entries
            .get(&ticket)
            .is_some_and(|entry| entry.dial.is_none());
        let own_opens = || {
            same().any(|entry| {
                entry.dial.is_some() && matches!(entry.stage, Stage::Opening | Stage::Claimed)
            })
        };
        if !is_last && inbound && self.own < id && own_opens() {
            return Verdict::Reject(DisconnectReason::ALREADY_CONNECTED);
        }
        if id == self.own {
            return Verdict::Reject(DisconnectReason::SELF);
        }
        if waits { Verdict::Wait } else { Verdict::Admit }
    }
}

impl Entry {
    fn is_active(&self) -> bool {
        matches!(self.stage, Stage::Active(_))
    }

    /// Its session, if that is active and not ending.
    pub(super) fn live(&self) -> Option<&PeerHandle> {
        match &self.stage {
            Stage::Active(peer) if peer.close_reason().is_none() => Some(peer),
            _ => None,
        }
    }
}
