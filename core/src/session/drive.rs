//! The session's own progress: handshake steps, deadlines, control messages, events, wakes.

use core::task::Waker;

use super::{Event, Live, Phase, Session};
use crate::config::Local;
use crate::control::{CONTROL_LENGTH, Control};
use crate::error::TransportError;
use crate::lifecycle::State;
use crate::node_id::NodeId;
use crate::ring::Ring;
use crate::rlp;
use crate::rlpx::handshake::Progress;
use crate::rlpx::transmit::{HEADER_LENGTH, frame_length};
use crate::rlpx::wipe_stack;
use crate::time::{Instant, PollAt};

impl<const N: usize> Session<'_, N> {
    /// Does what is due: one step of the handshake, deadlines, control messages. Returns an event, or `None` when there is
    /// nothing more to do now. Work is bounded by one step of the handshake.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        let authenticated = self.step_handshake(now);
        if authenticated.is_some() {
            wipe_stack();
        }
        self.resume_held(now);
        self.peer.handle_timeout(now);
        self.seal_control(now);
        if self.peer.is_closing() && !matches!(self.phase, Phase::Live(_)) {
            // There are no keys to say anything with.
            self.peer.handle_end(now, TransportError::Handshake);
        }
        if let Some(id) = authenticated.filter(|_| !self.peer.is_closing()) {
            return Some(Event::Authenticated(id));
        }
        // Told even if the end was decided meanwhile: what came in between can be read.
        if self.is_active && !self.was_active {
            self.was_active = true;
            return Some(Event::Active);
        }
        if self.peer.wants_half_close() {
            return Some(Event::HalfClose);
        }
        match (self.peer.state(), self.peer.close_reason()) {
            (State::Closed, Some(reason)) if !self.was_closed => {
                self.was_closed = true;
                self.ring.clear();
                if let Phase::Live(live) = &mut self.phase {
                    live.receive.abort(&mut self.inboxes);
                }
                Some(Event::Closed(reason))
            }
            _ => None,
        }
    }

    /// One step of the handshake; the remote's identity when it is done.
    #[inline(never)]
    fn step_handshake(&mut self, now: Instant) -> Option<NodeId> {
        let Phase::Handshake {
            handshake,
            computes,
            gathered,
            wanted,
        } = &mut self.phase
        else {
            return None;
        };
        if !*computes || self.peer.is_closing() {
            return None;
        }
        let received = self.inboxes.scratch().get(..*gathered).unwrap_or_default();
        match handshake.advance(self.key, self.ring.storage(), received) {
            Ok(Progress::Working) => None,
            Ok(Progress::Send(length)) => {
                self.ring.commit(length);
                self.peer.on_sealed(now, length);
                None
            }
            Ok(Progress::Receive(total)) => {
                *wanted = total;
                *computes = *gathered >= total;
                None
            }
            Ok(Progress::Agreed) => self.establish(now),
            Err(_) => self.fail(now),
        }
    }

    /// The end of the handshake. Apart, since what it makes is large and would stand on the stack in every step.
    #[inline(never)]
    fn establish(&mut self, now: Instant) -> Option<NodeId> {
        let Phase::Handshake {
            handshake,
            gathered,
            ..
        } = &mut self.phase
        else {
            return None;
        };
        let received = self.inboxes.scratch().get(..*gathered).unwrap_or_default();
        match handshake.establish(self.ring.storage(), received) {
            Ok(established) => {
                let id = established.remote;
                self.phase = Phase::Authenticated(established);
                Some(id)
            }
            Err(_) => self.fail(now),
        }
    }

    fn fail(&mut self, now: Instant) -> Option<NodeId> {
        self.phase = Phase::Dead;
        self.peer.handle_end(now, TransportError::Handshake);
        None
    }

    /// Whether the ring has room for the control message that wants to go out.
    fn has_room_for_control(&self) -> bool {
        let length = if self.peer.has_said_hello() {
            CONTROL_LENGTH
        } else {
            self.local.hello_length()
        };
        self.ring.free() >= frame_length(1 + length) && (!self.unaligned || self.ring.is_empty())
    }

    fn seal_control(&mut self, now: Instant) {
        while self.peer.wants_to_send() && self.has_room_for_control() {
            let Phase::Live(live) = &mut self.phase else {
                return;
            };
            self.unaligned = false;
            let Some(control) = self.peer.poll_control(now) else {
                return;
            };
            let (code, code_length) = rlp::encode_code(control.code().0);
            let code = code.get(..code_length).unwrap_or_default();
            let before = self.ring.len();
            let sealed = if control == Control::Hello {
                // The ring is empty, so that its room is contiguous.
                seal_hello(live, &mut self.ring, &self.local, code)
            } else {
                let mut payload = [0; CONTROL_LENGTH];
                match control.encode(&self.local, self.peer.compresses(), &mut payload) {
                    Ok(n) => {
                        let payload = payload.get(..n).unwrap_or_default();
                        live.transmit
                            .seal_into(&live.keys, &mut self.ring, code, payload)
                    }
                    Err(_) => false,
                }
            };
            debug_assert!(sealed, "there was room for the control message");
            self.peer.on_sealed(now, self.ring.len() - before);
        }
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub fn poll_at(&self) -> PollAt {
        let computes = matches!(self.phase, Phase::Handshake { computes: true, .. })
            && !self.peer.is_closing();
        let can_send = matches!(self.phase, Phase::Live(_))
            && self.peer.wants_to_send()
            && !self.peer.is_inside_frame()
            && self.has_room_for_control();
        let untold = (self.is_active && !self.was_active)
            || (self.peer.state() == State::Closed && !self.was_closed)
            || (self.peer.state() == State::Closing && !matches!(self.phase, Phase::Live(_)))
            || self.peer.may_half_close();
        if computes || can_send || untold || self.may_resume {
            PollAt::Now
        } else {
            self.peer.poll_at()
        }
    }

    /// A task to wake. Call until `None`, after every lock is released if the driver has locks.
    pub fn next_wake(&mut self) -> Option<Waker> {
        let room = if self.ring.free() >= HEADER_LENGTH {
            self.peer.take_room_waiter()
        } else {
            None
        };
        room.or_else(|| self.peer.next_wake())
            .or_else(|| self.inboxes.next_wake(self.peer.is_closing()))
    }
}

/// Seals our Hello in place, in an empty ring.
fn seal_hello(live: &mut Live, ring: &mut Ring<'_>, local: &Local<'_>, code: &[u8]) -> bool {
    let room = ring.writable();
    let at = HEADER_LENGTH + code.len();
    let Some(length) = room
        .get_mut(at..)
        .and_then(|payload| local.encode_hello(payload).ok())
    else {
        return false;
    };
    let Some(to) = room.get_mut(HEADER_LENGTH..at) else {
        return false;
    };
    to.copy_from_slice(code);
    let body = code.len() + length;
    let Some(frame) = room.get_mut(..frame_length(body)) else {
        return false;
    };
    if !live.transmit.seal(&live.keys, frame, body) {
        return false;
    }
    ring.commit(frame_length(body));
    true
}
