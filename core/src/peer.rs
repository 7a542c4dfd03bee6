//! The peer: the life of one session at message level. It composes and decides nothing by itself.

mod send;
mod time;

use crate::SNAPPY_VERSION;
use crate::config::{Config, Local};
use crate::delivery::{Delivery, Target};
use crate::disconnect::{self, DisconnectReason};
use crate::error::{CloseReason, TransportError, Violation};
use crate::fmt::{debug, trace};
use crate::hello::{Fields, MAX_HELLO_LENGTH, NodeId};
use crate::inbox::{Hold, Inboxes};
use crate::lifecycle::{Lifecycle, State};
use crate::ping::PingScheduler;
use crate::shared_capabilities::SharedCapabilities;
use crate::time::{Duration, Instant};
use crate::waiter::Waiter;
use crate::watch::{ReceiveWatch, Received, TransmitWatch};
use crate::write_token::WriteToken;

/// Whom the remote's Hello must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Expected {
    /// Anyone but ourselves.
    Anyone,
    /// The node that was dialled, over a transport that proves nothing.
    Dialled(NodeId),
    /// The node that the transport's handshake proved.
    Authenticated(NodeId),
}

/// A message of the base protocol after Hello, as a receiver reports it once it is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BaseMessage {
    /// Ping.
    Ping,
    /// Pong.
    Pong,
    /// Disconnect; the reason is absent if it could not be read.
    Disconnect(Option<DisconnectReason>),
}

/// One session at message level, for up to `N` registered protocols.
///
/// The driver owns the framing, the inboxes and the clock, and proceeds so:
/// 1. Pass what comes in: whole messages to [`handle_message`](Self::handle_message); those that arrive in pieces by
///    [`begin_message`](Self::begin_message) and [`finish_message`](Self::finish_message), as
///    [`FramedSession`](crate::framed::FramedSession) does; or, where a receiver writes into the inboxes itself,
///    [`handle_hello`](Self::handle_hello), [`handle_base`](Self::handle_base), [`handle_violation`](Self::handle_violation)
///    and [`on_receive`](Self::on_receive). Pass the end of the stream to [`handle_end`](Self::handle_end).
/// 2. Whenever no frame is half written, send what [`poll_control`](Self::poll_control) returns, until it is `None`.
/// 3. Report what was sealed and taken by the wire: [`on_sealed`](Self::on_sealed), [`on_taken`](Self::on_taken).
/// 4. Call [`handle_timeout`](Self::handle_timeout) when [`poll_at`](Self::poll_at) says so.
/// 5. When [`wants_half_close`](Self::wants_half_close), end the sending direction and read on until the end of the stream.
/// 6. After each of these, release locks and wake everything that [`next_wake`](Self::next_wake) returns.
#[derive(Debug)]
pub struct Peer<const N: usize = 4> {
    config: Config,
    lifecycle: Lifecycle,
    ping: PingScheduler,
    token: WriteToken<N>,
    shared: SharedCapabilities<N>,
    receive: ReceiveWatch,
    transmit: TransmitWatch,
    expected: Expected,
    remote: Option<Remote>,
    local_version: u8,
    /// What the remote speaks; until its Hello says so, what everybody does.
    remote_version: u8,
    hello_sent: bool,
    half_closed: bool,
    /// The remote's sending direction ended.
    input_ended: bool,
    /// Bit `i`: subprotocol `i` waits for the wire to take everything.
    flushing: u32,
    flush_waiters: [Waiter; N],
    room_waiter: Waiter,
    closed_waiter: Waiter,
}

/// What the remote said of itself in Hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Remote {
    /// Its identity.
    pub id: NodeId,
    /// Its base protocol version.
    pub version: u8,
}

impl<const N: usize> Peer<N> {
    /// A session whose transport is ready and whose Hello exchange begins; Hello must be done at `deadline`. A driver that
    /// does not admit the remote calls [`reject`](Self::reject) before the first [`poll_control`](Self::poll_control).
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn new(config: Config, local: &Local<'_>, expected: Expected, deadline: Instant) -> Self {
        Self {
            lifecycle: Lifecycle::new(deadline),
            ping: PingScheduler::new(config.ping_interval, config.pong_timeout),
            token: WriteToken::new(),
            shared: SharedCapabilities::default(),
            receive: ReceiveWatch::new(),
            transmit: TransmitWatch::new(),
            expected,
            remote: None,
            local_version: local.version,
            remote_version: SNAPPY_VERSION,
            hello_sent: false,
            half_closed: false,
            input_ended: false,
            flushing: 0,
            flush_waiters: [const { Waiter::new() }; N],
            room_waiter: Waiter::new(),
            closed_waiter: Waiter::new(),
            config,
        }
    }

