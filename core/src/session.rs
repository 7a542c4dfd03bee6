//! One connection from its first byte to its end: the RLPx handshake, admission, then [`Peer`] over RLPx frames.
//!
//! [`Connection`] is the machine; its memory is lent for each call ([`Buffers`]). [`Session`] is the machine with fixed memory.

mod buffers;
mod connection;
mod drive;
mod input;
mod storage;
mod write;

pub use buffers::{Buffers, Fixed};
pub use connection::Connection;
pub use storage::{MIN_INBOX_MEMORY, MIN_RING, Storage, StorageError};
pub use write::{PendingWrite, Progress, Written};

use core::task::{Context, Poll, Waker};

use crate::arena::{Arena, InboxCounters, Message, Slot};
use crate::capability::Protocol;
use crate::code::LocalCode;
use crate::config::{Config, Local};
use crate::disconnect::DisconnectReason;
use crate::error::{CloseReason, TransportError, WriteError};
use crate::hello::MAX_SENT_LENGTH;
use crate::lifecycle::State;
use crate::node_id::NodeId;
use crate::output::{Output, Room};
use crate::peer::Peer;
use crate::ring::Ring;
use crate::rlpx::message::Compression;
use crate::rlpx::transmit::frame_length;
use crate::rlpx::{Entropy, Handshake, NodeKey, Role};
use crate::time::{Instant, PollAt};

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
    connection: Connection<Slot, N>,
    buffers: Fixed<'a, N>,
    table: &'a mut [u16],
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
        Ok(Self {
            connection: Connection::idle(&local, config),
            buffers: Fixed {
                inboxes,
                ring: Ring::new(storage.ring),
            },
            table: storage.table,
            key,
            local,
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
        self.connection.restart(handshake, &self.local, now);
        self.buffers.inboxes.clear();
        self.buffers.ring.clear();
    }

    // ---- What comes in ----

    /// Takes bytes from the transport, decrypting them in place. Returns how many were consumed; pass the rest again when
    /// [`wants_input`](Self::wants_input) is true. What arrives while closing is discarded.
    pub fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        self.connection
            .handle_input(now, &self.local, &mut self.buffers, bytes)
    }

    /// Whether bytes passed to [`handle_input`](Self::handle_input) would be consumed now.
    pub fn wants_input(&mut self) -> bool {
        self.connection.wants_input(&mut self.buffers)
    }

    /// The transport's end: no more bytes come, or none can be written.
    pub fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.connection.handle_end(now, error);
    }

    // ---- What goes out ----

    /// Bytes for the transport: contiguous, perhaps not all that wait.
    pub fn output(&self) -> &[u8] {
        if self.peer().state() == State::Closed {
            &[]
        } else {
            self.buffers.ring.readable()
        }
    }

    /// How many bytes wait for the transport in all.
    pub fn output_length(&self) -> usize {
        self.buffers.ring.len()
    }

    /// The transport took `n` bytes of [`output`](Self::output).
    pub fn consume_output(&mut self, now: Instant, n: usize) {
        self.buffers.ring.consume(n);
        self.connection.on_taken(now, n);
    }

    /// Whether everything is said and written, so that the sending direction can end: stays true after
    /// [`Event::HalfClose`].
    pub fn is_said(&self) -> bool {
        self.peer().is_said()
    }

    // ---- Reading ----

    /// The first waiting message of `subprotocol`, lent until [`pop`](Self::pop).
    pub fn peek(&self, subprotocol: usize) -> Option<Message<'_>> {
        // Before Hello the inboxes' memory holds handshake and Hello.
        if self.connection.is_active() {
            self.buffers.inboxes.peek(subprotocol)
        } else {
            None
        }
    }

    /// Removes the first waiting message of `subprotocol`.
    pub fn pop(&mut self, subprotocol: usize) {
        self.buffers.inboxes.pop(subprotocol);
        self.connection.on_read();
    }

    /// Ready when a message waits for `subprotocol`; with the cause once the session closes and none is left.
    pub fn poll_readable(
        &mut self,
        subprotocol: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>> {
        let closed = self.connection.peer().close_reason();
        self.buffers.inboxes.poll_readable(subprotocol, closed, cx)
    }

    /// What the inbox of `subprotocol` has seen.
    pub fn counters(&self, subprotocol: usize) -> InboxCounters {
        self.buffers.inboxes.counters(subprotocol)
    }

    // ---- Writing ----

    /// Writes one message: asks for the token, waits for it and for room in the ring, seals. Call with the same payload
    /// until ready; a writer that goes away before that calls [`abandon`](Self::abandon). `Ok` means sealed, in order.
    ///
    /// # Errors
    /// As [`WriteError`] says; the message was then not sent.
    pub fn poll_write(
        &mut self,
        now: Instant,
        write: &mut PendingWrite,
        payload: &[&[u8]],
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), WriteError>> {
        let compression = compression(self.connection.compresses(), self.table);
        let ring = &mut self.buffers.ring;
        let written = self
            .connection
            .write(now, ring, write, payload, compression, usize::MAX, cx);
        match written {
            Ok(Progress::Sealed(_)) => Poll::Ready(Ok(())),
            Ok(Progress::Waits | Progress::Budget) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
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
        let compression = compression(self.connection.compresses(), self.table);
        let ring = &mut self.buffers.ring;
        self.connection
            .try_write(now, ring, subprotocol, code, payload, compression)
            .map(|_| ())
    }

    /// A writer goes away before its write was ready. If not a byte of it is sealed nothing happened; else the session
    /// closes as abandoned, since nothing can follow half a frame.
    pub fn abandon(&mut self, now: Instant, write: &PendingWrite) {
        self.connection.abandon(now, write);
    }

    /// As [`abandon`](Self::abandon), for a driver that no longer has the write itself.
    pub fn give_back(&mut self, now: Instant, subprotocol: usize) {
        self.connection.give_back(now, subprotocol);
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
        self.connection.poll_flush(subprotocol, cx)
    }

    // ---- The session's own progress ----

    /// Does what is due: one step of the handshake, deadlines, control messages. Returns an event, or `None` when there is
    /// nothing more to do now. Work is bounded by one step of the handshake.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        self.connection
            .poll(now, self.key, &self.local, &mut self.buffers)
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub fn poll_at(&self) -> PollAt {
        self.connection.poll_at(&self.local, &self.buffers.ring)
    }

    /// A task to wake. Call until `None`, after every lock is released if the driver has locks.
    pub fn next_wake(&mut self) -> Option<Waker> {
        let wake = self.connection.next_wake(&self.buffers.ring);
        let closing = self.connection.peer().is_closing();
        wake.or_else(|| self.buffers.inboxes.next_wake(closing))
    }

    /// Admits the remote that [`Event::Authenticated`] named: Hello goes out.
    /// Does nothing at any other time.
    pub fn admit(&mut self) {
        self.connection.admit();
    }

    /// Turns the remote away: before Hello by a Disconnect in place of it, after it by one that follows. While the handshake
    /// is not done nothing can be said.
    pub fn reject(&mut self, now: Instant, reason: DisconnectReason) {
        self.connection.reject(now, reason);
    }

    /// Closes the session for `cause`, unless it is closing already.
    pub fn close(&mut self, now: Instant, cause: CloseReason) {
        self.connection.close(now, cause);
    }

    /// Asks for a Ping now rather than at the next interval.
    pub fn request_ping(&mut self) {
        self.connection.request_ping();
    }

    /// Ready with the cause once the session is closed.
    pub fn poll_closed(&mut self, cx: Option<&mut Context<'_>>) -> Poll<CloseReason> {
        self.connection.poll_closed(cx)
    }

    /// The peer: state, shared subprotocols, the remote, the cause of the end.
    pub fn peer(&self) -> &Peer<N> {
        self.connection.peer()
    }

    /// The registered protocols.
    pub fn protocols(&self) -> &[Protocol] {
        self.local.protocols
    }

    /// Which side of the connection this is; `None` once the handshake is done.
    pub fn role(&self) -> Option<Role> {
        self.connection.role()
    }
}

/// The form in which payloads are sent: by Snappy with the table, or as one literal if there is none.
fn compression(compressed: bool, table: &mut [u16]) -> Compression<'_> {
    let _ = &table;
    match compressed {
        #[cfg(feature = "snappy")]
        true if table.is_empty() => Compression::Literal,
        #[cfg(feature = "snappy")]
        true => Compression::Snappy(table),
        _ => Compression::None,
    }
}
