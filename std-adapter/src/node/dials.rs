//! The dials of a node: when they begin, what becomes of them, and which sessions answer them.

use std::net::TcpStream;
use std::sync::Arc;

use devp2p_core::hello::NodeId;
use devp2p_core::time::{Instant, PollAt};

use super::connector::Command;
use super::dialling::{Dialling, Outcome};
use super::error::DialError;
use super::service::Service;
use super::shared::{Shared, State};
use super::table::{Dial, DialStage};
use crate::enode::Enode;

impl<S: Service> Shared<S> {
    /// Dials this node, or joins the dial or the session that there is.
    pub(super) fn dial(&self, enode: Enode) -> Result<Dialling<S::Peer>, DialError> {
        let id = enode.id;
        let mut state = self.lock();
        if let Some(dialling) = self.find(&mut state, &id)? {
            return Ok(dialling);
        }
        let ticket = state.ticket();
        let stage = match state.table.is_ending(&id) {
            true => DialStage::Held(enode),
            false => state.connect(ticket, enode),
        };
        let dialling = state.add_dial(id, ticket, stage);
        self.unlock(state);
        Ok(dialling)
    }

    /// Begins a session over a connection that was made to this node, unless there is a dial or a session already.
    pub(super) fn dial_over(
        self: &Arc<Self>,
        stream: TcpStream,
        id: NodeId,
    ) -> Result<Dialling<S::Peer>, DialError> {
        let mut state = self.lock();
        if let Some(dialling) = self.find(&mut state, &id)? {
            return Ok(dialling);
        }
        let ticket = state.ticket();
        let dialling = state.add_dial(id, ticket, DialStage::Connecting);
        self.open_dialled(&mut state, ticket, id, stream);
        self.unlock(state);
        Ok(dialling)
    }

    /// The dial or the session that there is with this node; `None` if it may be dialled.
    fn find(
        &self,
        state: &mut State<S>,
        id: &NodeId,
    ) -> Result<Option<Dialling<S::Peer>>, DialError> {
        if self.is_closing() {
            return Err(DialError::ShutDown);
        }
        if *id == self.host.id() {
            return Err(DialError::ToSelf);
        }
        if let Some(peer) = state.table.peer(id) {
            let outcome = Outcome::new(Some(Ok(peer.clone())));
            return Ok(Some(Dialling(Arc::new(outcome))));
        }
        if let Some(dial) = state.table.dial(id) {
            return Ok(Some(Dialling(Arc::clone(&dial.outcome))));
        }
        if state.table.is_full_for(id) {
            return Err(DialError::TooManyPeers(state.table.max_peers));
        }
        if state.table.dialling() >= self.max_pending {
            return Err(DialError::TooManyPending(self.max_pending));
        }
        Ok(None)
    }

    /// The connection of a dial is made: its session opens, unless the dial was called off.
    pub(super) fn open_dialled(
        self: &Arc<Self>,
        state: &mut State<S>,
        ticket: u64,
        id: NodeId,
        stream: TcpStream,
    ) {
        match state.table.dial(&id) {
            Some(dial) if dial.ticket == ticket && !self.is_closing() => {
                dial.stage = DialStage::Opening;
            }
            _ => return,
        }
        if let Ok(address) = stream.peer_addr() {
            state.remember(id, address.ip());
        }
        if let Err(error) = self.open(state, ticket, stream, Some(id)) {
            self.dial_ended(state, ticket, &id, DialError::System(Arc::new(error)));
        }
    }

    /// A dial made no session.
    pub(super) fn dial_ended(
        &self,
        state: &mut State<S>,
        ticket: u64,
        id: &NodeId,
        error: DialError,
    ) {
        let now = self.now();
        if error.is_already_connected() && !self.is_closing() {
            let live = state.table.peer(id).cloned();
            let dial = state.table.dial(id).filter(|dial| dial.ticket == ticket);
            match (live, dial) {
                (_, None) => return,
                (Some(peer), Some(dial)) => dial.outcome.tell(Ok(peer)),
                // Without a listener there is no session but those that are dialled here.
                (None, Some(_)) if self.local_addr.is_some() || !state.pending.is_empty() => {
                    let until = now.saturating_add(self.host.config.handshake_timeout);
                    state.table.await_session(id, error);
                    state.awaiting.push_back((until, *id, ticket));
                    state.wakes = true;
                    return;
                }
                _ => {}
            }
        }
        self.fail_dial(state, ticket, id, error, now);
    }

    fn fail_dial(
        &self,
        state: &mut State<S>,
        ticket: u64,
        id: &NodeId,
        error: DialError,
        now: Instant,
    ) {
        if let Some(dial) = state.table.take_dial(id, Some(ticket)) {
            log::debug!("dialling {id}: {error}");
            dial.outcome.tell(Err(error));
            state.schedule.dial_failed(id, now);
            state.wakes = true;
        }
    }

    /// Does what is due of dials; returns when to be called next.
    pub(super) fn poll_dials(&self) -> PollAt {
        let now = self.now();
        let mut state = self.lock();
        while let Some(&(until, id, ticket)) = state.awaiting.front()
            && until <= now
        {
            state.awaiting.pop_front();
            if let Some(dial) = state.table.dial(&id)
                && let DialStage::Awaiting(error) = &dial.stage
            {
                let error = error.clone();
                self.fail_dial(&mut state, ticket, &id, error, now);
            }
        }
        while let Some(enode) = state.schedule.next_due(now) {
            let id = enode.id;
            drop(state);
            // One that joins another dial hears of its end as well.
            let failed = self.dial(enode).is_err();
            state = self.lock();
            if failed {
                state.schedule.dial_failed(&id, now);
            } else if state.table.peer(&id).is_some() {
                state.schedule.connected(&id, now);
            }
        }
        let awaiting = state.awaiting.front().map(|(until, ..)| *until);
        awaiting
            .map_or(PollAt::Idle, PollAt::At)
            .min(state.schedule.poll_at())
    }
}

impl<S: Service> State<S> {
    fn connect(&mut self, ticket: u64, enode: Enode) -> DialStage {
        self.command(Command::Connect(ticket, enode));
        DialStage::Connecting
    }

    fn add_dial(&mut self, id: NodeId, ticket: u64, stage: DialStage) -> Dialling<S::Peer> {
        let outcome = Arc::new(Outcome::new(None));
        let dialling = Dialling(Arc::clone(&outcome));
        let dial = Dial {
            ticket,
            stage,
            outcome,
        };
        self.table.add_dial(id, dial);
        dialling
    }

    /// A session with this node is over: the dial that waited for that begins.
    pub(super) fn release(&mut self, id: &NodeId) {
        if self.table.is_ending(id) {
            return;
        }
        let Some(dial) = self.table.dial(id) else {
            return;
        };
        if let DialStage::Held(enode) = &dial.stage {
            let (ticket, enode) = (dial.ticket, enode.clone());
            dial.stage = DialStage::Connecting;
            self.command(Command::Connect(ticket, enode));
        }
    }
}
