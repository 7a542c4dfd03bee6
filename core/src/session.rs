//! One connection from its first byte to its end: the RLPx handshake, admission, then [`Peer`] over RLPx frames.

mod drive;
mod input;
mod storage;
mod write;

pub use storage::{MIN_INBOX_MEMORY, MIN_RING, Storage, StorageError};
pub use write::PendingWrite;

use core::task::{Context, Poll};

use crate::arena::{Arena, InboxCounters, Message, Slot};
use crate::capability::Protocol;
use crate::config::{Config, Local};
use crate::disconnect::DisconnectReason;
use crate::error::{CloseReason, TransportError};
use crate::hello::{MAX_SENT_LENGTH, NodeId};
use crate::lifecycle::State;
use crate::peer::{Expected, Peer};
use crate::ring::Ring;
use crate::rlpx::receive::ReceiveHalf;
use crate::rlpx::transmit::{TransmitHalf, frame_length};
use crate::rlpx::{Entropy, Established, FrameKeys, Handshake, NodeKey, Role, wipe_stack};
use crate::time::Instant;

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

    /// Whether everything is said and written, so that the sending direction can end: stays true after
    /// [`Event::HalfClose`].
    pub fn is_said(&self) -> bool {
        self.peer.is_said()
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
    /// Does nothing at any other time.
    pub fn admit(&mut self) {
        if matches!(self.phase, Phase::Authenticated(_)) {
            self.go_live();
            wipe_stack();
        }
    }

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

    /// Asks for a Ping now rather than at the next interval.
    pub fn request_ping(&mut self) {
        self.peer.request_ping();
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
