//! One session over bytes: what arrives and what goes out, without a socket, a clock or a handler.
//!
//! As the core's `Session`, but its inboxes and its output grow and are given back, so that an idle session is small.

mod write;

use devp2p_core::code::WireCode;
use devp2p_core::control::{CONTROL_LENGTH, Control};
use devp2p_core::disconnect::{self, DisconnectReason};
use devp2p_core::error::{CloseReason, TransportError, Violation};
use devp2p_core::hello::{MAX_HELLO_LENGTH, NodeId};
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{BaseMessage, Expected, Peer};
use devp2p_core::rlp;
use devp2p_core::rlpx::receive::{FIRST_FRAME_BUFFER, First, Status};
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, frame_length};
use devp2p_core::rlpx::{Entropy, FrameKeys};
use devp2p_core::time::{Instant, PollAt};

use super::Host;
use super::inbox::{Filling, Inbox, Observer, OpenSlot};
use super::output::Output;
use super::shaking::{Shaking, Shook};
use super::tools::Tools;
use crate::host::MAX_PROTOCOLS;
use crate::keccak::{Established, ReceiveHalf, TransmitHalf};
use crate::peer::HelloText;

/// What a connection tells its driver, each once.
pub(super) enum Event {
    /// The remote claims this identity, which only a frame proves: call [`Connection::admit`].
    Authenticated(NodeId),
    /// Hello was accepted: call [`Connection::reject`], or begin.
    Active(HelloText),
    /// Everything is said: end the sending direction of the transport, go on reading.
    HalfClose,
    /// The session is over: drop the transport.
    Closed(CloseReason),
}

enum Phase {
    Handshake(Box<Shaking>),
    /// Waits for [`Connection::admit`].
    Authenticated(Box<Established>),
    Live(Box<Live>),
    /// The handshake failed, or ended before there were keys.
    Dead,
}

struct Live {
    keys: FrameKeys,
    receive: ReceiveHalf<OpenSlot>,
    transmit: TransmitHalf,
    /// Where the first frame is gathered, until it is whole.
    first: Vec<u8>,
    /// The remote's Hello, accepted and not told yet.
    hello: Option<Box<HelloText>>,
    /// Nothing may follow our Disconnect.
    finished: bool,
}

/// The driver, in any order,
/// 1. passes what arrives to [`handle_input`](Self::handle_input) while [`wants_input`](Self::wants_input), keeping the rest;
///    and the transport's end to [`handle_end`](Self::handle_end);
/// 2. calls [`poll`](Self::poll) until `None` after that, and when [`poll_at`](Self::poll_at) says so;
/// 3. delivers what is in the inbox;
/// 4. writes the output to the transport and says so by [`on_taken`](Self::on_taken).
pub(super) struct Connection {
    peer: Peer<MAX_PROTOCOLS>,
    phase: Phase,
    pub(super) inbox: Inbox,
    pub(super) output: Output,
    /// The transport takes no more bytes.
    cut: bool,
    was_closed: bool,
}

impl Connection {
    /// The side that dialled `remote`, or that was dialled.
    pub(super) fn new(host: &Host, remote: Option<NodeId>, entropy: Entropy, now: Instant) -> Self {
        let deadline = now.saturating_add(host.config.handshake_timeout);
        let peer = Peer::new(host.config, &host.local(), Expected::Anyone, deadline);
        Self {
            peer,
            phase: Phase::Handshake(Box::new(Shaking::new(remote, entropy))),
            inbox: Inbox::new(host.protocols.len()),
            output: Output::default(),
            cut: false,
            was_closed: false,
        }
    }

    pub(super) fn peer(&self) -> &Peer<MAX_PROTOCOLS> {
        &self.peer
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        self.peer.close_reason()
    }

    pub(super) fn request_ping(&mut self) {
        self.peer.request_ping();
    }

    // ---- What comes in ----

    /// Whether bytes would be consumed now.
    pub(super) fn wants_input(&mut self, tools: &mut Tools) -> bool {
        if self.peer.is_closing() {
            return true;
        }
        match &self.phase {
            Phase::Dead => true,
            Phase::Authenticated(_) => false,
            Phase::Handshake(shaking) => shaking.wants_input(),
            Phase::Live(live) => {
                live.hello.is_none()
                    && (!live.receive.is_held()
                        || live
                            .receive
                            .could_open(&mut filling(&mut self.inbox, tools, Untold)))
            }
        }
    }