    /// Begins a new session in place of this one, as [`new`](Self::new) with the same configuration; the deadline is that
    /// of the handshake, from `now`. Tasks that wait for the old one must have been woken.
    pub fn restart(&mut self, local: &Local<'_>, now: Instant) {
        let deadline = now.saturating_add(self.config.handshake_timeout);
        *self = Self::new(self.config, local, Expected::Anyone, deadline);
    }

    // ---- What comes in ----

    /// Takes the remote's Hello; a second one is ignored.
    pub fn handle_hello(&mut self, now: Instant, local: &Local<'_>, payload: &[u8]) {
        if self.state() != State::AwaitingHello {
            return;
        }
        match self.accept_hello(local, payload) {
            Ok(()) => {
                debug!("Hello of {:?}", self.remote);
                for shared in self.shared.iter() {
                    debug!("shared: {:?}", shared);
                }
                self.lifecycle.activate();
                self.ping.start(now);
            }
            Err(cause) => self.close(now, cause),
        }
    }

    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn accept_hello(&mut self, local: &Local<'_>, payload: &[u8]) -> Result<(), CloseReason> {
        if payload.len() > MAX_HELLO_LENGTH {
            return Err(CloseReason::Violation(Violation::HelloTooLarge));
        }
        let hello =
            Fields::read(payload).map_err(|_| CloseReason::Violation(Violation::MalformedHello))?;
        let version = u8::try_from(hello.version).unwrap_or(u8::MAX);
        // Before anything is refused: it decides the form of our Disconnect.
        self.remote_version = version;
        let id = hello.id.ok_or(CloseReason::InvalidIdentity)?;
        match &self.expected {
            Expected::Dialled(expected) if expected.0 != *id => {
                return Err(CloseReason::UnexpectedIdentity);
            }
            Expected::Authenticated(expected) if expected.0 != *id => {
                return Err(CloseReason::IdentityMismatch);
            }
            _ if *id == local.id.0 => return Err(CloseReason::SelfConnection),
            _ => {}
        }
        let id = NodeId(*id);
        self.remote = Some(Remote { id, version });
        if version < self.config.lowest_version {
            return Err(CloseReason::IncompatibleVersion);
        }
        // Only a local list that is itself too long fails to match; then nothing can be shared.
        self.shared
            .fill(local.protocols, hello.capabilities)
            .map_err(|_| CloseReason::UselessPeer)?;
        if self.shared.is_empty() && self.config.require_shared {
            return Err(CloseReason::UselessPeer);
        }
        Ok(())
    }

