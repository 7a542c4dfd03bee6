//! The shared middle of a session: peer, sealer, output and transport, each under its own lock.
//!
//! Locks are taken in this order: a subprotocol's turn, the sealer, the socket, the output, the peer, and last those of
//! queues, lead, timer and kick, which are held for a moment each. No closure of the user runs under any. Only the socket's is
//! held while a thread blocks, in a write to the transport, and others only try to take it; wakers only unpark threads. Who
//! reads from the transport owns what that takes, and holds no lock while it blocks: see [`lead`](crate::lead).

mod burst;
mod output;
mod pieces;
mod write;
mod writer;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use devp2p_core::config::Local;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::lifecycle::State;
use devp2p_core::peer::Peer;
use devp2p_core::time::{Instant, PollAt};

use crate::host::{Host, MAX_PROTOCOLS};
use crate::lead::Lead;
use crate::memory::Account;
use crate::offer::Offer;
use crate::progress::Progress;
use crate::protocol::Protocol;
use crate::queue::Queue;
use crate::receive::{AtEnd, Driver};
use crate::timer::{Target, TimerId};
use crate::transport::Closer;
use crate::turn::Turns;

pub(crate) use output::Sealer;
use output::{Output, Socket};
pub(crate) use write::Written;
use writer::Kick;

pub(crate) struct Link {
    pub(crate) host: Arc<Host>,
    /// For threads that come and go.
    pub(crate) this: Weak<Self>,
    /// Who reads from the transport.
    pub(crate) lead: Lead<Box<Driver>>,
    at_end: Mutex<Option<Box<AtEnd>>>,
    peer: Mutex<Peer<MAX_PROTOCOLS>>,
    sealer: Mutex<Option<Sealer>>,
    output: Mutex<Output>,
    /// Whether the output takes no more frames; changed under its lock.
    full: AtomicBool,
    socket: Mutex<Socket>,
    /// Given up when the session is closed, so that handles that outlive it keep no descriptor.
    closer: Mutex<Option<Box<dyn Closer>>>,
    /// Until this is set, our Hello waits for the remote's.
    offer: OnceLock<Offer>,
    /// The session's part of the memory, while it lives.
    account: OnceLock<Weak<Account>>,
    timer: OnceLock<TimerId>,
    /// Calls when nobody has read for too long.
    lead_timer: OnceLock<TimerId>,
    /// The deadline that the timekeeper was told, in microseconds; changed under the peer's lock.
    armed: AtomicU64,
    progress: Progress,
    /// Whether a Disconnect could be sent: there are keys to seal it with, and the transport still takes bytes.
    can_send: AtomicBool,
    queues_closed: AtomicBool,
    kick: Kick,
}

/// No deadline, as [`Link::armed`] has it.
const NEVER: u64 = u64::MAX;

