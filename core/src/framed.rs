//! Sessions over a link that is private already: whole messages over a framing of its own, without RLPx and Snappy.
//!
//! A serial line to a microcontroller, a pipe between two processes, a tunnel that encrypts: a [`Framing`] makes messages of
//! the bytes, [`Resources`] are the memory, fixed or growing, and [`FramedSession`] is the session: what
//! `session::Session` is over RLPx. An identity proves nothing here: each side says in Hello who it is, and is
//! believed. The base protocol version is [`VERSION`], the last without Snappy.

mod drive;
mod framing;
mod input;
mod resources;
mod sealer;
mod write;

pub use framing::{Decoded, Framing, MAX_MARK, Mark};
pub use resources::{Fixed, Output, Parts, Resources};
pub use write::PendingWrite;

use core::task::{Context, Poll};

use sealer::Sealer;

use crate::arena::{InboxCounters, Message};
use crate::config::Config;
use crate::control::CONTROL_LENGTH;
use crate::delivery::Delivery;
use crate::disconnect::{DisconnectReason, HEAD_LENGTH};
use crate::error::{CloseReason, TransportError};
use crate::hello::MAX_SENT_LENGTH;
use crate::inbox::Inboxes;
use crate::lifecycle::State;
use crate::peer::{Expected, Peer};
use crate::time::Instant;

/// The base protocol version of these sessions.
pub const VERSION: u8 = 4;

/// What a session tells its driver, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// Hello was accepted: the subprotocols in [`Peer::shared`] can begin.
    Active,
    /// Everything is said: end the sending direction of the transport, go on passing what arrives. Not from a framing that
    /// delimits sessions, which says so itself.
    HalfClose,
    /// The session is over: drop the transport. Where the framing delimits sessions, [`FramedSession::restart`] goes on with
    /// the next one; or leave it at that once it [is flushed](FramedSession::is_flushed).
    Closed(CloseReason),
}

/// What a session is made from does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SetupError {
    /// Our Hello would be larger than any peer takes: a shorter client name or fewer protocols are needed.
    Hello,
    /// The output needs at least this many bytes.
    Output {
        /// Bytes.
        needed: usize,
    },
}

impl core::fmt::Display for SetupError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Hello => f.write_str(
                "our Hello is too long: shorten the client name or register fewer protocols",
            ),
            Self::Output { needed } => write!(f, "lend at least {needed} bytes for the output"),
        }
    }
}

impl core::error::Error for SetupError {}

/// One session after the other over a framing of their own, for up to `N` registered protocols.
///
/// The driver owns the transport and the clock, and in any order
/// 1. passes what arrives to [`handle_input`](Self::handle_input), keeping what was not consumed until
///    [`wants_input`](Self::wants_input); and the transport's end to [`handle_end`](Self::handle_end);
/// 2. writes what [`output`](Self::output) holds to the transport, and says so by
///    [`consume_output`](Self::consume_output);
/// 3. calls [`poll`](Self::poll) until `None` after each of these, after reading, and when [`poll_at`](Self::poll_at) says so;
/// 4. then wakes what [`next_wake`](Self::next_wake) returns, if its tasks wait with wakers.
///
/// Messages are read from [`Fixed`] resources by [`peek`](Self::peek) and [`pop`](Self::pop), from others by their own means.
pub struct FramedSession<F: ?Sized, R: Resources, const N: usize = 4> {
    resources: R,
    config: Config,
    expected: Expected,
    peer: Peer<N>,
    /// The message that is arriving, the bytes of payload it stated and those that came.
    delivery: Delivery<<R::Inboxes as Inboxes>::Slot>,
    length: usize,
    gathered: usize,
    /// The first bytes of a Disconnect's payload.
    head: [u8; HEAD_LENGTH],
    sealer: Sealer,
    /// Bytes in the output that were sealed before this session.
    foreign: usize,
    /// The remote's next session has begun: no more input is taken before ours does.
    restarts: bool,
    /// A message was removed while another one waits for room: perhaps there is room now.
    may_resume: bool,
    /// The framing has said that we say nothing more.
    ended: bool,
    /// Hello was accepted, and the driver was told.
    is_active: bool,
    was_active: bool,
    was_closed: bool,
    /// Last, so that a host can keep sessions of any framing as one type.
    framing: F,
}

impl<F: Framing, R: Resources, const N: usize> FramedSession<F, R, N> {
    /// The first session: its Hello has until the configured timeout from `now`, or from where the framing says that it begins.
    ///
    /// # Errors
    /// [`SetupError`] if our Hello is too large, for any peer or for the output.
    pub fn new(
        framing: F,
        resources: R,
        config: Config,
        expected: Expected,
        now: Instant,
    ) -> Result<Self, SetupError> {
        let hello = resources.local().hello_length();
        if hello > MAX_SENT_LENGTH {
            return Err(SetupError::Hello);
        }
        let needed = framing
            .frame_length(hello.max(CONTROL_LENGTH))
            .max(MAX_MARK);
        if !resources.output().can_fit(needed) {
            return Err(SetupError::Output { needed });
        }
        let deadline = deadline(&config, framing.is_begun().then_some(now));
        Ok(Self {
            peer: Peer::new(config, &resources.local(), expected, deadline),
            resources,
            config,
            expected,
            delivery: Delivery::ignored(),
            length: 0,
            gathered: 0,
            head: [0; HEAD_LENGTH],
            sealer: Sealer::new(),
            foreign: 0,
            restarts: false,
            may_resume: false,
            ended: false,
            is_active: false,
            was_active: false,
            was_closed: false,
            framing,
        })
    }
}

