//! A session served by threads: one lock around the session machine, and rules for who reads and who writes.
//!
//! The two halves of the transport lie beside the machine under the lock. A thread that reads or writes takes the half out,
//! unlocks, calls the transport, locks and puts the half back. There is no second lock, so there is no order of locks, and no
//! code of the user runs under the lock.
//!
//! # Who reads
//! The thread that waits for a message reads for all subprotocols ([`read`]): a round trip then needs no hand-over between threads.
//! Where no subprotocol waits, a background thread reads. It exists only while it has work.
//!
//! # Who writes
//! The thread that seals a message writes it, and what others sealed meanwhile ([`write`]). Messages of a burst share writes
//! ([`cork`]). What no subprotocol may block for (Ping, Pong, the end, writes with a time limit) a writer thread writes, which
//! also exists only while it has work.
//!
//! # Who wakes whom
//! Whoever unlocks looks, in one place, [`Blocking::settle`]: no reader sleeps on a message that is there, no sealed byte lies
//! without somebody to write it, no half lies unused without a timer or a thread that looks after it.

mod cork;
mod half;
mod read;
mod write;

#[cfg(all(test, feature = "shuttle"))]
mod models;

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Weak};

use devp2p_core::code::LocalCode;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::session::{PendingWrite, Progress, Written};
use devp2p_core::time::{Duration, Instant, PollAt};

use crate::connection::output::Output;
use crate::host::MAX_PROTOCOLS;
use crate::sync::{self, Condvar, Mutex, MutexGuard, thread};
use crate::transport::Closer;

use cork::Cork;
pub(crate) use half::ReadHalf;
use half::WriteHalf;
pub(crate) use read::AtEnd;

/// How long the read half may lie unused before it is looked after.
const PATIENCE: Duration = Duration::from_millis(1);

/// The interval of these looks while threads take the half and put it back all the time. Each costs a wake-up of the timer
/// thread, which is more than a round trip.
const REGULAR: Duration = Duration::from_millis(10);

/// Delay before a thread that the system refused is asked for again.
const SPAWN_RETRY: Duration = Duration::from_secs(1);

/// What the machine tells its driver, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Everything is said and written: end the sending direction of the transport, go on reading.
    HalfClose,
    /// The session is over: close the transport.
    Closed(CloseReason),
}

/// A session machine, as threads drive it. None of the calls blocks.
pub(crate) trait Machine: Send + 'static {
    /// A message that arrived.
    type Message: Send;
    /// A message to be sent.
    type Payload<'a>: Copy;

    fn close_reason(&self) -> Option<CloseReason>;
    /// Takes bytes, decrypting them in place; returns how many were consumed. Pass none to resume a message that waited for room.
    fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize;
    fn wants_input(&mut self) -> bool;
    /// Whether a message waits for room in its inbox.
    fn is_held(&self) -> bool;
    /// Has [`Blocking::on_timer`] called when other sessions give back memory that a message waits for. False if there is some now.
    fn waits_for_memory(&mut self) -> bool;
    fn handle_end(&mut self, now: Instant, error: TransportError);
    fn poll(&mut self, now: Instant) -> Option<Event>;
    fn poll_at(&mut self) -> PollAt;
    fn close(&mut self, now: Instant, reason: CloseReason);
    /// Whether a message is so large that it is sealed in pieces.
    fn is_large(payload: Self::Payload<'_>) -> bool;
    /// Seals a message, or about `budget` bytes of it.
    fn write(
        &mut self,
        now: Instant,
        write: &mut PendingWrite,
        payload: Self::Payload<'_>,
        budget: usize,
    ) -> Result<Progress, WriteError>;
    /// Seals a message whole and at once.
    fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: Self::Payload<'_>,
    ) -> Result<Written, WriteError>;
    /// Passes a free write token to a subprotocol that waits for it. Its threads wait for progress, which comes with what freed
    /// the token: a write that ended, or bytes that were taken.
    fn pass_token(&mut self);
    fn output(&mut self) -> &mut Output;
    fn on_taken(&mut self, now: Instant, bytes: usize);
    /// The transport takes no more bytes.
    fn cut_output(&mut self);
    fn is_cut(&self) -> bool;
    fn has_message(&self, subprotocol: usize) -> bool;
    fn pop(&mut self, subprotocol: usize) -> Option<Self::Message>;
}

