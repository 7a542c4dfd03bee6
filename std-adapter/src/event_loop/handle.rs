//! A session of an event loop, as any thread may hold it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::shared_capabilities::SharedCapability;
use devp2p_core::{MAX_MESSAGE_LENGTH, capability::Capability};

use super::Host;
use super::handler::index;
use super::lane::{Command, Lane, Ticket};
use crate::counters::{Counters, Traffic};
use crate::info::{NetworkInfo, PeerInfo};
use crate::peer::HelloText;
use crate::protocol::Failure;

/// What a queued message is taken to cost besides its payload.
const MESSAGE_COST: usize = 64;

/// A message that waits for its loop.
pub(super) struct Outgoing {
    pub(super) subprotocol: usize,
    pub(super) code: u32,
    pub(super) payload: Vec<u8>,
}

#[derive(Default)]
struct State {
    outbox: VecDeque<Outgoing>,
    bytes: usize,
    /// Messages queued in all, and how many of them the wire has taken.
    queued: u64,
    flushed: u64,
    /// Some of them were not sealed, and never will be.
    lost: bool,
    /// What else is asked for.
    asks: Asks,
    /// The end that a handle asked for: nothing is queued from here on.
    asked: Option<CloseReason>,
    /// Why the session ends.
    reason: Option<CloseReason>,
    closed: bool,
}

/// What handles ask of the loop besides sending.
#[derive(Default)]
pub(super) struct Asks {
    pub(super) end: Option<CloseReason>,
    pub(super) ping: bool,
    pub(super) flush: bool,
    /// Bit `i`: resume subprotocol `i`.
    pub(super) resume: u32,
}

/// What the loop and the handles of one session share.
pub(super) struct Shared {
    pub(super) host: Arc<Host>,
    lane: Arc<Lane>,
    ticket: Ticket,
    id: NodeId,
    hello: HelloText,
    shared: Box<[SharedCapability]>,
    inbound: bool,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    began: Instant,
    outbox_limit: usize,
    pub(super) counters: Box<[Counters]>,
    pub(super) trusted: AtomicBool,
    pub(super) is_static: AtomicBool,
    pub(super) round_trip: AtomicU64,
    pub(super) pongs: AtomicU32,
    /// Whether the loop was told to look and did not yet.
    told: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

/// What a session is when it becomes active.
pub(super) struct Begun {
    pub(super) lane: Arc<Lane>,
    pub(super) ticket: Ticket,
    pub(super) id: NodeId,
    pub(super) hello: HelloText,
    pub(super) shared: Box<[SharedCapability]>,
    pub(super) inbound: bool,
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) outbox_limit: usize,
}

