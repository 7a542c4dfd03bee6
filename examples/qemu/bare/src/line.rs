//! A peer at one end of a serial line: session after session, over frames of `qemu-framing`.

use core::task::Poll;

use devp2p_core::arena::{Arena, ArenaTooSmall, Message};
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::control::{CONTROL_LENGTH, Control};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{Expected, Peer};
use devp2p_core::time::{Duration, Instant, PollAt};
use qemu_framing::{Begun, Event as Frame, HEADER_LENGTH, Header, Opening, Receiver};

use crate::receive::Incoming;
use crate::send::Sender;

/// How often a side says that it would begin a session.
const REPEAT: Duration = Duration::from_millis(500);
/// The longest Hello sent here: enough for some 20 capabilities.
const MAX_HELLO: usize = 256;

/// What a [`Line`] tells its driver, each once a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// Hello was accepted: messages can be exchanged.
    Active,
    /// The session is over. What waits in the inboxes can still be read; then call [`Line::restart`], or leave it at that once
    /// [`Line::is_flushed`].
    Closed(CloseReason),
}

/// One end of a serial line.
///
/// The driver owns the wire and the clock, and in a loop
/// 1. passes what came to [`handle_input`](Self::handle_input), and keeps what was not consumed;
/// 2. calls [`poll`](Self::poll) until `None`;
/// 3. reads and writes messages;
/// 4. writes [`output`](Self::output) to the wire, and says so by [`consume_output`](Self::consume_output);
/// 5. goes on with 1 when a byte comes, when the wire takes one, or when [`poll_at`](Self::poll_at) says so.
#[derive(Debug)]
pub struct Line<'a, const N: usize = 2> {
    local: Local<'a>,
    config: Config,
    peer: Peer<N>,
    inboxes: Arena<'a, N>,
    receiver: Receiver,
    header: Option<Header>,
    incoming: Incoming,
    sender: Sender<'a>,
    /// Bytes in the ring that were sealed before this session.
    foreign: usize,
    opening: Opening,
    /// When to say `Begin` (again), while the session has not begun.
    say_begin: Option<Instant>,
    /// The remote began its next session, with this number: this one is over, and no more input is taken for it.
    next: Option<u16>,
    /// The subprotocol whose reply is being written.
    replying: Option<usize>,
    half_closes: bool,
    ended: bool,
    was_active: bool,
    was_closed: bool,
}

impl<'a, const N: usize> Line<'a, N> {
    /// An end of a line that says `local` of itself, with memory for the inboxes (the sum of the protocols' `inbox`) and for
    /// the bytes that wait for the wire (at least 320; a message that is not a reply must fit whole).
    ///
    /// # Errors
    /// [`ArenaTooSmall`] if `inboxes` is too small.
    pub fn new(
        local: Local<'a>,
        config: Config,
        inboxes: &'a mut [u8],
        ring: &'a mut [u8],
        now: Instant,
    ) -> Result<Self, ArenaTooSmall> {
        Ok(Self {
            peer: Peer::new(config, &local, Expected::Anyone, Instant::MAX),
            inboxes: Arena::new(inboxes, local.protocols)?,
            local,
            config,
            receiver: Receiver::new(),
            header: None,
            incoming: Incoming::Nothing,
            sender: Sender::new(ring),
            foreign: 0,
            opening: Opening::new(),
            say_begin: Some(now),
            next: None,
            replying: None,
            half_closes: false,
            ended: false,
            was_active: false,
            was_closed: false,
        })
    }

    /// Goes on with a new session, after the last one was [`Event::Closed`]. Messages that were not read are lost.
    pub fn restart(&mut self, now: Instant) {
        self.peer = Peer::new(self.config, &self.local, Expected::Anyone, Instant::MAX);
        self.inboxes.clear();
        self.incoming = Incoming::Nothing;
        self.sender.spoil();
        self.foreign = self.sender.pending();
        self.opening.restart(self.next.take().unwrap_or(0));
        self.say_begin = Some(now);
        self.replying = None;
        (self.half_closes, self.ended) = (false, false);
        (self.was_active, self.was_closed) = (false, false);
    }

    // ---- What comes in ----