/// What the blocking part needs of the host.
pub(crate) trait Env: Send + Sync + 'static {
    fn now(&self) -> Instant;
    /// Has [`Blocking::on_timer`] called at `at`, or earlier.
    fn set_timer(&self, at: Instant);
}

/// A thread that comes when there is work for it.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// Work waits for it.
    asked: bool,
    /// It looks at `asked` again before it ends.
    runs: bool,
    /// It sleeps, and not for a short time only.
    rests: bool,
    thread: Option<thread::JoinHandle<()>>,
    /// Until then none is started: the system had none to give.
    retry_at: Instant,
}

/// Looks after a read half that nobody uses.
#[derive(Debug, Default)]
struct Watch {
    /// When to look; nothing while somebody reads or is asked to.
    at: Option<Instant>,
    /// When the half was last put back.
    left_at: Instant,
    /// How often the half had been taken when it was last looked at.
    seen: u64,
}

/// What is called on the transport once the lock is free.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Calls {
    close_write: bool,
    close: bool,
}

pub(crate) struct State<M: Machine> {
    pub(crate) machine: M,
    /// The machine changed: it is polled before the lock is free.
    pub(crate) changed: bool,
    read: Option<Box<ReadHalf>>,
    write: Option<Box<WriteHalf>>,
    closer: Option<Arc<dyn Closer>>,
    calls: Calls,
    /// Reads of the transport can be limited in time, so that threads which wait for messages read.
    can_slice: bool,
    /// How often the read half was taken.
    taken: u64,
    watch: Watch,
    reader: Background,
    writer: Background,
    cork: Cork,
    /// Bit `i`: the reader of subprotocol `i` sleeps, and was not woken since.
    asleep: u32,
    /// Of those, the ones that would read from the transport themselves.
    willing: u32,
    /// Of those, the ones to be woken to read from the transport.
    wake: u32,
    /// Bit `i`: subprotocol `i` wrote since it last waited for a message.
    wrote: u32,
    /// Threads that wait for room, for the wire, or for the end; and whether there is news for them.
    waiting: u32,
    progressed: bool,
    /// Bytes that the wire took.
    sent: u64,
    /// Sealed bytes never left: the session closed first.
    lost: bool,
    /// The thread that opens the session writes before it reads again.
    opener_writes: bool,
    is_told_closing: bool,
    closed: Option<CloseReason>,
    /// Nothing more arrives.
    input_ended: bool,
    at_end: Option<AtEnd>,
    /// The deadline that the timer was told.
    armed: Instant,
}

/// A session served by threads.
pub(crate) struct Blocking<M: Machine, E: Env> {
    /// For threads that come and go.
    this: Weak<Self>,
    pub(crate) env: E,
    state: Mutex<State<M>>,
    /// Where the reader of each subprotocol sleeps.
    readers: [Condvar; MAX_PROTOCOLS],
    /// Where threads wait for room, for the wire, or for the end.
    progress: Condvar,
    read_work: Condvar,
    write_work: Condvar,
}

/// What follows once the lock is free.
#[derive(Default)]
struct After {
    readers: u32,
    progress: bool,
    read_work: bool,
    write_work: bool,
    calls: Calls,
    closer: Option<Arc<dyn Closer>>,
}

