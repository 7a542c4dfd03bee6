//! Writing messages of subprotocols: the token, room, then sealing into the output.

use core::task::{Context, Poll};

use super::buffers::Buffers;
use super::connection::{Connection, Phase};
use crate::MAX_MESSAGE_LENGTH;
use crate::code::{LocalCode, WireCode};
use crate::config::Local;
use crate::error::{CloseReason, WriteError};
use crate::lifecycle::State;
use crate::output::{Output, Room};
use crate::rlpx::Sponge;
use crate::rlpx::message::{Compression, MessageWriter};
use crate::rlpx::transmit::frame_length;
use crate::time::Instant;

/// A write in progress. Dropping it without [`Session::abandon`](super::Session::abandon) leaves the token with it.
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

    /// Whether a byte of the frame is sealed, so that it must be completed.
    pub fn has_begun(&self) -> bool {
        self.writer.as_ref().is_some_and(MessageWriter::has_begun)
    }
}

/// What a write put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of payload, uncompressed.
    pub length: u32,
    /// Bytes of payload as they go over the wire.
    pub wire_length: u32,
}

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The frame is sealed whole.
    Sealed(Written),
    /// The budget of the call is used up; more can be sealed at once.
    Budget,
    /// The token is taken, or the output has no room: the task will be woken.
    Waits,
}

/// The least part of its length that Snappy makes of a payload is a little more than a twenty-second.
const BEST_RATIO: usize = 24;

impl<Slot, const N: usize, S: Sponge> Connection<Slot, N, S> {
    /// Whether messages of subprotocols go compressed; a driver that compresses by itself does so then. It holds for all of
    /// them, from when the session is active.
    pub fn compresses(&self) -> bool {
        // Not `Peer::compresses`: our Hello may still wait to be sent, but it goes before any message.
        self.peer.decompresses()
    }

