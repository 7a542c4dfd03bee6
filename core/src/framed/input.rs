//! What comes in.

use super::{Decoded, FramedSession, Framing, Resources};
use crate::delivery::Delivery;
use crate::disconnect;
use crate::error::{TransportError, Violation};
use crate::inbox::copy;
use crate::lifecycle::State;
use crate::time::Instant;
use crate::watch::Received;

impl<F: Framing + ?Sized, R: Resources, const N: usize> FramedSession<F, R, N> {
    /// Takes bytes from the transport, which the framing may decrypt in place; returns how many. The rest is to be passed again when
    /// [`wants_input`](Self::wants_input): an inbox is full, or this session is to be [restarted](Self::restart) first.
    pub fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        let (mut taken, mut messages) = (0, 0);
        while !self.restarts && self.open_inbox() {
            let rest = bytes.get_mut(taken..).unwrap_or_default();
            let given = rest.len();
            let (n, decoded) = self.framing.decode(rest);
            taken += n.min(given);
            match decoded {
                None => {
                    taken = bytes.len();
                    break;
                }
                Some(Decoded::Payload(piece)) => {
                    let at = self.gathered;
                    if self.delivery.is_hello() {
                        let (_, hello) = self.resources.hello(self.length);
                        copy(hello.get_mut(at..).unwrap_or_default(), piece);
                    } else if self.delivery.is_disconnect() {
                        copy(self.head.get_mut(at..).unwrap_or_default(), piece);
                    } else {
                        self.delivery.push(self.resources.parts().inboxes, piece);
                    }
                    self.gathered = self.gathered.saturating_add(piece.len());
                }
                Some(Decoded::Begin) => {
                    // One that was ended before it began keeps its cause, and the remote is told.
                    if !self.peer.is_closing() {
                        self.begin(Some(now));
                        messages = 0;
                    }
                }
                // What is still on the line from before belongs to nobody.
                Some(_) if !self.framing.is_begun() => self.abort_message(),
                Some(Decoded::Message { code, length }) => self.begin_message(code, length),
                Some(Decoded::Complete) => {
                    messages += 1;
                    self.finish_message(now);
                }
                Some(Decoded::Damaged) => self.handle_damage(now),
                Some(Decoded::End) => self.handle_end(now, TransportError::EndOfStream),
                Some(Decoded::Restart) => {
                    self.handle_end(now, TransportError::EndOfStream);
                    self.restarts = true;
                }
            }
        }
        let held = self.delivery.held();
        self.peer.on_receive(
            now,
            Received {
                messages,
                partial: self.framing.is_begun() && self.framing.is_inside_frame(),
                held,
            },
        );
        taken
    }

    /// Whether bytes passed to [`handle_input`](Self::handle_input) would be consumed now.
    pub fn wants_input(&self) -> bool {
        !self.restarts && self.delivery.held().is_none()
    }

    /// Whether the message that has begun has an inbox, or needs none.
    fn open_inbox(&mut self) -> bool {
        if self.peer.is_closing() {
            // Nothing that comes now is for an inbox.
            self.abort_message();
        }
        let inboxes = self.resources.parts().inboxes;
        self.delivery.open(inboxes).is_ok()
    }

    fn begin_message(&mut self, code: u64, length: usize) {
        self.abort_message();
        self.delivery = self.peer.begin_message(code, length);
        (self.length, self.gathered) = (length, 0);
        if self.delivery.is_hello() && self.resources.hello(length).1.len() < length {
            self.delivery = Delivery::violation(Violation::HelloTooLarge);
        }
    }

    /// The frame is whole and was verified.
    fn finish_message(&mut self, now: Instant) {
        if self.gathered != self.length {
            // Not what the header stated.
            return self.handle_damage(now);
        }
        let delivery = core::mem::replace(&mut self.delivery, Delivery::ignored());
        if delivery.is_hello() {
            let (local, payload) = self.resources.hello(self.length);
            let payload = payload.get(..self.length).unwrap_or_default();
            self.peer.handle_hello(now, &local, payload);
            self.is_active = self.peer.state() == State::Active;
        }
        let reason = match delivery.is_disconnect() {
            true => disconnect::decode_head(&self.head, self.length),
            false => None,
        };
        let inboxes = self.resources.parts().inboxes;
        self.peer.finish_message(now, delivery, reason, inboxes);
    }

    /// A message may be lost. While closing that is of no interest, and our Disconnect can still go out.
    fn handle_damage(&mut self, now: Instant) {
        self.abort_message();
        if !self.peer.is_closing() {
            self.handle_end(now, TransportError::BadMac);
        }
    }

    /// What is arriving does not arrive whole, or is of no interest.
    pub(super) fn abort_message(&mut self) {
        let delivery = core::mem::replace(&mut self.delivery, Delivery::ignored());
        delivery.abort(self.resources.parts().inboxes);
    }
}
