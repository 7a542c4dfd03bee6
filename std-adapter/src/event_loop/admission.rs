//! Who has a session and who may have one: the checks of [`Node`](crate::node::Node), each in constant time.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::NodeId;

use super::handle::Handle;

#[derive(Default)]
struct Known {
    /// The session that is active and not ending.
    live: Option<Handle>,
    /// Our dials to this node that are no session yet.
    dials: u32,
}

#[derive(Default)]
struct State {
    nodes: HashMap<NodeId, Known>,
    trusted: HashSet<NodeId>,
    live: usize,
    /// Connections that are no session yet: inbound, and dialled.
    pending: [usize; 2],
    /// The listener found no room for one more.
    refused: bool,
}

/// The table of one node, shared by its loops.
pub(super) struct Admission {
    own: NodeId,
    pub(super) max_peers: usize,
    pub(super) max_pending: usize,
    state: Mutex<State>,
}

impl Admission {
    pub(super) fn new(own: NodeId, max_peers: usize, max_pending: usize) -> Self {
        Self {
            own,
            max_peers,
            max_pending,
            state: Mutex::default(),
        }
    }

    pub(super) fn trust(&self, id: NodeId, trusted: bool) {
        let mut state = self.lock();
        if trusted {
            state.trusted.insert(id);
        } else {
            state.trusted.remove(&id);
        }
    }

    // ---- Connections that are no session yet ----

    /// Whether one more connection may be accepted. If not, [`take_refused`](Self::take_refused) tells of it.
    pub(super) fn has_room_inbound(&self) -> bool {
        let mut state = self.lock();
        let has_room = state.pending[0] < self.max_pending;
        state.refused |= !has_room;
        has_room
    }

    /// Whether the listener found no room and there is some now: then it is to be woken.
    pub(super) fn take_refused(&self) -> bool {
        let mut state = self.lock();
        let may_go_on = state.refused && state.pending[0] < self.max_pending;
        state.refused &= !may_go_on;
        may_go_on
    }

    /// Whether one more dial may begin.
    pub(super) fn has_room_to_dial(&self) -> bool {
        self.lock().pending[1] < self.max_pending
    }

    /// A connection opens; `dialled` names the node.
    pub(super) fn opens(&self, dialled: Option<NodeId>) {
        let mut state = self.lock();
        state.pending[usize::from(dialled.is_some())] += 1;
        if let Some(id) = dialled {
            state.nodes.entry(id).or_default().dials += 1;
        }
    }

    /// A connection became a session or ended: the counterpart of [`opens`](Self::opens).
    pub(super) fn opened(&self, dialled: Option<NodeId>) {
        let mut state = self.lock();
        let pending = &mut state.pending[usize::from(dialled.is_some())];
        *pending = pending.saturating_sub(1);
        if let Some(id) = dialled
            && let Some(known) = state.nodes.get_mut(&id)
        {
            known.dials = known.dials.saturating_sub(1);
            if known.dials == 0 && known.live.is_none() {
                state.nodes.remove(&id);
            }
        }
    }

    // ---- Checks ----

    /// The check before Hello. While both nodes dial each other, the node with the smaller identity turns the remote's
    /// session away while its own opens, and the other node does not: so one session stays.
    pub(super) fn check(&self, id: NodeId, inbound: bool) -> Result<(), DisconnectReason> {
        let state = self.lock();
        self.check_locked(&state, id)?;
        let own_opens = state.nodes.get(&id).is_some_and(|known| known.dials > 0);
        if inbound && self.own < id && own_opens {
            return Err(DisconnectReason::ALREADY_CONNECTED);
        }
        Ok(())
    }

    /// The check after Hello; if it is passed, the session is in the table.
    pub(super) fn activate(&self, handle: &Handle) -> Result<(), DisconnectReason> {
        let mut state = self.lock();
        self.check_locked(&state, handle.id())?;
        state.nodes.entry(handle.id()).or_default().live = Some(handle.clone());
        state.live += 1;
        Ok(())
    }

    fn check_locked(&self, state: &State, id: NodeId) -> Result<(), DisconnectReason> {
        if !state.trusted.contains(&id) && state.live >= self.max_peers {
            return Err(DisconnectReason::TOO_MANY_PEERS);
        }
        if state
            .nodes
            .get(&id)
            .is_some_and(|known| known.live.is_some())
        {
            return Err(DisconnectReason::ALREADY_CONNECTED);
        }
        if id == self.own {
            return Err(DisconnectReason::SELF);
        }
        Ok(())
    }

    /// Whether there are as many sessions as may be, for this node.
    pub(super) fn is_full_for(&self, id: &NodeId) -> bool {
        let state = self.lock();
        !state.trusted.contains(id) && state.live >= self.max_peers
    }

    /// The session is ending: it counts no more. Once for each that [`activate`](Self::activate) let in.
    pub(super) fn ends(&self, id: NodeId) {
        let mut state = self.lock();
        let Some(known) = state.nodes.get_mut(&id) else {
            return;
        };
        let was_live = known.live.take();
        if known.dials == 0 {
            state.nodes.remove(&id);
        }
        state.live -= usize::from(was_live.is_some());
        drop(state);
        drop(was_live);
    }

    // ---- Who is there ----

    pub(super) fn live(&self) -> usize {
        self.lock().live
    }

    pub(super) fn peer(&self, id: &NodeId) -> Option<Handle> {
        self.lock().nodes.get(id)?.live.clone()
    }

    pub(super) fn peers(&self) -> Vec<Handle> {
        let state = self.lock();
        let handles = state.nodes.values();
        handles.filter_map(|known| known.live.clone()).collect()
    }

    /// No code of the user runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
