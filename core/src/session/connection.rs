//! The session machine: every decision of a session over bytes, without its memory.

use core::num::NonZeroU16;
use core::task::{Context, Poll, Waker};

use crate::config::{Config, Local};
use crate::disconnect::DisconnectReason;
use crate::error::{CloseReason, TransportError};
use crate::lifecycle::State;
use crate::output::Room;
use crate::peer::{Expected, Peer};
use crate::rlpx::receive::ReceiveHalf;
use crate::rlpx::transmit::{HEADER_LENGTH, TransmitHalf};
use crate::rlpx::{
    DefaultCurve, Established, FrameKeys, Handshake, Keccak256, Role, Sponge, wipe_stack,
};
use crate::time::Instant;

/// One session over bytes, for up to `N` registered protocols, whose memory ([`Buffers`](super::Buffers)) and description ([`Local`], the node's
/// key) are lent for each call. Pass the same ones to every call; `now` must not go back.
///
/// It is driven as [`Session`](super::Session) is, which is this machine with fixed memory:
/// 1. what arrives goes to [`handle_input`](Self::handle_input) while [`wants_input`](Self::wants_input); the transport's end to
///    [`handle_end`](Self::handle_end);
/// 2. what the output holds goes to the transport; [`on_taken`](Self::on_taken) says how much it took;
/// 3. [`poll`](Self::poll) is called until `None` after each of these, and when [`poll_at`](Self::poll_at) says so;
/// 4. after a message was removed from an inbox, [`on_read`](Self::on_read), or, if the driver has room for what follows,
///    [`handle_input`](Self::handle_input) without a byte while [`is_held`](Self::is_held);
/// 5. then wake what [`next_wake`](Self::next_wake) returns, and the readers of the inboxes.
#[derive(Debug)]
pub struct Connection<Slot, const N: usize = 4, S: Sponge = Keccak256> {
    pub(super) phase: Phase<Slot, S>,
    pub(super) peer: Peer<N>,
    /// A message was removed while another one waits for room: perhaps there is room now.
    pub(super) may_resume: bool,
    pub(super) activity: Activity,
    pub(super) was_closed: bool,
    /// A frame's MAC has held: the remote is who its handshake claims.
    pub(super) is_authentic: bool,
    /// The transport takes no more bytes.
    pub(super) is_cut: bool,
    /// Our Hello waits until the driver knows what to offer.
    pub(super) defers_hello: bool,
    /// The remote's Hello is kept for the driver: bytes of its message, the code included.
    pub(super) kept_hello: Option<NonZeroU16>,
}

/// Whether Hello was accepted, and the driver was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    Opening,
    Untold,
    Told,
}

#[derive(Debug)]
pub(super) enum Phase<Slot, S: Sponge> {
    Handshake {
        handshake: Handshake<DefaultCurve, S>,
        computes: bool,
        gathered: usize,
        wanted: usize,
    },
    Authenticated(Established<S>),
    Live(Live<Slot, S>),
    /// The handshake failed, or ended before there were keys.
    Dead,
}

#[derive(Debug)]
pub(super) struct Live<Slot, S: Sponge> {
    pub(super) keys: FrameKeys,
    pub(super) receive: ReceiveHalf<Slot, S>,
    pub(super) transmit: TransmitHalf<S>,
}

impl<Slot, const N: usize, S: Sponge> Connection<Slot, N, S> {
    /// A session that begins with `handshake`; handshake and Hello have until the configured timeout from `now`.
    pub fn new(
        handshake: Handshake<DefaultCurve, S>,
        local: &Local<'_>,
        config: Config,
        now: Instant,
    ) -> Self {
        let deadline = now.saturating_add(config.handshake_timeout);
        let mut connection = Self::of(Peer::new(config, local, Expected::Anyone, deadline));
        connection.begin(handshake);
        connection
    }

    /// No session yet: closed until [`restart`](Self::restart).
    pub fn idle(local: &Local<'_>, config: Config) -> Self {
        let mut peer = Peer::new(config, local, Expected::Anyone, Instant::ZERO);
        peer.handle_end(Instant::ZERO, TransportError::EndOfStream);
        Self::of(peer)
    }

    fn of(peer: Peer<N>) -> Self {
        Self {
            phase: Phase::Dead,
            peer,
            may_resume: false,
            activity: Activity::Opening,
            was_closed: true,
            is_authentic: false,
            is_cut: false,
            defers_hello: false,
            kept_hello: None,
        }
    }

    /// Begins a new session in place of this one, with the same configuration and with buffers that were cleared.
    pub fn restart(
        &mut self,
        handshake: Handshake<DefaultCurve, S>,
        local: &Local<'_>,
        now: Instant,
    ) {
        self.peer.restart(local, now);
        self.begin(handshake);
    }

    fn begin(&mut self, handshake: Handshake<DefaultCurve, S>) {
        self.phase = Phase::Handshake {
            handshake,
            computes: true,
            gathered: 0,
            wanted: 0,
        };
        self.may_resume = false;
        self.activity = Activity::Opening;
        self.was_closed = false;
        self.is_authentic = false;
        self.is_cut = false;
        self.kept_hello = None;
    }

