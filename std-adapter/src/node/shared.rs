//! What the threads of a node share: its connections, their admission and their end.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::time::{self, PollAt};

use super::dial::LONGEST_DIAL;
use super::error::DialError;
use super::listener::Acceptor;
use super::schedule::DialSchedule;
use super::table::{Abort, Entry, Outcome, Stage, Table, Verdict};
use crate::enode::Enode;
use crate::host::Host;
use crate::peer::PeerHandle;
use crate::session::{Candidate, OPENING_STACK, Report, Session};
use crate::throttle::InboundThrottle;
use crate::time::to_std_duration;
use crate::timer::{Target, TimerId};

pub(super) struct Shared {
    pub(super) host: Arc<Host>,
    pub(super) max_peers: usize,
    pub(super) max_pending: usize,
    pub(super) dial_timeout: Duration,
    state: Mutex<State>,
    /// Notified whenever a connection changes its stage or ends.
    pub(super) changed: Condvar,
    /// Of the dial schedule.
    pub(super) timer: OnceLock<TimerId>,
    pub(super) listener: OnceLock<Arc<mio::Waker>>,
}

pub(super) struct State {
    pub(super) table: Table,
    pub(super) schedule: DialSchedule,
    pub(super) throttle: InboundThrottle,
    /// Shutting down: nothing new begins.
    pub(super) is_closing: bool,
    /// Of sessions that ended while shutting down.
    pub(super) reports: Vec<Report>,
    /// The thread that ended last. The next one to end joins it, so that at most one waits to be joined.
    pub(super) ended: Option<JoinHandle<()>>,
}