impl<M: Machine, E: Env> Blocking<M, E> {
    /// `reader` and `writer` are the halves of a transport that `closer` ends. The calling thread opens the session: no other
    /// reads before [`begin_reading`](Self::begin_reading).
    pub(crate) fn new(
        env: E,
        machine: M,
        writer: Box<dyn std::io::Write + Send>,
        closer: Arc<dyn Closer>,
    ) -> Arc<Self> {
        let write = Box::new(WriteHalf::new(writer));
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            env,
            state: Mutex::new(State {
                machine,
                changed: true,
                read: None,
                write: Some(write),
                closer: Some(closer),
                calls: Calls::default(),
                can_slice: false,
                taken: 0,
                watch: Watch::default(),
                // The thread that opens the session.
                reader: Background {
                    runs: true,
                    ..Background::default()
                },
                writer: Background::default(),
                cork: Cork::default(),
                asleep: 0,
                willing: 0,
                wake: 0,
                wrote: 0,
                waiting: 0,
                progressed: false,
                sent: 0,
                lost: false,
                opener_writes: true,
                is_told_closing: false,
                closed: None,
                input_ended: false,
                at_end: None,
                armed: Instant::MAX,
            }),
            readers: [const { Condvar::new() }; MAX_PROTOCOLS],
            progress: Condvar::new(),
            read_work: Condvar::new(),
            write_work: Condvar::new(),
        })
    }

    pub(crate) fn lock(&self) -> Guard<'_, M, E> {
        Guard {
            blocking: self,
            state: Some(sync::lock(&self.state)),
        }
    }

    /// Changes the machine; what follows from that is done.
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut M, Instant) -> R) -> R {
        let now = self.env.now();
        let mut state = self.lock();
        state.changed = true;
        f(&mut state.machine, now)
    }

    /// Looks at the machine.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&M) -> R) -> R {
        f(&self.lock().machine)
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.change(|machine, now| machine.close(now, reason));
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.with(M::close_reason)
    }

    /// Waits until the session is closed.
    pub(crate) fn wait_closed(&self) -> CloseReason {
        let mut state = self.lock();
        loop {
            if let Some(reason) = state.closed {
                return reason;
            }
            state = state.wait_for_progress(None);
        }
    }

    /// Does what is due at `now`. Never blocks.
    pub(crate) fn on_timer(&self, now: Instant) {
        let mut state = self.lock();
        debug_assert!(!state.has_sleeper_with_message(), "only time woke a reader");
        state.changed = true;
        state.armed = Instant::MAX;
        state.resume(now);
        state.look_after_read_half(now);
    }

    /// The timer is there.
    pub(crate) fn rearm(&self) {
        let mut state = self.lock();
        state.armed = Instant::MAX;
        state.changed = true;
    }

    /// Gives up the transport, which handles that outlive the session must not keep. Only a closed session may.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        let halves = (state.read.take(), state.write.take(), state.closer.take());
        drop(state);
        drop(halves);
    }

    /// What follows from all that was done under the lock: the one place where sleepers are woken, timers set and threads
    /// called.
    fn settle(&self, state: &mut State<M>) -> After {
        let mut after = After::default();
        let mut now = None;
        let mut now = || *now.get_or_insert_with(|| self.env.now());
        if mem::take(&mut state.changed) {
            let waiting = state.machine.output().len();
            while let Some(event) = state.machine.poll(now()) {
                match event {
                    Event::HalfClose => state.calls.close_write = true,
                    Event::Closed(reason) => {
                        state.closed = Some(reason);
                        state.progressed = true;
                        state.lost |= waiting > 0;
                        state.calls.close = true;
                    }
                }
            }
            state.machine.pass_token();
            self.arm(state);
        }
        let is_closing = state.machine.close_reason().is_some();
        if is_closing && !state.is_told_closing {
            state.is_told_closing = true;
            state.progressed = true;
            // What still arrives is read and discarded, so that our Disconnect is not lost to a reset.
            state.reader.asked = true;
        }
        self.wake_readers(state, is_closing, &mut after);
        if mem::take(&mut state.progressed) {
            after.progress = state.waiting > 0;
        }
        self.call_reader(state, is_closing, &mut now, &mut after);
        self.call_writer(state, &mut now, &mut after);
        if state.closed.is_some() {
            after.read_work |= mem::take(&mut state.reader.rests);
            after.write_work |= mem::take(&mut state.writer.rests);
        }
        if state.calls != Calls::default() {
            after.calls = mem::take(&mut state.calls);
            after.closer = state.closer.clone();
        }
        after
    }

    /// No reader sleeps whose message is there.
    fn wake_readers(&self, state: &mut State<M>, is_closing: bool, after: &mut After) {
        after.readers = mem::take(&mut state.wake) & state.asleep;
        let mut asleep = state.asleep;
        while asleep != 0 {
            let index = asleep.trailing_zeros();
            asleep &= asleep - 1;
            if is_closing || state.machine.has_message(index as usize) {
                after.readers |= 1 << index;
            }
        }
        state.asleep &= !after.readers;
        state.willing &= state.asleep;
    }

    /// No read half lies unused without a timer or a thread that looks after it.
    fn call_reader(
        &self,
        state: &mut State<M>,
        is_closing: bool,
        now: &mut impl FnMut() -> Instant,
        after: &mut After,
    ) {
        if state.read.is_none() {
            return;
        }
        let run = |blocking: Arc<Self>| blocking.run_reader();
        if state.closed.is_some() {
            // The background thread sees the end, if nobody else does.
            if state.at_end.is_some() && !self.call(&mut state.reader, now, "devp2p-read", run) {
                state.watch.at = Some(state.reader.retry_at);
                self.arm(state);
            }
            return;
        }
        if !state.reader.asked && state.wants_read() {
            if !state.can_slice {
                state.reader.asked = true;
            } else if state.watch.at.is_none() {
                state.watch.left_at = now();
                state.watch.seen = state.taken;
                state.watch.at = Some(now().saturating_add(PATIENCE));
                self.arm(state);
            }
        }
        if state.reader.asked && state.wants_read() {
            if self.call(&mut state.reader, now, "devp2p-read", run) {
                after.read_work |= mem::take(&mut state.reader.rests);
            } else {
                // Threads that wait for messages read meanwhile, unless the session closes.
                state.reader.asked = is_closing || !state.can_slice;
                state.watch.at = Some(state.reader.retry_at);
                self.arm(state);
            }
        }
    }

    /// No sealed byte lies in the output without somebody to write it.
    fn call_writer(
        &self,
        state: &mut State<M>,
        now: &mut impl FnMut() -> Instant,
        after: &mut After,
    ) {
        if state.opener_writes || state.write.is_none() || !state.machine.output().has_unsent() {
            return;
        }
        let is_new = !mem::replace(&mut state.writer.asked, !state.cork.holds());
        if !is_new && state.writer.runs && !state.writer.rests {
            return;
        }
        let run = |blocking: Arc<Self>| blocking.run_writer();
        if self.call(&mut state.writer, now, "devp2p-write", run) {
            after.write_work |= mem::take(&mut state.writer.rests);
        } else {
            state.watch.at = Some(state.writer.retry_at);
            self.arm(state);
        }
    }

    /// Sees to it that a background thread runs; false if the system has none to give.
    fn call(
        &self,
        background: &mut Background,
        now: &mut impl FnMut() -> Instant,
        name: &str,
        run: impl FnOnce(Arc<Self>) + Send + 'static,
    ) -> bool {
        if background.runs {
            return true;
        }
        if now() < background.retry_at {
            return false;
        }
        let Some(blocking) = self.this.upgrade() else {
            return false;
        };
        // Under the lock, so that the thread finds itself here.
        let spawned = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || run(blocking));
        match spawned {
            Ok(thread) => {
                background.thread = Some(thread);
                background.runs = true;
                true
            }
            Err(error) => {
                log::error!("no thread for a session: {error}");
                background.retry_at = now().saturating_add(SPAWN_RETRY);
                false
            }
        }
    }

    /// Tells the timer of a deadline that is earlier than the one it knows. A later one is found when the timer calls.
    fn arm(&self, state: &mut State<M>) {
        let machine = match state.machine.poll_at() {
            PollAt::Now => Instant::ZERO,
            PollAt::At(at) => at,
            PollAt::Idle => Instant::MAX,
        };
        let at = machine.min(state.watch.at.unwrap_or(Instant::MAX));
        if at < state.armed {
            state.armed = at;
            self.env.set_timer(at);
        }
    }

    fn perform(&self, after: After) {
        let mut readers = after.readers;
        while readers != 0 {
            let index = readers.trailing_zeros();
            readers &= readers - 1;
            self.readers[index as usize].notify_one();
        }
        if after.progress {
            self.progress.notify_all();
        }
        if after.read_work {
            self.read_work.notify_one();
        }
        if after.write_work {
            self.write_work.notify_one();
        }
        if let Some(closer) = after.closer {
            if after.calls.close_write {
                closer.close_write();
            }
            if after.calls.close {
                closer.close();
            }
        }
    }
}

