//! Writing messages of subprotocols: the token, then sealing into the output.

use core::task::{Context, Poll, ready};

use super::{Fixed, FramedSession, Framing, Output, Resources};
use crate::code::LocalCode;
use crate::error::{CloseReason, WriteError};
use crate::time::Instant;

/// A write in progress. Dropping it without [`FramedSession::abandon`] leaves the token with it.
#[derive(Debug)]
pub struct PendingWrite {
    subprotocol: usize,
    code: LocalCode,
    /// Bytes of payload, once the header is sealed.
    begun: Option<usize>,
}

impl PendingWrite {
    /// A message `code` of `subprotocol`, of which nothing is sealed.
    pub const fn new(subprotocol: usize, code: LocalCode) -> Self {
        Self {
            subprotocol,
            code,
            begun: None,
        }
    }
}

impl<F: Framing + ?Sized, R: Resources, const N: usize> FramedSession<F, R, N> {
    /// Writes one message: asks for the token, waits for it and for room in the output, seals. Call with the same payload
    /// until ready; a writer that goes away before that calls [`abandon`](Self::abandon). `Ok` means sealed, in order.
    ///
    /// # Errors
    /// As [`WriteError`] says; the message was then not sent.
    pub fn poll_write(
        &mut self,
        now: Instant,
        write: &mut PendingWrite,
        payload: &[&[u8]],
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), WriteError>> {
        ready!(self.begin_write(now, write, total(payload), cx.as_deref_mut()))?;
        self.seal(now, |sealer, framing, parts| {
            let mut sealed = total(payload).saturating_sub(sealer.left());
            for slice in payload {
                let rest = slice.get(sealed.min(slice.len())..).unwrap_or_default();
                sealed = sealed.saturating_sub(slice.len());
                let free = parts.output.free();
                sealer.push(framing, parts.output, rest, free);
            }
        });
        self.end_write(now, write, cx)
    }

    /// Gets the token and seals the header, once there is room for both.
    fn begin_write(
        &mut self,
        now: Instant,
        write: &mut PendingWrite,
        length: usize,
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), WriteError>> {
        if write.begun.is_some() {
            return Poll::Ready(match self.sealer.is_inside_frame() && !self.is_closed() {
                true => Ok(()),
                false => Err(WriteError::Closed(self.cause())),
            });
        }
        let acquired = self
            .peer
            .poll_acquire(write.subprotocol, write.code, cx.as_deref_mut());
        let code = ready!(acquired)?;
        let output = self.resources.output();
        if self.sealer.is_inside_frame() || !self.sealer.has_room(&self.framing, output) {
            self.peer.wait_for_room(cx);
            return Poll::Pending;
        }
        let begun = self.seal(now, |sealer, framing, parts| {
            sealer.begin(framing, parts.output, code, length)
        });
        if !begun {
            self.peer.give_back(now, write.subprotocol);
            return Poll::Ready(Err(WriteError::TooLarge));
        }
        self.peer.begin_write(write.subprotocol);
        write.begun = Some(length);
        Poll::Ready(Ok(()))
    }

    /// Seals the trailer, if the payload is complete and there is room for it.
    fn end_write(
        &mut self,
        now: Instant,
        write: &PendingWrite,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), WriteError>> {
        let output = self.resources.output();
        if self.sealer.left() > 0 || !self.sealer.has_room(&self.framing, output) {
            self.peer.wait_for_room(cx);
            return Poll::Pending;
        }
        self.seal(now, |sealer, framing, parts| {
            sealer.finish(framing, parts.output);
        });
        self.peer.complete_write(write.subprotocol);
        Poll::Ready(Ok(()))
    }

    /// Writes one message if that can be done whole and at once.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if another one writes or the output lacks room now, [`WriteError::TooLarge`] if the output
    /// or a frame can never hold it, else as [`poll_write`](Self::poll_write).
    pub fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
    ) -> Result<(), WriteError> {
        let owns_code = self.peer.shared().wire_code(subprotocol, code).is_some();
        if !self.peer.is_closing() && owns_code && !self.peer.can_acquire() {
            return Err(WriteError::WouldBlock { free: 0 });
        }
        let Poll::Ready(wire) = self.peer.poll_acquire(subprotocol, code, None) else {
            return Err(WriteError::WouldBlock { free: 0 });
        };
        let wire = wire?;
        let length = total(payload);
        let frame = self.framing.frame_length(length);
        let output = self.resources.output();
        let free = output.free();
        let sealed = if !output.can_fit(frame) {
            Err(WriteError::TooLarge)
        } else if !output.fits(frame) {
            Err(WriteError::WouldBlock { free })
        } else {
            self.seal(now, |sealer, framing, parts| {
                if !sealer.begin(framing, parts.output, wire, length) {
                    return Err(WriteError::TooLarge);
                }
                for slice in payload {
                    sealer.push(framing, parts.output, slice, slice.len());
                }
                sealer.finish(framing, parts.output);
                Ok(())
            })
        };
        match sealed {
            Ok(()) => {
                self.peer.begin_write(subprotocol);
                self.peer.complete_write(subprotocol);
            }
            Err(_) => self.peer.give_back(now, subprotocol),
        }
        sealed
    }

    /// A writer goes away before its write was ready. If not a byte of it is sealed nothing happened; else the session
    /// closes as abandoned, since nothing can follow half a frame.
    pub fn abandon(&mut self, now: Instant, write: &PendingWrite) {
        match write.begun {
            Some(_) => self.peer.give_back(now, write.subprotocol),
            None => self.peer.stop_waiting(now, write.subprotocol),
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

    fn cause(&self) -> CloseReason {
        let cause = self.peer.close_reason();
        cause.unwrap_or(CloseReason::WriteAbandoned)
    }
}

impl<F: Framing + ?Sized, const N: usize> FramedSession<F, Fixed<'_, N>, N> {
    /// Sends the first message that waits for the write's subprotocol as the message of `write`, and removes it: from the
    /// inbox to the wire, piece by piece, whatever its size. Ready with false if none waits, or one that was too large. Call
    /// until ready, as [`poll_write`](Self::poll_write); do not read from that inbox meanwhile.
    ///
    /// # Errors
    /// As [`poll_write`](Self::poll_write); the message still waits.
    pub fn poll_reply(
        &mut self,
        now: Instant,
        write: &mut PendingWrite,
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<bool, WriteError>> {
        let subprotocol = write.subprotocol;
        let Some(payload) = self.peek(subprotocol).and_then(|message| message.payload) else {
            return Poll::Ready(Ok(false));
        };
        let length = payload.len();
        ready!(self.begin_write(now, write, length, cx.as_deref_mut()))?;
        self.seal(now, |sealer, framing, parts| {
            let payload = parts.inboxes.peek(subprotocol).and_then(|m| m.payload);
            let sealed = length.saturating_sub(sealer.left());
            let rest = payload.and_then(|payload| payload.get(sealed..));
            let free = parts.output.free();
            sealer.push(framing, parts.output, rest.unwrap_or_default(), free);
        });
        ready!(self.end_write(now, write, cx))?;
        self.pop(subprotocol);
        Poll::Ready(Ok(true))
    }
}

fn total(payload: &[&[u8]]) -> usize {
    let lengths = payload.iter().map(|slice| slice.len());
    lengths.fold(0, usize::saturating_add)
}