    /// Takes bytes, decrypting them in place; returns how many were consumed. Pass none to have a message opened that
    /// waited for room.
    pub(super) fn handle_input(
        &mut self,
        now: Instant,
        bytes: &mut [u8],
        tools: &mut Tools,
        observer: impl Observer,
    ) -> usize {
        if self.peer.is_closing() {
            return bytes.len();
        }
        let live = match &mut self.phase {
            Phase::Dead => return bytes.len(),
            Phase::Authenticated(_) => return 0,
            Phase::Handshake(shaking) => return shaking.take(bytes),
            Phase::Live(live) => live,
        };
        if self.peer.state() == State::AwaitingHello {
            return self.handle_first(now, bytes, tools);
        }
        let mut inboxes = filling(&mut self.inbox, tools, observer);
        let mut consumed = 0;
        loop {
            let rest = bytes.get_mut(consumed..).unwrap_or_default();
            let (n, status) =
                live.receive
                    .handle(&live.keys, now, rest, self.peer.shared(), &mut inboxes);
            consumed += n;
            match status {
                Status::NeedInput | Status::Held { .. } => {}
                Status::Base(message) => self.peer.handle_base(now, message),
                Status::Violation(violation) => self.peer.handle_violation(now, violation),
                Status::Refused { subprotocol } => {
                    self.peer.close(now, CloseReason::Stalled { subprotocol });
                }
                Status::Broken(error) => self.peer.handle_end(now, error),
            }
            self.peer.on_receive(now, live.receive.take_received());
            if self.peer.is_closing() {
                return bytes.len();
            }
            if consumed >= bytes.len() || matches!(status, Status::Held { .. }) {
                return consumed;
            }
        }
    }

    fn handle_first(&mut self, now: Instant, bytes: &[u8], tools: &Tools) -> usize {
        let Phase::Live(live) = &mut self.phase else {
            return 0;
        };
        live.first.resize(FIRST_FRAME_BUFFER, 0);
        let (n, first) = live
            .receive
            .handle_first(&live.keys, bytes, &mut live.first);
        match first {
            First::NeedInput => return n,
            First::Message(code, payload) if code == u64::from(WireCode::HELLO.0) => {
                self.peer.handle_hello(now, &tools.host.local(), payload);
                if self.peer.state() == State::Active {
                    live.hello = Some(Box::new(HelloText::read(payload)));
                    live.receive.set_compressed(self.peer.decompresses());
                }
            }
            First::Message(code, payload) if code == u64::from(WireCode::DISCONNECT.0) => {
                let message = BaseMessage::Disconnect(disconnect::decode(payload));
                self.peer.handle_base(now, message);
            }
            First::Message(..) => self.peer.handle_violation(now, Violation::ExpectedHello),
            First::Violation(violation) => self.peer.handle_violation(now, violation),
            First::Broken(error) => self.peer.handle_end(now, error),
        }
        live.first = Vec::new();
        self.peer.on_receive(now, live.receive.take_received());
        n
    }

    /// Whether a message waits for room in its inbox.
    pub(super) fn is_held(&self) -> bool {
        !self.peer.is_closing()
            && matches!(&self.phase, Phase::Live(live) if live.receive.is_held())
    }

