//! Writing messages: turn, token, room, then sealing.

use std::task::{Context, Poll};
use std::time::Instant;

use devp2p_core::MAX_MESSAGE_LENGTH;
use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::peer::Peer;
use devp2p_core::rlp;
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, frame_length};

use super::output::OUTPUT_LIMIT;
use super::{Link, lock};
use crate::block::block_until;
use crate::scratch;

/// How often a writer writes for others too, before it leaves that to the writer thread.
const DRAIN_ROUNDS: usize = 2;

/// What a write put on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) length: u32,
    pub(crate) wire_length: u32,
}

impl Link {
    /// Writes one message; `deadline` limits the wait for turn, token and room, not the sealing.
    pub(crate) fn write(
        &self,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
        deadline: Option<Instant>,
    ) -> Result<Written, WriteError> {
        let wire = self.check(subprotocol, code)?;
        let turns = self.turns(subprotocol)?;
        let turn = turns.wait(deadline).ok_or(WriteError::TimedOut)?;
        let written = scratch::with_frame(|frame| {
            // Compressed before the token is asked for, so that others write meanwhile.
            let (body, written) = self.compose(frame, wire, payload)?;
            let granted = block_until(deadline, |cx| self.poll_granted(subprotocol, code, cx));
            match granted {
                Some(granted) => granted?,
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
        // Before compressing, which may be for nothing.
        self.has_room(1)?;
        scratch::with_frame(|frame| {
            let (body, written) = self.compose(frame, wire, payload)?;
            self.has_room(frame_length(body))?;
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

    /// Waits until the transport took everything sealed so far.
    pub(crate) fn flush(&self) -> Result<(), CloseReason> {
        let sealed = lock(&self.output).sealed;
        self.drain(DRAIN_ROUNDS);
        self.progress.wait_taken(sealed)
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
        let length = payload
            .iter()
            .fold(0, |sum: usize, slice| sum.saturating_add(slice.len()));
        if length > MAX_MESSAGE_LENGTH as usize {
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
        if body > MAX_MESSAGE_LENGTH as usize {
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

    /// Ready when the token is held and the output takes one more frame; only the holder of the token waits for room.
    fn poll_granted(
        &self,
        subprotocol: usize,
        code: LocalCode,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WriteError>> {
        let granted = self
            .lock_peer()
            .poll_acquire(subprotocol, code, Some(&mut *cx));
        match granted {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let output = lock(&self.output);
        if output.bytes.len() < OUTPUT_LIMIT {
            return Poll::Ready(Ok(()));
        }
        // Under the output's lock: whoever takes the bytes finds the waiter.
        let mut peer = self.lock_peer();
        if let Some(reason) = peer.close_reason() {
            return Poll::Ready(Err(WriteError::Closed(reason)));
        }
        peer.wait_for_room(Some(cx));
        drop(peer);
        drop(output);
        self.kick();
        Poll::Pending
    }

    /// Whether the output takes a frame of `length` bytes now.
    fn has_room(&self, length: usize) -> Result<(), WriteError> {
        let waiting = lock(&self.output).bytes.len();
        if waiting > 0 && waiting.saturating_add(length) > OUTPUT_LIMIT {
            return Err(WriteError::WouldBlock {
                free: OUTPUT_LIMIT.saturating_sub(waiting),
            });
        }
        Ok(())
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
}
