//! The session's own progress: handshake steps, deadlines, control messages, events.

use super::Event;
use super::buffers::Buffers;
use super::connection::{Activity, Connection, Phase};
use crate::config::Local;
use crate::control::CONTROL_LENGTH;
use crate::error::TransportError;
use crate::lifecycle::State;
use crate::node_id::NodeId;
use crate::output::{Output, Room};
use crate::rlpx::handshake::Progress;
use crate::rlpx::transmit::frame_length;
use crate::rlpx::{NodeKey, Sponge, wipe_stack};
use crate::time::{Instant, PollAt};

impl<Slot, const N: usize, S: Sponge> Connection<Slot, N, S> {
    /// Does what is due: one step of the handshake, deadlines, control messages. Returns an event, or `None` when there is
    /// nothing more to do now. Work is bounded by one step of the handshake, which is at most one point multiplication.
    pub fn poll<B: Buffers<Slot = Slot>>(
        &mut self,
        now: Instant,
        key: &NodeKey,
        local: &Local<'_>,
        buffers: &mut B,
    ) -> Option<Event> {
        let authenticated = self.step_handshake(now, key, buffers);
        if authenticated.is_some() {
            wipe_stack();
        }
        self.resume_held(now, buffers);
        self.peer.handle_timeout(now);
        if self.peer.is_closing()
            && let Phase::Live(live) = &mut self.phase
        {
            // Its memory is of use to others.
            live.receive.abort(buffers.inboxes());
        }
        self.seal_control(now, local, buffers.output());
        if self.peer.is_closing() && !self.can_send() {
            // There is nothing to say a Disconnect with, so nothing to wait for.
            self.peer.handle_end(now, TransportError::Handshake);
        }
        if let Some(id) = authenticated.filter(|_| !self.peer.is_closing()) {
            return Some(Event::Authenticated(id));
        }
        // Told even if the end was decided meanwhile: what came in between can be read.
        if self.activity == Activity::Untold {
            self.activity = Activity::Told;
            return Some(Event::Active);
        }
        if self.peer.wants_half_close() {
            return Some(Event::HalfClose);
        }
        match (self.peer.state(), self.peer.close_reason()) {
            (State::Closed, Some(reason)) if !self.was_closed => {
                self.was_closed = true;
                buffers.output().clear();
                Some(Event::Closed(reason))
            }
            _ => None,
        }
    }

    /// One step of the handshake; the remote's identity when it is done.
    #[inline(never)]
    fn step_handshake<B: Buffers<Slot = Slot>>(
        &mut self,
        now: Instant,
        key: &NodeKey,
        buffers: &mut B,
    ) -> Option<NodeId> {
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
        let (sent, received) = buffers.handshake();
        let received = received.get(..*gathered).unwrap_or_default();
        match handshake.advance(key, sent, received) {
            Ok(Progress::Working) => None,
            Ok(Progress::Send(length)) => {
                buffers.send_packet(length);
                self.peer.on_sealed(now, length);
                None
            }
            Ok(Progress::Receive(total)) => {
                *wanted = total;
                *computes = *gathered >= total;
                None
            }
            Ok(Progress::Agreed) => self.establish(now, buffers),
            Err(_) => self.fail(now),
        }
    }

    /// The end of the handshake. Apart, since what it makes is large and would stand on the stack in every step.
    #[inline(never)]
    fn establish<B: Buffers<Slot = Slot>>(
        &mut self,
        now: Instant,
        buffers: &mut B,
    ) -> Option<NodeId> {
        let Phase::Handshake {
            handshake,
            gathered,
            ..
        } = &mut self.phase
        else {
            return None;
        };
        let (sent, received) = buffers.handshake();
        let received = received.get(..*gathered).unwrap_or_default();
        match handshake.establish(sent, received) {
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

    /// Whether a control message wants to go out, and there is room for it. For the last one storage that grows always has
    /// room; for others it does not, lest a remote that asks and does not read make it grow.
    fn may_seal_control<R: Room>(&self, local: &Local<'_>, output: &R) -> bool {
        if !self.peer.wants_to_send() {
            return false;
        }
        let length = if self.peer.has_said_hello() {
            CONTROL_LENGTH
        } else if self.defers_hello && !self.peer.is_closing() {
            return false;
        } else {
            local.hello_length()
        };
        let contiguous = R::GROWS || self.peer.has_said_hello() || output.is_empty();
        contiguous && output.fits(frame_length(1 + length)).is_ok()
            || R::GROWS && self.peer.is_closing()
    }

    pub(super) fn seal_control<O: Output>(
        &mut self,
        now: Instant,
        local: &Local<'_>,
        output: &mut O,
    ) {
        while !self.is_cut && self.may_seal_control(local, output) {
            let Phase::Live(live) = &mut self.phase else {
                return;
            };
            let Some(control) = self.peer.poll_control(now) else {
                return;
            };
            let compressed = self.peer.compresses();
            let sealed = live
                .transmit
                .seal_control(&live.keys, output, local, control, compressed);
            debug_assert!(sealed > 0, "there was room for the control message");
            self.peer.on_sealed(now, sealed);
        }
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub fn poll_at<R: Room>(&self, local: &Local<'_>, output: &R) -> PollAt {
        let computes = matches!(self.phase, Phase::Handshake { computes: true, .. })
            && !self.peer.is_closing();
        let can_send = self.can_send();
        let sends =
            can_send && !self.peer.is_inside_frame() && self.may_seal_control(local, output);
        let untold = self.activity == Activity::Untold
            || (self.peer.state() == State::Closed && !self.was_closed)
            || (self.peer.state() == State::Closing && !can_send)
            || self.peer.may_half_close();
        if computes || sends || untold || self.may_resume {
            PollAt::Now
        } else {
            self.peer.poll_at()
        }
    }
}