    /// Nothing more arrives, or the transport broke.
    pub(super) fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.peer.handle_end(now, error);
    }

    /// The transport takes no more bytes. What has arrived may tell why (a Disconnect, say): read that first.
    pub(super) fn cut_output(&mut self) {
        self.cut = true;
        self.output.clear();
    }

    // ---- Admission and the end ----

    /// The keys are there: our Hello goes out, or in its place why the remote is not admitted.
    pub(super) fn admit(&mut self, now: Instant, admitted: Result<(), DisconnectReason>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Dead);
        let Phase::Authenticated(established) = phase else {
            self.phase = phase;
            return;
        };
        let Established { secrets, remote } = *established;
        self.peer.expect_identity(Expected::Authenticated(remote));
        self.phase = Phase::Live(Box::new(Live {
            receive: ReceiveHalf::new(secrets.ingress),
            transmit: TransmitHalf::new(secrets.egress),
            keys: secrets.keys,
            first: Vec::new(),
            hello: None,
            finished: false,
        }));
        if let Err(reason) = admitted {
            self.peer.reject(now, reason);
        }
    }

    /// Turns the remote away after its Hello.
    pub(super) fn reject(&mut self, now: Instant, reason: DisconnectReason) {
        self.peer.reject(now, reason);
    }

    /// Closes the session for `cause`, unless it is closing already.
    pub(super) fn close(&mut self, now: Instant, cause: CloseReason) {
        self.peer.close(now, cause);
    }

    // ---- Progress ----

    /// Does what is due. Work is bounded by one step of the handshake, which is at most one point multiplication.
    pub(super) fn poll(&mut self, now: Instant, tools: &mut Tools) -> Option<Event> {
        let authenticated = self.step_handshake(now, tools);
        self.peer.handle_timeout(now);
        self.seal_control(now, tools);
        if self.peer.is_closing() && !self.can_send() {
            // There is nothing to say a Disconnect with, so nothing to wait for.
            let error = match self.cut {
                true => TransportError::Io,
                false => TransportError::Handshake,
            };
            self.peer.handle_end(now, error);
        }
        if let Some(id) = authenticated.filter(|_| !self.peer.is_closing()) {
            return Some(Event::Authenticated(id));
        }
        if let Phase::Live(live) = &mut self.phase
            && let Some(hello) = live.hello.take()
            && !self.peer.is_closing()
        {
            return Some(Event::Active(*hello));
        }
        if self.peer.wants_half_close() {
            return Some(Event::HalfClose);
        }
        match (self.peer.state(), self.peer.close_reason()) {
            (State::Closed, Some(reason)) if !self.was_closed => {
                self.was_closed = true;
                self.output.clear();
                if let Phase::Live(live) = &mut self.phase {
                    live.receive
                        .abort(&mut filling(&mut self.inbox, tools, Untold));
                }
                Some(Event::Closed(reason))
            }
            _ => None,
        }
    }

    fn step_handshake(&mut self, now: Instant, tools: &Tools) -> Option<NodeId> {
        let Phase::Handshake(shaking) = &mut self.phase else {
            return None;
        };
        if self.peer.is_closing() {
            return None;
        }
        match shaking.step(&tools.host.key) {
            Shook::Nothing => None,
            Shook::Send(packet) => {
                self.output.buffer(&mut None).extend_from_slice(packet);
                self.peer.on_sealed(now, packet.len());
                None
            }
            Shook::Done(established) => {
                let id = established.remote;
                self.phase = Phase::Authenticated(established);
                Some(id)
            }
            Shook::Failed => {
                self.phase = Phase::Dead;
                self.peer.handle_end(now, TransportError::Handshake);
                None
            }
        }
    }

    /// Whether there are keys to seal with, and the transport takes bytes.
    fn can_send(&self) -> bool {
        matches!(self.phase, Phase::Live(_)) && !self.cut
    }

    /// Without room only the end is said: a remote that asks and does not read must not make the output grow.
    fn has_room_for_control(&self, tools: &Tools) -> bool {
        self.output.len() < tools.output_limit || self.peer.is_closing()
    }

    fn seal_control(&mut self, now: Instant, tools: &mut Tools) {
        while !self.cut && self.peer.wants_to_send() && self.has_room_for_control(tools) {
            let Phase::Live(live) = &mut self.phase else {
                return;
            };
            let Some(control) = self.peer.poll_control(now) else {
                return;
            };
            let (code, code_length) = rlp::encode_code(control.code().0);
            let room = match control {
                Control::Hello => MAX_HELLO_LENGTH,
                _ => CONTROL_LENGTH,
            };
            let buffer = self.output.buffer(&mut tools.spare);
            let start = buffer.len();
            let at = start + HEADER_LENGTH + code_length;
            buffer.resize(at + room, 0);
            buffer[start + HEADER_LENGTH..at].copy_from_slice(&code[..code_length]);
            // Its length was checked when the host was built.
            let length = control
                .encode(
                    &tools.host.local(),
                    self.peer.compresses(),
                    &mut buffer[at..],
                )
                .unwrap_or(0);
            live.finished |= matches!(control, Control::Disconnect(_));
            let sealed = seal(live, buffer, start, code_length + length);
            self.peer.on_sealed(now, sealed);
        }
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub(super) fn poll_at(&self, tools: &Tools) -> PollAt {
        let closing = self.peer.is_closing();
        let computes = match &self.phase {
            Phase::Handshake(shaking) => shaking.computes() && !closing,
            Phase::Live(live) => live.hello.is_some() && !closing,
            _ => false,
        };
        let sends =
            self.can_send() && self.peer.wants_to_send() && self.has_room_for_control(tools);
        let untold = match self.peer.state() {
            State::Closed => !self.was_closed,
            State::Closing => !self.can_send() || self.peer.may_half_close(),
            _ => false,
        };
        if computes || sends || untold {
            PollAt::Now
        } else {
            self.peer.poll_at()
        }
    }

    /// The transport took `n` bytes of the output.
    pub(super) fn on_taken(&mut self, now: Instant, n: usize) {
        self.output.consume(n);
        self.peer.on_taken(now, n);
    }
}

/// The body stands in `buffer` from `start`, after room for the header: makes the frame of it, and returns its length.
fn seal(live: &mut Live, buffer: &mut Vec<u8>, start: usize, body: usize) -> usize {
    let length = frame_length(body);
    buffer.resize(start + length, 0);
    let sealed = live.transmit.seal(&live.keys, &mut buffer[start..], body);
    debug_assert!(sealed, "the frame has the size that its body asks for");
    length
}

fn filling<'a, O: Observer>(
    inbox: &'a mut Inbox,
    tools: &'a mut Tools,
    observer: O,
) -> Filling<'a, O> {
    let Tools { host, pool, .. } = tools;
    Filling {
        inbox,
        pool,
        protocols: host.local().protocols,
        memory: &host.memory,
        observer,
    }
}

/// Nobody is told.
pub(super) struct Untold;

impl Observer for Untold {
    fn received(&self, _subprotocol: usize, _meta: &devp2p_core::inbox::Meta) {}
    fn dropped(&self, _subprotocol: usize) {}
}
