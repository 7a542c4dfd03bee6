//! One end of a link without threads: core's peer, a framing, and inboxes that grow.

use std::sync::{Arc, OnceLock};
use std::task::Poll;

use devp2p_core::capability::Protocol;
use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::config::{Config, Local};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::hello::{MAX_HELLO_LENGTH, NodeId};
use devp2p_core::inbox::Meta;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{Expected, Peer};
use devp2p_core::time::{Instant, PollAt};
use devp2p_core::watch::Received;

use super::{Decoded, Framing, Settings, VERSION};
use crate::counters::{Counters, Traffic};
use crate::host::{HostError, MAX_PROTOCOLS, check};
use crate::inbox::{Arrived, Observer};
use crate::memory::{Account, MemoryCap};
use crate::peer::HelloText;
use crate::queue::{Queue, Queues};

/// Framed bytes that may wait for the wire before writers wait. An empty output takes any message.
const OUTPUT_LIMIT: usize = 1024 * 1024;

/// One end of a link, as session after session lives on it.
///
/// The driver owns the transport and the clock, and
/// 1. passes what came to [`handle_input`](Self::handle_input) and keeps what was not taken, and the end of the stream to
///    [`handle_end`](Self::handle_end);
/// 2. reads and writes messages;
/// 3. calls [`poll`](Self::poll) after each of these calls, and when [`poll_at`](Self::poll_at) says so;
/// 4. writes [`output`](Self::output) and says so by [`consume_output`](Self::consume_output);
/// 5. ends the sending direction when [`take_close_write`](Self::take_close_write) says so, and where the framing does not
///    delimit sessions closes the transport when the peer is closed.
pub struct Machine {
    ours: Ours,
    peer: Peer<MAX_PROTOCOLS>,
    framing: Box<dyn Framing>,
    inboxes: Queues<Told>,
    life: Arc<Life>,
    /// A message that waits for room in its inbox.
    held: Option<(u64, Vec<u8>)>,
    /// The remote's next session began: no more input is taken before ours does.
    restarts: bool,
    output: Vec<u8>,
    /// Bytes framed, and bytes that the wire took.
    sealed: u64,
    taken: u64,
    /// Bytes that wait for the wire since before this session.
    foreign: u64,
    end: End,
    /// The framing panicked: it is not called any more.
    abandoned: bool,
}

/// How far the sending direction has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// All is said: to be told to whoever holds the transport.
    Wanted,
    Said,
}

/// Our side of every session.
struct Ours {
    id: NodeId,
    client_name: String,
    protocols: Vec<Protocol>,
    config: Config,
    expected: Expected,
}

impl Ours {
    fn local(&self) -> Local<'_> {
        Local {
            id: self.id,
            client_name: &self.client_name,
            version: VERSION,
            listen_port: 0,
            protocols: &self.protocols,
        }
    }

    /// A peer whose Hello must be done in time, counted from `now` if the session has begun.
    fn peer(&self, now: Option<Instant>) -> Peer<MAX_PROTOCOLS> {
        let timeout = self.config.handshake_timeout;
        let deadline = now.map_or(Instant::MAX, |now| now.saturating_add(timeout));
        Peer::new(self.config, &self.local(), self.expected, deadline)
    }
}

/// What handles share of one session, which they may outlive.
pub(super) struct Life {
    pub(super) queues: Arc<[Queue]>,
    pub(super) counters: Arc<[Counters]>,
    /// Who the remote says it is and what else its Hello said, once that was accepted.
    pub(super) hello: OnceLock<(NodeId, HelloText)>,
    /// Why the session is closed, once it is.
    pub(super) closed: OnceLock<CloseReason>,
}

impl Life {
    fn new(protocols: &[Protocol]) -> Arc<Self> {
        Arc::new(Self {
            queues: (protocols.iter().map(|protocol| Queue::new(protocol.into()))).collect(),
            counters: protocols.iter().map(|_| Counters::default()).collect(),
            hello: OnceLock::new(),
            closed: OnceLock::new(),
        })
    }
}

