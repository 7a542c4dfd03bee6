//! Who reads from the transport: the thread that waits for a message, or the background thread.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time;

use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::time::Instant;

use super::half::{Filled, SLICE};
use super::{Blocking, Env, Guard, Machine, ReadHalf, State};
use crate::busy_poll::BusyPoll;
use crate::sync;
use crate::time::to_core_duration;

/// How long the background thread stays without work: longer than pauses that are part of a conversation.
const LINGER: time::Duration = time::Duration::from_millis(100);

/// A thread that waits for a message first writes what waits, if that is not more; else the writer thread does.
const FLUSHED_BY_READER: usize = 16 * 1024;

/// What follows once the session has ended: is told whether reading panicked, and of the thread that calls it.
pub(crate) type AtEnd =
    Box<dyn FnOnce(std::thread::Result<()>, Option<std::thread::JoinHandle<()>>) + Send>;

impl<M: Machine, E: Env> Blocking<M, E> {
    /// One round of the thread that opens the session: writes what waits, reads once, and handles what came. Returns why the
    /// session is closed, once it is.
    pub(crate) fn open(&self, half: &mut ReadHalf) -> Option<CloseReason> {
        let mut state = self.flush(self.lock().relock(), usize::MAX).relock();
        if state.closed.is_none() && state.input_ended {
            state.opener_writes = false;
            state = state.wait_for_progress(None);
        }
        if state.closed.is_some() || !state.wants_read() {
            return state.closed;
        }
        state.opener_writes = false;
        drop(state);
        let filled = half.fill();
        let mut state = self.lock();
        state.opener_writes = true;
        if let Filled::End(error) = filled {
            state.on_input_end(self.env.now(), error);
        }
        while state.handle(half, self.env.now()) {}
        state = state.relock();
        state.closed
    }

    /// The session is active: from here on whoever waits for a message reads, or the background thread.
    pub(crate) fn begin_reading(&self, mut half: Box<ReadHalf>) {
        let can_slice = half.slice(true);
        let mut state = self.lock();
        state.can_slice = can_slice;
        state.opener_writes = false;
        state.read = Some(half);
        state.changed = true;
        state.resume(self.env.now());
    }

