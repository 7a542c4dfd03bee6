//! One connection from its first byte to its end: the RLPx handshake, admission, then [`Peer`] over RLPx frames.

use core::task::{Context, Poll, Waker};

use crate::arena::{Arena, ArenaTooSmall, InboxCounters, Message, Slot};
use crate::capability::Protocol;
use crate::code::{LocalCode, WireCode};
use crate::config::{Config, Local};
use crate::control::{CONTROL_LENGTH, Control};
use crate::disconnect::{self, DisconnectReason};
use crate::error::{CloseReason, TransportError, Violation, WriteError};
use crate::hello::{MAX_SENT_LENGTH, NodeId};
use crate::lifecycle::State;
use crate::peer::{BaseMessage, Expected, Peer};
use crate::ring::Ring;
use crate::rlp;
use crate::rlpx::handshake::{MAX_RECEIVED, MAX_SENT};
use crate::rlpx::message::{Compression, MessageWriter};
use crate::rlpx::receive::{FIRST_FRAME_BUFFER, First, ReceiveHalf, Status};
use crate::rlpx::transmit::{HEADER_LENGTH, TransmitHalf, frame_length};
use crate::rlpx::{Entropy, Established, FrameKeys, Handshake, NodeKey, Role, Step};
use crate::time::{Instant, PollAt};

/// The least bytes of inbox memory that a session can be lent: handshake and Hello overlay it.
pub const MIN_INBOX_MEMORY: usize = if MAX_RECEIVED > FIRST_FRAME_BUFFER {
    MAX_RECEIVED
} else {
    FIRST_FRAME_BUFFER
};
/// The least bytes of transmit ring that a session can be lent: the handshake overlays it. Our Hello's frame must fit too.
pub const MIN_RING: usize = MAX_SENT;

/// The memory that a session is lent.
#[derive(Debug)]
pub struct Storage<'a> {
    /// For the inboxes: the sum of the protocols' `inbox`, and at least [`MIN_INBOX_MEMORY`].
    pub inboxes: &'a mut [u8],
    /// For sealed bytes that wait for the wire: at least [`MIN_RING`].
    pub ring: &'a mut [u8],
    /// For compression: a power of two of entries, 512 are plenty; empty sends Snappy's literal form.
    pub table: &'a mut [u16],
}

/// The lent storage is too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StorageError {
    /// The inboxes need at least this many bytes, or the protocols are too many.
    Inboxes {
        /// Bytes.
        needed: usize,
    },
    /// The transmit ring needs at least this many bytes.
    Ring {
        /// Bytes.
        needed: usize,
    },
    /// Our Hello would be larger than any peer takes: a shorter client name or fewer protocols are needed.
    Hello,
}

impl core::fmt::Display for StorageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Inboxes { needed } => write!(f, "lend at least {needed} bytes for the inboxes"),
            Self::Hello => f.write_str(
                "our Hello is too long: shorten the client name or register fewer protocols",
            ),
            Self::Ring { needed } => {
                write!(f, "lend at least {needed} bytes for the transmit ring")
            }
        }
    }
}

impl core::error::Error for StorageError {}

impl From<ArenaTooSmall> for StorageError {
    fn from(error: ArenaTooSmall) -> Self {
        Self::Inboxes {
            needed: error.needed,
        }
    }
}

/// What a session tells its driver, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The remote proved this identity: call [`Session::admit`] or [`Session::reject`].
    Authenticated(NodeId),
    /// Hello was accepted: the subprotocols in [`Peer::shared`] can begin.
    Active,
    /// Everything is said: end the sending direction of the transport, go on passing what arrives.
    HalfClose,
    /// The session is over: drop the transport.
    Closed(CloseReason),
}

#[derive(Debug)]
enum Phase {
    Handshake {
        handshake: Handshake,
        computes: bool,
        gathered: usize,
        wanted: usize,
    },
    Authenticated(Established),
    Live(Live),
    /// The handshake failed, or ended before there were keys.
    Dead,
}

#[derive(Debug)]
struct Live {
    keys: FrameKeys,
    receive: ReceiveHalf<Slot>,
    transmit: TransmitHalf,
}