/// Counts messages.
struct Told(Arc<[Counters]>);

impl Observer for Told {
    fn received(&self, subprotocol: usize, meta: &Meta) {
        if let Some(counters) = self.0.get(subprotocol) {
            counters.received(meta.length, meta.wire_length);
        }
    }
    fn dropped(&self, subprotocol: usize, _meta: &Meta) {
        self.0
            .get(subprotocol)
            .into_iter()
            .for_each(Counters::dropped);
    }
}

/// A message that was read from a [`Machine`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Its code, length and time of arrival.
    pub meta: Meta,
    /// Its payload; `None` if it was larger than the protocol's limit, and skipped.
    pub payload: Option<Vec<u8>>,
}

impl Machine {
    /// An end that says `settings` of itself, and whose first session begins at `now` unless the framing decides.
    ///
    /// # Errors
    /// [`HostError`] if the protocols cannot be registered together.
    pub fn new(
        settings: Settings,
        framing: Box<dyn Framing>,
        now: Instant,
    ) -> Result<Self, HostError> {
        let memory = Arc::new(MemoryCap::new(settings.memory_limit));
        // There is one session at a time: all is its share or its pool.
        memory.guarantee(1);
        let account = memory.account(|| ());
        let ours = Ours {
            id: settings.id,
            client_name: settings.client_name,
            protocols: settings.protocols,
            config: settings.config,
            expected: settings.expected,
        };
        check(&ours.local())?;
        let life = Life::new(&ours.protocols);
        Ok(Self {
            peer: ours.peer(framing.is_begun().then_some(now)),
            ours,
            framing,
            inboxes: inboxes(&life, account),
            life,
            held: None,
            restarts: false,
            output: Vec::new(),
            sealed: 0,
            taken: 0,
            foreign: 0,
            end: End::Open,
            abandoned: false,
        })
    }

    /// Goes on with a new session after the last one was closed. Only for a framing that delimits sessions.
    pub fn restart(&mut self, now: Instant) {
        self.framing.restart();
        self.life = Life::new(&self.ours.protocols);
        self.inboxes = inboxes(&self.life, Arc::clone(self.inboxes.account()));
        self.begin(self.framing.is_begun().then_some(now));
        (self.held, self.restarts) = (None, false);
        self.end = End::Open;
    }

    fn begin(&mut self, now: Option<Instant>) {
        self.peer = self.ours.peer(now);
        self.foreign = self.pending();
    }

    // ---- What comes in ----

