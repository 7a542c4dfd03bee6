//! Who writes to the transport: the thread that sealed, or the writer thread.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time;

use devp2p_core::code::LocalCode;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::time::Instant;

use super::{Blocking, Env, Guard, Machine, PendingWrite, Progress, Written};

/// How often a thread writes for others too, before it leaves that to the writer thread.
const ROUNDS: usize = 4;

/// Bytes of a frame that are sealed under one holding of the lock: the remote opens the first pieces of a large frame while the
/// last are sealed.
const PIECE: usize = 64 * 1024;

/// How often a message waits for room and for a free token before it waits for the token in turn.
const PATIENCE: usize = 64;

/// How often the writer thread looks at bytes that wait for more of a burst.
const TICK: time::Duration = time::Duration::from_micros(300);

/// How long the writer thread stays without work: after a burst longer than pauses that are part of a conversation; after control
/// messages not, since the next one is due after a ping interval.
const LINGER: time::Duration = time::Duration::from_millis(100);
const LINGER_AFTER_CONTROL: time::Duration = time::Duration::from_millis(5);

impl<M: Machine, E: Env> Blocking<M, E> {
    /// Seals one message, and writes it unless another thread does. Until `deadline` it waits for room; with one, the writer thread
    /// writes.
    pub(crate) fn write(
        &self,
        subprotocol: usize,
        code: LocalCode,
        payload: M::Payload<'_>,
        deadline: Option<time::Instant>,
    ) -> Result<Written, WriteError> {
        let mut write = PendingWrite::new(subprotocol, code);
        // A message of usual size is sealed whole: to pass the token on in the midst of it costs more than to wait for room. One
        // that was overtaken often enough waits for the token in turn, as large ones do.
        let mut overtaken = if M::is_large(payload) { PATIENCE } else { 0 };
        let mut state = self.lock();
        loop {
            let now = self.env.now();
            state.changed = true;
            let progress = if deadline.is_none() && overtaken >= PATIENCE {
                state.machine.write(now, &mut write, payload, PIECE)
            } else {
                // With a deadline always: a frame that is begun must be completed, however long that takes.
                overtaken += 1;
                state.try_write(now, subprotocol, code, payload)
            };
            // A write that fails may have held the token.
            state.progressed |= progress.is_err();
            match progress? {
                Progress::Sealed(written) => {
                    state.wrote |= 1 << subprotocol;
                    state.progressed = true;
                    let waiting = state.machine.output().len();
                    // Writing to the transport may take longer than a deadline allows.
                    if state.cork.on_sealed(now, waiting) && deadline.is_none() {
                        drop(self.flush(state, ROUNDS));
                    }
                    return Ok(written);
                }
                // Other threads have the lock in between, also while one of them writes.
                Progress::Budget => state = self.flush(state, 1).relock(),
                Progress::Waits => {
                    let can_flush = state.write.is_some() && state.machine.output().has_unsent();
                    if can_flush && deadline.is_none() {
                        state = self.flush(state, 1);
                    } else if deadline.is_some_and(|at| at <= time::Instant::now()) {
                        return Err(WriteError::TimedOut);
                    } else {
                        state.cork.on_leave();
                        state = state.wait_for_progress(deadline);
                    }
                }
            }
        }
    }

    /// Seals one message if nothing has to be waited for. The writer thread writes it.
    pub(crate) fn try_write(
        &self,
        subprotocol: usize,
        code: LocalCode,
        payload: M::Payload<'_>,
    ) -> Result<Written, WriteError> {
        let now = self.env.now();
        let mut state = self.lock();
        // It may seal a control message first, even if it fails.
        state.changed = true;
        let written = state.machine.try_write(now, subprotocol, code, payload)?;
        state.wrote |= 1 << subprotocol;
        Ok(written)
    }

