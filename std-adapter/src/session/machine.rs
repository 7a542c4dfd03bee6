//! The RLPx session machine, as threads drive it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use devp2p_core::capability::Capability;
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::inbox::Meta;
use devp2p_core::peer::Peer;
use devp2p_core::rlpx::Entropy;
use devp2p_core::rlpx::message::total;
use devp2p_core::session::{PendingWrite, Progress, Written};
use devp2p_core::time::{Duration, Instant, PollAt};

use crate::blocking::{self, Event};
use crate::connection::output::Output;
use crate::connection::{self, Connection, Encoded, Untold};
use crate::counters::Counters;
use crate::event_loop::tools::Tools;
use crate::events::PeerEvent;
use crate::host::{Host, MAX_PROTOCOLS};
use crate::inbox::{Arrived, Inbox, Observer};
use crate::memory::Account;
use crate::node::Threads;
use crate::offer::Offer;
use crate::peer::HelloText;

/// Sealed bytes that may wait for the wire before writers wait. An empty output takes any frame.
const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Bytes of a payload, in its form for the wire, that is sealed in pieces: the remote opens the first while the last are sealed.
const LARGE: usize = 128 * 1024;

/// How long a Hello that waits for the remote's does so: well within the handshake deadline of either side.
const HELLO_WAIT: Duration = Duration::from_secs(2);

pub(crate) struct Machine {
    connection: Connection,
    tools: Tools<Threads>,
    /// What the session offers, once that is decided.
    offer: Arc<OnceLock<Arc<Offer>>>,
    /// Until then our Hello waits for the remote's.
    hello_at: Instant,
    /// Whom messages are counted for, once the session is active.
    traffic: Option<Traffic>,
    /// Tells of memory that was given back, and that the session is to go for what it holds.
    memory: Option<(Waker, Arc<AtomicBool>)>,
    /// For the thread that opens the session.
    authenticated: Option<NodeId>,
    active: Option<HelloText>,
}

/// Counts messages and tells subscribers of them.
pub(crate) struct Traffic {
    pub(crate) peer: NodeId,
    pub(crate) capabilities: Box<[Capability]>,
    /// Of the session.
    pub(crate) counters: Arc<[Counters]>,
}

struct Told<'a>(&'a Traffic, &'a Host);

impl Observer for Told<'_> {
    fn received(&self, subprotocol: usize, meta: &Meta) {
        let Self(traffic, host) = self;
        for counters in [&traffic.counters[..], &host.counters[..]] {
            if let Some(counters) = counters.get(subprotocol) {
                counters.received(meta.length, meta.wire_length);
            }
        }
        if let Some(&capability) = traffic.capabilities.get(subprotocol) {
            host.events.send_message(|| PeerEvent::MessageReceived {
                peer: traffic.peer,
                capability,
                code: meta.code,
                length: meta.length,
            });
        }
    }

    fn dropped(&self, subprotocol: usize, _: &Meta) {
        let Self(traffic, host) = self;
        for counters in [&traffic.counters[..], &host.counters[..]] {
            if let Some(counters) = counters.get(subprotocol) {
                counters.dropped();
            }
        }
    }
}

impl Machine {
    /// The side that dialled `remote`, or that was dialled.
    pub(crate) fn new(
        host: &Arc<Host>,
        offer: Arc<OnceLock<Arc<Offer>>>,
        remote: Option<NodeId>,
        entropy: Entropy,
        now: Instant,
    ) -> Self {
        Self {
            connection: Connection::new(host, remote, entropy, now),
            tools: Tools::new(Arc::clone(host), None, OUTPUT_LIMIT),
            offer,
            hello_at: Instant::MAX,
            traffic: None,
            memory: None,
            authenticated: None,
            active: None,
        }
    }

    pub(crate) fn peer(&self) -> &Peer<MAX_PROTOCOLS> {
        self.connection.peer()
    }

    /// Whether a frame has proved the identity that the handshake claims.
    pub(crate) fn is_authentic(&self) -> bool {
        self.connection.is_authentic()
    }

    /// Whether messages go compressed, once the session is active.
    pub(crate) fn compresses(&self) -> bool {
        self.connection.compresses()
    }

    pub(crate) fn request_ping(&mut self) {
        self.connection.request_ping();
    }

    /// Nobody reads this subprotocol any more: gives back what waits for it.
    pub(crate) fn abandon(&mut self, subprotocol: usize) -> impl Sized + use<> {
        self.connection.inbox.abandon(subprotocol)
    }

    // ---- Opening ----

    /// Our Hello waits for [`offer`](Self::offer), at most [`HELLO_WAIT`].
    pub(crate) fn hold_hello(&mut self, now: Instant) {
        self.hello_at = now.saturating_add(HELLO_WAIT);
        self.connection.hold_hello();
    }

    /// The remote's Hello, if it came while ours is held.
    pub(crate) fn held_hello(&mut self) -> Option<Vec<u8>> {
        self.connection.held_hello(&mut self.tools)
    }

