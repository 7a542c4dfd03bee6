//! Sealing, and the way of the sealed bytes to the transport.

use std::io::{ErrorKind, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, TryLockError};
use std::task::Waker;
use std::time::{Duration, Instant};
use std::{io, mem};

use devp2p_core::control::{CONTROL_LENGTH, Control};
use devp2p_core::hello::MAX_HELLO_LENGTH;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::Peer;
use devp2p_core::rlp;
use devp2p_core::rlpx::FrameKeys;
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, TransmitHalf, frame_length};

use super::{Link, lock};
use crate::queue::Queue;
use crate::scratch;

/// Sealed bytes that may wait for the wire before writers wait. An empty output takes any frame.
pub(super) const OUTPUT_LIMIT: usize = 1024 * 1024;

/// How long a Hello that waits for the remote's does so: well within the handshake deadline of either side.
const HELLO_WAIT: Duration = Duration::from_secs(2);

/// Room that an idle session keeps for output.
const KEPT_OUTPUT: usize = 4 * 1024;

/// Cipher and MAC of what we send. Whoever holds its lock and the write token is the one writer.
pub(crate) struct Sealer {
    keys: Arc<FrameKeys>,
    transmit: TransmitHalf,
    /// Nothing may follow our Disconnect.
    pub(super) finished: bool,
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

/// What is sealed and waits for the wire.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// Bytes sealed in all.
    pub(super) sealed: u64,
}

pub(super) struct Socket {
    /// Given up when the session has ended.
    writer: Option<Box<dyn Write + Send>>,
    /// The bytes being written, exchanged with the output so that both keep their room.
    bytes: Vec<u8>,
}

impl Socket {
    pub(super) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self {
            writer: Some(writer),
            bytes: Vec::new(),
        }
    }
}

impl Link {
    /// Writes bytes of the handshake, which are not frames.
    pub(crate) fn write_raw(&self, bytes: &[u8]) -> io::Result<()> {
        match &mut lock(&self.socket).writer {
            Some(writer) => writer.write_all(bytes),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Gives up the transport's writer and the keys, which handles that outlive the session must not keep. Only a closed
    /// session may: then no write blocks.
    pub(crate) fn release_writer(&self) {
        *lock(&self.sealer) = None;
        let mut socket = lock(&self.socket);
        socket.bytes = Vec::new();
        let writer = socket.writer.take();
        drop(socket);
        drop(writer);
    }

    // ---- The thread that writes when no subprotocol does ----

    /// Sends control messages and what others left, until the session is closed. A Hello that waits for the remote's does
    /// so for [`HELLO_WAIT`].
    pub(crate) fn run_writer(&self) {
        let hello_at = Instant::now() + HELLO_WAIT;
        loop {
            let until = (!self.is_offered()).then_some(hello_at);
            if !self.wait_for_kick(until) {
                self.offer(Vec::new());
            }
            self.seal_control();
            self.drain(usize::MAX);
            // Asked first, for a change while something waits to be sent kicks this thread again.
            if self.with_peer(Peer::may_half_close) {
                if let Some(closer) = &*lock(&self.closer) {
                    closer.close_write();
                }
                self.change(|peer, _| peer.wants_half_close());
            }
            if self.with_peer(Peer::state) == State::Closed {
                return;
            }
        }
    }

    pub(crate) fn kick(&self) {
        if !mem::replace(&mut *lock(&self.kicked), true) {
            self.kick.notify_one();
        }
    }

    /// False if no kick came before `until`.
    fn wait_for_kick(&self, until: Option<Instant>) -> bool {
        let mut kicked = lock(&self.kicked);
        while !mem::take(&mut *kicked) {
            let Some(until) = until else {
                let woken = self.kick.wait(kicked);
                kicked = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.kick.wait_timeout(kicked, left);
            kicked = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Seals the control messages that wait.
    fn seal_control(&self) {
        let mut sealer = lock(&self.sealer);
        let Some(sealer) = &mut *sealer else { return };
        // Without room only the end is said: a remote that asks and does not read must not make the output grow. Bytes that
        // are taken bring us here again.
        while lock(&self.output).bytes.len() < OUTPUT_LIMIT || self.close_reason().is_some() {
            if self.with_peer(|peer| self.holds_hello(peer)) {
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
    pub(super) fn seal_frame(&self, sealer: &mut Sealer, frame: &mut Vec<u8>, body: usize) {
        frame.resize(frame_length(body), 0);
        let sealed = sealer.transmit.seal(&sealer.keys, frame, body);
        debug_assert!(sealed, "the frame has the size that its body asks for");
        let mut output = lock(&self.output);
        output.bytes.extend_from_slice(frame);
        output.sealed += frame.len() as u64;
        // Under the output's lock, so that nobody reports bytes as taken before they were reported as sealed.
        let now = self.now();
        self.lock_peer().on_sealed(now, frame.len());
    }

    /// Writes the output to the transport, unless another thread is at it: then that one takes these bytes too. After
    /// `rounds` the rest is left to the writer thread.
    pub(super) fn drain(&self, rounds: usize) {
        for _ in 0..rounds {
            let mut socket = match self.socket.try_lock() {
                Ok(socket) => socket,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let written = self.write_output(&mut socket);
            drop(socket);
            if let Err(error) = written {
                log::debug!("writing failed: {error}");
                return self.on_write_failed();
            }
            // Looked at after unlocking, even if there was nothing: who added bytes meanwhile left them to us.
            if lock(&self.output).bytes.is_empty() {
                return;
            }
        }
        self.kick();
    }

    fn write_output(&self, socket: &mut Socket) -> io::Result<()> {
        let Socket { writer, bytes } = socket;
        let room = {
            let mut output = lock(&self.output);
            if output.bytes.is_empty() {
                return Ok(());
            }
            // Bytes of a write that panicked.
            bytes.clear();
            mem::swap(&mut output.bytes, bytes);
            self.lock_peer().take_room_waiter()
        };
        room.into_iter().for_each(Waker::wake);
        let writer = writer.as_mut().ok_or(ErrorKind::NotConnected)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match writer.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let n = n.min(rest.len());
                    rest = &rest[n..];
                    self.progress.on_taken(n);
                    self.change(|peer, now| peer.on_taken(now, n));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.clear();
        bytes.shrink_to(KEPT_OUTPUT);
        Ok(())
    }

    /// The transport takes no more bytes. What has arrived may tell why (a Disconnect, say), so a live session ends when its
    /// receiver has read that; a closing one ends now.
    pub(crate) fn on_write_failed(&self) {
        self.can_send.store(false, Ordering::Release);
        self.change(|_, _| ());
        if let Some(closer) = &*lock(&self.closer) {
            closer.close();
        }
        self.queues().iter().for_each(Queue::wake_receiver);
    }
}