    /// Waits until the transport took everything that was sealed before.
    pub(crate) fn flush_all(&self) -> Result<(), CloseReason> {
        let mut state = self.lock();
        let sealed = state.sent + state.machine.output().len() as u64;
        state = self.flush(state, ROUNDS);
        loop {
            if let Some(reason) = state.closed.filter(|_| state.lost) {
                return Err(reason);
            }
            if state.sent >= sealed {
                return Ok(());
            }
            if let Some(reason) = state.closed {
                return Err(reason);
            }
            state = state.wait_for_progress(None);
        }
    }

    /// Writes what waits, unless another thread does: that one looks again before it puts the half back. After `rounds` the rest
    /// is left to the writer thread.
    pub(super) fn flush<'a>(
        &'a self,
        mut state: Guard<'a, M, E>,
        rounds: usize,
    ) -> Guard<'a, M, E> {
        let Some(mut half) = state.write.take() else {
            return state;
        };
        for _ in 0..rounds {
            if !state.machine.output().has_unsent() {
                break;
            }
            state.machine.output().take(&mut half.bytes);
            state.cork.on_leave();
            drop(state);
            let written = catch_unwind(AssertUnwindSafe(|| half.write_all(|n| self.on_sent(n))));
            state = self.lock();
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    log::debug!("writing failed: {error}");
                    state.cut();
                }
                Err(panic) => {
                    state.write = Some(half);
                    state.cut();
                    drop(state);
                    resume_unwind(panic);
                }
            }
        }
        state.write = Some(half);
        state
    }

    fn on_sent(&self, bytes: usize) {
        let now = self.env.now();
        let mut state = self.lock();
        state.changed = true;
        state.progressed = true;
        state.sent += bytes as u64;
        state.machine.on_taken(now, bytes);
    }

    /// Writes what no other thread does, until there is nothing to write for a while.
    pub(super) fn run_writer(&self) {
        if catch_unwind(AssertUnwindSafe(|| self.write_in_background())).is_err() {
            log::error!("the writer of a transport panicked");
            self.lock().writer.runs = false;
        }
    }

    fn write_in_background(&self) {
        let mut state = self.lock();
        let mut linger = LINGER_AFTER_CONTROL;
        let mut until = time::Instant::now() + linger;
        while state.closed.is_none() {
            let lies = state.machine.output().has_unsent() && state.write.is_some();
            if lies && (state.writer.asked || state.cork.is_due(self.env.now())) {
                state.writer.asked = false;
                state = self.flush(state, usize::MAX);
                until = time::Instant::now() + linger;
            } else if lies {
                linger = LINGER;
                until = time::Instant::now() + linger;
                state = state.nap(&self.write_work, TICK);
            } else if until <= time::Instant::now() {
                break;
            } else {
                state.shrink_output();
                state.writer.rests = true;
                state = state.wait(&self.write_work, Some(until));
                state.writer.rests = false;
            }
        }
        state.writer.asked = false;
        state.writer.runs = false;
        if state.closed.is_none() {
            // A thread that can be joined keeps its stack.
            state.writer.thread = None;
        }
    }

    /// Waits for the end of the writer thread of a closed session.
    pub(crate) fn join_writer(&self) {
        let thread = self.lock().writer.thread.take();
        if let Some(thread) = thread {
            // A panic was caught in there.
            let _ = thread.join();
        }
    }
}

impl<M: Machine> super::State<M> {
    fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: M::Payload<'_>,
    ) -> Result<Progress, WriteError> {
        match self.machine.try_write(now, subprotocol, code, payload) {
            Ok(written) => Ok(Progress::Sealed(written)),
            Err(WriteError::WouldBlock { .. }) => Ok(Progress::Waits),
            Err(error) => Err(error),
        }
    }

    /// The transport takes no more bytes. What has arrived may tell why (a Disconnect, say), so a live session ends when that was
    /// read; a closing one ends now.
    fn cut(&mut self) {
        self.changed = true;
        self.progressed = true;
        self.lost |= !self.machine.output().is_empty();
        self.machine.cut_output();
        self.calls.close = true;
    }

    /// Gives back room that a burst took.
    fn shrink_output(&mut self) {
        self.machine.output().shrink();
        if let Some(half) = &mut self.write {
            half.shrink();
        }
    }
}