    /// Takes bytes from the wire; returns how many. The rest is to be passed again: an inbox is full, or this session is to be
    /// [restarted](Self::restart) first.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) -> usize {
        if self.abandoned {
            return bytes.len();
        }
        let mut taken = 0;
        while !self.restarts && !self.is_held(now) {
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let (n, decoded) = self.framing.decode(rest);
            taken += n.min(rest.len());
            match decoded {
                // What is still on the line from before belongs to nobody.
                Some(_) if !self.framing.is_begun() => {}
                Some(Decoded::Message { code, payload }) => self.take(now, code, payload),
                Some(Decoded::Damaged) => self.handle_end(now, TransportError::BadMac),
                // One that was ended before it began keeps its cause, and the remote is told.
                Some(Decoded::Begin) if self.peer.is_closing() => {}
                Some(Decoded::Begin) => self.begin(Some(now)),
                Some(Decoded::End) => self.handle_end(now, TransportError::EndOfStream),
                Some(Decoded::Restart) => {
                    self.handle_end(now, TransportError::EndOfStream);
                    self.restarts = true;
                }
                None => taken = bytes.len(),
            }
        }
        if self.held.is_none() {
            let received = Received {
                partial: self.framing.is_begun() && self.framing.is_inside_message(),
                ..Received::default()
            };
            self.peer.on_receive(now, received);
        }
        taken
    }

    fn take(&mut self, now: Instant, code: u64, payload: Vec<u8>) {
        let waits_for_hello = self.peer.state() == State::AwaitingHello;
        let local = self.ours.local();
        let taken = self
            .peer
            .handle_message(now, &local, code, &payload, &mut self.inboxes);
        self.inboxes.wake_readers();
        if waits_for_hello && self.is_active() {
            let remote = self.peer.remote().map(|remote| remote.id);
            let text = HelloText::read(&payload);
            let _ = remote.map(|id| self.life.hello.set((id, text)));
        }
        if taken.is_err() {
            self.held = Some((code, payload));
        }
    }

    /// Whether a message waits for room in its inbox, having tried again.
    fn is_held(&mut self, now: Instant) -> bool {
        if let Some((code, payload)) = self.held.take() {
            self.take(now, code, payload);
        }
        self.held.is_some()
    }

    /// Whether input is not taken now.
    pub(super) fn is_blocked(&self) -> bool {
        self.restarts || self.held.is_some()
    }

    /// The stream ended or broke.
    pub fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.peer.handle_end(now, error);
    }

    /// The next message of `subprotocol`, or why there will be none.
    ///
    /// # Panics
    /// If there is no such protocol in the settings.
    pub fn try_read(&mut self, subprotocol: usize) -> Poll<Result<Delivered, CloseReason>> {
        let next = self.life.queues[subprotocol].poll_next(None);
        next.map_ok(|Arrived { meta, payload, .. }| Delivered { meta, payload })
    }

    // ---- What goes out ----

    /// Writes a whole message, if it need not wait.
    ///
    /// # Errors
    /// [`WriteError`]; after `WouldBlock` the same call can succeed later.
    pub fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        let waiting = self.pending() as usize;
        let has_room = waiting == 0 || waiting.saturating_add(payload.len()) <= OUTPUT_LIMIT;
        if self.is_active() && !(has_room && self.peer.can_acquire()) {
            let free = OUTPUT_LIMIT.saturating_sub(waiting);
            return Err(WriteError::WouldBlock { free });
        }
        let Poll::Ready(granted) = self.peer.poll_acquire(subprotocol, code, None) else {
            return Err(WriteError::WouldBlock { free: 0 });
        };
        let wire = granted?;
        self.peer.begin_write(subprotocol);
        let framed = self.seal(now, |framing, out| framing.encode(wire, payload, out));
        self.peer.complete_write(subprotocol);
        if !framed {
            return Err(WriteError::TooLarge);
        }
        let length = payload.len() as u32;
        self.life.counters[subprotocol].sent(length, length);
        Ok(())
    }

    fn seal<R>(&mut self, now: Instant, f: impl FnOnce(&mut dyn Framing, &mut Vec<u8>) -> R) -> R {
        let before = self.output.len();
        let result = f(&mut *self.framing, &mut self.output);
        let sealed = self.output.len().saturating_sub(before);
        self.sealed += sealed as u64;
        self.peer.on_sealed(now, sealed);
        result
    }

    /// Says what goes before any message: what the framing has to say, the messages of the base protocol, the end.
    fn say(&mut self, now: Instant) {
        self.seal(now, |framing, out| framing.poll(now, out));
        if !self.framing.is_begun() {
            return;
        }
        // Without room only the end is said: a remote that asks and does not read must not make the output grow.
        while self.peer.wants_to_send()
            && (self.pending() < OUTPUT_LIMIT as u64 || self.peer.is_closing())
        {
            let Some(control) = self.peer.poll_control(now) else {
                break;
            };
            let mut payload = [0; MAX_HELLO_LENGTH];
            // The length of Hello was checked when this end was made.
            let length = control.encode(&self.ours.local(), false, &mut payload);
            let payload = &payload[..length.unwrap_or(0)];
            let code = WireCode(control.code().0);
            if !self.seal(now, |framing, out| framing.encode(code, payload, out)) {
                log::error!("the framing cannot carry {control:?}");
            }
        }
        let said = self.peer.may_half_close() && self.peer.wants_half_close();
        if self.end == End::Open && (said || self.peer.state() == State::Closed) {
            self.end = End::Wanted;
            if self.framing.delimits_sessions() {
                self.end = End::Said;
                self.seal(now, |framing, out| framing.end(out));
            }
        }
    }

    /// Whether the sending direction of the transport is to be ended now, everything being taken. True once.
    pub fn take_close_write(&mut self) -> bool {
        let wanted = self.end == End::Wanted && self.pending() == 0;
        if wanted {
            self.end = End::Said;
        }
        wanted
    }

    /// Bytes for the wire.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// The wire took the first `n` bytes of [`output`](Self::output).
    pub fn consume_output(&mut self, now: Instant, n: usize) {
        let n = self.output.drain(..n.min(self.output.len())).len();
        self.on_taken(now, n);
    }

    /// Exchanges the output with `bytes`, which is empty; to be followed by [`on_taken`](Self::on_taken).
    pub(super) fn swap_output(&mut self, bytes: &mut Vec<u8>) {
        std::mem::swap(&mut self.output, bytes);
    }

    pub(super) fn on_taken(&mut self, now: Instant, n: usize) {
        let n = n as u64;
        self.taken += n;
        let foreign = n.min(self.foreign);
        self.foreign -= foreign;
        self.peer.on_taken(now, (n - foreign) as usize);
    }

    fn pending(&self) -> u64 {
        self.sealed - self.taken
    }

    /// Bytes framed so far, and bytes of them that the wire took.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.sealed, self.taken)
    }

    /// Ends the session with this reason.
    pub fn disconnect(&mut self, now: Instant, reason: DisconnectReason) {
        self.peer.disconnect(now, reason);
    }

    /// Ends the session for this cause.
    pub(super) fn close(&mut self, now: Instant, cause: CloseReason) {
        self.peer.close(now, cause);
    }

    /// Asks for a Ping now rather than at the next interval.
    pub fn request_ping(&mut self) {
        self.peer.request_ping();
    }

    // ---- Time ----

    /// Does what is due.
    pub fn poll(&mut self, now: Instant) {
        if self.peer.poll_at().is_due(now) {
            self.peer.handle_timeout(now);
        }
        // Room in an inbox ends the holding back even if no byte comes.
        if self.held.is_some() {
            self.handle_input(now, &[]);
        }
        if !self.abandoned {
            self.say(now);
        }
        self.tell_end();
    }

    fn tell_end(&self) {
        if let Some(reason) = self.peer.close_reason() {
            let queues = self.life.queues.iter();
            queues.for_each(|queue| queue.close(reason));
            if self.peer.state() == State::Closed {
                let _ = self.life.closed.set(reason);
            }
        }
    }

    /// Ends the session at once, and never calls the framing again.
    pub(super) fn abandon(&mut self, now: Instant) {
        self.abandoned = true;
        (self.held, self.restarts) = (None, false);
        self.peer.handle_end(now, TransportError::Io);
        self.tell_end();
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub fn poll_at(&self) -> PollAt {
        let framing = match self.abandoned {
            true => PollAt::Idle,
            false => self.framing.poll_at(),
        };
        self.peer.poll_at().min(framing)
    }

    // ---- What there is to know ----

    /// The peer of this session.
    pub fn peer(&self) -> &Peer<MAX_PROTOCOLS> {
        &self.peer
    }

    /// Whether messages can be exchanged.
    pub fn is_active(&self) -> bool {
        self.peer.state() == State::Active
    }

    /// Traffic of a protocol in this session.
    pub fn traffic(&self, subprotocol: usize) -> Traffic {
        let counters = self.life.counters.get(subprotocol);
        counters.map(Counters::traffic).unwrap_or_default()
    }

    pub(super) fn delimits_sessions(&self) -> bool {
        !self.abandoned && self.framing.delimits_sessions()
    }

    pub(super) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        self.inboxes.account()
    }

    pub(super) fn protocols(&self) -> &[Protocol] {
        &self.ours.protocols
    }

    pub(super) fn config(&self) -> &Config {
        &self.ours.config
    }
}

fn inboxes(life: &Life, account: Arc<Account>) -> Queues<Told> {
    let observer = Told(Arc::clone(&life.counters));
    Queues::new(Arc::clone(&life.queues), account, observer)
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