/// A write in progress. Dropping it without [`Session::abandon`] leaves the token with it.
#[derive(Debug)]
pub struct Write {
    subprotocol: usize,
    code: LocalCode,
    writer: Option<MessageWriter>,
}

impl Write {
    /// A message `code` of `subprotocol`, of which nothing is sealed.
    pub const fn new(subprotocol: usize, code: LocalCode) -> Self {
        Self {
            subprotocol,
            code,
            writer: None,
        }
    }
}

/// One session over bytes, for up to `N` registered protocols.
///
/// The driver owns transport and clock, and in any order
/// 1. passes what arrives to [`handle_input`](Self::handle_input), keeping what was not consumed until
///    [`wants_input`](Self::wants_input); and the transport's end to [`handle_end`](Self::handle_end);
/// 2. writes what [`output`](Self::output) holds to the transport, and says so by
///    [`consume_output`](Self::consume_output);
/// 3. calls [`poll`](Self::poll) until `None` after each of these, after reading, and when [`poll_at`](Self::poll_at) says so;
/// 4. then wakes what [`next_wake`](Self::next_wake) returns.
#[derive(Debug)]
pub struct Session<'a, const N: usize = 4> {
    key: &'a NodeKey,
    local: Local<'a>,
    phase: Phase,
    peer: Peer<N>,
    inboxes: Arena<'a, N>,
    ring: Ring<'a>,
    table: &'a mut [u16],
    /// The ring still holds the handshake's packet, which is not whole blocks: nothing is sealed after it before it left.
    unaligned: bool,
    /// A message was removed while another one waits for room: perhaps there is room now.
    may_resume: bool,
    /// Hello was accepted, and the driver was told.
    is_active: bool,
    was_active: bool,
    was_closed: bool,
}

impl<'a, const N: usize> Session<'a, N> {
    /// The session of the side that dialled `remote`; handshake and Hello have until the configured timeout from `now`.
    ///
    /// # Errors
    /// [`StorageError`] if the storage is too small for handshake, Hello or inboxes.
    pub fn dial(
        remote: NodeId,
        key: &'a NodeKey,
        local: Local<'a>,
        config: Config,
        storage: Storage<'a>,
        entropy: Entropy,
        now: Instant,
    ) -> Result<Self, StorageError> {
        Self::new(
            Handshake::initiator(remote, entropy),
            key,
            local,
            config,
            storage,
            now,
        )
    }

    /// The session of the side that was dialled.
    ///
    /// # Errors
    /// [`StorageError`] if the storage is too small for handshake, Hello or inboxes.
    pub fn accept(
        key: &'a NodeKey,
        local: Local<'a>,
        config: Config,
        storage: Storage<'a>,
        entropy: Entropy,
        now: Instant,
    ) -> Result<Self, StorageError> {
        Self::new(
            Handshake::recipient(entropy),
            key,
            local,
            config,
            storage,
            now,
        )
    }

    fn new(
        handshake: Handshake,
        key: &'a NodeKey,
        local: Local<'a>,
        config: Config,
        storage: Storage<'a>,
        now: Instant,
    ) -> Result<Self, StorageError> {
        let mut session = Self::idle(key, local, config, storage)?;
        session.start(handshake, now);
        Ok(session)
    }

    /// Storage without a session yet: it is closed until [`start_dial`](Self::start_dial) or
    /// [`start_accept`](Self::start_accept).
    ///
    /// # Errors
    /// [`StorageError`] if the storage is too small for handshake, Hello or inboxes.
    pub fn idle(
        key: &'a NodeKey,
        local: Local<'a>,
        config: Config,
        storage: Storage<'a>,
    ) -> Result<Self, StorageError> {
        if storage.inboxes.len() < MIN_INBOX_MEMORY {
            return Err(StorageError::Inboxes {
                needed: MIN_INBOX_MEMORY,
            });
        }
        if local.hello_length() > MAX_SENT_LENGTH {
            return Err(StorageError::Hello);
        }
        let needed = frame_length(1 + local.hello_length()).max(MIN_RING);
        if storage.ring.len() < needed {
            return Err(StorageError::Ring { needed });
        }
        let inboxes = Arena::new(storage.inboxes, local.protocols)?;
        let mut peer = Peer::new(config, &local, Expected::Anyone, Instant::ZERO);
        peer.handle_end(Instant::ZERO, TransportError::EndOfStream);
        Ok(Self {
            phase: Phase::Dead,
            peer,
            inboxes,
            ring: Ring::new(storage.ring),
            table: storage.table,
            key,
            local,
            unaligned: true,
            may_resume: false,
            is_active: false,
            was_active: false,
            was_closed: true,
        })
    }