impl Shared {
    pub(super) fn new(
        host: Arc<Host>,
        (max_peers, max_pending): (usize, usize),
        dial_timeout: Duration,
        schedule: DialSchedule,
        throttle: InboundThrottle,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                table: Table::new(host.id(), max_peers),
                schedule,
                throttle,
                is_closing: false,
                reports: Vec::new(),
                ended: None,
            }),
            host,
            max_peers,
            max_pending,
            dial_timeout,
            changed: Condvar::new(),
            timer: OnceLock::new(),
            listener: OnceLock::new(),
        }
    }

    /// No code of the user runs under this lock, so a poisoned one is as good as new. A session's locks come after it.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait_timeout<'a>(
        &self,
        state: MutexGuard<'a, State>,
        limit: Duration,
    ) -> MutexGuard<'a, State> {
        let woken = self.changed.wait_timeout(state, limit);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    /// When a handshake that begins now must be over.
    pub(super) fn handshake_end(&self) -> Instant {
        let limit = to_std_duration(self.host.config.handshake_timeout);
        Instant::now() + limit.min(LONGEST_DIAL)
    }

    pub(super) fn now(&self) -> time::Instant {
        self.host.clock.now()
    }

    pub(super) fn closing_timeout(&self) -> Duration {
        to_std_duration(self.host.config.closing_timeout)
    }

    // ---- Connections begin ----

    /// Starts the thread that opens one connection. `run` either fails, or has the connection's end told to
    /// [`finish`](Self::finish).
    fn start(
        self: &Arc<Self>,
        state: &mut State,
        entry: Entry,
        run: impl FnOnce(&Arc<Self>, u64) -> Result<(), DialError> + Send + 'static,
    ) -> io::Result<()> {
        let shared = Arc::clone(self);
        let ticket = state.table.next_ticket();
        // Under the lock, so that the entry is there before the thread looks for it.
        let thread = thread::Builder::new()
            .name("devp2p-session".to_owned())
            .stack_size(OPENING_STACK)
            .spawn(
                move || match catch_unwind(AssertUnwindSafe(|| run(&shared, ticket))) {
                    Ok(Ok(())) => shared.detach(ticket),
                    Ok(Err(error)) => shared.finish(ticket, Some(Err(error)), None),
                    Err(_) => shared.finish(ticket, None, None),
                },
            )?;
        let thread = Some(thread);
        state.table.insert(ticket, Entry { thread, ..entry });
        Ok(())
    }

    /// The connection goes on without the thread that opened it, which is the caller: one that can be joined keeps its stack.
    fn detach(&self, ticket: u64) {
        if let Some(entry) = self.lock().table.get_mut(ticket) {
            entry.thread = None;
        }
    }

    /// Starts a dial of a node with which there is no connection.
    pub(super) fn start_dial(
        self: &Arc<Self>,
        state: &mut State,
        enode: Enode,
    ) -> Result<Arc<Outcome>, DialError> {
        if state.table.is_full_for(&enode.id) {
            return Err(DialError::TooManyPeers(self.max_peers));
        }
        if state.table.pending(false) >= self.max_pending {
            return Err(DialError::TooManyPending(self.max_pending));
        }
        let outcome = Arc::new(Outcome::new());
        let entry = Entry {
            dial: Some(Arc::clone(&outcome)),
            id: Some(enode.id),
            stage: Stage::Connecting,
            abort: None,
            thread: None,
        };
        self.start(state, entry, move |shared, ticket| {
            log::debug!("dialling {enode}");
            shared.run_dial(ticket, &enode)
        })
        .map_err(|error| DialError::System(Arc::new(error)))?;
        Ok(outcome)
    }

    /// Keeps what ends this connection from outside; false if it is to end already.
    pub(super) fn set_abort(&self, ticket: u64, abort: Abort) -> bool {
        let mut state = self.lock();
        let Some(entry) = state.table.get_mut(ticket) else {
            return false;
        };
        if let Abort::Session(_) = abort {
            entry.stage = Stage::Opening;
        }
        entry.abort = Some(abort);
        let dialled = entry.id.filter(|_| entry.dial.is_some());
        let gives_way = dialled.is_some_and(|id| state.table.live_with(id).is_some());
        !state.is_closing && !gives_way
    }

    /// The connection is made and its handshake begins, unless it was called off.
    pub(super) fn open(&self, ticket: u64, session: &Session) -> Result<(), DialError> {
        match self.set_abort(ticket, Abort::Session(session.stopper())) {
            true => Ok(()),
            false => Err(self.called_off()),
        }
    }

    /// Runs the session; its end is told to [`finish`](Self::finish), as `outcome` sees it.
    pub(super) fn run(
        self: &Arc<Self>,
        ticket: u64,
        session: Session,
        outcome: impl FnOnce(Report) -> Result<Report, DialError> + Send + 'static,
    ) {
        let shared = Arc::clone(self);
        session.run_detached(
            |candidate| self.admit(ticket, candidate),
            move |report, thread| shared.finish(ticket, report.ok().map(outcome), thread),
        );
    }

    /// Why a dial was called off.
    pub(super) fn called_off(&self) -> DialError {
        match self.lock().is_closing {
            true => DialError::ShutDown,
            false => DialError::GaveWay,
        }
    }

    // ---- Admission ----

    /// The checks before and after Hello. While a session that is ending is in the way, waits for its end.
    pub(super) fn admit(&self, ticket: u64, candidate: &Candidate) -> Result<(), DisconnectReason> {
        let id = candidate.id;
        let is_last = candidate.peer.is_some();
        let patience = Instant::now() + 2 * self.closing_timeout();
        let mut state = self.lock();
        loop {
            if state.is_closing {
                return Err(DisconnectReason::CLIENT_QUITTING);
            }
            let left = patience.saturating_duration_since(Instant::now());
            match state.table.check(ticket, id, is_last, !left.is_zero()) {
                Verdict::Admit => break,
                Verdict::Wait => state = self.wait_timeout(state, left),
                Verdict::Reject(reason) => {
                    drop(state);
                    match is_last {
                        true => log::debug!("not admitting {id}: {reason}"),
                        false => log::debug!("not admitting who claims to be {id}: {reason}"),
                    }
                    return Err(reason);
                }
            }
        }
        let dials = match &candidate.peer {
            Some(peer) => self.activate(&mut state, ticket, peer),
            None => {
                // Anyone can claim an identity: until a frame proves it, no other connection is touched.
                if let Some(entry) = state.table.get_mut(ticket) {
                    entry.stage = Stage::Claimed;
                }
                Vec::new()
            }
        };
        drop(state);
        self.changed.notify_all();
        self.wake_listener();
        dials
            .into_iter()
            .for_each(|dial| dial.call(DisconnectReason::ALREADY_CONNECTED));
        Ok(())
    }

    /// The last check is passed. Every dial of this node has its session; returns those that have no connection yet, which
    /// give way.
    fn activate(&self, state: &mut State, ticket: u64, peer: &PeerHandle) -> Vec<Abort> {
        let inner = &peer.inner;
        let id = inner.id;
        let trusted = state.table.trusted.contains(&id);
        inner.trusted.store(trusted, Ordering::Relaxed);
        let is_static = state.schedule.contains(&id);
        inner.is_static.store(is_static, Ordering::Relaxed);
        state.schedule.connected(&id, self.now());
        if let Some(entry) = state.table.get_mut(ticket) {
            entry.id = Some(id);
            entry.stage = Stage::Active(peer.clone());
        }
        for outcome in (state.table.with_node(id)).filter_map(|entry| entry.dial.as_ref()) {
            // Set once: here, or at the end of a dial that did not come here.
            let _ = outcome.set(Ok(peer.clone()));
        }
        let gives_way = |entry: &&Entry| matches!(entry.stage, Stage::Connecting);
        let dials = state.table.with_node(id).filter(gives_way);
        dials.filter_map(|entry| entry.abort.clone()).collect()
    }

    // ---- Connections end ----

    /// The last act of a connection's last thread: itself, unless that is the one that opened it.
    pub(super) fn finish(
        &self,
        ticket: u64,
        result: Option<Result<Report, DialError>>,
        thread: Option<JoinHandle<()>>,
    ) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let entry = state.table.remove(ticket);
        let now = self.now();
        if let Some((entry, id)) = entry.as_ref().and_then(|entry| Some((entry, entry.id?))) {
            if let Stage::Active(_) = entry.stage {
                state.schedule.session_ended(&id, now);
            } else if let Some(outcome) = &entry.dial {
                let error = match &result {
                    Some(Err(error)) => error.clone(),
                    _ => DialError::GaveWay,
                };
                log::debug!("dialling {id}: {error}");
                let _ = outcome.set(Err(error));
                state.schedule.dial_failed(&id, now);
            }
        }
        if result.is_none() {
            log::error!("the thread of a session panicked");
        }
        if let Some(Ok(report)) = result
            && state.is_closing
            && report.was_active
        {
            state.reports.push(report);
        }
        let thread = thread.or(entry.and_then(|entry| entry.thread));
        let previous = std::mem::replace(&mut state.ended, thread);
        let poll_at = state.schedule.poll_at();
        drop(guard);
        self.changed.notify_all();
        self.wake_listener();
        self.set_timer(poll_at);
        if let Some(previous) = previous {
            // It caught its panics.
            let _ = previous.join();
        }
    }

    /// An inbound connection less that is pending: the listener may go on.
    pub(super) fn wake_listener(&self) {
        if let Some(waker) = self.listener.get()
            && let Err(error) = waker.wake()
        {
            log::error!("the listener could not be woken: {error}");
        }
    }

    pub(super) fn set_timer(&self, at: PollAt) {
        if let Some(timer) = self.timer.get() {
            self.host.timekeeper.set(timer, at);
        }
    }
}