/// Stack of a background thread, in bytes. A size of its own: the C library then reuses these pages for the next such thread,
/// not for one that stays.
const STACK: usize = 256 * 1024;

impl<M: Machine> State<M> {
    /// Handles bytes that were read before, if a message among them waited for room that there is now.
    fn resume(&mut self, now: Instant) {
        if !self.machine.is_held() {
            return;
        }
        let Some(half) = &mut self.read else { return };
        self.changed = true;
        loop {
            while self.machine.wants_input() {
                let held = self.machine.is_held();
                let n = self.machine.handle_input(now, half.unread());
                half.consume(n);
                if !half.has_unread() || (n == 0 && self.machine.is_held() == held) {
                    break;
                }
            }
            // Held again, perhaps for want of memory: unless there is some by now, the timer calls when there is.
            if !self.machine.is_held() || self.machine.waits_for_memory() {
                return;
            }
        }
    }

    /// Whether there is something to read, and room for it.
    fn wants_read(&mut self) -> bool {
        !self.input_ended && self.machine.wants_input()
    }

    /// The timer has come: a half that lies for too long is for a thread that waits for a message, else for the background.
    fn look_after_read_half(&mut self, now: Instant) {
        let Some(at) = self.watch.at else { return };
        if now < at {
            return;
        }
        let moved = mem::replace(&mut self.watch.seen, self.taken) != self.taken;
        let patient = self.watch.left_at.saturating_add(PATIENCE);
        self.watch.at = match self.read {
            Some(_) if now < patient => Some(patient),
            Some(_) => {
                self.call_somebody();
                None
            }
            None if moved => Some(now.saturating_add(REGULAR)),
            None => None,
        };
    }

