//! The shared middle of a session: peer, sealer, output and transport, each under its own lock.
//!
//! Locks are taken in this order: a subprotocol's turn, the sealer, the socket, the output, the peer. None is held while a
//! waker or a closure of the user runs; only the socket's is held while writing to the transport blocks.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time;

use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::config::Local;
use devp2p_core::control::{CONTROL_LENGTH, Control};
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::hello::MAX_HELLO_LENGTH;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::Peer;
use devp2p_core::rlp;
use devp2p_core::rlpx::FrameKeys;
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, TransmitHalf, frame_length};
use devp2p_core::time::{Instant, PollAt};

use crate::block::{block_on, block_until};
use crate::host::{Host, MAX_PROTOCOLS};
use crate::offer::Offer;
use crate::protocol::Protocol;
use crate::queue::Queue;
use crate::scratch;
use crate::timer::{Target, TimerId};
use crate::transport::Closer;
use crate::turn::Turns;

/// Sealed bytes that may wait for the wire before writers wait. An empty output takes any frame.
pub(crate) const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Cipher and MAC of what we send. Whoever holds its lock and the write token is the one writer.
pub(crate) struct Sealer {
    pub(crate) keys: Arc<FrameKeys>,
    pub(crate) transmit: TransmitHalf,
    /// Nothing may follow our Disconnect.
    finished: bool,
}

impl Sealer {
    pub(crate) fn new(keys: Arc<FrameKeys>, transmit: TransmitHalf) -> Self {
        Self {
            keys,
            transmit,
            finished: false,
        }
    }
}

pub(crate) struct Link {
    pub(crate) host: Arc<Host>,
    peer: Mutex<Peer<MAX_PROTOCOLS>>,
    sealer: Mutex<Option<Sealer>>,
    output: Mutex<Vec<u8>>,
    socket: Mutex<Socket>,
    closer: Box<dyn Closer>,
    /// Until this is set, our Hello waits for the remote's.
    offer: OnceLock<Offer>,
    timer: OnceLock<TimerId>,
    /// Whether the keys are there, so that a Disconnect can be sealed.
    has_keys: AtomicBool,
    queues_closed: AtomicBool,
    transport_closed: AtomicBool,
    kicked: Mutex<bool>,
    kick: Condvar,
}

struct Socket {
    writer: Box<dyn Write + Send>,
    /// The bytes being written, exchanged with the output so that both keep their room.
    bytes: Vec<u8>,
}

/// How long a Hello that waits for the remote's does so: well within the handshake deadline of either side.
const HELLO_WAIT: time::Duration = time::Duration::from_secs(2);

/// Room that an idle session keeps for output.
const KEPT_OUTPUT: usize = 4 * 1024;