impl Link {
    pub(crate) fn new(
        host: Arc<Host>,
        peer: Peer<MAX_PROTOCOLS>,
        writer: Box<dyn Write + Send>,
        closer: Box<dyn Closer>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            host,
            this: Weak::clone(this),
            lead: Lead::default(),
            at_end: Mutex::new(None),
            lead_timer: OnceLock::new(),
            peer: Mutex::new(peer),
            sealer: Mutex::new(None),
            output: Mutex::new(Output::default()),
            full: AtomicBool::new(false),
            socket: Mutex::new(Socket::new(writer)),
            closer: Mutex::new(Some(closer)),
            offer: OnceLock::new(),
            account: OnceLock::new(),
            timer: OnceLock::new(),
            armed: AtomicU64::new(NEVER),
            progress: Progress::default(),
            can_send: AtomicBool::new(false),
            queues_closed: AtomicBool::new(false),
            kick: Kick::default(),
        })
    }

    pub(crate) fn now(&self) -> Instant {
        self.host.clock.now()
    }

    // ---- The peer and what follows from its changes ----

    /// Looks at the peer.
    pub(crate) fn with_peer<R>(&self, f: impl FnOnce(&Peer<MAX_PROTOCOLS>) -> R) -> R {
        f(&self.lock_peer())
    }

    /// Changes the peer, then wakes, sends, closes and sets the timer as the change asks.
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut Peer<MAX_PROTOCOLS>, Instant) -> R) -> R {
        let now = self.now();
        let mut peer = self.lock_peer();
        let result = f(&mut peer, now);
        if peer.is_closing() && !self.can_send() {
            // There is nothing to say a Disconnect with, so nothing to wait for.
            peer.handle_end(now, TransportError::Io);
        }
        self.settle(peer);
        result
    }

    pub(super) fn settle(&self, mut peer: MutexGuard<'_, Peer<MAX_PROTOCOLS>>) {
        let first = peer.next_wake();
        let mut more = Vec::new();
        if first.is_some() {
            more.extend(std::iter::from_fn(|| peer.next_wake()));
        }
        let state = peer.state();
        let reason = peer.close_reason();
        let sends = (peer.wants_to_send() && !self.holds_hello(&peer)) || peer.may_half_close();
        self.arm(peer.poll_at());
        drop(peer);
        first.into_iter().chain(more).for_each(Waker::wake);
        if let Some(reason) = reason {
            if !self.queues_closed.swap(true, Ordering::AcqRel) {
                self.queues().iter().for_each(|queue| queue.close(reason));
                self.lead.want();
                self.call_background();
            }
            if state == State::Closed {
                self.end(reason);
            }
        }
        if sends {
            self.kick();
        }
    }

    /// Whether the session closes, as soon as its queues are told.
    pub(crate) fn is_closing(&self) -> bool {
        self.queues_closed.load(Ordering::Acquire)
    }

    /// Tells the timekeeper of a deadline that is earlier than the one it knows. A later one it finds out when it calls.
    /// Under the peer's lock: else a deadline could be overtaken by one that another thread computed earlier.
    fn arm(&self, at: PollAt) {
        let Some(timer) = self.timer.get() else {
            return;
        };
        let micros = match at {
            PollAt::Now => 0,
            PollAt::At(at) => at.as_micros(),
            PollAt::Idle => NEVER,
        };
        if micros < self.armed.load(Ordering::Relaxed) {
            self.armed.store(micros, Ordering::Relaxed);
            self.host.timekeeper.set(timer, at);
        }
    }

    /// The session is closed: whatever blocks on the transport returns, and whoever waits for the end is told.
    fn end(&self, reason: CloseReason) {
        let closer = lock(&self.closer).take();
        if let Some(closer) = closer {
            closer.close();
            self.progress.close(reason);
            self.kick.end();
        }
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.change(|peer, now| peer.close(now, reason));
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.with_peer(Peer::close_reason)
    }

    /// Waits until the session is closed.
    pub(crate) fn wait_closed(&self) -> CloseReason {
        self.progress.wait_closed()
    }

    // ---- Opening and the end of the input ----

    /// Registers with the timekeeper; paired with [`stop_timer`](Self::stop_timer).
    pub(crate) fn start_timer(self: &Arc<Self>) {
        let timer = self
            .host
            .timekeeper
            .register(Arc::clone(self) as Arc<dyn Target>);
        let _ = self.timer.set(timer);
        let lead_timer = self
            .host
            .timekeeper
            .register(Arc::new(LeadTimer(Arc::clone(self))));
        let _ = self.lead_timer.set(lead_timer);
        self.change(|_, _| ());
    }

    pub(crate) fn stop_timer(&self) {
        for timer in [&self.timer, &self.lead_timer] {
            if let Some(timer) = timer.get() {
                self.host.timekeeper.unregister(timer);
            }
        }
    }

    /// What the background thread does once the session has ended, unless that is one which is there all the time.
    pub(crate) fn at_end(&self, at_end: Box<AtEnd>) {
        *lock(&self.at_end) = Some(at_end);
    }

    pub(crate) fn take_at_end(&self) -> Option<Box<AtEnd>> {
        lock(&self.at_end).take()
    }

    /// Has the background thread read from `at` on, if nobody else does then.
    pub(crate) fn look_after_lead(&self, at: Instant) {
        if let Some(timer) = self.lead_timer.get() {
            self.host.timekeeper.set(timer, PollAt::At(at));
        }
    }

    /// Limits each read of the transport; false if it cannot do that.
    pub(crate) fn limit_reads(&self, limit: Option<Duration>) -> bool {
        lock(&self.closer)
            .as_ref()
            .is_some_and(|closer| closer.limit_reads(limit))
    }

    /// The keys are there: our Hello goes out, or in its place why the remote is not admitted.
    pub(crate) fn prepare(&self, sealer: Sealer, admitted: Result<(), DisconnectReason>) {
        // The refusal under the sealer's lock, so that no Hello slips out before it.
        let mut slot = lock(&self.sealer);
        self.can_send.store(true, Ordering::Release);
        if let Err(reason) = admitted {
            self.change(|peer, now| peer.reject(now, reason));
        }
        *slot = Some(sealer);
        drop(slot);
        self.kick();
    }

    /// Whether the transport takes bytes and there are keys to seal them with.
    pub(crate) fn can_send(&self) -> bool {
        self.can_send.load(Ordering::Acquire)
    }

    /// Nothing more arrives. A live session ends with this cause; a closing one when it has said what it has to say.
    pub(crate) fn on_input_end(&self, error: TransportError) {
        self.change(|peer, now| peer.handle_end(now, error));
    }

    /// The session takes memory from here on.
    pub(crate) fn set_account(&self, account: &Arc<Account>) {
        let _ = self.account.set(Arc::downgrade(account));
    }

    // ---- What is offered ----

    /// Decides what this session offers: the host's protocols and `more`. From here on our Hello can go out; the first
    /// call counts.
    pub(crate) fn offer(&self, more: Vec<Protocol>) {
        let _ = self.offer.set(Offer::new(&self.host, more));
        self.kick();
    }

    /// Whether our Hello must wait because it is not decided what to offer. A Disconnect in its place need not.
    fn holds_hello(&self, peer: &Peer<MAX_PROTOCOLS>) -> bool {
        !self.is_offered() && !peer.is_closing()
    }

    /// Whether it is decided what this session offers.
    fn is_offered(&self) -> bool {
        self.offer.get().is_some()
    }

    /// What this session offers; nothing while that is not decided.
    pub(crate) fn protocols(&self) -> &[Protocol] {
        self.offer.get().map_or(&[], |offer| &offer.protocols)
    }

    /// What this session says of itself.
    pub(crate) fn local(&self) -> Local<'_> {
        Local {
            protocols: self.offer.get().map_or(&[], |offer| &offer.registered),
            ..self.host.local()
        }
    }

    /// The inboxes of all subprotocols; none while it is not decided what to offer.
    pub(crate) fn queues(&self) -> Arc<[Queue]> {
        self.offer
            .get()
            .map_or_else(|| Arc::new([]) as _, |offer| Arc::clone(&offer.queues))
    }

    /// The inbox of this subprotocol, which is one of the offered ones. No peer can make it panic: the receiver and the
    /// handles that call it are made only once Hello was accepted, with indices of what was offered.
    pub(crate) fn queue(&self, subprotocol: usize) -> &Queue {
        let offer = self.offer.get().expect("a subprotocol runs after Hello");
        &offer.queues[subprotocol]
    }

    fn turns(&self, subprotocol: usize) -> Result<&Turns, WriteError> {
        let turns = self.offer.get().and_then(|o| o.turns.get(subprotocol));
        turns.ok_or(WriteError::NotShared)
    }

    fn lock_peer(&self) -> MutexGuard<'_, Peer<MAX_PROTOCOLS>> {
        lock(&self.peer)
    }
}

impl Target for Link {
    fn on_timer(&self, now: Instant) -> PollAt {
        // Under no lock: it may end another session.
        let waits_on = self.with_peer(|peer| peer.is_starved(now))
            && (self.account.get())
                .and_then(Weak::upgrade)
                .is_some_and(|account| !account.must_go(now));
        // The change sets the timer itself, which knows of no deadline now.
        self.change(|peer, _| {
            self.armed.store(NEVER, Ordering::Relaxed);
            if waits_on {
                peer.restart_memory_wait(now);
            }
            peer.handle_timeout(now);
        });
        PollAt::Idle
    }
}

/// Has the background thread read when nobody does.
struct LeadTimer(Arc<Link>);

impl Target for LeadTimer {
    fn on_timer(&self, now: Instant) -> PollAt {
        let poll_at = self.0.lead.on_timeout(now);
        self.0.call_background();
        poll_at
    }
}

/// No code of the user runs under these locks but the transport's, which is given up when it panics; so a poisoned one is as
/// good as new.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
