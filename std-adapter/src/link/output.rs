//! Sealing, and the way of the sealed bytes to the transport.

use std::io::{ErrorKind, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, TryLockError};
use std::task::Waker;
use std::{io, mem};

use devp2p_core::control::{CONTROL_LENGTH, Control};
use devp2p_core::hello::MAX_HELLO_LENGTH;
use devp2p_core::peer::Peer;
use devp2p_core::rlp;
use devp2p_core::rlpx::FrameKeys;
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, frame_length};

use super::burst::{Burst, Level, Next, Rest};
use super::{Link, lock};
use crate::host::MAX_PROTOCOLS;
use crate::keccak::TransmitHalf;
use crate::queue::Queue;
use crate::scratch;

/// Sealed bytes that may wait for the wire before writers wait. An empty output takes any frame.
pub(super) const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Room that an idle session keeps for output.
const KEPT_OUTPUT: usize = 4 * 1024;

/// Cipher and MAC of what we send. Whoever holds its lock and the write token is the one writer.
pub(crate) struct Sealer {
    pub(super) keys: Arc<FrameKeys>,
    pub(super) transmit: TransmitHalf,
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
    /// A thread is writing to the wire, and looks here again when it has done.
    draining: bool,
    burst: Burst,
}

impl Output {
    fn level(&self, newest: usize) -> Level {
        Level {
            waiting: self.bytes.len(),
            newest,
            sealed: self.sealed,
            draining: self.draining,
        }
    }
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

    /// Seals the control messages that wait.
    pub(super) fn seal_control(&self) {
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
                let frame = frame.room(frame_length(code_length + room));
                frame[HEADER_LENGTH..HEADER_LENGTH + code_length]
                    .copy_from_slice(&code[..code_length]);
                let payload = &mut frame[HEADER_LENGTH + code_length..][..room];
                // Its length was checked when the host was built.
                let length = control
                    .encode(&self.local(), compressed, payload)
                    .unwrap_or(0);
                sealer.finished |= matches!(control, Control::Disconnect(_));
                drop(self.seal_frame(sealer, frame, code_length + length, false));
            });
        }
    }

    /// Seals the body that stands in `frame` after room for the header, and appends the frame to the output. Returns with the
    /// peer locked. Unless it `may_gather` with others, the caller sees to it that it is written.
    pub(super) fn seal_frame(
        &self,
        sealer: &mut Sealer,
        frame: &mut [u8],
        body: usize,
        may_gather: bool,
    ) -> (MutexGuard<'_, Peer<MAX_PROTOCOLS>>, Next) {
        let frame = &mut frame[..frame_length(body)];
        let sealed = sealer.transmit.seal(&sealer.keys, frame, body);
        debug_assert!(sealed, "the frame has the size that its body asks for");
        self.append(frame, may_gather)
    }

    /// Appends sealed bytes to the output. Returns as [`seal_frame`](Self::seal_frame) does.
    pub(super) fn append(
        &self,
        sealed: &[u8],
        may_gather: bool,
    ) -> (MutexGuard<'_, Peer<MAX_PROTOCOLS>>, Next) {
        let mut output = lock(&self.output);
        output.bytes.extend_from_slice(sealed);
        output.sealed += sealed.len() as u64;
        // Under the output's lock, so that nobody reports bytes as taken before they were reported as sealed.
        let now = self.now();
        let next = match may_gather {
            true => {
                let level = output.level(sealed.len());
                output.burst.on_sealed(now, level)
            }
            false => Next::default(),
        };
        if output.bytes.len() >= OUTPUT_LIMIT {
            self.full.store(true, Ordering::Release);
        }
        let mut peer = self.lock_peer();
        peer.on_sealed(now, sealed.len());
        (peer, next)
    }

    /// Looks after the bytes that a burst left; what is not needed any more when it is over is given back.
    pub(super) fn look_after_rest(&self) -> Rest {
        let mut output = lock(&self.output);
        let level = output.level(0);
        let rest = output.burst.look(self.now(), level);
        if rest == Rest::None && output.bytes.is_empty() {
            output.bytes.shrink_to(KEPT_OUTPUT);
            drop(output);
            if let Ok(mut socket) = self.socket.try_lock() {
                socket.bytes.clear();
                socket.bytes.shrink_to(KEPT_OUTPUT);
            }
        }
        rest
    }

    /// A thread is about to wait for the remote: what it wrote before goes out now, by itself if it may block for that. Whether
    /// it has written since it last waited.
    pub(crate) fn before_wait(&self, may_block: bool) -> bool {
        let has_written = scratch::rest();
        let mut output = lock(&self.output);
        output.burst.on_wait();
        let lies = !output.bytes.is_empty() && !output.draining;
        drop(output);
        match lies {
            true if may_block => self.drain(1),
            true => self.kick(),
            false => {}
        }
        has_written
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
            // Looked at after unlocking, even if there was nothing: who added bytes meanwhile left them to us.
            let mut output = lock(&self.output);
            output.draining = false;
            let done = output.bytes.is_empty();
            drop(output);
            if let Err(error) = written {
                log::debug!("writing failed: {error}");
                return self.on_write_failed();
            }
            if done {
                return;
            }
        }
        self.kick();
    }

    fn write_output(&self, socket: &mut Socket) -> io::Result<()> {
        let Socket { writer, bytes } = socket;
        let (burst, room) = {
            let mut output = lock(&self.output);
            if output.bytes.is_empty() {
                return Ok(());
            }
            output.draining = true;
            // Bytes of a write that panicked.
            bytes.clear();
            mem::swap(&mut output.bytes, bytes);
            self.full.store(false, Ordering::Release);
            (
                output.burst.is_watched(),
                self.lock_peer().take_room_waiter(),
            )
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
        let mut output = lock(&self.output);
        output.burst.on_written(self.now());
        drop(output);
        // In a burst the room is needed again at once; who looks after it gives it back.
        if !burst {
            bytes.shrink_to(KEPT_OUTPUT);
        }
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
