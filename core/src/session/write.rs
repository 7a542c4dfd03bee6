//! Writing messages of subprotocols: the token, then sealing into the ring.

use core::task::{Context, Poll};

use super::{Phase, Session};
use crate::code::LocalCode;
use crate::error::{CloseReason, WriteError};
use crate::lifecycle::State;
use crate::peer::Peer;
use crate::rlpx::message::{Compression, MessageWriter};
use crate::time::Instant;

/// A write in progress. Dropping it without [`Session::abandon`] leaves the token with it.
#[derive(Debug)]
pub struct PendingWrite {
    subprotocol: usize,
    code: LocalCode,
    writer: Option<MessageWriter>,
}

impl PendingWrite {
    /// A message `code` of `subprotocol`, of which nothing is sealed.
    pub const fn new(subprotocol: usize, code: LocalCode) -> Self {
        Self {
            subprotocol,
            code,
            writer: None,
        }
    }
}

impl<const N: usize> Session<'_, N> {
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
        write: &mut PendingWrite,
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
                let mut write = PendingWrite {
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
    pub fn abandon(&mut self, now: Instant, write: &PendingWrite) {
        match &write.writer {
            Some(writer) if writer.has_begun() => self.peer.give_back(now, write.subprotocol),
            _ => self.peer.stop_waiting(now, write.subprotocol),
        }
    }

    /// As [`abandon`](Self::abandon), for a driver that no longer has the write itself.
    pub fn give_back(&mut self, now: Instant, subprotocol: usize) {
        self.peer.give_back(now, subprotocol);
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

    fn compression(&mut self) -> Compression<'_> {
        Mode::of(&self.peer, self.table).compression(self.table)
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