    /// The next message of a subprotocol, or why there is none; `None` at `deadline`.
    pub(crate) fn next(
        &self,
        subprotocol: usize,
        deadline: Option<time::Instant>,
        busy_poll: &mut BusyPoll,
    ) -> Option<Result<M::Message, CloseReason>> {
        let bit = 1 << subprotocol;
        let mut state = self.lock();
        let mut is_first = true;
        let mut poll = None;
        let (mut passed_on, mut gave_up) = (false, false);
        loop {
            if let Some(message) = state.pop(subprotocol, self.env.now()) {
                return Some(Ok(message));
            }
            if let Some(reason) = state.machine.close_reason() {
                return Some(Err(reason));
            }
            let left = deadline.map(|at| at.saturating_duration_since(time::Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            if is_first {
                is_first = false;
                let for_reply = state.wrote & bit != 0
                    && (deadline.is_none() || busy_poll.limit() <= to_core_duration(SLICE));
                state.wrote &= !bit;
                poll = busy_poll.begin(for_reply).then_some(&mut *busy_poll);
                // What was written goes out before the remote is waited for; by the writer thread if this one may not block.
                state.cork.on_wait();
                // Much may be another subprotocol's, which the remote need not take before it answers.
                if deadline.is_none() && state.machine.output().len() <= FLUSHED_BY_READER {
                    state = self.flush(state, 1);
                    continue;
                }
            }
            // A read of the transport could outlast a shorter wait.
            let would_read = !gave_up && left.is_none_or(|left| left > SLICE * 2);
            if would_read
                && state.can_slice
                && !passed_on
                && let Some(half) = state.take_read_half()
            {
                drop(state);
                let filled;
                (state, filled, passed_on) = self.read_once(half, deadline.is_some(), poll.take());
                if filled == Filled::Nothing {
                    // Retaking the half would only add system calls.
                    gave_up = true;
                    state.reader.asked = true;
                }
                continue;
            }
            passed_on = false;
            state.asleep |= bit;
            state.willing |= if would_read { bit } else { 0 };
            state = state.wait(&self.readers[subprotocol], deadline);
            state.asleep &= !bit;
            state.willing &= !bit;
        }
    }

    /// The next message of a subprotocol if it is there.
    pub(crate) fn try_next(&self, subprotocol: usize) -> Option<Result<M::Message, CloseReason>> {
        let mut state = self.lock();
        let message = state.pop(subprotocol, self.env.now());
        message
            .map(Ok)
            .or_else(|| state.machine.close_reason().map(Err))
    }

    /// Reads once and handles what came. Also returns whether a message came for a thread that sleeps: woken by now, it goes on
    /// reading.
    fn read_once(
        &self,
        mut half: Box<ReadHalf>,
        sliced: bool,
        busy_poll: Option<&mut BusyPoll>,
    ) -> (Guard<'_, M, E>, Filled, bool) {
        let filled = catch_unwind(AssertUnwindSafe(|| {
            if let Some(busy_poll) = busy_poll {
                half.poll(busy_poll, || self.env.now());
            }
            half.slice(sliced);
            half.fill()
        }));
        let mut state = self.lock();
        let filled = match filled {
            Ok(filled) => filled,
            Err(panic) => {
                let now = self.env.now();
                state.put_back(half, now);
                state.changed = true;
                state.machine.handle_end(now, TransportError::Io);
                drop(state);
                resume_unwind(panic);
            }
        };
        let mut for_others = false;
        if let Filled::End(error) = filled {
            state.on_input_end(self.env.now(), error);
        }
        loop {
            let more = state.handle(&mut half, self.env.now());
            for_others |= state.has_sleeper_with_message();
            if !more {
                break;
            }
            state = state.relock();
        }
        let now = self.env.now();
        state.put_back(half, now);
        if state.machine.is_held() {
            state.resume(now);
        }
        if for_others {
            // They are woken here, and find the half free.
            state = state.relock();
        }
        (state, filled, for_others)
    }

    /// The background thread that need not stay.
    pub(super) fn run_reader(&self) {
        self.read_in_background(LINGER);
    }

    /// Reads while no subprotocol waits, until the session is closed: the part of the thread that opened it.
    pub(crate) fn read_to_end(&self) {
        self.attend(None);
    }

    /// The same for a thread that ends when there is no work for `linger`. If it sees the session end, it goes on with what
    /// [`at_end`](Self::at_end) set.
    pub(crate) fn read_in_background(&self, linger: time::Duration) {
        let over = catch_unwind(AssertUnwindSafe(|| self.attend(Some(linger))));
        if matches!(over, Ok(false)) {
            return;
        }
        let mut state = self.lock();
        let (at_end, thread) = (state.at_end.take(), state.reader.thread.take());
        drop(state);
        if let Some(at_end) = at_end {
            at_end(over.map(drop), thread.and_then(sync::joinable));
        }
    }

    /// What the background thread does once the session has ended.
    pub(crate) fn at_end(&self, at_end: AtEnd) {
        self.lock().at_end = Some(at_end);
    }

    /// Whether the session is closed; false if there was no work for `linger`.
    fn attend(&self, linger: Option<time::Duration>) -> bool {
        let mut state = self.lock();
        let mut until = linger.map(|linger| time::Instant::now() + linger);
        loop {
            if state.closed.is_some() {
                return true;
            }
            if state.reader.asked
                && state.wants_read()
                && let Some(half) = state.read.take()
            {
                state.reader.asked = false;
                state.taken += 1;
                drop(state);
                state = self.read_on(half);
                until = linger.map(|linger| time::Instant::now() + linger);
                continue;
            }
            let is_late = until.is_some_and(|until| until <= time::Instant::now());
            if is_late && !state.reader.asked {
                state.reader.runs = false;
                // A thread that can be joined keeps its stack.
                state.reader.thread = None;
                return false;
            }
            state.reader.rests = true;
            let until = until.filter(|_| !state.reader.asked);
            state = state.wait(&self.read_work, until);
            state.reader.rests = false;
        }
    }

    /// Reads until threads that wait for messages go on, or until the session is closed.
    fn read_on(&self, mut half: Box<ReadHalf>) -> Guard<'_, M, E> {
        let mut is_idle = false;
        loop {
            let (mut state, filled, for_others) = self.read_once(half, !is_idle, None);
            is_idle = filled == Filled::Nothing;
            let is_over = state.closed.is_some();
            let is_closing = state.machine.close_reason().is_some();
            if is_over || !state.wants_read() {
                return state;
            }
            if state.can_slice && !is_closing {
                // A thread that got its message reads the next one itself.
                if for_others {
                    return state;
                }
                if is_idle && state.willing != 0 {
                    state.wake |= state.willing & state.willing.wrapping_neg();
                    return state;
                }
            }
            state.reader.asked = false;
            let Some(next) = state.read.take() else {
                return state;
            };
            state.taken += 1;
            half = next;
        }
    }
}

impl<M: Machine> State<M> {
    /// Removes the next message of a subprotocol; one that waited for the room goes on.
    fn pop(&mut self, subprotocol: usize, now: Instant) -> Option<M::Message> {
        let message = self.machine.pop(subprotocol)?;
        self.resume(now);
        Some(message)
    }

    /// The read half, for a thread that waits for a message.
    fn take_read_half(&mut self) -> Option<Box<ReadHalf>> {
        if self.reader.asked || !self.wants_read() {
            return None;
        }
        let half = self.read.take()?;
        self.taken += 1;
        Some(half)
    }

    /// Nothing more arrives.
    fn on_input_end(&mut self, now: Instant, error: TransportError) {
        // A transport that failed to send was closed by us, so its end of stream is not the remote's.
        let error = match self.machine.is_cut() {
            true => TransportError::Io,
            false => error,
        };
        self.changed = true;
        self.input_ended = true;
        self.machine.handle_end(now, error);
    }

    fn put_back(&mut self, half: Box<ReadHalf>, now: Instant) {
        self.read = Some(half);
        self.watch.left_at = now;
    }

    /// Handles a part of what was read. Whether there is more that can be handled now.
    fn handle(&mut self, half: &mut ReadHalf, now: Instant) -> bool {
        let n = self.machine.handle_input(now, half.unread());
        half.consume(n);
        self.changed = true;
        n > 0 && half.has_unread() && self.machine.wants_input()
    }
}