/// Until when Hello must be done, in a session that began at this instant, if it has begun.
fn deadline(config: &Config, begun: Option<Instant>) -> Instant {
    begun.map_or(Instant::MAX, |now| {
        now.saturating_add(config.handshake_timeout)
    })
}

impl<F: Framing + ?Sized, R: Resources, const N: usize> FramedSession<F, R, N> {
    /// Goes on with a new session, after [`Event::Closed`] and only if the framing delimits sessions. Messages that were not
    /// read are lost.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn restart(&mut self, now: Instant) {
        self.framing.restart();
        self.abort_message();
        self.resources.clear();
        // A frame that is half sealed must not swallow what follows.
        self.sealer.spoil();
        self.begin(self.framing.is_begun().then_some(now));
        (self.restarts, self.may_resume, self.ended) = (false, false, false);
        (self.is_active, self.was_active, self.was_closed) = (false, false, false);
    }

    /// A session that has begun, or waits to begin: what waits for the wire is none of its concern.
    fn begin(&mut self, now: Option<Instant>) {
        let deadline = deadline(&self.config, now);
        let local = self.resources.local();
        self.peer = Peer::new(self.config, &local, self.expected, deadline);
        self.foreign = self.resources.output().length();
    }

    // ---- What goes out ----

    /// Bytes for the transport: contiguous, perhaps not all that wait.
    pub fn output(&self) -> &[u8] {
        match self.is_closed() && !self.framing.delimits_sessions() {
            true => &[],
            false => self.resources.output().readable(),
        }
    }

    /// How many bytes wait for the transport in all, or have not left when it was dropped.
    pub fn output_length(&self) -> usize {
        self.resources.output().length()
    }

    /// The transport took `n` bytes of [`output`](Self::output).
    pub fn consume_output(&mut self, now: Instant, n: usize) {
        self.resources.parts().output.consume(n);
        let foreign = n.min(self.foreign);
        self.foreign -= foreign;
        self.peer.on_taken(now, n - foreign);
    }

    /// Whether the session is over, its end is said, and the transport took everything.
    pub fn is_flushed(&self) -> bool {
        let is_said = self.ended || !self.framing.delimits_sessions() || !self.framing.is_begun();
        self.was_closed && is_said && self.output().is_empty()
    }

    // ---- Local ends ----

    /// Ends the session with this reason.
    pub fn disconnect(&mut self, now: Instant, reason: DisconnectReason) {
        self.peer.disconnect(now, reason);
    }

    /// Closes the session for `cause`, unless it is closing already.
    pub fn close(&mut self, now: Instant, cause: CloseReason) {
        self.peer.close(now, cause);
    }

    /// The transport's end: no more bytes come, or none can be written.
    pub fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.peer.handle_end(now, error);
    }

    /// Asks for a Ping now rather than at the next interval.
    pub fn request_ping(&mut self) {
        self.peer.request_ping();
    }

    /// Ready with the cause once the session is closed.
    pub fn poll_closed(&mut self, cx: Option<&mut Context<'_>>) -> Poll<CloseReason> {
        self.peer.poll_closed(cx)
    }

    // ---- What there is to know ----

    /// The peer: state, shared subprotocols, the remote, the cause of the end.
    pub fn peer(&self) -> &Peer<N> {
        &self.peer
    }

    /// Deadlines and policies.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the session was made from.
    pub fn resources(&self) -> &R {
        &self.resources
    }

    /// What the session was made from, for a driver that reads from its own inboxes.
    pub fn resources_mut(&mut self) -> &mut R {
        &mut self.resources
    }

    /// Whether sessions follow each other on one transport.
    pub fn delimits_sessions(&self) -> bool {
        self.framing.delimits_sessions()
    }

    fn is_closed(&self) -> bool {
        self.peer.state() == State::Closed
    }
}

/// Without the payloads, which are their reader's.
impl<F: ?Sized, R: Resources, const N: usize> core::fmt::Debug for FramedSession<F, R, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FramedSession")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<F: Framing + ?Sized, const N: usize> FramedSession<F, Fixed<'_, N>, N> {
    /// The first waiting message of `subprotocol`, lent until [`pop`](Self::pop).
    pub fn peek(&self, subprotocol: usize) -> Option<Message<'_>> {
        // Before Hello the inboxes' memory holds it.
        let inboxes = self.is_active.then_some(&self.resources.inboxes)?;
        inboxes.peek(subprotocol)
    }

    /// Removes the first waiting message of `subprotocol`.
    pub fn pop(&mut self, subprotocol: usize) {
        self.resources.inboxes.pop(subprotocol);
        self.may_resume = self.delivery.held().is_some();
    }

    /// Ready when a message waits for `subprotocol`; with the cause once the session closes and none is left.
    pub fn poll_readable(
        &mut self,
        subprotocol: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>> {
        let closed = self.peer.close_reason();
        self.resources
            .inboxes
            .poll_readable(subprotocol, closed, cx)
    }

    /// What the inbox of `subprotocol` has seen since the start.
    pub fn counters(&self, subprotocol: usize) -> InboxCounters {
        self.resources.inboxes.counters(subprotocol)
    }
}
