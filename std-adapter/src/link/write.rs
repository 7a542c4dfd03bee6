//! Writing messages: turn, token, room, then sealing.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use devp2p_core::MAX_MESSAGE_LENGTH;
use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::rlp;
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, frame_length};

use super::burst::Next;
use super::output::OUTPUT_LIMIT;
use super::pieces::LARGE;
use super::{Link, lock};
use crate::block::block_until;
use crate::scratch::{self, Frame};

/// How often a writer writes for others too, before it leaves that to the writer thread.
const DRAIN_ROUNDS: usize = 2;

/// The token is taken before a message of up to so many bytes is compressed: that is done sooner than asked for a second time.
const SMALL: usize = 4 * 1024;

/// What is known of a message before it is composed.
struct Start {
    wire: WireCode,
    compressed: bool,
    /// The token is held, and there is room.
    granted: bool,
}

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
        let turns = self.turns(subprotocol)?;
        let small = length(payload) <= SMALL;
        // Most often nobody else writes: then turn and token are had at once.
        let (turn, start) = match turns.try_take() {
            Some(turn) => (turn, self.start(subprotocol, code, small)?),
            None => {
                self.start(subprotocol, code, false)?;
                let turn = turns.wait(deadline).ok_or(WriteError::TimedOut)?;
                (turn, self.start(subprotocol, code, small)?)
            }
        };
        let (written, next) = scratch::with_frame(|frame| {
            // A large message is compressed before the token is asked for, so that others write meanwhile.
            let (body, written) = compose(frame, &start, payload)?;
            if !start.granted {
                let granted = block_until(deadline, |cx| self.poll_granted(subprotocol, code, cx));
                match granted {
                    Some(granted) => granted?,
                    None => {
                        self.change(|peer, now| peer.give_back(now, subprotocol));
                        return Err(WriteError::TimedOut);
                    }
                }
            }
            let next = self.seal_message(subprotocol, frame, body, deadline.is_none())?;
            Ok((written, next))
        })?;
        drop(turn);
        if deadline.is_some() {
            // Writing to the transport may block for longer than the caller allows.
            self.kick();
        } else {
            if next.watch {
                self.watch_burst();
            }
            if next.drain {
                self.drain(DRAIN_ROUNDS);
            }
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
        let start = self.start(subprotocol, code, false)?;
        let busy = WriteError::WouldBlock { free: 0 };
        let turns = self.turns(subprotocol)?;
        let _turn = turns.try_take().ok_or(busy)?;
        // Before compressing, which may be for nothing.
        self.has_room(1)?;
        scratch::with_frame(|frame| {
            let (body, written) = compose(frame, &start, payload)?;
            self.has_room(frame_length(body))?;
            let granted = self.change(|peer, _| match peer.can_acquire() || peer.is_closing() {
                true => peer.poll_acquire(subprotocol, code, None),
                false => Poll::Pending,
            });
            let Poll::Ready(granted) = granted else {
                return Err(busy);
            };
            granted?;
            self.seal_message(subprotocol, frame, body, false)?;
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

    /// Looks whether the message can be sent, and takes the token for a `small` one if that is free and there is room.
    fn start(&self, subprotocol: usize, code: LocalCode, small: bool) -> Result<Start, WriteError> {
        let mut peer = self.lock_peer();
        if let Some(reason) = peer.close_reason() {
            return Err(WriteError::Closed(reason));
        }
        let Some(wire) = peer.shared().wire_code(subprotocol, code) else {
            return Err(match peer.shared().is_shared(subprotocol) {
                true => WriteError::InvalidCode,
                false => WriteError::NotShared,
            });
        };
        let granted = small
            && peer.can_acquire()
            && !self.full.load(Ordering::Acquire)
            && peer.poll_acquire(subprotocol, code, None).is_ready();
        Ok(Start {
            wire,
            // Not `compresses`: our Hello may still wait to be sent, but it goes before any message.
            compressed: peer.decompresses(),
            granted,
        })
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
        frame: &mut Frame,
        body: usize,
        may_gather: bool,
    ) -> Result<Next, WriteError> {
        let mut sealer = lock(&self.sealer);
        let ready = sealer.as_mut().filter(|sealer| !sealer.finished);
        let Some(ready) = ready else {
            drop(sealer);
            self.change(|peer, now| peer.give_back(now, subprotocol));
            let reason = self.close_reason().unwrap_or(CloseReason::WriteAbandoned);
            return Err(WriteError::Closed(reason));
        };
        let frame = frame.room(frame_length(body));
        let (mut peer, next) = match may_gather && frame_length(body) >= LARGE {
            true => self.seal_pieces(ready, frame, body),
            false => self.seal_frame(ready, frame, body, may_gather),
        };
        drop(sealer);
        peer.complete_write(subprotocol);
        self.settle(peer);
        Ok(next)
    }
}

fn length(payload: &[&[u8]]) -> usize {
    payload
        .iter()
        .fold(0, |sum: usize, slice| sum.saturating_add(slice.len()))
}

/// Puts code and payload into `frame`, after room for the header; returns the bytes of the body.
fn compose(
    frame: &mut Frame,
    start: &Start,
    payload: &[&[u8]],
) -> Result<(usize, Written), WriteError> {
    let length = length(payload);
    if length > MAX_MESSAGE_LENGTH as usize {
        return Err(WriteError::TooLarge);
    }
    let (code, code_length) = rlp::encode_code(start.wire.0);
    let from = HEADER_LENGTH + code_length;
    let wire_length = if start.compressed {
        scratch::compress(payload, frame, from)
    } else {
        let mut room = &mut frame.room(from + length)[from..];
        for slice in payload {
            let (to, rest) = room.split_at_mut(slice.len());
            to.copy_from_slice(slice);
            room = rest;
        }
        length
    };
    let body = code_length + wire_length;
    if body > MAX_MESSAGE_LENGTH as usize {
        return Err(WriteError::TooLarge);
    }
    // What lies between the parts of an earlier frame is overwritten: the header by the seal, the padding too.
    let frame = frame.room(frame_length(body));
    frame[HEADER_LENGTH..from].copy_from_slice(&code[..code_length]);
    Ok((
        body,
        Written {
            length: length as u32,
            wire_length: wire_length as u32,
        },
    ))
}