    // ---- Admission and the end ----

    /// Admits the remote that [`Event::Authenticated`](super::Event::Authenticated) named: Hello goes out.
    /// Does nothing at any other time.
    pub fn admit(&mut self) {
        if matches!(self.phase, Phase::Authenticated(_)) {
            self.go_live();
            wipe_stack();
        }
    }

    /// Apart, so that what it leaves on the stack is below what is wiped.
    #[inline(never)]
    fn go_live(&mut self) {
        if let Phase::Authenticated(established) = core::mem::replace(&mut self.phase, Phase::Dead)
        {
            self.peer
                .expect_identity(Expected::Authenticated(established.remote));
            let secrets = established.secrets;
            self.phase = Phase::Live(Live {
                receive: ReceiveHalf::new(secrets.ingress),
                transmit: TransmitHalf::new(secrets.egress),
                keys: secrets.keys,
            });
        }
    }

    /// Turns the remote away: before Hello by a Disconnect in place of it, after it by one that follows. While the handshake
    /// is not done nothing can be said.
    pub fn reject(&mut self, now: Instant, reason: DisconnectReason) {
        self.admit();
        self.peer.reject(now, reason);
    }

    /// Closes the session for `cause`, unless it is closing already.
    pub fn close(&mut self, now: Instant, cause: CloseReason) {
        self.peer.close(now, cause);
    }

    /// Lets our Hello wait, or go out now: while it waits, the driver finds out what to offer.
    pub fn defer_hello(&mut self, defers: bool) {
        self.defers_hello = defers;
    }

    // ---- The wire ----

    /// The transport took `n` bytes, which the output was told.
    pub fn on_taken(&mut self, now: Instant, n: usize) {
        self.peer.on_taken(now, n);
    }

    /// The transport takes no more bytes: the driver forgets those that wait. What has arrived may tell why (a Disconnect,
    /// say): read that before [`handle_end`](Self::handle_end).
    pub fn cut_output(&mut self) {
        self.is_cut = true;
    }

    /// Whether [`cut_output`](Self::cut_output) was called.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether there are keys to seal with, and a transport that takes bytes.
    pub(super) fn can_send(&self) -> bool {
        matches!(self.phase, Phase::Live(_)) && !self.is_cut
    }

    // ---- What there is to know ----

    /// The peer: state, shared subprotocols, the remote, the cause of the end.
    pub fn peer(&self) -> &Peer<N> {
        &self.peer
    }

    /// Which side of the connection this is; `None` once the handshake is done.
    pub fn role(&self) -> Option<Role> {
        match &self.phase {
            Phase::Handshake { handshake, .. } => Some(handshake.role()),
            _ => None,
        }
    }

    /// Whether messages can be in the inboxes: Hello was accepted.
    pub fn is_active(&self) -> bool {
        self.activity != Activity::Opening
    }

    /// Whether a frame whose MAC holds has proved the identity that the handshake claims. Anyone can claim any: the handshake's
    /// signature is checked against the key that it yields.
    pub fn is_authentic(&self) -> bool {
        self.is_authentic
    }

    /// Whether the buffers of the opening ([`Buffers::handshake`](super::Buffers::handshake)) are still needed.
    pub fn is_opening(&self) -> bool {
        match &self.phase {
            Phase::Dead => false,
            Phase::Live(_) => self.peer.state() == State::AwaitingHello,
            _ => !self.peer.is_closing(),
        }
    }

    /// Whether a message waits for room in its inbox.
    pub fn is_held(&self) -> bool {
        !self.peer.is_closing()
            && matches!(&self.phase, Phase::Live(live) if live.receive.is_held())
    }

    /// Begins the wait for shared memory anew: another session was told to go.
    pub fn restart_memory_wait(&mut self, now: Instant) {
        self.peer.restart_memory_wait(now);
    }

    // ---- Waits ----

    /// Asks for a Ping now rather than at the next interval.
    pub fn request_ping(&mut self) {
        self.peer.request_ping();
    }

    /// A message was removed from an inbox.
    pub fn on_read(&mut self) {
        self.may_resume = matches!(&self.phase, Phase::Live(live) if live.receive.is_held());
    }

    /// Ready with the cause once the session is closed.
    pub fn poll_closed(&mut self, cx: Option<&mut Context<'_>>) -> Poll<CloseReason> {
        self.peer.poll_closed(cx)
    }

    /// Ready once the wire took everything that was sealed.
    ///
    /// # Errors
    /// Why the session closed before that.
    pub fn poll_flush(
        &mut self,
        subprotocol: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>> {
        self.peer.poll_flush(subprotocol, cx)
    }

    /// A task to wake: one that waits to write, for the wire or for the end. Call until `None`, after every lock is released
    /// if the driver has locks.
    pub fn next_wake<R: Room>(&mut self, output: &R) -> Option<Waker> {
        let room = if output.free() >= HEADER_LENGTH {
            self.peer.take_room_waiter()
        } else {
            None
        };
        room.or_else(|| self.peer.next_wake())
    }
}
