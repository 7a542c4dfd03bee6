//! The threads of one end: one reads, one writes, one calls when a deadline comes.

use std::any::Any;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::inbox::Hold;
use devp2p_core::lifecycle::State;
use devp2p_core::time::{self, PollAt};

use super::machine::Machine;
use super::resources::KEPT_OUTPUT;
use super::{Framing, Session, Settings};
use crate::block::block_on;
use crate::host::HostError;
use crate::time::{Clock, to_std_duration};
use crate::timer::{Target, Timekeeper, TimerId};
use crate::transport::{Closer, Transport};
use crate::turn::Turns;

/// Bytes read from the transport at a time.
const READ_BUFFER: usize = 16 * 1024;
/// Bytes written to the transport at a time.
const WRITE_BUFFER: usize = 64 * 1024;

/// One end of a private link over a transport, in threads of its own.
///
/// The framing is called under the lock of its session, from whichever of the endpoint's threads or the program's has something
/// to do: a method must not block, for reads from the wire, writes and deadlines wait meanwhile, and must not call the endpoint
/// or a handle of its session, which would wait for itself. One that panics ends the session as
/// [`TransportError::Io`] and closes the transport; the framing is not called again. Where a write or
/// [`session`](Self::session) called it, the panic goes on in that thread.
///
/// Dropping it ends the session as quitting, waits until that is said but no longer than the closing deadline, and closes
/// the transport.
pub struct Endpoint {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// None became active in time.
    TimedOut,
    /// The session was closed before it was active, or was handed out before; and the link has no further one.
    Closed(CloseReason),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no session became active in the given time"),
            Self::Closed(reason) => write!(f, "the link has no further session: {reason}"),
        }
    }
}

impl std::error::Error for SessionError {}

/// Of any framing.
pub(super) type AnyMachine = Machine<dyn Framing + Send>;

pub(super) struct Shared {
    pub(super) clock: Clock,
    /// Writers of all subprotocols, in the order in which they asked.
    pub(super) turns: Turns,
    /// Anything that a thread may wait for has changed, but for messages to read.
    changed: Condvar,
    closer: Box<dyn Closer>,
    timekeeper: Timekeeper,
    timer: OnceLock<TimerId>,
    state: Mutex<Running>,
}

pub(super) struct Running {
    /// The handles of this session were given out.
    handed_out: bool,
    /// The reader, while it waits for input to be taken.
    reader: Option<Waker>,
    /// Nothing more arrives.
    input_ended: bool,
    /// The transport took no more bytes, so that its end is not the remote's.
    output_failed: bool,
    /// The writer is to return.
    stops: bool,
    pub(super) machine: Box<AnyMachine>,
}

impl Endpoint {
    /// Begins a session over `transport`. Its deadline for Hello counts from here, unless the framing decides.
    ///
    /// # Errors
    /// [`HostError`] if the protocols cannot be registered together, the transport cannot be split, or there is no thread.
    pub fn start<T: Transport>(
        settings: Settings,
        transport: T,
        framing: impl Framing + Send + 'static,
    ) -> Result<Self, HostError> {
        let clock = Clock::new();
        let machine = Machine::new(settings, framing, clock.now())?;
        let (reader, writer, closer) = transport.split().map_err(HostError::Io)?;
        let shared = Arc::new(Shared {
            clock,
            turns: Turns::default(),
            changed: Condvar::new(),
            closer: Box::new(closer),
            timekeeper: Timekeeper::start(clock).map_err(HostError::Io)?,
            timer: OnceLock::new(),
            state: Mutex::new(Running {
                handed_out: false,
                reader: None,
                input_ended: false,
                output_failed: false,
                stops: false,
                machine: Box::new(machine),
            }),
        });
        let target = Arc::clone(&shared) as Arc<dyn Target>;
        let _ = shared.timer.set(shared.timekeeper.register(target));
        // From here on the threads that were started end when this is dropped.
        let mut endpoint = Self {
            shared,
            threads: Vec::new(),
        };
        endpoint.spawn("devp2p-write", move |shared| shared.run_writer(writer))?;
        endpoint.spawn("devp2p-read", move |shared| shared.run_reader(reader))?;
        endpoint.shared.change(|_, _| ());
        Ok(endpoint)
    }

