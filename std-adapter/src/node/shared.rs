//! What the threads of a node share: its connections, their admission, its dials, and their end.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, mem};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::NodeId;
use devp2p_core::time::Instant;

use super::connector::Command;
use super::dialling::Outcome;
use super::error::DialError;
use super::pending::Pending;
use super::schedule::DialSchedule;
use super::service::{Remote, Service};
use super::table::{DialStage, Table};
use crate::enode::Host as Name;
use crate::host::Host;
use crate::session::Report;
use crate::throttle::InboundThrottle;
use crate::time::to_std_duration;

/// What the threads of a node share.
pub struct Shared<S: Service> {
    pub(crate) host: Arc<Host<S>>,
    pub(crate) service: S,
    pub(super) max_pending: usize,
    /// How long looking up and connecting may take together.
    pub(super) dial_timeout: Duration,
    pub(super) local_addr: Option<SocketAddr>,
    /// Of the connector.
    waker: mio::Waker,
    is_closing: AtomicBool,
    state: Mutex<State<S>>,
    /// Notified, while the node shuts down, when a connection is over.
    changed: Condvar,
}

pub(super) struct State<S: Service> {
    pub(super) table: Table<S::Peer>,
    pub(super) pending: Pending,
    pub(super) schedule: DialSchedule,
    throttle: InboundThrottle,
    connections: HashMap<u64, Connection<S>>,
    next_ticket: u64,
    /// Where static and trusted peers were reached last, or came from.
    addresses: HashMap<NodeId, IpAddr>,
    /// Dials that wait for a session, in the order of their deadlines.
    pub(super) awaiting: VecDeque<(Instant, NodeId, u64)>,
    /// What the connector is to do.
    commands: Vec<Command>,
    /// The connector is to look, once the lock is released.
    pub(super) wakes: bool,
    /// Sessions that ended while shutting down.
    reports: Vec<Report>,
    /// The thread that ended last. The next one to end joins it, so that at most one waits to be joined.
    ended: Option<JoinHandle<()>>,
}

/// A connection that was given to the service.
struct Connection<S: Service> {
    dialled: Option<NodeId>,
    /// The remote, once a frame proved who it is and it was admitted.
    active: Option<NodeId>,
    /// Those who wait for its session, until it has begun.
    outcome: Option<Arc<Outcome<S::Peer>>>,
    abort: S::Abort,
    thread: Option<JoinHandle<()>>,
}

/// What a node is set to.
pub(super) struct Limits {
    pub(super) max_pending: usize,
    pub(super) dial_timeout: Duration,
}