    /// It is decided what this session offers; the first call counts.
    pub(crate) fn offer(&mut self, now: Instant, offer: Offer) {
        let offer = Arc::new(offer);
        if self.offer.set(Arc::clone(&offer)).is_err() {
            return;
        }
        self.hello_at = Instant::MAX;
        self.connection.inbox = Inbox::new(offer.registered.len());
        self.tools.offer = Some(offer);
        self.connection.offer(now, &mut self.tools);
    }

    /// The identity that the handshake claims, once.
    pub(crate) fn take_authenticated(&mut self) -> Option<NodeId> {
        self.authenticated.take()
    }

    /// The remote's Hello, once it was accepted, once.
    pub(crate) fn take_active(&mut self) -> Option<HelloText> {
        self.active.take()
    }

    pub(crate) fn admit(&mut self, now: Instant, admitted: Result<(), DisconnectReason>) {
        self.connection.admit(now, admitted);
    }

    pub(crate) fn reject(&mut self, now: Instant, reason: DisconnectReason) {
        self.connection.reject(now, reason);
    }

    /// From here on messages are taken, in memory of `account`; `freed` is called when there may be some for a message that
    /// waits, and `evicted` says that the session is to go, for it holds most.
    pub(crate) fn set_account(
        &mut self,
        account: Arc<Account>,
        freed: Waker,
        evicted: Arc<AtomicBool>,
    ) {
        self.connection.set_account(account);
        self.memory = Some((freed, evicted));
    }

    /// From here on messages are counted.
    pub(crate) fn set_traffic(&mut self, traffic: Traffic) {
        self.traffic = Some(traffic);
    }
}

impl blocking::Machine for Machine {
    type Message = Arrived;
    type Payload<'a> = Encoded<'a>;

    fn close_reason(&self) -> Option<CloseReason> {
        self.connection.close_reason()
    }

    fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        let host = Arc::clone(&self.tools.host);
        match &self.traffic {
            Some(traffic) => {
                let told = Told(traffic, &host);
                self.connection
                    .handle_input(now, bytes, &mut self.tools, told)
            }
            None => self
                .connection
                .handle_input(now, bytes, &mut self.tools, Untold),
        }
    }

    fn wants_input(&mut self) -> bool {
        self.connection.wants_input(&mut self.tools)
    }

    fn is_held(&self) -> bool {
        self.connection.is_held()
    }

    fn waits_for_memory(&mut self) -> bool {
        match (self.connection.waits_for_memory(), &self.memory) {
            (Some(account), Some((freed, _))) => account.wait(freed),
            _ => true,
        }
    }

    fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.connection.handle_end(now, error);
    }

    fn poll(&mut self, now: Instant) -> Option<Event> {
        if self.hello_at <= now {
            self.offer(now, Offer::new(&self.tools.host, Vec::new()));
        }
        if let Some((_, evicted)) = &self.memory
            && evicted.swap(false, Ordering::SeqCst)
        {
            self.connection.close(now, CloseReason::MemoryFull);
        }
        loop {
            match self.connection.poll(now, &mut self.tools) {
                Some(connection::Event::Authenticated(id)) => self.authenticated = Some(id),
                Some(connection::Event::Active(hello)) => self.active = Some(hello),
                Some(connection::Event::HalfClose) => return Some(Event::HalfClose),
                Some(connection::Event::Closed(reason)) => {
                    // Handles that outlive the session must not keep its share.
                    self.connection.release_account();
                    self.memory = None;
                    return Some(Event::Closed(reason));
                }
                // A step of the handshake was done, and there is another one.
                None if self.connection.poll_at(&self.tools) == PollAt::Now => {}
                None => return None,
            }
        }
    }

    fn poll_at(&mut self) -> PollAt {
        let hello_at = PollAt::At(self.hello_at);
        match self.hello_at {
            Instant::MAX => self.connection.poll_at(&self.tools),
            _ => self.connection.poll_at(&self.tools).min(hello_at),
        }
    }

    fn close(&mut self, now: Instant, reason: CloseReason) {
        self.connection.close(now, reason);
    }

    fn is_large(message: Encoded<'_>) -> bool {
        total(message.payload) >= LARGE
    }

    fn write(
        &mut self,
        now: Instant,
        write: &mut PendingWrite,
        message: Encoded<'_>,
        budget: usize,
    ) -> Result<Progress, WriteError> {
        self.connection
            .write(now, &mut self.tools, write, message, budget)
    }

    fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        message: Encoded<'_>,
    ) -> Result<Written, WriteError> {
        self.connection
            .try_write_encoded(now, &mut self.tools, subprotocol, code, message)
    }

    fn pass_token(&mut self) {
        self.connection.pass_token(&self.tools);
    }

    fn output(&mut self) -> &mut Output {
        &mut self.connection.output
    }

    fn on_taken(&mut self, now: Instant, bytes: usize) {
        self.connection.on_taken(now, bytes);
    }

    fn cut_output(&mut self) {
        self.connection.cut_output();
    }

    fn is_cut(&self) -> bool {
        self.connection.is_cut()
    }

    fn has_message(&self, subprotocol: usize) -> bool {
        self.connection.inbox.has_message(subprotocol)
    }

    fn pop(&mut self, subprotocol: usize) -> Option<Arrived> {
        self.connection.inbox.pop(subprotocol)
    }
}
