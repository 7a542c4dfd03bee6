//! With whom a node has sessions and whom it dials, and the checks that a remote must pass.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::NodeId;

use super::dialling::Outcome;
use super::error::DialError;
use super::service::Remote;
use crate::enode::Enode;

/// A dial that has made no session yet: one for each node at most.
pub(super) struct Dial<P> {
    /// Of its connection.
    pub(super) ticket: u64,
    pub(super) stage: DialStage,
    pub(super) outcome: Arc<Outcome<P>>,
}

pub(super) enum DialStage {
    /// A session with this node is ending: it is dialled after that.
    Held(Enode),
    /// There is no connection yet.
    Connecting,
    /// The connection is there, and its session opens.
    Opening,
    /// The remote said that there is a session, or will be, by this error: that is waited for.
    Awaiting(DialError),
}

struct Known<P> {
    /// The session that is active, and the ticket of its connection.
    live: Option<(u64, P)>,
    /// Sessions that are ending and not over.
    ending: u32,
    dial: Option<Dial<P>>,
}

/// All nodes with which there is a session or a dial.
pub(super) struct Table<P> {
    own: NodeId,
    pub(super) max_peers: usize,
    pub(super) trusted: HashSet<NodeId>,
    nodes: HashMap<NodeId, Known<P>>,
    /// Nodes with a session, and with a dial that counts as pending.
    live: usize,
    dialling: usize,
}

impl<P: Remote> Table<P> {
    pub(super) fn new(own: NodeId, max_peers: usize, trusted: HashSet<NodeId>) -> Self {
        Self {
            own,
            max_peers,
            trusted,
            nodes: HashMap::new(),
            live: 0,
            dialling: 0,
        }
    }

    fn known(&mut self, id: NodeId) -> &mut Known<P> {
        self.nodes.entry(id).or_insert_with(|| Known {
            live: None,
            ending: 0,
            dial: None,
        })
    }

    /// Forgets a node of which nothing is left.
    fn tidy(&mut self, id: &NodeId) {
        let is_idle =
            |known: &Known<P>| known.live.is_none() && known.ending == 0 && known.dial.is_none();
        if self.nodes.get(id).is_some_and(is_idle) {
            self.nodes.remove(id);
        }
    }

    // ---- Who is there ----

    /// The sessions that are active and not ending.
    pub(super) fn peers(&self) -> impl Iterator<Item = &P> {
        let live = self.nodes.values().filter_map(|known| known.live.as_ref());
        live.map(|(_, peer)| peer).filter(|peer| !peer.is_ending())
    }

    /// The active session with this node.
    pub(super) fn peer(&self, id: &NodeId) -> Option<&P> {
        let (_, peer) = self.nodes.get(id)?.live.as_ref()?;
        (!peer.is_ending()).then_some(peer)
    }

    /// Whether a session with this node is ending.
    pub(super) fn is_ending(&self, id: &NodeId) -> bool {
        self.peer(id).is_none()
            && (self.nodes.get(id)).is_some_and(|known| known.live.is_some() || known.ending > 0)
    }

    /// Whether there are as many sessions as may be, for this node.
    pub(super) fn is_full_for(&self, id: &NodeId) -> bool {
        // Those that are ending and not told so are looked for only where it matters.
        self.live >= self.max_peers
            && !self.trusted.contains(id)
            && self.peers().count() >= self.max_peers
    }

    // ---- Checks ----

    /// The check before Hello, of the node that a remote claims to be. While both nodes dial each other, the node with the
    /// smaller identity turns the remote's connection away while its own opens, and the other node does not: so one stays.
    pub(super) fn check_claim(&self, id: NodeId, inbound: bool) -> Result<(), DisconnectReason> {
        self.check(&id)?;
        let dial = self.nodes.get(&id).and_then(|known| known.dial.as_ref());
        let opens = dial.is_some_and(|dial| matches!(dial.stage, DialStage::Opening));
        match inbound && self.own < id && opens {
            true => Err(DisconnectReason::ALREADY_CONNECTED),
            false => Ok(()),
        }
    }

    fn check(&self, id: &NodeId) -> Result<(), DisconnectReason> {
        if self.is_full_for(id) {
            return Err(DisconnectReason::TOO_MANY_PEERS);
        }
        if self.peer(id).is_some() {
            return Err(DisconnectReason::ALREADY_CONNECTED);
        }
        if *id == self.own {
            return Err(DisconnectReason::SELF);
        }
        Ok(())
    }

    /// The check after Hello; if it is passed, the session is in the table. Returns the dial of this node, which is over, unless
    /// it has another connection: that one ends by itself.
    pub(super) fn activate(
        &mut self,
        ticket: u64,
        peer: &P,
    ) -> Result<Option<Dial<P>>, DisconnectReason> {
        let id = peer.id();
        self.check(&id)?;
        let known = self.known(id);
        if known.live.replace((ticket, peer.clone())).is_some() {
            known.ending += 1;
        } else {
            self.live += 1;
        }
        let dial = self.nodes.get(&id).and_then(|known| known.dial.as_ref());
        let opens_another = dial
            .is_some_and(|dial| matches!(dial.stage, DialStage::Opening) && dial.ticket != ticket);
        Ok(match opens_another {
            true => None,
            false => self.take_dial(&id, None),
        })
    }

    /// The session is ending: it counts no more.
    pub(super) fn ends(&mut self, ticket: u64, id: &NodeId) {
        if let Some(known) = self.nodes.get_mut(id)
            && known.live.as_ref().is_some_and(|(live, _)| *live == ticket)
        {
            known.live = None;
            known.ending += 1;
            self.live -= 1;
        }
    }

    /// The session is over.
    pub(super) fn closed(&mut self, ticket: u64, id: &NodeId) {
        self.ends(ticket, id);
        if let Some(known) = self.nodes.get_mut(id) {
            known.ending = known.ending.saturating_sub(1);
        }
        self.tidy(id);
    }

    // ---- Dials ----

    /// Dials that have made no session yet, those apart that only wait for one.
    pub(super) fn dialling(&self) -> usize {
        self.dialling
    }

    pub(super) fn dial(&mut self, id: &NodeId) -> Option<&mut Dial<P>> {
        self.nodes.get_mut(id)?.dial.as_mut()
    }

    pub(super) fn add_dial(&mut self, id: NodeId, dial: Dial<P>) {
        self.known(id).dial = Some(dial);
        self.dialling += 1;
    }

    /// The dial is over as such: its connection ended, and what it waits for is a session that others make.
    pub(super) fn await_session(&mut self, id: &NodeId, error: DialError) {
        if let Some(dial) = self.dial(id) {
            dial.stage = DialStage::Awaiting(error);
            self.dialling -= 1;
        }
    }

    /// Takes out the dial of this node, if it has this ticket.
    pub(super) fn take_dial(&mut self, id: &NodeId, ticket: Option<u64>) -> Option<Dial<P>> {
        let known = self.nodes.get_mut(id)?;
        let is_it = |dial: &mut Dial<P>| ticket.is_none_or(|ticket| dial.ticket == ticket);
        let dial = known.dial.take_if(is_it)?;
        if !matches!(dial.stage, DialStage::Awaiting(..)) {
            self.dialling -= 1;
        }
        self.tidy(id);
        Some(dial)
    }

    /// Takes out every dial.
    pub(super) fn take_dials(&mut self) -> Vec<Dial<P>> {
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        let dials = ids.iter().filter_map(|id| self.take_dial(id, None));
        dials.collect()
    }
}