    /// Begins a new session with the same storage, as the side that dials `remote`. One that still lives is forgotten, and
    /// so are messages that were not read.
    pub fn start_dial(&mut self, remote: NodeId, entropy: Entropy, now: Instant) {
        self.start(Handshake::initiator(remote, entropy), now);
    }

    /// Begins a new session with the same storage, as the side that was dialled. One that still lives is forgotten, and so
    /// are messages that were not read.
    pub fn start_accept(&mut self, entropy: Entropy, now: Instant) {
        self.start(Handshake::recipient(entropy), now);
    }

    fn start(&mut self, handshake: Handshake, now: Instant) {
        self.phase = Phase::Handshake {
            handshake,
            computes: true,
            gathered: 0,
            wanted: 0,
        };
        self.peer.restart(&self.local, now);
        self.inboxes.clear();
        self.ring.clear();
        self.unaligned = true;
        self.may_resume = false;
        self.is_active = false;
        self.was_active = false;
        self.was_closed = false;
    }

    // ---- What comes in ----

    /// Takes bytes from the transport, decrypting them in place. Returns how many were consumed; pass the rest again when
    /// [`wants_input`](Self::wants_input) is true. What arrives while closing is discarded.
    pub fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        if self.peer.is_closing() {
            return bytes.len();
        }
        match &mut self.phase {
            Phase::Dead => bytes.len(),
            Phase::Authenticated(_) => 0,
            Phase::Handshake {
                computes,
                gathered,
                wanted,
                ..
            } => {
                let n = bytes.len().min(wanted.saturating_sub(*gathered));
                let to = self.inboxes.scratch().get_mut(*gathered..*gathered + n);
                if let (Some(to), Some(from)) = (to, bytes.get(..n)) {
                    to.copy_from_slice(from);
                    *gathered += n;
                }
                *computes |= n > 0 && *gathered >= *wanted;
                n
            }
            Phase::Live(_) => self.handle_frames(now, bytes),
        }
    }

    fn handle_frames(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        let Phase::Live(live) = &mut self.phase else {
            return 0;
        };
        let mut consumed = 0;
        while (consumed < bytes.len() || live.receive.is_held()) && !self.peer.is_closing() {
            let Some(rest) = bytes.get_mut(consumed..) else {
                break;
            };
            let (n, goes_on) = if self.peer.state() == State::AwaitingHello {
                let (n, first) =
                    live.receive
                        .handle_first(&live.keys, rest, self.inboxes.scratch());
                match first {
                    First::NeedInput => {}
                    First::Message(code, payload) if code == u64::from(WireCode::HELLO.0) => {
                        self.peer.handle_hello(now, &self.local, payload);
                        self.is_active = self.peer.state() == State::Active;
                        live.receive.set_compressed(self.peer.decompresses());
                    }
                    First::Message(code, payload) if code == u64::from(WireCode::DISCONNECT.0) => {
                        self.peer
                            .handle_base(now, BaseMessage::Disconnect(disconnect::decode(payload)));
                    }
                    First::Message(..) => self.peer.handle_violation(now, Violation::ExpectedHello),
                    First::Violation(violation) => self.peer.handle_violation(now, violation),
                    First::Broken(error) => self.peer.handle_end(now, error),
                }
                (n, true)
            } else {
                let (n, status) = live.receive.handle(
                    &live.keys,
                    now,
                    rest,
                    self.peer.shared(),
                    &mut self.inboxes,
                );
                on_status(&mut self.peer, now, status);
                (n, !matches!(status, Status::Held { .. }))
            };
            self.peer.on_receive(now, live.receive.take_received());
            consumed += n;
            if !goes_on {
                return consumed;
            }
        }
        if self.peer.is_closing() {
            bytes.len()
        } else {
            consumed
        }
    }

    /// Opens the inbox for the message that waits for room, if there is room now: this ends the holding back even if no
    /// byte is there to be passed.
    fn resume_held(&mut self, now: Instant) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        if !core::mem::take(&mut self.may_resume)
            || self.peer.is_closing()
            || !live.receive.is_held()
            || !live.receive.could_open(&mut self.inboxes)
        {
            return;
        }
        let shared = self.peer.shared();
        let (_, status) = live
            .receive
            .handle(&live.keys, now, &mut [], shared, &mut self.inboxes);
        on_status(&mut self.peer, now, status);
        self.peer.on_receive(now, live.receive.take_received());
    }

    /// Whether bytes passed to [`handle_input`](Self::handle_input) would be consumed now.
    pub fn wants_input(&mut self) -> bool {
        if self.peer.is_closing() {
            return true;
        }
        match &self.phase {
            Phase::Dead => true,
            Phase::Authenticated(_) => false,
            Phase::Handshake {
                gathered, wanted, ..
            } => gathered < wanted,
            Phase::Live(live) => {
                !live.receive.is_held() || live.receive.could_open(&mut self.inboxes)
            }
        }
    }

    /// The transport's end: no more bytes come, or none can be written.
    pub fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.peer.handle_end(now, error);
    }

    // ---- What goes out ----

    /// Bytes for the transport: contiguous, perhaps not all that wait.
    pub fn output(&self) -> &[u8] {
        if self.peer.state() == State::Closed {
            &[]
        } else {
            self.ring.readable()
        }
    }

    /// How many bytes wait for the transport in all.
    pub fn output_length(&self) -> usize {
        self.ring.len()
    }

    /// The transport took `n` bytes of [`output`](Self::output).
    pub fn consume_output(&mut self, now: Instant, n: usize) {
        self.ring.consume(n);
        self.peer.on_taken(now, n);
    }

    /// Writes one message: asks for the token, waits for it and for room in the ring, seals. Call with the same payload
    /// until ready; a writer that goes away before that calls [`abandon`](Self::abandon). `Ok` means sealed, in order.
    ///
    /// # Errors
    /// As [`WriteError`] says; the message was then not sent.
    pub fn poll_write(
        &mut self,
        now: Instant,
        write: &mut Write,
        payload: &[&[u8]],
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), WriteError>> {
        let subprotocol = write.subprotocol;
        if !write.writer.as_ref().is_some_and(MessageWriter::has_begun) {
            let mut cx = cx;
            let code = match self
                .peer
                .poll_acquire(subprotocol, write.code, cx.as_deref_mut())
            {
                Poll::Ready(Ok(code)) => code,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            let writer = match MessageWriter::new(code, payload, self.compression()) {
                Ok(writer) => writer,
                Err(_) => {
                    self.peer.give_back(now, subprotocol);
                    return Poll::Ready(Err(WriteError::TooLarge));
                }
            };
            write.writer = Some(writer);
            return self.seal(now, write, payload, cx);
        }
        self.seal(now, write, payload, cx)
    }

    fn seal(
        &mut self,
        now: Instant,
        write: &mut Write,
        payload: &[&[u8]],
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), WriteError>> {
        let mode = Mode::of(&self.peer, self.table);
        if self.peer.state() == State::Closed {
            let reason = self
                .peer
                .close_reason()
                .unwrap_or(CloseReason::WriteAbandoned);
            return Poll::Ready(Err(WriteError::Closed(reason)));
        }
        let (Phase::Live(live), Some(writer)) = (&mut self.phase, &mut write.writer) else {
            return Poll::Ready(Err(WriteError::NotShared));
        };
        let compression = mode.compression(self.table);
        let (sealed, whole) = writer.seal(
            &mut live.transmit,
            &live.keys,
            &mut self.ring,
            payload,
            compression,
        );
        if writer.has_begun() {
            self.peer.begin_write(write.subprotocol);
        }
        self.peer.on_sealed(now, sealed);
        if whole {
            self.peer.complete_write(write.subprotocol);
            return Poll::Ready(Ok(()));
        }
        self.peer.wait_for_room(cx);
        Poll::Pending
    }

    /// Writes one message if that can be done whole and at once.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if another one writes or the ring lacks room now, [`WriteError::TooLarge`] if it can
    /// never hold the frame, else as [`poll_write`](Self::poll_write).
    pub fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
    ) -> Result<(), WriteError> {
        if !self.peer.is_closing()
            && self.peer.shared().wire_code(subprotocol, code).is_some()
            && !self.peer.can_acquire()
        {
            return Err(WriteError::WouldBlock { free: 0 });
        }
        let Poll::Ready(wire) = self.peer.poll_acquire(subprotocol, code, None) else {
            return Err(WriteError::WouldBlock { free: 0 });
        };
        let wire = wire?;
        let fits = match MessageWriter::new(wire, payload, self.compression()) {
            Err(_) => Err(WriteError::TooLarge),
            Ok(writer) if writer.frame_length() > self.ring.capacity() => Err(WriteError::TooLarge),
            Ok(writer) if writer.frame_length() > self.ring.free() => Err(WriteError::WouldBlock {
                free: self.ring.free(),
            }),
            Ok(writer) => Ok(writer),
        };
        match fits {
            Ok(writer) => {
                let mut write = Write {
                    subprotocol,
                    code,
                    writer: Some(writer),
                };
                match self.seal(now, &mut write, payload, None) {
                    Poll::Ready(result) => result,
                    Poll::Pending => Err(WriteError::WouldBlock {
                        free: self.ring.free(),
                    }),
                }
            }
            Err(error) => {
                self.peer.give_back(now, subprotocol);
                Err(error)
            }
        }
    }

    /// A writer goes away before its write was ready. If not a byte of it is sealed nothing happened; else the session
    /// closes as abandoned, since nothing can follow half a frame.
    pub fn abandon(&mut self, now: Instant, write: &Write) {
        match &write.writer {
            Some(writer) if writer.has_begun() => self.peer.give_back(now, write.subprotocol),
            _ => self.peer.stop_waiting(now, write.subprotocol),
        }
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

    /// As [`abandon`](Self::abandon), for a driver that no longer has the write itself.
    pub fn give_back(&mut self, now: Instant, subprotocol: usize) {
        self.peer.give_back(now, subprotocol);
    }

    /// Whether everything is said and written, so that the sending direction can end: stays true after
    /// [`Event::HalfClose`].
    pub fn is_said(&self) -> bool {
        self.peer.is_said()
    }

    fn compression(&mut self) -> Compression<'_> {
        Mode::of(&self.peer, self.table).compression(self.table)
    }

    // ---- Reading ----

    /// The first waiting message of `subprotocol`, lent until [`pop`](Self::pop).
    pub fn peek(&self, subprotocol: usize) -> Option<Message<'_>> {
        // Before Hello the inboxes' memory holds handshake and Hello.
        if self.is_active {
            self.inboxes.peek(subprotocol)
        } else {
            None
        }
    }

    /// Removes the first waiting message of `subprotocol`.
    pub fn pop(&mut self, subprotocol: usize) {
        self.inboxes.pop(subprotocol);
        self.may_resume = matches!(&self.phase, Phase::Live(live) if live.receive.is_held());
    }

    /// Ready when a message waits for `subprotocol`; with the cause once the session closes and none is left.
    pub fn poll_readable(
        &mut self,
        subprotocol: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>> {
        self.inboxes
            .poll_readable(subprotocol, self.peer.close_reason(), cx)
    }

    /// What the inbox of `subprotocol` has seen.
    pub fn counters(&self, subprotocol: usize) -> InboxCounters {
        self.inboxes.counters(subprotocol)
    }

    // ---- The session's own progress ----

    /// Admits the remote that [`Event::Authenticated`] named: Hello goes out.
    pub fn admit(&mut self) {
        if let Phase::Authenticated(established) = core::mem::replace(&mut self.phase, Phase::Dead)
        {
            self.peer
                .expect(Expected::Authenticated(established.remote));
            let secrets = established.secrets;
            self.phase = Phase::Live(Live {
                receive: ReceiveHalf::new(secrets.ingress),
                transmit: TransmitHalf::new(secrets.egress),
                keys: secrets.keys,
            });
        }
    }

    /// Turns the remote away: before Hello by a Disconnect in place of it, after it by one that follows.
    pub fn reject(&mut self, now: Instant, reason: DisconnectReason) {
        self.admit();
        self.peer.reject(now, reason);
    }

    /// Closes the session for `cause`, unless it is closing already.
    pub fn close(&mut self, now: Instant, cause: CloseReason) {
        self.peer.close(now, cause);
    }

    /// Asks for a Ping now rather than at the next interval.
    pub fn request_ping(&mut self) {
        self.peer.request_ping();
    }

    /// Does what is due: one step of the handshake, deadlines, control messages. Returns an event, or `None` when there is
    /// nothing more to do now. Work is bounded by one point multiplication.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        let authenticated = self.step_handshake(now);
        self.resume_held(now);
        self.peer.handle_timeout(now);
        self.seal_control(now);
        if self.peer.is_closing() && !matches!(self.phase, Phase::Live(_)) {
            // There are no keys to say anything with.
            self.peer.handle_end(now, TransportError::Handshake);
        }
        if let Some(id) = authenticated.filter(|_| !self.peer.is_closing()) {
            return Some(Event::Authenticated(id));
        }
        // Told even if the end was decided meanwhile: what came in between can be read.
        if self.is_active && !self.was_active {
            self.was_active = true;
            return Some(Event::Active);
        }
        if self.peer.wants_half_close() {
            return Some(Event::HalfClose);
        }
        match (self.peer.state(), self.peer.close_reason()) {
            (State::Closed, Some(reason)) if !self.was_closed => {
                self.was_closed = true;
                self.ring.clear();
                if let Phase::Live(live) = &mut self.phase {
                    live.receive.abort(&mut self.inboxes);
                }
                Some(Event::Closed(reason))
            }
            _ => None,
        }
    }

    /// One step of the handshake; the remote's identity when it is done.
    fn step_handshake(&mut self, now: Instant) -> Option<NodeId> {
        let Phase::Handshake {
            handshake,
            computes,
            gathered,
            wanted,
        } = &mut self.phase
        else {
            return None;
        };
        if !*computes || self.peer.is_closing() {
            return None;
        }
        let received = self.inboxes.scratch().get(..*gathered).unwrap_or_default();
        match handshake.poll(self.key, self.ring.storage(), received) {
            Ok(Step::Working) => None,
            Ok(Step::Send(length)) => {
                self.ring.commit(length);
                self.peer.on_sealed(now, length);
                None
            }
            Ok(Step::Receive(total)) => {
                *wanted = total;
                *computes = *gathered >= total;
                None
            }
            Ok(Step::Done(established)) => {
                let id = established.remote;
                self.phase = Phase::Authenticated(established);
                Some(id)
            }
            Err(_) => {
                self.phase = Phase::Dead;
                self.peer.handle_end(now, TransportError::Handshake);
                None
            }
        }
    }

    /// Whether the ring has room for the control message that wants to go out.
    fn has_room_for_control(&self) -> bool {
        let length = if self.peer.has_said_hello() {
            CONTROL_LENGTH
        } else {
            self.local.hello_length()
        };
        self.ring.free() >= frame_length(1 + length) && (!self.unaligned || self.ring.is_empty())
    }

    fn seal_control(&mut self, now: Instant) {
        while self.peer.wants_to_send() && self.has_room_for_control() {
            let Phase::Live(live) = &mut self.phase else {
                return;
            };
            self.unaligned = false;
            let Some(control) = self.peer.poll_control(now) else {
                return;
            };
            let (code, code_length) = rlp::encode_code(control.code().0);
            let code = code.get(..code_length).unwrap_or_default();
            let before = self.ring.len();
            let sealed = if control == Control::Hello {
                // The ring is empty, so that its room is contiguous.
                seal_hello(live, &mut self.ring, &self.local, code)
            } else {
                let mut payload = [0; CONTROL_LENGTH];
                match control.encode(&self.local, self.peer.compresses(), &mut payload) {
                    Ok(n) => {
                        let payload = payload.get(..n).unwrap_or_default();
                        live.transmit
                            .seal_into(&live.keys, &mut self.ring, code, payload)
                    }
                    Err(_) => false,
                }
            };
            debug_assert!(sealed, "there was room for the control message");
            self.peer.on_sealed(now, self.ring.len() - before);
        }
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub fn poll_at(&self) -> PollAt {
        let computes = matches!(self.phase, Phase::Handshake { computes: true, .. })
            && !self.peer.is_closing();
        let can_send = matches!(self.phase, Phase::Live(_))
            && self.peer.wants_to_send()
            && !self.peer.is_inside_frame()
            && self.has_room_for_control();
        let untold = (self.is_active && !self.was_active)
            || (self.peer.state() == State::Closed && !self.was_closed)
            || (self.peer.state() == State::Closing && !matches!(self.phase, Phase::Live(_)))
            || self.peer.may_half_close();
        if computes || can_send || untold || self.may_resume {
            PollAt::Now
        } else {
            self.peer.poll_at()
        }
    }

    /// A task to wake. Call until `None`, after every lock is released if the driver has locks.
    pub fn next_wake(&mut self) -> Option<Waker> {
        let room = if self.ring.free() >= HEADER_LENGTH {
            self.peer.take_room_waiter()
        } else {
            None
        };
        room.or_else(|| self.peer.next_wake())
            .or_else(|| self.inboxes.next_wake(self.peer.is_closing()))
    }

    /// Ready with the cause once the session is closed.
    pub fn poll_closed(&mut self, cx: Option<&mut Context<'_>>) -> Poll<CloseReason> {
        self.peer.poll_closed(cx)
    }

    /// The peer: state, shared subprotocols, the remote, the cause of the end.
    pub fn peer(&self) -> &Peer<N> {
        &self.peer
    }

    /// The registered protocols.
    pub fn protocols(&self) -> &[Protocol] {
        self.local.protocols
    }

    /// Which side of the connection this is; `None` once the handshake is done.
    pub fn role(&self) -> Option<Role> {
        match &self.phase {
            Phase::Handshake { handshake, .. } => Some(handshake.role()),
            _ => None,
        }
    }
}