/// The deadlines of the dial schedule.
pub(super) struct Redials(pub(super) Arc<Shared>);

impl Target for Redials {
    fn on_timer(&self, now: time::Instant) -> PollAt {
        let shared = &self.0;
        let mut guard = shared.lock();
        let state = &mut *guard;
        if state.is_closing {
            return PollAt::Idle;
        }
        while let Some(enode) = state.schedule.next_due(now) {
            let id = enode.id;
            // Some connection may be opening already; if that fails, the next turn dials.
            let is_known = state.table.with_node(id).next().is_some();
            if is_known || shared.start_dial(state, enode).is_err() {
                state.schedule.dial_failed(&id, now);
            }
        }
        state.schedule.poll_at()
    }
}

impl Acceptor for Arc<Shared> {
    fn is_open(&self) -> bool {
        !self.lock().is_closing
    }

    fn has_room(&self) -> bool {
        self.lock().table.pending(true) < self.max_pending
    }

    fn accept(&self, stream: TcpStream, remote: SocketAddr) {
        let mut state = self.lock();
        if state.is_closing {
            return;
        }
        if !state.throttle.admit(remote.ip(), self.now()) {
            drop(state);
            log::debug!("refusing {remote}: too many attempts from its address");
            return;
        }
        let entry = Entry {
            dial: None,
            id: None,
            stage: Stage::Opening,
            abort: None,
            thread: None,
        };
        let started = self.start(&mut state, entry, move |shared, ticket| {
            let session = Session::accept(&shared.host, stream)
                .map_err(|error| DialError::System(Arc::new(error)))?;
            shared.open(ticket, &session)?;
            shared.run(ticket, session, move |report| {
                if !report.was_active {
                    log::debug!("refused or lost {remote}: {}", report.reason);
                }
                Ok(report)
            });
            Ok(())
        });
        drop(state);
        if let Err(error) = started {
            log::error!("no thread for the connection from {remote}: {error}");
        }
    }
}
