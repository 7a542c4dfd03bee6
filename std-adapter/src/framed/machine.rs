//! One end of a link without threads: core's session over inboxes that grow.

use std::sync::Arc;
use std::task::Poll;

use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;
use devp2p_core::config::Config;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::framed::{Event, FramedSession, Framing};
use devp2p_core::inbox::Meta;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::Peer;
use devp2p_core::time::{Instant, PollAt};

use super::Settings;
use super::resources::{Growable, LocalNode, SessionShared};
use crate::counters::{Counters, Traffic};
use crate::host::{HostError, MAX_PROTOCOLS, check};
use crate::inbox::Arrived;
use crate::memory::{Account, MemoryCap};
use crate::peer::HelloText;

/// One end of a link, as session after session lives on it: a [`FramedSession`] whose inboxes and output grow.
///
/// The driver owns the transport and the clock, and
/// 1. passes what came to [`handle_input`](Self::handle_input) and keeps what was not taken, and the end of the stream to
///    [`handle_end`](Self::handle_end);
/// 2. reads and writes messages;
/// 3. calls [`poll`](Self::poll) after each of these calls, and when [`poll_at`](Self::poll_at) says so;
/// 4. writes [`output`](Self::output) and says so by [`consume_output`](Self::consume_output);
/// 5. ends the sending direction when [`take_close_write`](Self::take_close_write) says so, and where the framing does not
///    delimit sessions closes the transport when the peer is closed.
pub struct Machine<F: ?Sized> {
    /// The sending direction of the transport is to be ended.
    half_closes: bool,
    /// Bytes that the wire took.
    taken: u64,
    /// The framing panicked: it is not called any more.
    abandoned: bool,
    session: FramedSession<F, Growable, MAX_PROTOCOLS>,
}

/// A message that was read from a [`Machine`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Its code, length and time of arrival.
    pub meta: Meta,
    /// Its payload; `None` if it was larger than the protocol's limit, and skipped.
    pub payload: Option<Vec<u8>>,
}

impl<F: Framing> Machine<F> {
    /// An end that says `settings` of itself, and whose first session begins at `now` unless the framing decides.
    ///
    /// # Errors
    /// [`HostError`] if the protocols cannot be registered together.
    pub fn new(settings: Settings, framing: F, now: Instant) -> Result<Self, HostError> {
        let node = LocalNode {
            id: settings.id,
            client_name: settings.client_name,
            protocols: settings.protocols,
        };
        check(&node.local())?;
        let memory = Arc::new(MemoryCap::new(settings.memory_limit));
        // There is one session at a time: all is its share or its pool.
        memory.guarantee(1);
        let resources = Growable::new(node, memory.account(|| ()));
        let (config, expected) = (settings.config, settings.expected);
        // The output grows, so only our Hello can be in the way.
        let session = FramedSession::new(framing, resources, config, expected, now)
            .map_err(|_| HostError::HelloTooLong)?;
        Ok(Self {
            half_closes: false,
            taken: 0,
            abandoned: false,
            session,
        })
    }
}

impl<F: Framing + ?Sized> Machine<F> {
    /// Goes on with a new session after the last one was closed. Only for a framing that delimits sessions.
    pub fn restart(&mut self, now: Instant) {
        self.session.restart(now);
    }

    // ---- What comes in ----