    /// Takes a message of the base protocol that came after Hello, or a Disconnect in place of it.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn handle_base(&mut self, now: Instant, message: BaseMessage) {
        trace!("received {:?}", message);
        match (self.state(), message) {
            (State::Closing | State::Closed, _) => {}
            (_, BaseMessage::Disconnect(reason)) => {
                self.close(now, CloseReason::RemoteRequested(reason))
            }
            (State::AwaitingHello, _) => self.handle_violation(now, Violation::ExpectedHello),
            (State::Active, BaseMessage::Ping) => self.ping.on_ping(),
            (State::Active, BaseMessage::Pong) => self.ping.on_pong(now),
        }
    }

    /// The remote broke the protocol in a message that was verified.
    pub fn handle_violation(&mut self, now: Instant, violation: Violation) {
        self.close(now, CloseReason::Violation(violation));
    }

    /// Takes note of what a call to the receiver did.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn on_receive(&mut self, now: Instant, received: Received) {
        match self.receive.update(now, received) {
            Some(true) => self.ping.hold(now),
            Some(false) => self.ping.resume(now),
            None => {}
        }
        if received.messages > 0 {
            self.ping.on_message(now);
        }
    }

    /// Takes one whole, verified message: routes it, and copies a subprotocol's into its inbox.
    ///
    /// # Errors
    /// [`Hold`] if there is no room for it now: pass the same message again later.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn handle_message<I: Inboxes>(
        &mut self,
        now: Instant,
        local: &Local<'_>,
        code: u64,
        payload: &[u8],
        inboxes: &mut I,
    ) -> Result<(), Hold> {
        let mut delivery = self.begin_message(code, payload.len());
        let held = delivery.open(inboxes);
        if held.is_ok() {
            delivery.push(inboxes, payload);
            if delivery.is_hello() {
                self.handle_hello(now, local, payload);
            }
            let reason = match delivery.is_disconnect() {
                true => disconnect::decode(payload),
                false => None,
            };
            self.finish_message(now, delivery, reason, inboxes);
        }
        self.on_receive(
            now,
            Received {
                messages: u32::from(held.is_ok()),
                partial: held.is_err(),
                held: held.err(),
            },
        );
        held
    }

    /// Routes a message that begins to arrive: its code on the wire, and bytes of payload.
    pub fn begin_message<Slot>(&self, code: u64, length: usize) -> Delivery<Slot> {
        Delivery::new(self.state(), &self.shared, code, length)
    }

    /// The message has arrived whole and is verified: now it counts. `reason` is that of a Disconnect, if it gave one that can
    /// be read; the payload of a Hello goes to [`handle_hello`](Self::handle_hello) before. Then call
    /// [`on_receive`](Self::on_receive).
    pub fn finish_message<I: Inboxes>(
        &mut self,
        now: Instant,
        delivery: Delivery<I::Slot>,
        reason: Option<DisconnectReason>,
        inboxes: &mut I,
    ) {
        match delivery.0 {
            Target::Nowhere | Target::Unopened(_) | Target::Hello => {}
            Target::Slot { slot, meta, .. } => inboxes.commit(slot, meta.meta(now)),
            Target::Dropped(meta) => {
                inboxes.dropped(usize::from(meta.subprotocol), meta.meta(now));
            }
            Target::Refused { subprotocol } => {
                self.close(now, CloseReason::Stalled { subprotocol });
            }
            Target::Disconnect => self.handle_base(now, BaseMessage::Disconnect(reason)),
            Target::Base(message) => self.handle_base(now, message),
            Target::Violation(violation) => self.handle_violation(now, violation),
        }
    }

    /// The stream ended or broke. A live session closes with this cause. A closing one is then closed; but if only the
    /// incoming direction ended, it says its Disconnect first.
    pub fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.close(now, CloseReason::Transport(error));
        self.input_ended |= error == TransportError::EndOfStream;
        if error != TransportError::EndOfStream || self.half_closed {
            self.lifecycle.finish();
        }
    }

    /// The transport has proved who the remote is.
    pub fn expect_identity(&mut self, expected: Expected) {
        debug!("admitted: {:?}", expected);
        self.expected = expected;
    }

    // ---- Local ends ----

    /// Closes the session for `cause`, unless it is closing already.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn close(&mut self, now: Instant, cause: CloseReason) {
        if self
            .lifecycle
            .close(now, cause, self.config.closing_timeout)
        {
            debug!("closing: {}", CauseText(cause));
            self.ping.stop();
            self.receive.stop();
        }
    }

    /// A local call asks for the end.
    pub fn disconnect(&mut self, now: Instant, reason: DisconnectReason) {
        self.close(now, CloseReason::Local(reason));
    }

    /// The driver does not admit this remote.
    pub fn reject(&mut self, now: Instant, reason: DisconnectReason) {
        self.close(now, CloseReason::Rejected(reason));
    }

    // ---- What goes out ----

    // ---- Time and wakes ----

    // ---- What there is to know ----

    /// Where the session stands.
    pub fn state(&self) -> State {
        self.lifecycle.state()
    }

    /// Whether the end is decided.
    pub fn is_closing(&self) -> bool {
        self.close_reason().is_some()
    }

    /// Why the session ends; `None` while it lives.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.lifecycle.close_reason()
    }

    /// The subprotocols of this session; empty before Hello.
    pub fn shared(&self) -> &SharedCapabilities<N> {
        &self.shared
    }

    /// What the remote said of itself; `None` before its Hello.
    pub fn remote(&self) -> Option<Remote> {
        self.remote
    }

    /// Whether a frame of a subprotocol is partly sealed, so that no control message can be.
    pub fn is_inside_frame(&self) -> bool {
        self.token.is_inside_frame()
    }

    /// How many of our Pings were answered by a Pong.
    pub fn pongs(&self) -> u32 {
        self.ping.pongs()
    }

    /// The last measured round trip of Ping and Pong.
    pub fn round_trip(&self) -> Option<Duration> {
        self.ping.round_trip()
    }
}

/// `log` wants Display, `defmt` wants Format.
struct CauseText(CloseReason);

impl core::fmt::Display for CauseText {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for CauseText {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::Format::format(&self.0, f);
    }
}