/// Tells the peer what the receiver came upon.
fn on_status<const N: usize>(peer: &mut Peer<N>, now: Instant, status: Status) {
    match status {
        Status::NeedInput | Status::Held { .. } => {}
        Status::Base(message) => peer.handle_base(now, message),
        Status::Violation(violation) => peer.handle_violation(now, violation),
        Status::Refused { subprotocol } => peer.close(now, CloseReason::Stalled { subprotocol }),
        Status::Broken(error) => peer.handle_end(now, error),
    }
}

/// Which form payloads are sent in.
#[derive(Clone, Copy)]
enum Mode {
    Plain,
    #[cfg(feature = "snappy")]
    Literal,
    #[cfg(feature = "snappy")]
    Table,
}

impl Mode {
    fn of<const N: usize>(peer: &Peer<N>, table: &[u16]) -> Self {
        let _ = table;
        match peer.compresses() {
            #[cfg(feature = "snappy")]
            true if table.is_empty() => Mode::Literal,
            #[cfg(feature = "snappy")]
            true => Mode::Table,
            _ => Mode::Plain,
        }
    }

    fn compression(self, table: &mut [u16]) -> Compression<'_> {
        let _ = &table;
        match self {
            Mode::Plain => Compression::None,
            #[cfg(feature = "snappy")]
            Mode::Literal => Compression::Literal,
            #[cfg(feature = "snappy")]
            Mode::Table => Compression::Snappy(table),
        }
    }
}

/// Seals our Hello in place, in an empty ring.
fn seal_hello(live: &mut Live, ring: &mut Ring<'_>, local: &Local<'_>, code: &[u8]) -> bool {
    let room = ring.writable();
    let at = HEADER_LENGTH + code.len();
    let Some(length) = room
        .get_mut(at..)
        .and_then(|payload| local.encode_hello(payload).ok())
    else {
        return false;
    };
    let Some(to) = room.get_mut(HEADER_LENGTH..at) else {
        return false;
    };
    to.copy_from_slice(code);
    let body = code.len() + length;
    let Some(frame) = room.get_mut(..frame_length(body)) else {
        return false;
    };
    if !live.transmit.seal(&live.keys, frame, body) {
        return false;
    }
    ring.commit(frame_length(body));
    true
}