    /// Takes bytes from the wire; returns how many. The rest is to be passed again: an inbox is full, or the last session is to
    /// be restarted first.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let (mut taken, mut messages) = (0, 0);
        while self.next.is_none() && !self.incoming.is_held(&mut self.inboxes) {
            let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let (n, event) = self.receiver.handle(rest);
            taken += n;
            match event {
                None => {}
                Some(Frame::Header(header)) => {
                    self.header = Some(header);
                    self.incoming = match header {
                        Header::Message { code, length } if self.opening.is_begun() => {
                            Incoming::new(&self.peer, &mut self.inboxes, code, length)
                        }
                        _ => Incoming::Nothing,
                    };
                }
                Some(Frame::Payload(piece)) => self.incoming.push(&mut self.inboxes, piece),
                Some(Frame::End) => messages += self.complete(now),
                Some(Frame::Damaged) => {
                    let incoming = core::mem::replace(&mut self.incoming, Incoming::Nothing);
                    if self.opening.is_begun() {
                        incoming.damaged(now, &mut self.peer, &mut self.inboxes);
                    }
                }
            }
        }
        self.note(now, messages);
        taken
    }

    /// A frame is whole. Returns how many messages of this session that makes.
    fn complete(&mut self, now: Instant) -> u32 {
        let incoming = core::mem::replace(&mut self.incoming, Incoming::Nothing);
        match self.header.take() {
            Some(Header::Begin { sender, receiver }) => self.begin(now, sender, receiver),
            Some(Header::End) if self.opening.is_begun() => {
                self.peer.handle_end(now, TransportError::EndOfStream);
            }
            Some(Header::Message { .. }) if self.opening.is_begun() => {
                incoming.complete(now, &self.local, &mut self.peer, &mut self.inboxes);
                return 1;
            }
            _ => {}
        }
        0
    }

    fn begin(&mut self, now: Instant, sender: u16, receiver: u16) {
        let may_repeat = self.peer.remote().is_none();
        match self.opening.handle(sender, receiver, may_repeat) {
            Begun::No { say } => {
                if say {
                    self.say_begin = Some(now);
                }
            }
            Begun::Now { say } => {
                // The time for Hello runs from here, where a connection would begin.
                let deadline = now.saturating_add(self.config.handshake_timeout);
                self.peer = Peer::new(self.config, &self.local, Expected::Anyone, deadline);
                self.foreign = self.sender.pending();
                self.say_begin = say.then_some(now);
            }
            Begun::Anew => {
                self.peer.handle_end(now, TransportError::EndOfStream);
                self.next = Some(sender);
            }
        }
    }

    fn note(&mut self, now: Instant, messages: u32) {
        let is_inside = self.opening.is_begun() && self.receiver.is_inside_frame();
        self.peer
            .on_receive(now, self.incoming.received(messages, is_inside));
    }

    /// The first message that waits for `subprotocol`.
    pub fn peek(&self, subprotocol: usize) -> Option<Message<'_>> {
        self.inboxes.peek(subprotocol)
    }

    /// Removes the first message that waits for `subprotocol`.
    pub fn pop(&mut self, subprotocol: usize) {
        self.inboxes.pop(subprotocol);
    }

    // ---- What goes out ----

    /// Bytes for the wire: contiguous, perhaps not all that wait.
    pub fn output(&self) -> &[u8] {
        self.sender.output()
    }

    /// The wire took `n` bytes of [`output`](Self::output).
    pub fn consume_output(&mut self, now: Instant, n: usize) {
        self.sender.consume(n);
        let foreign = n.min(self.foreign);
        self.foreign -= foreign;
        self.peer.on_taken(now, n - foreign);
    }

    /// Whether the session is over, its end is said, and the wire took everything.
    pub fn is_flushed(&self) -> bool {
        self.was_closed && self.ended && self.sender.pending() == 0
    }

    /// Writes a whole message, if it can be sent at once.
    ///
    /// # Errors
    /// [`WriteError`]: of those, `WouldBlock` says that the same call can succeed later.
    pub fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        let length = u16::try_from(payload.len()).map_err(|_| WriteError::TooLarge)?;
        let whole = Header::Message { code: 0, length };
        if whole.frame_length() > self.sender.capacity() {
            return Err(WriteError::TooLarge);
        }
        let free = self.sender.free();
        let header = self.acquire(subprotocol, code, length, self.sender.fits(whole), free)?;
        self.peer.begin_write(subprotocol);
        self.sender.frame(header, payload);
        self.peer.on_sealed(now, header.frame_length());
        self.peer.complete_write(subprotocol);
        Ok(())
    }

    /// Sends the first message that waits for `subprotocol` back as message `code`, and removes it: from the inbox to the
    /// wire, piece by piece, whatever its size. Ready with false if no message waits, or one that was too large.
    /// [`poll`](Self::poll) goes on with a reply that was begun.
    ///
    /// # Errors
    /// [`WriteError`]; the message still waits.
    pub fn poll_reply(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
    ) -> Poll<Result<bool, WriteError>> {
        if self.replying.is_none() {
            let Some(payload) = self.inboxes.peek(subprotocol).and_then(|m| m.payload) else {
                return Poll::Ready(Ok(false));
            };
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            let fits = !self.sender.is_inside_frame() && self.sender.free() >= HEADER_LENGTH;
            match self.acquire(subprotocol, code, length, fits, 0) {
                Err(WriteError::WouldBlock { .. }) => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
                Ok(header) => {
                    self.peer.begin_write(subprotocol);
                    self.sender.begin(header);
                    self.peer.on_sealed(now, HEADER_LENGTH);
                    self.replying = Some(subprotocol);
                }
            }
        }
        self.continue_reply(now);
        match self.replying {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Ok(true)),
        }
    }

    /// Whether a reply was begun and is not sealed whole.
    pub fn is_replying(&self) -> bool {
        self.replying.is_some()
    }

    fn continue_reply(&mut self, now: Instant) {
        let Some(subprotocol) = self.replying else {
            return;
        };
        let message = self.inboxes.peek(subprotocol);
        let payload = message.and_then(|m| m.payload).unwrap_or_default();
        let before = self.sender.pending();
        let done = payload.len().saturating_sub(self.sender.left());
        self.sender.push(payload.get(done..).unwrap_or_default());
        let is_whole = self.sender.finish();
        self.peer.on_sealed(now, self.sender.pending() - before);
        if is_whole {
            self.peer.complete_write(subprotocol);
            self.inboxes.pop(subprotocol);
            self.replying = None;
        }
    }

    /// The header of the message, and the write token, if both the token and the room are there.
    fn acquire(
        &mut self,
        subprotocol: usize,
        code: LocalCode,
        length: u16,
        fits: bool,
        free: usize,
    ) -> Result<Header, WriteError> {
        let block = WriteError::WouldBlock { free };
        if self.peer.state() == State::Active && !(fits && self.peer.can_acquire()) {
            return Err(block);
        }
        match self.peer.poll_acquire(subprotocol, code, None) {
            Poll::Ready(Ok(wire)) => match u16::try_from(wire.0) {
                Ok(code) => Ok(Header::Message { code, length }),
                Err(_) => {
                    self.peer.complete_write(subprotocol);
                    Err(WriteError::InvalidCode)
                }
            },
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(block),
        }
    }

    /// Ends the session with this reason.
    pub fn disconnect(&mut self, now: Instant, reason: DisconnectReason) {
        self.peer.disconnect(now, reason);
    }

    // ---- Time ----

    /// Does what is due. Call until `None`, after each of the other calls and when [`poll_at`](Self::poll_at) says so.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        if self.peer.poll_at().is_due(now) {
            self.peer.handle_timeout(now);
        }
        // Room in an inbox ends the holding back even if no byte comes.
        if matches!(self.incoming, Incoming::Held { .. }) {
            self.handle_input(now, &[]);
        }
        self.sender.fill();
        self.continue_reply(now);
        self.say(now);
        // A session can be over before its beginning was told.
        if !self.was_active && !self.peer.shared().is_empty() {
            self.was_active = true;
            return Some(Event::Active);
        }
        let reason = self
            .peer
            .close_reason()
            .filter(|_| self.peer.state() == State::Closed)?;
        self.say_end(now);
        (!core::mem::replace(&mut self.was_closed, true)).then_some(Event::Closed(reason))
    }

    /// Says what goes before any message: `Begin`, the messages of the base protocol, `End`.
    fn say(&mut self, now: Instant) {
        if self.say_begin.is_some_and(|at| at <= now) && !self.was_closed {
            let begin = self.opening.begin();
            if !self.sender.fits(begin) {
                return;
            }
            self.sender.frame(begin, &[]);
            self.peer.on_sealed(now, begin.frame_length());
            let repeats = !self.opening.is_begun();
            self.say_begin = repeats.then(|| now.saturating_add(REPEAT));
        }
        if !self.opening.is_begun() {
            return;
        }
        while self.peer.wants_to_send() {
            let room = if self.peer.has_said_hello() {
                CONTROL_LENGTH
            } else {
                self.local.hello_length()
            };
            let length = room as u16;
            if !self.sender.fits(Header::Message { code: 0, length }) {
                return;
            }
            let Some(control) = self.peer.poll_control(now) else {
                return;
            };
            self.say_control(now, control);
        }
        if self.half_closes || self.peer.may_half_close() && self.peer.wants_half_close() {
            self.half_closes = true;
            self.say_end(now);
        }
    }

    fn say_control(&mut self, now: Instant, control: Control) {
        let mut payload = [0; MAX_HELLO];
        let Ok(n) = control.encode(&self.local, false, &mut payload) else {
            return;
        };
        let header = Header::Message {
            code: control.code().0 as u16,
            length: n as u16,
        };
        self.sender
            .frame(header, payload.get(..n).unwrap_or_default());
        self.peer.on_sealed(now, header.frame_length());
    }

    fn say_end(&mut self, now: Instant) {
        if self.peer.state() == State::Closed {
            self.sender.spoil();
            self.sender.fill();
            self.replying = None;
        }
        if !self.ended && self.sender.fits(Header::End) {
            self.sender.frame(Header::End, &[]);
            self.peer.on_sealed(now, Header::End.frame_length());
            self.ended = true;
        }
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub fn poll_at(&self) -> PollAt {
        let begin = self.say_begin.filter(|_| !self.was_closed);
        self.peer.poll_at().min(begin.into())
    }

    // ---- What there is to know ----

    /// The session's peer.
    pub fn peer(&self) -> &Peer<N> {
        &self.peer
    }

    /// Asks for a Ping now rather than at the next interval.
    pub fn request_ping(&mut self) {
        self.peer.request_ping();
    }

    /// What the inbox of `subprotocol` has seen since the start.
    pub fn counters(&self, subprotocol: usize) -> devp2p_core::arena::InboxCounters {
        self.inboxes.counters(subprotocol)
    }
}