impl<S: Service> Shared<S> {
    pub(super) fn new(
        host: Arc<Host<S>>,
        service: S,
        limits: &Limits,
        local_addr: Option<SocketAddr>,
        waker: mio::Waker,
        (table, schedule, throttle): (Table<S::Peer>, DialSchedule, InboundThrottle),
    ) -> Self {
        Self {
            host,
            service,
            max_pending: limits.max_pending,
            dial_timeout: limits.dial_timeout,
            local_addr,
            waker,
            is_closing: AtomicBool::new(false),
            state: Mutex::new(State {
                table,
                pending: Pending::new(limits.max_pending),
                schedule,
                throttle,
                connections: HashMap::new(),
                next_ticket: 0,
                addresses: HashMap::new(),
                awaiting: VecDeque::new(),
                commands: Vec::new(),
                wakes: false,
                reports: Vec::new(),
                ended: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// No code of the user runs under this lock. A session's locks come after it.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks, and wakes the connector if it has something to do.
    pub(super) fn unlock(&self, mut state: MutexGuard<'_, State<S>>) {
        let wakes = mem::take(&mut state.wakes);
        drop(state);
        if wakes && let Err(error) = self.waker.wake() {
            log::error!("the thread that connects could not be woken: {error}");
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.host.clock.now()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    pub(super) fn command(&self, command: Command) {
        let mut state = self.lock();
        state.command(command);
        self.unlock(state);
    }

    pub(super) fn take_commands(&self) -> Vec<Command> {
        mem::take(&mut self.lock().commands)
    }

    // ---- Inbound connections begin ----

    pub(super) fn open(
        self: &Arc<Self>,
        state: &mut State<S>,
        ticket: u64,
        stream: TcpStream,
        dialled: Option<NodeId>,
    ) -> io::Result<()> {
        let (abort, thread) = S::open(self, ticket, stream, dialled)?;
        let connection = Connection {
            dialled,
            active: None,
            outcome: None,
            abort,
            thread,
        };
        state.connections.insert(ticket, connection);
        Ok(())
    }

    /// Whether one more connection may be accepted.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        !self.is_closing() && self.lock().pending.has_room(now)
    }

    /// A connection was accepted: its ticket, and that of the one that gives way to it; `None` if it is refused.
    pub(super) fn arrive(&self, remote: SocketAddr) -> Option<(u64, Option<u64>)> {
        let (now, address) = (self.now(), remote.ip().to_canonical());
        let mut state = self.lock();
        let known = state.is_known(address);
        if !known && !state.throttle.admit(address, now) {
            log::debug!("refusing {remote}: too many attempts from its range of addresses");
            return None;
        }
        let ticket = state.ticket();
        match state.pending.arrive(ticket, address, known, now) {
            Ok(evicted) => Some((ticket, evicted)),
            Err(()) => {
                log::debug!("refusing {remote}: too many connections from its range of addresses");
                None
            }
        }
    }

    /// A connection that was accepted opens.
    pub(super) fn open_inbound(self: &Arc<Self>, ticket: u64, stream: TcpStream) -> io::Result<()> {
        let mut state = self.lock();
        match self.is_closing() {
            true => Ok(()),
            false => self.open(&mut state, ticket, stream, None),
        }
    }

    /// A connection that opens gives way to another one.
    pub(super) fn give_way(&self, ticket: u64) {
        let state = self.lock();
        let connection = state.connections.get(&ticket);
        let abort = connection.map(|connection| connection.abort.clone());
        drop(state);
        if let Some(abort) = abort {
            log::debug!("a connection that sent no packet that opens gives way");
            let reason = DisconnectReason::TOO_MANY_PEERS;
            self.service.abort(ticket, abort, reason);
        }
    }

    /// Begins a session over a connection that the remote made, which the program accepted.
    pub(super) fn accept(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let mut state = self.lock();
        let ticket = state.ticket();
        state.pending.open(ticket, self.now());
        drop(state);
        let opened = self.open_inbound(ticket, stream);
        if opened.is_err() {
            self.lock().pending.leave(ticket);
        }
        opened
    }

    // ---- The service's side ----

    /// The check before Hello, of who the remote of this connection claims to be: it changes nothing but what the connection
    /// itself counts for.
    pub(crate) fn claims(&self, ticket: u64, id: NodeId) -> Result<(), DisconnectReason> {
        let now = self.now();
        let mut state = self.lock();
        if self.is_closing() {
            return Err(DisconnectReason::CLIENT_QUITTING);
        }
        state.pending.on_claim(ticket, now);
        let inbound = (state.connections.get(&ticket)).is_none_or(|c| c.dialled.is_none());
        let checked = state.table.check_claim(id, inbound);
        drop(state);
        if let Err(reason) = checked {
            log::debug!("not admitting who claims to be {id}: {reason}");
        }
        checked
    }

    /// The check after Hello, which proved who the remote is; if it is passed, the session is in the table.
    pub(crate) fn activate(&self, ticket: u64, peer: &S::Peer) -> Result<(), DisconnectReason> {
        let (id, now) = (peer.id(), self.now());
        let mut state = self.lock();
        if self.is_closing() {
            return Err(DisconnectReason::CLIENT_QUITTING);
        }
        let dial = match state.table.activate(ticket, peer) {
            Ok(dial) => dial,
            Err(reason) => {
                drop(state);
                log::debug!("not admitting {id}: {reason}");
                return Err(reason);
            }
        };
        let (trusted, is_static) = (
            state.table.trusted.contains(&id),
            state.schedule.contains(&id),
        );
        peer.mark(Some(trusted), Some(is_static));
        state.schedule.connected(&id, now);
        if let Some(address) = peer.remote_addr() {
            state.remember(id, address.ip());
        }
        if let Some(dial) = &dial
            && dial.ticket != ticket
            && matches!(dial.stage, DialStage::Connecting)
        {
            state.command(Command::CallOff(dial.ticket));
        }
        let outcome = match dial {
            Some(dial) => Some(dial.outcome),
            // Its dial has another connection, which ends.
            None => (state.table.dial(&id)).map(|dial| Arc::clone(&dial.outcome)),
        };
        if let Some(connection) = state.connections.get_mut(&ticket) {
            connection.active = Some(id);
            connection.outcome = outcome;
        }
        if state.pending.leave(ticket) {
            state.wakes = true;
        }
        self.unlock(state);
        Ok(())
    }

    /// The session has begun: those who wait for it get it.
    pub(crate) fn begun(&self, ticket: u64, peer: &S::Peer) {
        let mut state = self.lock();
        let connection = state.connections.get_mut(&ticket);
        let outcome = connection.and_then(|connection| connection.outcome.take());
        drop(state);
        if let Some(outcome) = outcome {
            outcome.tell(Ok(peer.clone()));
        }
    }

    /// The session is ending: it counts no more.
    pub(crate) fn ends(&self, ticket: u64, id: &NodeId) {
        self.lock().table.ends(ticket, id);
    }

    /// The connection is over. A thread that ends with it, and which nobody else joins, is joined by the next one that does so.
    pub(crate) fn close(
        &self,
        ticket: u64,
        result: Result<Report, DialError>,
        thread: Option<JoinHandle<()>>,
    ) {
        let now = self.now();
        let mut state = self.lock();
        let Some(connection) = state.connections.remove(&ticket) else {
            return;
        };
        if state.pending.leave(ticket) {
            state.wakes = true;
        }
        let error = match &result {
            Ok(report) => DialError::Closed(report.reason),
            Err(error) => error.clone(),
        };
        if let Some(id) = connection.active {
            state.table.closed(ticket, &id);
            if state.table.peer(&id).is_none() {
                state.schedule.session_ended(&id, now);
                state.wakes |= state.schedule.contains(&id);
            }
            if let Some(outcome) = connection.outcome {
                outcome.tell(Err(error));
            }
            state.release(&id);
        } else if let Some(id) = connection.dialled {
            self.dial_ended(&mut state, ticket, &id, error);
        }
        if let Ok(report) = result
            && self.is_closing()
            && report.was_active
        {
            state.reports.push(report);
        }
        let thread = thread.or(connection.thread);
        let previous = match thread {
            Some(thread) => state.ended.replace(thread),
            None => None,
        };
        self.unlock(state);
        if self.is_closing() {
            self.changed.notify_all();
        }
        if let Some(previous) = previous {
            // It caught its panics.
            let _ = previous.join();
        }
    }

    /// The connection goes on without the thread that opened it: one that can be joined keeps its stack.
    pub(crate) fn detach(&self, ticket: u64) {
        if let Some(connection) = self.lock().connections.get_mut(&ticket) {
            connection.thread = None;
        }
    }

    // ---- The end ----

    /// Nothing new begins, and everything that there is ends.
    pub(super) fn begin_shutdown(&self) {
        let mut state = self.lock();
        if self.is_closing.swap(true, Ordering::AcqRel) {
            return;
        }
        let dials = state.table.take_dials();
        let connections = state.connections.iter();
        let connections = connections.map(|(ticket, c)| (*ticket, c.abort.clone()));
        let connections = connections.collect();
        state.wakes = true;
        self.unlock(state);
        for dial in dials {
            dial.outcome.tell(Err(DialError::ShutDown));
        }
        self.service.shut_down(connections);
    }

    /// Waits for every connection to be over: returns the sessions that ended, and how many connections did not within `limit`.
    pub(super) fn wait_for_all(&self, limit: Duration) -> (Vec<Report>, usize) {
        let deadline = std::time::Instant::now() + limit;
        let mut state = self.lock();
        while !state.connections.is_empty() {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let unfinished = state.connections.len();
        let reports = mem::take(&mut state.reports);
        let ended = state.ended.take();
        drop(state);
        if let Some(ended) = ended {
            let _ = ended.join();
        }
        (reports, unfinished)
    }

    pub(super) fn closing_timeout(&self) -> Duration {
        to_std_duration(self.host.config.closing_timeout)
    }
}

impl<S: Service> State<S> {
    /// Names the next connection.
    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    pub(super) fn command(&mut self, command: Command) {
        self.commands.push(command);
        self.wakes = true;
    }

    /// Whether a static or trusted peer is at this address, as far as is known.
    fn is_known(&self, address: IpAddr) -> bool {
        self.addresses.values().any(|known| *known == address)
            || self.schedule.enodes().any(|enode| match &enode.host {
                Name::Ip(ip) => ip.to_canonical() == address,
                Name::Name(_) => false,
            })
    }

    pub(super) fn remember(&mut self, id: NodeId, address: IpAddr) {
        if self.schedule.contains(&id) || self.table.trusted.contains(&id) {
            self.addresses.insert(id, address.to_canonical());
        }
    }

    /// This node is no longer static, or no longer trusted.
    pub(super) fn forget(&mut self, id: &NodeId) {
        if !self.schedule.contains(id) && !self.table.trusted.contains(id) {
            self.addresses.remove(id);
        }
    }
}
