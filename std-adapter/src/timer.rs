//! One thread that calls targets when their deadlines come, for all sessions of a node.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

use devp2p_core::time::{Instant, PollAt};

use crate::time::Clock;

mod queue;

use queue::{Queue, Slot};

/// What is called when its deadline has come.
pub trait Target: Send + Sync {
    /// Does what is due at `now` and says when to be called next. Must not block: it would hold up every other target.
    ///
    /// It may be called earlier than needed, but never later than the deadline for want of a wake-up. A deadline
    /// [set](Timekeeper::set) while it runs counts as well as the one that it returns: the earlier wins.
    fn on_timer(&self, now: Instant) -> PollAt;
}

/// A registration with a [`Timekeeper`]. Clones are the same registration.
#[derive(Clone)]
pub struct TimerId(Arc<Slot>);

impl fmt::Debug for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerId({})", self.0.id())
    }
}

/// Calls registered targets at their deadlines, from a thread of its own. Dropping it ends the thread.
///
/// Each operation takes O(log n) for n targets. Moving a deadline later, as every message does with a session's, takes neither
/// a lock nor a wake-up: the thread finds out when it next looks.
///
/// A target that owns the timekeeper must be [unregistered](Self::unregister), or each keeps the other alive.
#[derive(Debug)]
pub struct Timekeeper {
    shared: Arc<Shared>,
    next_id: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

impl Timekeeper {
    /// Starts the thread; `clock` gives the time of all deadlines.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(clock: Clock) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            clock,
            state: Mutex::new(State {
                queue: Queue::new(),
                sleeping_until: None,
                running: None,
                awaited: false,
                stop: false,
            }),
            earlier: Condvar::new(),
            returned: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("devp2p-timer".to_owned())
            .spawn(move || of_thread.run())?;
        Ok(Self {
            shared,
            next_id: AtomicU64::new(0),
            thread: Some(thread),
        })
    }

    /// Registers a target, without a deadline yet. It is kept alive until it is unregistered.
    pub fn register(&self, target: Arc<dyn Target>) -> TimerId {
        let slot = Arc::new(Slot::new(self.next_id.fetch_add(1, Ordering::Relaxed)));
        self.shared.lock().queue.insert(Arc::clone(&slot), target);
        TimerId(slot)
    }

    /// Moves the target's deadline. Does nothing once it is unregistered.
    pub fn set(&self, timer: &TimerId, at: PollAt) {
        if timer.0.set(at) {
            self.shared.pull_in(&timer.0);
        }
    }

    /// Moves the target's deadline earlier, or leaves it.
    pub(crate) fn set_if_earlier(&self, timer: &TimerId, at: PollAt) {
        if timer.0.set_if_earlier(at) {
            self.shared.pull_in(&timer.0);
        }
    }

    /// Ends a registration. When this returns the target is not running and will not be called again, unless the caller is
    /// the target itself, inside `on_timer`: then that is its last call.
    ///
    /// Waits for a call that is in progress, so hold no lock that the target takes.
    pub fn unregister(&self, timer: &TimerId) {
        let id = timer.0.id();
        let mut state = self.shared.lock();
        let target = state.queue.remove(id);
        while state
            .running
            .is_some_and(|(running, thread)| running == id && thread != thread::current().id())
        {
            state.awaited = true;
            let woken = self.shared.returned.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        // What the target does when dropped happens outside the lock.
        drop(target);
    }
}

impl Drop for Timekeeper {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.earlier.notify_one();
        if let Some(thread) = self.thread.take() {
            // Dropped by a target inside `on_timer`, it cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// The thread waits here for a deadline earlier than it sleeps for.
    earlier: Condvar,
    /// `unregister` waits here for a call to return.
    returned: Condvar,
}

struct State {
    queue: Queue<Arc<dyn Target>>,
    /// Until when the thread sleeps, if it does: only a deadline before that needs to wake it.
    sleeping_until: Option<Instant>,
    /// The target being called, and the thread that calls it.
    running: Option<(u64, ThreadId)>,
    /// Whether anyone waits for that call to return.
    awaited: bool,
    stop: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Shared {
    /// No code but this module's runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pull_in(&self, slot: &Slot) {
        let mut state = self.lock();
        state.queue.pull_in(slot);
        if let (Some(until), Some(next)) = (state.sleeping_until, state.queue.next())
            && next < until
        {
            // Whoever comes next and is not earlier still need not wake it again.
            state.sleeping_until = Some(next);
            drop(state);
            self.earlier.notify_one();
        }
    }

    fn run(&self) {
        let mut due = Vec::new();
        while self.wait(&mut due) {
            for id in due.drain(..) {
                self.call(id);
            }
        }
    }

    /// Waits until targets are due and lists them; `false` at the end. All that are due are called before any of them a second
    /// time, so that a target which always has work does not starve the others.
    fn wait(&self, due: &mut Vec<u64>) -> bool {
        let mut state = self.lock();
        loop {
            if state.stop {
                return false;
            }
            state.queue.take_due(self.clock.now(), due);
            if !due.is_empty() {
                return true;
            }
            let next = state.queue.next().unwrap_or(Instant::MAX);
            state.sleeping_until = Some(next);
            state = match self.clock.until(next) {
                Some(span) => {
                    let woken = self.earlier.wait_timeout(state, span);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.earlier.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
            state.sleeping_until = None;
        }
    }

    fn call(&self, id: u64) {
        let (slot, target) = {
            let mut state = self.lock();
            // Unregistered since it was listed, or all is over.
            let Some((slot, target)) = state.queue.get(id).filter(|_| !state.stop) else {
                return;
            };
            let found = (Arc::clone(slot), Arc::clone(target));
            state.running = Some((id, thread::current().id()));
            found
        };
        // A target that panics must not take the deadlines of all others with it.
        let called = catch_unwind(AssertUnwindSafe(|| target.on_timer(self.clock.now())));
        // Before the call counts as returned, for it may be the last reference.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(target)));
        if called.is_err() || dropped.is_err() {
            log::error!("a timer target panicked: its deadline is gone");
        }
        let at = called.unwrap_or(PollAt::Idle);
        let mut state = self.lock();
        state.running = None;
        if slot.set_if_earlier(at) {
            state.queue.pull_in(&slot);
        }
        if std::mem::take(&mut state.awaited) {
            drop(state);
            self.returned.notify_all();
        }
    }
}
