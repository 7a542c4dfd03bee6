//! The session's own progress: deadlines, control messages, the framing's own marks, events, wakes.

use core::task::Waker;

use super::sealer::Sealer;
use super::{Event, FramedSession, Framing, MAX_MARK, Output, Parts, Resources};
use crate::control::{CONTROL_LENGTH, Control};
use crate::time::{Instant, PollAt};

impl<F: Framing + ?Sized, R: Resources, const N: usize> FramedSession<F, R, N> {
    /// Does what is due: deadlines, control messages, what the framing has to say. Returns an event, or `None` when there is
    /// nothing more to do now.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        self.may_resume = false;
        if self.delivery.held().is_some() {
            // Room in an inbox ends the holding back even if no byte comes.
            self.handle_input(now, &mut []);
        }
        self.peer.handle_timeout(now);
        if self.is_closed() {
            match self.framing.delimits_sessions() {
                true => self.sealer.spoil(),
                // The transport is dropped: half a frame may be left as it is.
                false => self.sealer.clear(),
            }
        }
        self.seal(now, |sealer, framing, parts| {
            sealer.fill(framing, parts.output);
        });
        self.seal_mark(now);
        self.seal_control(now);
        // Told even if the end was decided meanwhile: what came in between can be read.
        if self.is_active && !self.was_active {
            self.was_active = true;
            return Some(Event::Active);
        }
        let half_closes = self.peer.wants_half_close();
        self.seal_end(now);
        if half_closes && !self.framing.delimits_sessions() {
            return Some(Event::HalfClose);
        }
        let reason = self.peer.close_reason().filter(|_| self.is_closed())?;
        if core::mem::replace(&mut self.was_closed, true) {
            return None;
        }
        self.abort_message();
        Some(Event::Closed(reason))
    }

    /// Seals something and tells the peer how many bytes that was.
    pub(super) fn seal<T>(
        &mut self,
        now: Instant,
        seal: impl FnOnce(&mut Sealer, &mut F, &mut Parts<'_, R::Inboxes, R::Output>) -> T,
    ) -> T {
        let mut parts = self.resources.parts();
        let before = parts.output.length();
        let result = seal(&mut self.sealer, &mut self.framing, &mut parts);
        let sealed = parts.output.length().saturating_sub(before);
        self.peer.on_sealed(now, sealed);
        result
    }

    /// Whether there is room for what the framing says between two frames, and anything left to say.
    fn can_mark(&self) -> bool {
        !self.ended && !self.sealer.is_inside_frame() && self.resources.output().fits(MAX_MARK)
    }

    /// Says what the framing itself has to say.
    fn seal_mark(&mut self, now: Instant) {
        if self.can_mark() && self.framing.poll_at().is_due(now) {
            self.seal(now, |_, framing, parts| {
                parts.output.push(framing.poll(now).as_bytes());
            });
        }
    }

    /// Whether the remote is to be told that we say nothing more.
    fn wants_end(&self) -> bool {
        let is_said = self.peer.is_said() || self.is_closed();
        is_said && self.framing.delimits_sessions() && self.framing.is_begun() && self.can_mark()
    }

    fn seal_end(&mut self, now: Instant) {
        if self.wants_end() {
            self.ended = true;
            self.seal(now, |_, framing, parts| {
                parts.output.push(framing.end().as_bytes());
            });
        }
    }

    /// Whether a control message waits, and there is room for it.
    fn can_seal_control(&self) -> bool {
        if !self.peer.wants_to_send() || !self.framing.is_begun() || self.sealer.is_inside_frame() {
            return false;
        }
        let output = self.resources.output();
        if self.peer.has_said_hello() {
            return output.fits(self.framing.frame_length(CONTROL_LENGTH));
        }
        // Hello is encoded in place, so its room must be contiguous: it is as soon as the output is empty.
        let length = self.resources.local().hello_length().max(CONTROL_LENGTH);
        let needed = self.framing.frame_length(length);
        output.fits(needed) && output.contiguous() >= needed
    }

    /// Seals the messages of the base protocol that wait, while there is room.
    fn seal_control(&mut self, now: Instant) {
        while self.can_seal_control() {
            let Some(control) = self.peer.poll_control(now) else {
                return;
            };
            self.seal(now, |sealer, framing, parts| {
                seal_message(sealer, framing, parts, control);
            });
        }
    }

    /// When [`poll`](Self::poll) has something to do: `Now` until an event is fetched and what can go out went out.
    pub fn poll_at(&self) -> PollAt {
        let untold = (self.is_active && !self.was_active)
            || (self.is_closed() && !self.was_closed)
            || self.peer.may_half_close();
        let output = self.resources.output();
        let can_fill = self.sealer.can_fill(&self.framing, output);
        if untold || can_fill || self.wants_end() || self.can_seal_control() || self.may_resume {
            return PollAt::Now;
        }
        let mark = match self.can_mark() {
            true => self.framing.poll_at(),
            false => PollAt::Idle,
        };
        self.peer.poll_at().min(mark)
    }

    /// A task to wake. Call until `None`, after every lock is released if the driver has locks.
    pub fn next_wake(&mut self) -> Option<Waker> {
        let output = self.resources.output();
        let room = match self.sealer.has_room(&self.framing, output) {
            true => self.peer.take_room_waiter(),
            false => None,
        };
        let closing = self.peer.is_closing();
        room.or_else(|| self.peer.next_wake())
            .or_else(|| self.resources.next_wake(closing))
    }
}

/// Seals a control message, for which there is room.
fn seal_message<F: Framing + ?Sized, I, O: Output>(
    sealer: &mut Sealer,
    framing: &mut F,
    parts: &mut Parts<'_, I, O>,
    control: Control,
) {
    let Parts { local, output, .. } = parts;
    let mut short = [0; CONTROL_LENGTH];
    let length = match control {
        Control::Hello => local.hello_length(),
        _ => control.encode(local, false, &mut short).unwrap_or(0),
    };
    if !sealer.begin(framing, *output, control.code(), length) {
        return;
    }
    match control {
        // Its length is known to do, so encoding cannot fail.
        Control::Hello => sealer.write(framing, *output, |room| _ = local.encode_hello(room)),
        _ => {
            let payload = short.get(..length).unwrap_or_default();
            sealer.push(framing, *output, payload, length);
        }
    }
    sealer.finish(framing, *output);
}
