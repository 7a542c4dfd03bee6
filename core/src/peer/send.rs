//! What goes out: control messages, the write token, and the bytes that wait for the wire.

use core::task::{Context, Poll};

use super::Peer;
use crate::SNAPPY_VERSION;
use crate::code::{LocalCode, WireCode};
use crate::control::Control;
use crate::error::{CloseReason, WriteError};
use crate::fmt::trace;
use crate::lifecycle::State;
use crate::time::Instant;
use crate::waiter::poll_take;
use crate::write_token::GivenBack;

impl<const N: usize> Peer<N> {
    /// The control message to send now. Ask whenever no frame is half written, until `None`.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn poll_control(&mut self, now: Instant) -> Option<Control> {
        let control = self.next_control(now);
        if let Some(control) = control {
            trace!("sending {:?}", control);
        }
        control
    }

    fn next_control(&mut self, now: Instant) -> Option<Control> {
        if self.token.is_inside_frame() {
            return None;
        }
        // A remote whose Hello was read learns who turns it away; before that, Disconnect takes the place of Hello.
        if self.lifecycle.wants_to_send() && !self.hello_sent && self.remote.is_some() {
            self.hello_sent = true;
            return Some(Control::Hello);
        }
        if let Some(reason) = self.lifecycle.take_disconnect() {
            return Some(Control::Disconnect(reason));
        }
        match self.state() {
            State::AwaitingHello | State::Active if !self.hello_sent => {
                self.hello_sent = true;
                Some(Control::Hello)
            }
            State::Active if self.ping.take_pong() => Some(Control::Pong),
            State::Active if self.ping.take_ping(now) => Some(Control::Ping),
            _ => None,
        }
    }

    /// Whether [`poll_control`](Self::poll_control) has something to send, now or after the frame in progress.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn wants_to_send(&self) -> bool {
        match self.state() {
            State::AwaitingHello => !self.hello_sent,
            State::Active => !self.hello_sent || self.ping.wants_to_send(),
            State::Closing => self.lifecycle.wants_to_send(),
            State::Closed => false,
        }
    }

    /// Whether what we send now is compressed: everything after our Hello, unless one side speaks a version without Snappy.
    pub fn compresses(&self) -> bool {
        self.hello_sent && self.decompresses()
    }

    /// Whether what comes in after the remote's Hello is compressed.
    pub fn decompresses(&self) -> bool {
        cfg!(feature = "snappy")
            && self.local_version >= SNAPPY_VERSION
            && self.remote_version >= SNAPPY_VERSION
    }

    /// Asks for the write token for a message `code` of `subprotocol`, and gives the code to put on the wire once it is
    /// granted. Then call [`begin_write`](Self::begin_write) and [`complete_write`](Self::complete_write); a writer that
    /// goes away calls [`give_back`](Self::give_back).
    ///
    /// # Errors
    /// [`WriteError::Closed`], [`WriteError::NotShared`] or [`WriteError::InvalidCode`]; the token is then not held.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn poll_acquire(
        &mut self,
        subprotocol: usize,
        code: LocalCode,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<WireCode, WriteError>> {
        if let Some(reason) = self.close_reason() {
            return Poll::Ready(Err(WriteError::Closed(reason)));
        }
        let Some(wire) = self.shared.wire_code(subprotocol, code) else {
            let shared = self.shared.is_shared(subprotocol);
            return Poll::Ready(Err(if shared {
                WriteError::InvalidCode
            } else {
                WriteError::NotShared
            }));
        };
        let lane_is_free = self.state() == State::Active && !self.wants_to_send();
        match self.token.poll_acquire(subprotocol, lane_is_free, cx) {
            Some(Poll::Ready(())) => Poll::Ready(Ok(wire)),
            Some(Poll::Pending) => Poll::Pending,
            None => Poll::Ready(Err(WriteError::NotShared)),
        }
    }

    /// Whether `subprotocol` could have the token at once, without waiting or overtaking anyone.
    pub fn can_acquire(&self) -> bool {
        self.state() == State::Active && !self.wants_to_send() && self.token.is_free()
    }

    /// The holder seals its first byte: from here on the frame must be completed.
    pub fn begin_write(&mut self, subprotocol: usize) {
        self.token.begin(subprotocol);
        self.transmit.set_inside_frame(self.is_inside_frame());
    }

    /// The holder's frame is sealed whole: the next writer goes on.
    pub fn complete_write(&mut self, subprotocol: usize) {
        self.token.complete(subprotocol);
        self.transmit.set_inside_frame(self.is_inside_frame());
    }

    /// A writer went away: it waits no more, and the token it may hold is free, unless a part of its frame is sealed. Then
    /// nothing can follow on the wire, and the session closes as abandoned.
    pub fn give_back(&mut self, now: Instant, subprotocol: usize) {
        if self.token.give_back(subprotocol) == GivenBack::InsideFrame {
            self.close(now, CloseReason::WriteAbandoned);
            self.lifecycle.finish();
        }
    }

    /// A writer went away that had sealed nothing, while another one of its subprotocol may be writing.
    pub fn stop_waiting(&mut self, now: Instant, subprotocol: usize) {
        if self.token.is_writing(subprotocol) {
            self.token.stop_waiting(subprotocol);
        } else {
            self.give_back(now, subprotocol);
        }
    }

    /// The holder waits for room in the transmit ring.
    pub fn wait_for_room(&mut self, cx: Option<&mut Context<'_>>) {
        self.room_waiter.register(cx);
    }

    /// `bytes` were sealed and wait for the wire.
    pub fn on_sealed(&mut self, now: Instant, bytes: usize) {
        self.transmit.on_sealed(now, bytes);
    }

    /// The wire took `bytes`.
    pub fn on_taken(&mut self, now: Instant, bytes: usize) {
        self.transmit.on_taken(now, bytes);
        if bytes > 0 {
            self.receive.on_taken(now, &self.config);
        }
    }

    /// Ready once the wire took everything that was sealed.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn poll_flush(
        &mut self,
        subprotocol: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>> {
        let Some(waiter) = self.flush_waiters.get_mut(subprotocol) else {
            return Poll::Ready(Ok(()));
        };
        let closed = self
            .lifecycle
            .close_reason()
            .filter(|_| self.lifecycle.state() == State::Closed);
        let done = poll_take(
            (self.transmit.pending() == 0).then_some(()),
            closed,
            waiter,
            cx,
        );
        if done.is_pending() {
            self.flushing |= 1 << subprotocol;
        }
        done
    }

    /// Whether everything is said and taken by the wire, so that the sending direction should end now. True once.
    pub fn wants_half_close(&mut self) -> bool {
        let wants = self.may_half_close();
        self.half_closed |= wants;
        if wants && self.input_ended {
            self.lifecycle.finish();
        }
        wants
    }

    /// Whether [`wants_half_close`](Self::wants_half_close) would answer true.
    pub fn may_half_close(&self) -> bool {
        self.state() == State::Closing
            && !self.half_closed
            && !self.lifecycle.wants_to_send()
            && self.transmit.pending() == 0
    }

    /// Whether [`wants_half_close`](Self::wants_half_close) has answered true.
    pub fn is_said(&self) -> bool {
        self.half_closed
    }

    /// Whether our Hello was handed out.
    pub fn has_said_hello(&self) -> bool {
        self.hello_sent
    }
}