    fn spawn(
        &mut self,
        name: &str,
        run: impl FnOnce(&Shared) + Send + 'static,
    ) -> Result<(), HostError> {
        let shared = Arc::clone(&self.shared);
        let body = move || {
            if catch_unwind(AssertUnwindSafe(|| run(&shared))).is_err() {
                log::error!("a transport or a framing panicked: the link ends");
                shared.fail();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        self.threads.push(thread.map_err(HostError::Io)?);
        Ok(())
    }

    /// Waits for the next session to be active; the one before it must end for that. Where sessions follow each other, those
    /// that close before they are active are passed over.
    ///
    /// # Errors
    /// [`SessionError`]: none in time, or none any more.
    pub fn session(&mut self, timeout: Duration) -> Result<Session, SessionError> {
        let deadline = Instant::now().checked_add(timeout);
        let shared = &self.shared;
        loop {
            let next = shared.wait(deadline, Running::next);
            match next.ok_or(SessionError::TimedOut)? {
                Next::Session => {
                    return Ok(shared.change(|running, _| {
                        running.handed_out = true;
                        Session::new(shared, &running.machine)
                    }));
                }
                Next::Restart => shared.change(|running, now| {
                    running.machine.restart(now);
                    running.handed_out = false;
                    running.wake_reader();
                }),
                Next::End(reason) => return Err(SessionError::Closed(reason)),
            }
        }
    }

    /// Waits until nothing more arrives from the remote, at most `timeout`; returns whether that is so.
    pub fn wait_end(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let ended = |running: &mut Running, _| running.input_ended.then_some(());
        self.shared.wait(deadline, ended).is_some()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let shared = &self.shared;
        let limit = shared.change(|running, now| {
            let machine = &mut running.machine;
            machine.disconnect(now, DisconnectReason::CLIENT_QUITTING);
            to_std_duration(machine.config().closing_timeout)
        });
        shared.wait(Instant::now().checked_add(limit), |running, _| {
            let is_closed = running.machine.peer().state() == State::Closed;
            let is_said = running.machine.output().is_empty() || running.output_failed;
            (is_closed && is_said).then_some(())
        });
        shared.change(|running, now| {
            running.stops = true;
            running.machine.handle_end(now, TransportError::Io);
            running.wake_reader();
        });
        shared.closer.close();
        if let Some(timer) = shared.timer.get() {
            shared.timekeeper.unregister(timer);
        }
        for thread in self.threads.drain(..) {
            // What it panicked with was logged.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// What [`Endpoint::session`] finds.
enum Next {
    Session,
    /// The last one is over, and another can follow.
    Restart,
    End(CloseReason),
}

impl Running {
    fn next(&mut self, _now: time::Instant) -> Option<Next> {
        let machine = &self.machine;
        let reason = machine.peer().close_reason();
        // One that was over before anyone looked still has its messages.
        let was_active = machine.shared().hello.get().is_some();
        if was_active && !self.handed_out {
            return Some(Next::Session);
        }
        let reason = reason.filter(|_| machine.peer().state() == State::Closed)?;
        let is_last = !machine.delimits_sessions() || self.input_ended || self.output_failed;
        Some(match is_last {
            true => Next::End(reason),
            false => Next::Restart,
        })
    }

    /// Runs what may call the framing. If that panics, the session ends here, whichever thread it is.
    fn guard<R>(
        &mut self,
        now: time::Instant,
        f: impl FnOnce(&mut Self) -> R,
    ) -> Result<R, Box<dyn Any + Send>> {
        let called = catch_unwind(AssertUnwindSafe(|| f(self)));
        if called.is_err() {
            log::error!("a framing panicked: its session ends");
            self.fail(now);
        }
        called
    }

    /// Ends everything, without a word from the framing.
    fn fail(&mut self, now: time::Instant) {
        (self.input_ended, self.output_failed) = (true, true);
        self.machine.abandon(now);
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }
}

/// What the writer is to do.
enum Work {
    Write,
    CloseWrite,
    Stop,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Running> {
        // No panic of a framing gets past the guard, so nothing is left half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the machine.
    pub(super) fn with<R>(&self, f: impl FnOnce(&AnyMachine) -> R) -> R {
        f(&self.lock().machine)
    }

    /// Changes what there is, then does what follows from that.
    pub(super) fn change<R>(&self, f: impl FnOnce(&mut Running, time::Instant) -> R) -> R {
        let mut running = self.lock();
        let now = self.clock.now();
        let result = running.guard(now, |running| f(running, now));
        self.settle(running, now);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Waits until `done` has something to say, then does what follows; `None` if that is not before `deadline`. Until then
    /// `done` must not change anything.
    pub(super) fn wait<R>(
        &self,
        deadline: Option<Instant>,
        mut done: impl FnMut(&mut Running, time::Instant) -> Option<R>,
    ) -> Option<R> {
        let mut running = self.lock();
        loop {
            let now = self.clock.now();
            let result = running.guard(now, |running| done(running, now));
            if let Some(result) = result.transpose() {
                self.settle(running, now);
                return Some(result.unwrap_or_else(|panic| resume_unwind(panic)));
            }
            running = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return None,
                Some(left) => {
                    let woken = self.changed.wait_timeout(running, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.changed.wait(running);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    fn settle(&self, mut running: MutexGuard<'_, Running>, now: time::Instant) {
        // Nothing here is whose call it is: a panic is not passed on.
        let polled = running.guard(now, |running| {
            running.machine.poll(now);
            running.machine.poll_at()
        });
        if let Some(timer) = self.timer.get() {
            // Before unlocking: else a deadline could be overwritten by one that another thread computed earlier.
            self.timekeeper.set(timer, polled.unwrap_or(PollAt::Idle));
        }
        let machine = &running.machine;
        let is_over = machine.peer().state() == State::Closed && !machine.delimits_sessions();
        drop(running);
        self.changed.notify_all();
        if is_over {
            self.closer.close();
        }
    }

    fn fail(&self) {
        self.change(|running, now| running.fail(now));
    }

    // ---- The thread that reads ----

    fn run_reader(&self, mut reader: impl Read) {
        let mut buffer = vec![0; READ_BUFFER];
        let error = loop {
            match reader.read(&mut buffer) {
                Ok(0) => break TransportError::EndOfStream,
                Ok(n) => self.take_input(&mut buffer[..n.min(READ_BUFFER)]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    log::debug!("reading failed: {error}");
                    break TransportError::Io;
                }
            }
        };
        self.change(|running, now| {
            running.input_ended = true;
            // A transport that fails to send is closed by us, so its end of stream is not the remote's.
            let cut = running.output_failed;
            let error = if cut { TransportError::Io } else { error };
            running.machine.handle_end(now, error);
        });
    }

    /// Passes all of `bytes` on, and waits as long as they, or a message made of them, are not taken.
    fn take_input(&self, bytes: &mut [u8]) {
        let mut taken = 0;
        let mut is_taken = || {
            self.change(|running, now| {
                let machine = &mut running.machine;
                taken += machine.handle_input(now, &mut bytes[taken..]);
                if machine.is_blocked() && running.output_failed {
                    machine.handle_end(now, TransportError::Io);
                }
                !machine.is_blocked() || running.output_failed || running.stops
            })
        };
        if is_taken() {
            return;
        }
        let account = self.with(|machine| Arc::clone(machine.account()));
        let waits_for_memory = || self.with(|machine| machine.peer().held() == Some(Hold::Memory));
        block_on(|cx| {
            let mut running = self.lock();
            running.reader = Some(cx.waker().clone());
            for queue in &*running.machine.shared().queues {
                queue.wait_for_room(cx.waker());
            }
            drop(running);
            loop {
                if is_taken() {
                    return Poll::Ready(());
                }
                if !waits_for_memory() || account.wait(cx.waker()) {
                    return Poll::Pending;
                }
            }
        });
        account.stop_waiting();
    }

    // ---- The thread that writes ----

    fn run_writer(&self, mut writer: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let work = self.wait(None, |running, _| {
                let machine = &mut running.machine;
                if !machine.output().is_empty() && !running.output_failed {
                    let output = machine.output();
                    bytes.extend_from_slice(&output[..output.len().min(WRITE_BUFFER)]);
                    return Some(Work::Write);
                }
                match machine.take_close_write() {
                    true => Some(Work::CloseWrite),
                    false => running.stops.then_some(Work::Stop),
                }
            });
            match work {
                Some(Work::Write) => {}
                Some(Work::CloseWrite) => {
                    self.closer.close_write();
                    continue;
                }
                Some(Work::Stop) | None => return,
            }
            if let Err(error) = self.write(&mut writer, &bytes) {
                log::debug!("writing failed: {error}");
                // What has arrived may tell why, so the session ends when the input does.
                self.change(|running, _| {
                    running.output_failed = true;
                    running.wake_reader();
                });
                self.closer.close();
            }
            bytes.clear();
            bytes.shrink_to(KEPT_OUTPUT);
        }
    }

    fn write(&self, writer: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match writer.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let n = n.min(bytes.len());
                    bytes = &bytes[n..];
                    self.change(|running, now| running.machine.consume_output(now, n));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Target for Shared {
    fn on_timer(&self, _now: time::Instant) -> PollAt {
        // What follows from the time sets the timer too.
        self.change(|_, _| ());
        PollAt::Idle
    }
}