    /// Has a sleeping thread read that would, or the background thread.
    fn call_somebody(&mut self) {
        match self.willing {
            willing if self.can_slice && willing != 0 => {
                // The lowest bit.
                self.wake = willing & willing.wrapping_neg();
            }
            _ => self.reader.asked = true,
        }
    }

    fn has_sleeper_with_message(&self) -> bool {
        (0..MAX_PROTOCOLS).any(|i| self.asleep & (1 << i) != 0 && self.machine.has_message(i))
    }
}

impl<'a, M: Machine, E: Env> Guard<'a, M, E> {
    /// Sleeps for a moment without the lock, unless notified.
    fn nap(self, condvar: &Condvar, span: std::time::Duration) -> Self {
        // Waits of shuttle never end by time.
        if cfg!(feature = "shuttle") {
            let blocking = self.blocking;
            drop(self);
            thread::yield_now();
            return blocking.lock();
        }
        self.wait(condvar, Some(std::time::Instant::now() + span))
    }
}

/// The lock. When it is dropped, [`Blocking::settle`] sees to what follows.
pub(crate) struct Guard<'a, M: Machine, E: Env> {
    blocking: &'a Blocking<M, E>,
    /// Always there but inside the methods that consume the guard.
    state: Option<MutexGuard<'a, State<M>>>,
}

impl<'a, M: Machine, E: Env> Guard<'a, M, E> {
    /// Lets other threads have the lock in between.
    fn relock(self) -> Self {
        let blocking = self.blocking;
        drop(self);
        blocking.lock()
    }

    /// Waits to be notified, at most until `deadline`. Returns at once if there was something to do first.
    fn wait(mut self, condvar: &Condvar, deadline: Option<std::time::Instant>) -> Self {
        let blocking = self.blocking;
        let Some(mut state) = self.state.take() else {
            return self;
        };
        let after = blocking.settle(&mut state);
        if !after.is_empty() {
            drop(state);
            blocking.perform(after);
            return blocking.lock();
        }
        self.state = Some(sync::wait(condvar, state, deadline));
        self
    }

    /// Waits for room, for the wire, or for the end.
    fn wait_for_progress(mut self, deadline: Option<std::time::Instant>) -> Self {
        self.waiting += 1;
        let blocking = self.blocking;
        let mut state = self.wait(&blocking.progress, deadline);
        state.waiting -= 1;
        state
    }
}

impl After {
    fn is_empty(&self) -> bool {
        self.readers == 0
            && !self.progress
            && !self.read_work
            && !self.write_work
            && self.closer.is_none()
    }
}

impl<M: Machine, E: Env> Deref for Guard<'_, M, E> {
    type Target = State<M>;
    fn deref(&self) -> &State<M> {
        self.state.as_ref().expect("a guard that is not consumed")
    }
}

impl<M: Machine, E: Env> DerefMut for Guard<'_, M, E> {
    fn deref_mut(&mut self) -> &mut State<M> {
        self.state.as_mut().expect("a guard that is not consumed")
    }
}

impl<M: Machine, E: Env> Drop for Guard<'_, M, E> {
    fn drop(&mut self) {
        if let Some(mut state) = self.state.take() {
            let after = self.blocking.settle(&mut state);
            drop(state);
            self.blocking.perform(after);
        }
    }
}