/// A session of an [`EventNode`](super::EventNode), alive or ended. Cheap to clone; usable from any thread, and by the
/// session's own handler.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    pub(super) fn new(host: Arc<Host>, begun: Begun) -> Self {
        Self(Arc::new(Shared {
            counters: host.counters.iter().map(|_| Counters::default()).collect(),
            host,
            lane: begun.lane,
            ticket: begun.ticket,
            id: begun.id,
            hello: begun.hello,
            shared: begun.shared,
            inbound: begun.inbound,
            local: begun.local,
            remote: begun.remote,
            began: Instant::now(),
            outbox_limit: begun.outbox_limit,
            trusted: AtomicBool::new(false),
            is_static: AtomicBool::new(false),
            round_trip: AtomicU64::new(u64::MAX),
            pongs: AtomicU32::new(0),
            told: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    // ---- Who it is ----

    /// The remote's identity.
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// What the remote calls its client.
    pub fn client_name(&self) -> &str {
        &self.0.hello.client_name
    }

    /// Every capability that the remote offers, as `name/version`.
    pub fn capabilities(&self) -> &[String] {
        &self.0.hello.capabilities
    }

    /// The remote's base protocol version.
    pub fn version(&self) -> u64 {
        self.0.hello.version
    }

    /// The capabilities of this session, in the order of their codes.
    pub fn shared(&self) -> Vec<Capability> {
        let protocols = self.0.host.protocols();
        let capability = |entry: &SharedCapability| {
            let protocol = protocols.get(usize::from(entry.subprotocol))?;
            Some(protocol.capability())
        };
        self.0.shared.iter().filter_map(capability).collect()
    }

    /// Whether the remote shares the protocol with this index in the host's list.
    pub fn is_shared(&self, subprotocol: usize) -> bool {
        self.0.entry(subprotocol).is_some()
    }

    /// Whether the remote dialled us.
    pub fn is_inbound(&self) -> bool {
        self.0.inbound
    }

    /// Where the remote is.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.remote
    }

    /// Our end of the connection.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// How long ago the session became active.
    pub fn lifetime(&self) -> Duration {
        self.0.began.elapsed()
    }

    // ---- Sending ----

    /// Queues one message for the loop to send, without waiting. `Ok` means queued, in order; a later failure is the
    /// session's [`close_reason`](Self::close_reason). Only a payload close to 16 MiB that does not compress can be left out
    /// alone, and logged: its compressed form is larger than a frame. From inside a callback of the same session,
    /// [`Session::try_write`](super::Session::try_write) is cheaper.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if as much waits already as may, else as [`WriteError`] says.
    pub fn try_send(
        &self,
        subprotocol: usize,
        code: u32,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        self.0.check(subprotocol, code, payload)?;
        let state = self.0.lock();
        match self.0.room(&state, payload.len()) {
            Some(result) => self.0.queue(state, result, subprotocol, code, payload),
            None => Err(WriteError::WouldBlock {
                free: self.0.outbox_limit.saturating_sub(state.bytes),
            }),
        }
    }

    /// Queues one message, waiting for room at most as long as `limit` says. Not for callbacks: they would wait for themselves.
    ///
    /// # Errors
    /// [`WriteError::TimedOut`] if there was no room in that time, else as [`WriteError`] says.
    pub fn send(
        &self,
        subprotocol: usize,
        code: u32,
        payload: &[u8],
        limit: Duration,
    ) -> Result<(), WriteError> {
        self.0.check(subprotocol, code, payload)?;
        let until = Instant::now().checked_add(limit);
        let mut state = self.0.lock();
        loop {
            if let Some(result) = self.0.room(&state, payload.len()) {
                return self.0.queue(state, result, subprotocol, code, payload);
            }
            state = self.0.wait(state, until).ok_or(WriteError::TimedOut)?;
        }
    }

    /// Waits until the wire took everything that was queued by handles before. Not for callbacks.
    ///
    /// # Errors
    /// Why the session ended before that.
    pub fn flush(&self) -> Result<(), CloseReason> {
        let mut state = self.0.lock();
        let wanted = state.queued;
        loop {
            if state.flushed >= wanted {
                return Ok(());
            }
            if let Some(reason) = state.reason.filter(|_| state.closed) {
                return Err(reason);
            }
            if !state.asks.flush {
                state.asks.flush = true;
                drop(state);
                self.0.tell();
                state = self.0.lock();
                continue;
            }
            state = self.0.wait(state, None).unwrap_or_else(|| self.0.lock());
        }
    }

    // ---- The session ----

    /// Ends the session, unless it is ending already: the remote is told `reason`. What handles have queued goes out before,
    /// as far as the output has room; nothing more is queued.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.end(CloseReason::Local(reason));
    }

    /// The work of this subprotocol is done: ends the session as a run closure that returns does, else as
    /// [`disconnect`](Self::disconnect).
    pub fn finish(&self, subprotocol: usize) {
        self.end(CloseReason::ProtocolReturned {
            subprotocol: index(subprotocol),
        });
    }

    /// This subprotocol failed: ends the session as a run closure that fails does, else as [`disconnect`](Self::disconnect).
    pub fn fail(&self, subprotocol: usize, failure: &Failure) {
        log::debug!("subprotocol {subprotocol} failed: {failure}");
        self.end(CloseReason::ProtocolError {
            subprotocol: index(subprotocol),
            reason: failure.reason(),
        });
    }

    fn end(&self, reason: CloseReason) {
        let mut state = self.0.lock();
        if state.asked.is_some() || state.closed {
            return;
        }
        state.asked = Some(reason);
        state.asks.end = Some(reason);
        drop(state);
        self.0.changed.notify_all();
        self.0.tell();
    }

    /// Delivers messages of this subprotocol again, which the handler paused.
    pub fn resume(&self, subprotocol: usize) {
        let bit = u32::try_from(subprotocol)
            .ok()
            .and_then(|n| 1_u32.checked_shl(n));
        self.0.ask(|asks| asks.resume |= bit.unwrap_or(0));
    }

    /// Asks for a Ping now rather than at the next interval; [`pongs`](Self::pongs) changes when its Pong comes. Send at most
    /// one every few seconds: some peers end the session otherwise.
    pub fn ping(&self) {
        self.0.ask(|asks| asks.ping = true);
    }

    /// The last measured round trip of Ping and Pong.
    pub fn round_trip(&self) -> Option<Duration> {
        match self.0.round_trip.load(Ordering::Relaxed) {
            u64::MAX => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// How many of our Pings were answered by a Pong.
    pub fn pongs(&self) -> u32 {
        self.0.pongs.load(Ordering::Relaxed)
    }

    /// Traffic of the protocol with this index in the host's list, in this session.
    pub fn traffic(&self, subprotocol: usize) -> Traffic {
        let counters = self.0.counters.get(subprotocol);
        counters.map(Counters::traffic).unwrap_or_default()
    }

    /// What go-ethereum's `admin_peers` tells of a peer.
    pub fn info(&self) -> PeerInfo {
        let shared = &self.0;
        let protocols = shared.host.protocols().iter().enumerate();
        let protocols = protocols.filter(|(index, _)| self.is_shared(*index));
        PeerInfo::new(
            shared.id,
            (&shared.hello.client_name, &shared.hello.capabilities),
            shared.remote,
            NetworkInfo::new(
                (shared.local, shared.remote),
                shared.inbound,
                shared.trusted.load(Ordering::Relaxed),
                shared.is_static.load(Ordering::Relaxed),
            ),
            protocols.map(|(_, protocol)| protocol),
        )
    }

    /// Why the session ends; `None` while it lives.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.0.lock().reason
    }

    /// Waits until the session is closed. Not for callbacks.
    pub fn closed(&self) -> CloseReason {
        let mut state = self.0.lock();
        loop {
            match state.reason {
                Some(reason) if state.closed => return reason,
                _ => state = self.0.wait(state, None).unwrap_or_else(|| self.0.lock()),
            }
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.0.id)
            .field("name", &self.0.hello.client_name)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn entry(&self, subprotocol: usize) -> Option<&SharedCapability> {
        let mut shared = self.shared.iter();
        shared.find(|entry| usize::from(entry.subprotocol) == subprotocol)
    }

    fn check(&self, subprotocol: usize, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        let entry = self.entry(subprotocol).ok_or(WriteError::NotShared)?;
        if code >= entry.length {
            return Err(WriteError::InvalidCode);
        }
        if payload.len() > MAX_MESSAGE_LENGTH as usize {
            return Err(WriteError::TooLarge);
        }
        Ok(())
    }

    /// Whether a message of `length` bytes can be queued now, or never; `None` if it must wait. An empty queue takes any.
    fn room(&self, state: &State, length: usize) -> Option<Result<(), WriteError>> {
        if let Some(reason) = state.reason.or(state.asked) {
            return Some(Err(WriteError::Closed(reason)));
        }
        let needed = state.bytes.saturating_add(length + MESSAGE_COST);
        (state.outbox.is_empty() || needed <= self.outbox_limit).then_some(Ok(()))
    }

    fn queue(
        &self,
        mut state: MutexGuard<'_, State>,
        room: Result<(), WriteError>,
        subprotocol: usize,
        code: u32,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        room?;
        state.bytes += payload.len() + MESSAGE_COST;
        state.queued += 1;
        state.outbox.push_back(Outgoing {
            subprotocol,
            code,
            payload: payload.to_vec(),
        });
        drop(state);
        self.tell();
        Ok(())
    }

    fn ask(&self, change: impl FnOnce(&mut Asks)) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        change(&mut state.asks);
        drop(state);
        self.tell();
    }

    /// Has the loop look.
    fn tell(&self) {
        if !self.told.swap(true, Ordering::AcqRel) {
            self.lane.push(Command::Look(self.ticket));
        }
    }

    /// Waits for a change; `None` if none comes before `until`.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> Option<MutexGuard<'a, State>> {
        let Some(until) = until else {
            let woken = self.changed.wait(state);
            return Some(woken.unwrap_or_else(PoisonError::into_inner));
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let woken = self.changed.wait_timeout(state, left);
        Some(woken.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// No code of the user runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- The loop's side ----

    /// What is asked for. From here on a new question tells the loop again.
    pub(super) fn take_asks(&self) -> Asks {
        self.told.store(false, Ordering::Release);
        std::mem::take(&mut self.lock().asks)
    }

    /// Takes the next message to send.
    pub(super) fn next_outgoing(&self) -> Option<Outgoing> {
        self.lock().outbox.pop_front()
    }

    /// The output has no room for it: it waits in front.
    pub(super) fn put_back(&self, message: Outgoing) {
        self.lock().outbox.push_front(message);
    }

    /// A message was sealed, or cannot be: whoever waits for room may go on.
    pub(super) fn on_sealed(&self, length: usize, sealed: bool) {
        let mut state = self.lock();
        state.lost |= !sealed;
        state.bytes = state.bytes.saturating_sub(length + MESSAGE_COST);
        if state.outbox.is_empty() {
            state.outbox = VecDeque::new();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The wire took everything that was sealed. Answers whether all that was queued is sealed too.
    pub(super) fn on_flushed(&self) -> bool {
        let mut state = self.lock();
        let all = state.outbox.is_empty();
        if all && !state.lost {
            state.flushed = state.queued;
        }
        drop(state);
        self.changed.notify_all();
        all
    }

    /// The session ends, or has ended.
    pub(super) fn set_reason(&self, reason: CloseReason, closed: bool) {
        let mut state = self.lock();
        state.reason.get_or_insert(reason);
        let outbox = std::mem::take(&mut state.outbox);
        state.lost |= !outbox.is_empty();
        state.bytes = 0;
        state.closed |= closed;
        drop(state);
        drop(outbox);
        self.changed.notify_all();
    }
}