    /// Whether a message of `length` bytes could be sent now as far as is known before it is compressed, which may be for
    /// nothing otherwise. Returns its code on the wire.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn check_write<B: Buffers<Slot = Slot>>(
        &mut self,
        now: Instant,
        local: &Local<'_>,
        buffers: &mut B,
        subprotocol: usize,
        code: LocalCode,
        length: usize,
    ) -> Result<WireCode, WriteError> {
        let wire = self.may_write(subprotocol, code)?;
        if length > MAX_MESSAGE_LENGTH as usize {
            return Err(WriteError::TooLarge);
        }
        let output = buffers.output();
        // A control message that waits goes before: perhaps it can do so now.
        self.seal_control(now, local, output);
        let least = match self.compresses() {
            true => length / BEST_RATIO,
            false => length,
        };
        output.fits(frame_length(1 + least))?;
        self.may_acquire()?;
        Ok(wire)
    }

    /// The code on the wire, if the session goes on and the subprotocol has such a code.
    fn may_write(&self, subprotocol: usize, code: LocalCode) -> Result<WireCode, WriteError> {
        if let Some(reason) = self.peer.close_reason() {
            return Err(WriteError::Closed(reason));
        }
        let shared = self.peer.shared();
        match shared.wire_code(subprotocol, code) {
            Some(wire) => Ok(wire),
            None if shared.is_shared(subprotocol) => Err(WriteError::InvalidCode),
            None => Err(WriteError::NotShared),
        }
    }

    fn may_acquire(&self) -> Result<(), WriteError> {
        match self.peer.can_acquire() {
            true => Ok(()),
            false => Err(WriteError::WouldBlock { free: 0 }),
        }
    }

    /// Writes one message, or as much of it as one call is to: asks for the token, waits for it and for room, seals about
    /// `budget` bytes. Call with the same payload and kind of compression until it is sealed; a writer that goes away before
    /// that calls [`abandon`](Self::abandon). `Sealed` means sealed, in order.
    ///
    /// # Errors
    /// As [`WriteError`] says; the message was then not sent.
    #[expect(
        clippy::too_many_arguments,
        reason = "what is lent is lent for the call"
    )]
    pub fn write<O: Output>(
        &mut self,
        now: Instant,
        output: &mut O,
        write: &mut PendingWrite,
        payload: &[&[u8]],
        mut compression: Compression<'_>,
        budget: usize,
        mut cx: Option<&mut Context<'_>>,
    ) -> Result<Progress, WriteError> {
        let subprotocol = write.subprotocol;
        if !write.has_begun() {
            let code = match self
                .peer
                .poll_acquire(subprotocol, write.code, cx.as_deref_mut())
            {
                Poll::Ready(acquired) => acquired?,
                Poll::Pending => return Ok(Progress::Waits),
            };
            match MessageWriter::new(code, payload, compression.reborrow()) {
                Ok(writer) => write.writer = Some(writer),
                Err(_) => {
                    self.peer.give_back(now, subprotocol);
                    return Err(WriteError::TooLarge);
                }
            }
        }
        self.seal(now, output, write, payload, compression, budget, cx)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what is lent is lent for the call"
    )]
    fn seal<O: Output>(
        &mut self,
        now: Instant,
        output: &mut O,
        write: &mut PendingWrite,
        payload: &[&[u8]],
        compression: Compression<'_>,
        budget: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Result<Progress, WriteError> {
        if self.peer.state() == State::Closed {
            let reason = self.peer.close_reason();
            let reason = reason.unwrap_or(CloseReason::WriteAbandoned);
            return Err(WriteError::Closed(reason));
        }
        let (Phase::Live(live), Some(writer)) = (&mut self.phase, &mut write.writer) else {
            return Err(WriteError::NotShared);
        };
        let length = compression.length(payload);
        let (sealed, whole) = writer.seal(
            &mut live.transmit,
            &live.keys,
            output,
            payload,
            compression,
            budget,
        );
        if writer.has_begun() {
            self.peer.begin_write(write.subprotocol);
        }
        self.peer.on_sealed(now, sealed);
        if whole {
            self.peer.complete_write(write.subprotocol);
            return Ok(Progress::Sealed(Written {
                length,
                wire_length: writer.wire_length() as u32,
            }));
        }
        if sealed >= budget {
            return Ok(Progress::Budget);
        }
        self.peer.wait_for_room(cx);
        Ok(Progress::Waits)
    }

    /// Writes one message if that can be done whole and at once.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if another one writes or the output lacks room now, [`WriteError::TooLarge`] if it can never
    /// hold the frame, else as [`write`](Self::write).
    pub fn try_write<O: Output>(
        &mut self,
        now: Instant,
        output: &mut O,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
        mut compression: Compression<'_>,
    ) -> Result<Written, WriteError> {
        self.may_write(subprotocol, code)?;
        self.may_acquire()?;
        let Poll::Ready(wire) = self.peer.poll_acquire(subprotocol, code, None) else {
            return Err(WriteError::WouldBlock { free: 0 });
        };
        let writer = MessageWriter::new(wire?, payload, compression.reborrow())
            .map_err(|_| WriteError::TooLarge)
            .and_then(|writer| output.fits(writer.frame_length()).map(|()| writer));
        let writer = match writer {
            Ok(writer) => writer,
            Err(error) => {
                self.peer.give_back(now, subprotocol);
                return Err(error);
            }
        };
        output.expect(writer.frame_length());
        let mut write = PendingWrite {
            subprotocol,
            code,
            writer: Some(writer),
        };
        match self.seal(
            now,
            output,
            &mut write,
            payload,
            compression,
            usize::MAX,
            None,
        )? {
            Progress::Sealed(written) => Ok(written),
            Progress::Budget | Progress::Waits => {
                debug_assert!(false, "there was room for the frame");
                self.abandon(now, &write);
                Err(WriteError::Closed(CloseReason::WriteAbandoned))
            }
        }
    }

    /// A writer goes away before its write was ready. If not a byte of it is sealed nothing happened; else the session
    /// closes as abandoned, since nothing can follow half a frame.
    pub fn abandon(&mut self, now: Instant, write: &PendingWrite) {
        if write.has_begun() {
            self.peer.give_back(now, write.subprotocol);
        } else {
            self.peer.stop_waiting(now, write.subprotocol);
        }
    }

    /// As [`abandon`](Self::abandon), for a driver that no longer has the write itself.
    pub fn give_back(&mut self, now: Instant, subprotocol: usize) {
        self.peer.give_back(now, subprotocol);
    }
}