impl Link {
    pub(crate) fn new(
        host: Arc<Host>,
        peer: Peer<MAX_PROTOCOLS>,
        writer: Box<dyn Write + Send>,
        closer: Box<dyn Closer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            host,
            peer: Mutex::new(peer),
            sealer: Mutex::new(None),
            output: Mutex::new(Vec::new()),
            socket: Mutex::new(Socket {
                writer,
                bytes: Vec::new(),
            }),
            closer,
            offer: OnceLock::new(),
            timer: OnceLock::new(),
            has_keys: AtomicBool::new(false),
            queues_closed: AtomicBool::new(false),
            transport_closed: AtomicBool::new(false),
            kicked: Mutex::new(false),
            kick: Condvar::new(),
        })
    }

    pub(crate) fn now(&self) -> Instant {
        self.host.clock.now()
    }

    // ---- The peer and what follows from its changes ----

    /// Looks at the peer.
    pub(crate) fn with_peer<R>(&self, f: impl FnOnce(&Peer<MAX_PROTOCOLS>) -> R) -> R {
        f(&self.lock_peer())
    }

    /// Changes the peer, then wakes, sends, closes and sets the timer as the change asks.
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut Peer<MAX_PROTOCOLS>, Instant) -> R) -> R {
        let now = self.now();
        let mut peer = self.lock_peer();
        let result = f(&mut peer, now);
        if peer.is_closing() && !self.has_keys.load(Ordering::Acquire) {
            // There is nothing to say a Disconnect with.
            peer.handle_end(now, TransportError::Handshake);
        }
        self.settle(peer);
        result
    }

    fn settle(&self, mut peer: MutexGuard<'_, Peer<MAX_PROTOCOLS>>) {
        let first = peer.next_wake();
        let mut more = Vec::new();
        if first.is_some() {
            more.extend(std::iter::from_fn(|| peer.next_wake()));
        }
        let state = peer.state();
        let reason = peer.close_reason();
        let sends = (peer.wants_to_send() && !peer.is_inside_frame() && !self.holds_hello(&peer))
            || peer.may_half_close();
        let poll_at = peer.poll_at();
        drop(peer);
        first
            .into_iter()
            .chain(more)
            .for_each(std::task::Waker::wake);
        if let Some(timer) = self.timer.get() {
            self.host.timekeeper.set(timer, poll_at);
        }
        if let Some(reason) = reason
            && !self.queues_closed.swap(true, Ordering::AcqRel)
        {
            let queues = self.offer.get().map(|offer| &offer.queues);
            queues
                .into_iter()
                .flat_map(|queues| queues.iter())
                .for_each(|queue| queue.close(reason));
        }
        if state == State::Closed && !self.transport_closed.swap(true, Ordering::AcqRel) {
            self.closer.close();
            self.kick();
        } else if sends {
            self.kick();
        }
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.change(|peer, now| peer.close(now, reason));
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.with_peer(Peer::close_reason)
    }

    /// Waits until the session is closed.
    pub(crate) fn wait_closed(&self) -> CloseReason {
        block_on(|cx| self.lock_peer().poll_closed(Some(cx)))
    }

    // ---- Opening ----

    /// Registers with the timekeeper; paired with [`stop_timer`](Self::stop_timer).
    pub(crate) fn start_timer(self: &Arc<Self>) {
        let timer = self
            .host
            .timekeeper
            .register(Arc::clone(self) as Arc<dyn Target>);
        let _ = self.timer.set(timer);
        self.change(|_, _| ());
    }

    pub(crate) fn stop_timer(&self) {
        if let Some(timer) = self.timer.get() {
            self.host.timekeeper.unregister(timer);
        }
    }

    /// The keys are there: from the next kick on frames are sealed.
    pub(crate) fn prepare(&self, sealer: Sealer) {
        *lock(&self.sealer) = Some(sealer);
        self.has_keys.store(true, Ordering::Release);
    }

    /// Decides what this session offers: the host's protocols and `more`. From here on our Hello can go out; the first
    /// call counts.
    pub(crate) fn offer(&self, more: Vec<Protocol>) {
        let _ = self.offer.set(Offer::new(&self.host, more));
        self.kick();
    }

    /// Whether our Hello must wait because it is not decided what to offer. A Disconnect in its place need not.
    fn holds_hello(&self, peer: &Peer<MAX_PROTOCOLS>) -> bool {
        !self.is_offered() && !peer.is_closing()
    }

    /// Whether it is decided what this session offers.
    pub(crate) fn is_offered(&self) -> bool {
        self.offer.get().is_some()
    }

    /// What this session offers; nothing while that is not decided.
    pub(crate) fn protocols(&self) -> &[Protocol] {
        self.offer.get().map_or(&[], |offer| &offer.protocols)
    }

    /// What this session says of itself.
    pub(crate) fn local(&self) -> Local<'_> {
        Local {
            protocols: self.offer.get().map_or(&[], |offer| &offer.registered),
            ..self.host.local()
        }
    }

    /// The inboxes of all subprotocols; none while it is not decided what to offer.
    pub(crate) fn queues(&self) -> Arc<[Queue]> {
        self.offer
            .get()
            .map_or_else(|| Arc::new([]) as _, |offer| Arc::clone(&offer.queues))
    }

    /// The inbox of this subprotocol, which is one of the offered ones.
    pub(crate) fn queue(&self, subprotocol: usize) -> &Queue {
        let offer = self.offer.get().expect("a subprotocol runs after Hello");
        &offer.queues[subprotocol]
    }

    fn turns(&self, subprotocol: usize) -> Result<&Turns, WriteError> {
        let turns = self.offer.get().and_then(|o| o.turns.get(subprotocol));
        turns.ok_or(WriteError::NotShared)
    }

    /// Writes bytes of the handshake, which are not frames.
    pub(crate) fn write_raw(&self, bytes: &[u8]) -> std::io::Result<()> {
        lock(&self.socket).writer.write_all(bytes)
    }

    // ---- The thread that writes when no subprotocol does ----

    /// Sends control messages and what others left, until the session is closed. A Hello that waits for the remote's does
    /// so for [`HELLO_WAIT`].
    pub(crate) fn run_writer(&self) {
        let hello_at = time::Instant::now() + HELLO_WAIT;
        loop {
            let until = (!self.is_offered()).then_some(hello_at);
            if !self.wait_for_kick(until) {
                self.offer(Vec::new());
            }
            self.pump();
            if self.change(|peer, _| peer.wants_half_close()) {
                self.closer.close_write();
            }
            if self.with_peer(Peer::state) == State::Closed {
                return;
            }
        }
    }

    pub(crate) fn kick(&self) {
        *lock(&self.kicked) = true;
        self.kick.notify_one();
    }

    /// False if no kick came before `until`.
    fn wait_for_kick(&self, until: Option<time::Instant>) -> bool {
        let mut kicked = lock(&self.kicked);
        while !std::mem::take(&mut *kicked) {
            let Some(until) = until else {
                kicked = self
                    .kick
                    .wait(kicked)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(time::Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.kick.wait_timeout(kicked, left);
            kicked = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Seals the control messages that wait and writes everything out.
    fn pump(&self) {
        self.seal_control();
        self.drain(usize::MAX);
    }

    fn seal_control(&self) {
        let mut sealer = lock(&self.sealer);
        let Some(sealer) = &mut *sealer else { return };
        loop {
            if self.holds_hello(&self.lock_peer()) {
                return;
            }
            let (control, compressed) =
                self.change(|peer, now| (peer.poll_control(now), peer.compresses()));
            let Some(control) = control else { return };
            scratch::with_frame(|frame| {
                let (code, code_length) = rlp::encode_code(control.code().0);
                let room = if control == Control::Hello {
                    MAX_HELLO_LENGTH
                } else {
                    CONTROL_LENGTH
                };
                frame.resize(HEADER_LENGTH + code_length + room, 0);
                frame[HEADER_LENGTH..HEADER_LENGTH + code_length]
                    .copy_from_slice(&code[..code_length]);
                let payload = &mut frame[HEADER_LENGTH + code_length..];
                // Its length was checked when the host was built.
                let length = control
                    .encode(&self.local(), compressed, payload)
                    .unwrap_or(0);
                sealer.finished |= matches!(control, Control::Disconnect(_));
                self.seal_frame(sealer, frame, code_length + length);
            });
        }
    }

    /// Seals the body that stands in `frame` after room for the header, and appends the frame to the output.
    fn seal_frame(&self, sealer: &mut Sealer, frame: &mut Vec<u8>, body: usize) {
        frame.resize(frame_length(body), 0);
        let sealed = sealer.transmit.seal(&sealer.keys, frame, body);
        debug_assert!(sealed, "the frame has the size that its body asks for");
        let mut output = lock(&self.output);
        output.extend_from_slice(frame);
        // Under the output's lock, so that nobody reports bytes as taken before they were reported as sealed.
        let now = self.now();
        self.lock_peer().on_sealed(now, frame.len());
    }

    /// Writes the output to the transport, unless another thread is at it: then that one takes these bytes too. After
    /// `rounds` the rest is left to the writer thread.
    fn drain(&self, rounds: usize) {
        for _ in 0..rounds {
            let Ok(mut socket) = self.socket.try_lock() else {
                return;
            };
            let Socket { writer, bytes } = &mut *socket;
            std::mem::swap(&mut *lock(&self.output), bytes);
            if bytes.is_empty() {
                return;
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match writer.write(rest) {
                    Ok(n) if n > 0 => {
                        rest = &rest[n.min(rest.len())..];
                        let room = self.change(|peer, now| {
                            peer.on_taken(now, n);
                            peer.take_room_waiter()
                        });
                        room.into_iter().for_each(std::task::Waker::wake);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    result => {
                        if let Err(error) = result {
                            log::debug!("writing failed: {error}");
                        }
                        bytes.clear();
                        drop(socket);
                        self.change(|peer, now| peer.handle_end(now, TransportError::Io));
                        return;
                    }
                }
            }
            bytes.clear();
            bytes.shrink_to(KEPT_OUTPUT);
            drop(socket);
            if lock(&self.output).is_empty() {
                return;
            }
        }
        self.kick();
    }

    // ---- Writing ----

    /// Writes one message; `deadline` limits the wait for turn, token and room, not the sealing.
    pub(crate) fn write(
        &self,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
        deadline: Option<time::Instant>,
    ) -> Result<Written, WriteError> {
        let wire = self.check(subprotocol, code)?;
        let turns = self.turns(subprotocol)?;
        let turn = turns.wait(deadline).ok_or(WriteError::TimedOut)?;
        let written = scratch::with_frame(|frame| {
            // Compressed before the token is asked for, so that others write meanwhile.
            let (body, written) = self.compose(frame, wire, payload)?;
            let granted = block_until(deadline, |cx| {
                match self.poll_acquire(subprotocol, code, Some(cx)) {
                    Poll::Ready(Ok(_)) => self.poll_room(cx).map(Ok),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                }
            });
            match granted {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(error),
                None => {
                    self.change(|peer, now| peer.give_back(now, subprotocol));
                    return Err(WriteError::TimedOut);
                }
            }
            self.seal_message(subprotocol, frame, body)?;
            Ok(written)
        })?;
        drop(turn);
        if deadline.is_some() {
            // Writing to the transport may block for longer than the caller allows.
            self.kick();
        } else {
            self.drain(DRAIN_ROUNDS);
        }
        Ok(written)
    }

    /// Writes one message if nothing has to be waited for.
    pub(crate) fn try_write(
        &self,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
    ) -> Result<Written, WriteError> {
        let wire = self.check(subprotocol, code)?;
        let busy = WriteError::WouldBlock { free: 0 };
        let turns = self.turns(subprotocol)?;
        let _turn = turns.try_take().ok_or(busy)?;
        scratch::with_frame(|frame| {
            let (body, written) = self.compose(frame, wire, payload)?;
            let waiting = lock(&self.output).len();
            if waiting > 0 && waiting + frame_length(body) > OUTPUT_LIMIT {
                return Err(WriteError::WouldBlock {
                    free: OUTPUT_LIMIT.saturating_sub(waiting),
                });
            }
            let granted = self.change(|peer, _| match peer.can_acquire() || peer.is_closing() {
                true => peer.poll_acquire(subprotocol, code, None),
                false => Poll::Pending,
            });
            let Poll::Ready(granted) = granted else {
                return Err(busy);
            };
            granted?;
            self.seal_message(subprotocol, frame, body)?;
            self.kick();
            Ok(written)
        })
    }

    fn check(&self, subprotocol: usize, code: LocalCode) -> Result<WireCode, WriteError> {
        self.with_peer(|peer| match peer.close_reason() {
            Some(reason) => Err(WriteError::Closed(reason)),
            None if !peer.shared().is_shared(subprotocol) => Err(WriteError::NotShared),
            None => peer
                .shared()
                .wire_code(subprotocol, code)
                .ok_or(WriteError::InvalidCode),
        })
    }

    /// Puts code and payload into `frame`, after room for the header; returns the bytes of the body.
    fn compose(
        &self,
        frame: &mut Vec<u8>,
        code: WireCode,
        payload: &[&[u8]],
    ) -> Result<(usize, Written), WriteError> {
        let length: usize = payload.iter().map(|slice| slice.len()).sum();
        if length > devp2p_core::MAX_MESSAGE_LENGTH as usize {
            return Err(WriteError::TooLarge);
        }
        let (code, code_length) = rlp::encode_code(code.0);
        frame.resize(HEADER_LENGTH, 0);
        frame.extend_from_slice(&code[..code_length]);
        // Not `compresses`: our Hello may still wait to be sent, but it goes before any message.
        if self.with_peer(Peer::decompresses) {
            scratch::compress(payload, frame);
        } else {
            payload
                .iter()
                .for_each(|slice| frame.extend_from_slice(slice));
        }
        let body = frame.len() - HEADER_LENGTH;
        if body > devp2p_core::MAX_MESSAGE_LENGTH as usize {
            return Err(WriteError::TooLarge);
        }
        Ok((
            body,
            Written {
                length: length as u32,
                wire_length: (body - code_length) as u32,
            },
        ))
    }

    fn poll_acquire(
        &self,
        subprotocol: usize,
        code: LocalCode,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<WireCode, WriteError>> {
        self.lock_peer().poll_acquire(subprotocol, code, cx)
    }

    /// Ready when the output takes one more frame; only the holder of the token waits here.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let output = lock(&self.output);
        if output.len() < OUTPUT_LIMIT {
            return Poll::Ready(());
        }
        self.lock_peer().wait_for_room(Some(cx));
        drop(output);
        self.kick();
        Poll::Pending
    }

    /// Seals the composed frame of the holder of the token and passes the token on.
    fn seal_message(
        &self,
        subprotocol: usize,
        frame: &mut Vec<u8>,
        body: usize,
    ) -> Result<(), WriteError> {
        let mut sealer = lock(&self.sealer);
        let ready = sealer.as_mut().filter(|sealer| !sealer.finished);
        let Some(ready) = ready else {
            drop(sealer);
            self.change(|peer, now| peer.give_back(now, subprotocol));
            let reason = self.close_reason().unwrap_or(CloseReason::WriteAbandoned);
            return Err(WriteError::Closed(reason));
        };
        self.seal_frame(ready, frame, body);
        drop(sealer);
        self.change(|peer, _| peer.complete_write(subprotocol));
        Ok(())
    }

    /// Waits until the transport took everything sealed so far.
    pub(crate) fn flush(&self, subprotocol: usize) -> Result<(), CloseReason> {
        self.drain(DRAIN_ROUNDS);
        block_on(|cx| self.lock_peer().poll_flush(subprotocol, Some(cx)))
    }

    fn lock_peer(&self) -> MutexGuard<'_, Peer<MAX_PROTOCOLS>> {
        lock(&self.peer)
    }
}

/// What a write put on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) length: u32,
    pub(crate) wire_length: u32,
}

/// How often a writer writes for others too, before it leaves that to the writer thread.
const DRAIN_ROUNDS: usize = 2;

impl Target for Link {
    fn on_timer(&self, now: Instant) -> PollAt {
        self.change(|peer, _| {
            peer.handle_timeout(now);
            peer.poll_at()
        })
    }
}

/// No code of the user runs under these locks, so a poisoned one is as good as new.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
