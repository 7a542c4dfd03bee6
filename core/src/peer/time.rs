//! Deadlines, and the tasks to wake.

use core::task::{Context, Poll, Waker};

use super::Peer;
use crate::error::CloseReason;
use crate::inbox::Hold;
use crate::lifecycle::State;
use crate::time::{Instant, PollAt};
use crate::waiter::Waiter;
use crate::watch::Late;

impl<const N: usize> Peer<N> {
    /// Asks for a Ping now rather than at the next interval.
    pub fn request_ping(&mut self) {
        self.ping.request();
    }

    /// Lets time pass: sends what is due, closes what is late.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.lifecycle.handle_timeout(now) {
            self.close(now, CloseReason::HandshakeTimeout);
        }
        if self.is_closing() {
            return;
        }
        if self
            .transmit
            .deadline(self.config.write_timeout)
            .is_some_and(|at| at <= now)
        {
            return self.close(now, CloseReason::WriteTimeout);
        }
        if self.receive_deadline() <= now
            && let Some(late) = self.receive.late()
        {
            let cause = match late {
                Late::Message => CloseReason::ReadTimeout,
                Late::Held(Hold::Inbox(subprotocol)) => CloseReason::Stalled { subprotocol },
                Late::Held(Hold::Memory) => CloseReason::MemoryFull,
            };
            return self.close(now, cause);
        }
        if self.ping.handle_timeout(now) {
            self.close(now, CloseReason::PingTimeout);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. A control message that waits to be sent is not
    /// time: [`wants_to_send`](Self::wants_to_send) tells of it.
    pub fn poll_at(&self) -> PollAt {
        match self.next_deadline() {
            Instant::MAX => PollAt::Idle,
            at => PollAt::At(at),
        }
    }

    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn next_deadline(&self) -> Instant {
        let config = &self.config;
        let at = self.lifecycle.deadline();
        if self.is_closing() {
            return at;
        }
        let transmit = self.transmit.deadline(config.write_timeout);
        at.min(self.ping.deadline())
            .min(self.receive_deadline())
            .min(transmit.unwrap_or(Instant::MAX))
    }

    fn receive_deadline(&self) -> Instant {
        // A reader may wait for the wire to take what it writes: then only the wire is late.
        if self.transmit.is_waiting() && matches!(self.receive.held(), Some(Hold::Inbox(_))) {
            return Instant::MAX;
        }
        self.receive.deadline(&self.config)
    }

    /// What the receiver waits for, if for anything.
    pub fn held(&self) -> Option<Hold> {
        self.receive.held()
    }

    /// Whether it has waited for shared memory as long as it may: [`handle_timeout`](Self::handle_timeout) closes it for
    /// [`CloseReason::MemoryFull`], unless the driver has another session go instead.
    pub fn is_starved(&self, now: Instant) -> bool {
        self.receive.held() == Some(Hold::Memory) && self.receive_deadline() <= now
    }

    /// Begins the wait for shared memory anew: another session was told to go.
    pub fn restart_memory_wait(&mut self, now: Instant) {
        if self.receive.held() == Some(Hold::Memory) {
            self.receive.restart_wait(now);
        }
    }

    /// A task to wake, now that what it waits for has happened. Call until `None`, after every lock is released if the
    /// driver has locks.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn next_wake(&mut self) -> Option<Waker> {
        if self.is_closing() {
            return self
                .token
                .retire()
                .or_else(|| self.take_released_room_waiter())
                .or_else(|| self.next_closing_wake());
        }
        if self.state() == State::Active
            && !self.wants_to_send()
            && let Some(waker) = self.token.grant()
        {
            return Some(waker);
        }
        self.next_flush_wake(self.transmit.pending() == 0)
    }

    /// Who waits for room has nothing to wait for: unless it is to complete the frame that it began.
    fn take_released_room_waiter(&mut self) -> Option<Waker> {
        let released = self.state() == State::Closed || !self.is_inside_frame();
        released.then(|| self.room_waiter.take()).flatten()
    }

    fn next_closing_wake(&mut self) -> Option<Waker> {
        let closed = self.state() == State::Closed;
        let waker = if closed {
            self.closed_waiter.take()
        } else {
            None
        };
        waker.or_else(|| self.next_flush_wake(closed || self.transmit.pending() == 0))
    }

    fn next_flush_wake(&mut self, ready: bool) -> Option<Waker> {
        if !ready {
            return None;
        }
        while self.flushing != 0 {
            let first = self.flushing.trailing_zeros() as usize;
            self.flushing &= self.flushing - 1;
            let woken = self.flush_waiters.get_mut(first).and_then(Waiter::take);
            if woken.is_some() {
                return woken;
            }
        }
        None
    }

    /// The task that waits for room in the transmit ring, to be woken after bytes were taken.
    pub fn take_room_waiter(&mut self) -> Option<Waker> {
        self.room_waiter.take()
    }

    /// Ready with the cause once the session is closed.
    pub fn poll_closed(&mut self, cx: Option<&mut Context<'_>>) -> Poll<CloseReason> {
        match (self.state(), self.close_reason()) {
            (State::Closed, Some(reason)) => Poll::Ready(reason),
            _ => {
                self.closed_waiter.register(cx);
                Poll::Pending
            }
        }
    }
}