    /// Takes bytes from the wire, which the framing may decrypt in place; returns how many. The rest is to be passed again: an inbox is full, or this session is to be
    /// [restarted](Self::restart) first.
    pub fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        if self.abandoned {
            return bytes.len();
        }
        let taken = self.session.handle_input(now, bytes);
        self.session.resources_mut().inboxes.wake_readers();
        taken
    }

    /// Whether input is not taken now.
    pub(super) fn is_blocked(&self) -> bool {
        !self.abandoned && !self.session.wants_input()
    }

    /// The stream ended or broke.
    pub fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.session.handle_end(now, error);
    }

    /// The next message of `subprotocol`, or why there will be none.
    ///
    /// # Panics
    /// If there is no such protocol in the settings.
    pub fn try_read(&mut self, subprotocol: usize) -> Poll<Result<Delivered, CloseReason>> {
        let next = self.shared().queues[subprotocol].poll_next(None);
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
        self.session.try_write(now, subprotocol, code, &[payload])?;
        if let Some(counters) = self.shared().counters.get(subprotocol) {
            let length = payload.len() as u32;
            counters.sent(length, length);
        }
        Ok(())
    }

    /// Whether the sending direction of the transport is to be ended now, everything being taken. True once.
    pub fn take_close_write(&mut self) -> bool {
        std::mem::take(&mut self.half_closes)
    }

    /// Bytes for the wire.
    pub fn output(&self) -> &[u8] {
        self.session.output()
    }

    /// The wire took the first `n` bytes of [`output`](Self::output).
    pub fn consume_output(&mut self, now: Instant, n: usize) {
        self.taken += n as u64;
        self.session.consume_output(now, n);
    }

    /// Bytes framed so far, and bytes of them that the wire took.
    pub(super) fn progress(&self) -> (u64, u64) {
        let waiting = self.session.output_length() as u64;
        (self.taken + waiting, self.taken)
    }

    /// Ends the session with this reason.
    pub fn disconnect(&mut self, now: Instant, reason: DisconnectReason) {
        self.session.disconnect(now, reason);
    }

    /// Ends the session for this cause.
    pub(super) fn close(&mut self, now: Instant, cause: CloseReason) {
        self.session.close(now, cause);
    }

    /// Asks for a Ping now rather than at the next interval.
    pub fn request_ping(&mut self) {
        self.session.request_ping();
    }

    // ---- Time ----

    /// Does what is due.
    pub fn poll(&mut self, now: Instant) {
        while !self.abandoned {
            match self.session.poll(now) {
                Some(Event::Active) => self.tell_hello(),
                Some(Event::HalfClose) => self.half_closes = true,
                Some(Event::Closed(_)) => {}
                None => break,
            }
        }
        // A message that was held back has found room.
        self.session.resources_mut().inboxes.wake_readers();
        self.tell_end();
    }

    fn tell_hello(&mut self) {
        let remote = self.peer().remote().map(|remote| remote.id);
        let text = HelloText::read(&self.session.resources_mut().take_hello());
        let _ = remote.map(|id| self.shared().hello.set((id, text)));
    }

    fn tell_end(&self) {
        if let Some(reason) = self.peer().close_reason() {
            let queues = self.shared().queues.iter();
            queues.for_each(|queue| queue.close(reason));
            if self.peer().state() == State::Closed {
                let _ = self.shared().closed.set(reason);
            }
        }
    }

    /// Ends the session at once, and never calls the framing again.
    pub(super) fn abandon(&mut self, now: Instant) {
        self.abandoned = true;
        self.session.handle_end(now, TransportError::Io);
        self.tell_end();
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub fn poll_at(&self) -> PollAt {
        match self.abandoned {
            true => PollAt::Idle,
            false => self.session.poll_at(),
        }
    }

    // ---- What there is to know ----

    /// The peer of this session.
    pub fn peer(&self) -> &Peer<MAX_PROTOCOLS> {
        self.session.peer()
    }

    /// Whether messages can be exchanged.
    pub fn is_active(&self) -> bool {
        self.peer().state() == State::Active
    }

    /// Traffic of a protocol in this session.
    pub fn traffic(&self, subprotocol: usize) -> Traffic {
        let counters = self.shared().counters.get(subprotocol);
        counters.map(Counters::traffic).unwrap_or_default()
    }

    pub(super) fn delimits_sessions(&self) -> bool {
        !self.abandoned && self.session.delimits_sessions()
    }

    pub(super) fn shared(&self) -> &Arc<SessionShared> {
        &self.session.resources().shared
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        self.session.resources().inboxes.account()
    }

    pub(super) fn protocols(&self) -> &[Protocol] {
        &self.session.resources().node.protocols
    }

    pub(super) fn config(&self) -> &Config {
        self.session.config()
    }
}

impl<F: Framing + ?Sized> std::fmt::Debug for Machine<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("peer", self.session.peer())
            .finish_non_exhaustive()
    }
}
