//! A deterministic executor in virtual time for futures that use embassy-time.
//!
//! It polls the tasks whose wakers fired, in the order of their making. When none is left, the clock moves on in steps of
//! a tick until one is woken. Nothing sleeps and nothing is polled without being woken.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use embassy_time::{Duration, Instant, MockDriver};

/// The step of the clock.
const TICK: Duration = Duration::from_millis(1);
/// Polls at one instant after which a run is taken for a livelock.
const MAX_POLLS: u64 = 200_000;
/// Virtual time after which a run that waits for something is taken to be stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// The clock is the whole process's.
static CLOCK: Mutex<()> = Mutex::new(());

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Slot {
    name: String,
    flag: Arc<Flag>,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    polls: u64,
}

impl Drop for Sim {
    fn drop(&mut self) {
        // The alarms of tasks that are no more.
        MockDriver::get().reset();
    }
}

impl Slot {
    /// Polls it; false if it is done.
    fn poll(&mut self) -> bool {
        let Some(future) = &mut self.future else {
            return false;
        };
        self.flag.0.store(false, Ordering::SeqCst);
        self.polls += 1;
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut cx = Context::from_waker(&waker);
        if future.as_mut().poll(&mut cx).is_ready() {
            self.future = None;
        }
        true
    }
}

/// A task, and what it returns.
pub struct Task<T> {
    index: usize,
    result: Rc<RefCell<Option<T>>>,
}

impl<T> Task<T> {
    /// Whether it has returned.
    pub fn is_done(&self) -> bool {
        self.result.borrow().is_some()
    }
}

/// The executor. While it lives no other one does.
pub struct Sim {
    slots: Vec<Slot>,
    _clock: MutexGuard<'static, ()>,
}

impl Default for Sim {
    fn default() -> Self {
        Self::new()
    }
}

impl Sim {
    /// No task; the clock stands at zero.
    pub fn new() -> Self {
        let clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        MockDriver::get().reset();
        Self {
            slots: Vec::new(),
            _clock: clock,
        }
    }

    /// The clock alone, standing at zero, for tests with executors of their own.
    pub fn clock() -> impl Drop {
        Self::new()
    }

    /// Adds a task.
    pub fn spawn<T: 'static>(
        &mut self,
        name: impl Into<String>,
        future: impl Future<Output = T> + 'static,
    ) -> Task<T> {
        let result = Rc::new(RefCell::new(None));
        let put = Rc::clone(&result);
        self.slots.push(Slot {
            name: name.into(),
            flag: Arc::new(Flag(AtomicBool::new(true))),
            future: Some(Box::pin(async move {
                let value = future.await;
                *put.borrow_mut() = Some(value);
            })),
            polls: 0,
        });
        Task {
            index: self.slots.len() - 1,
            result,
        }
    }

    /// Drops a task's future where it stands.
    pub fn cancel<T>(&mut self, task: &Task<T>) {
        self.slots[task.index].future = None;
    }

    /// How often a task was polled.
    pub fn polls<T>(&self, task: &Task<T>) -> u64 {
        self.slots[task.index].polls
    }

    /// How often all tasks were polled together.
    pub fn all_polls(&self) -> u64 {
        self.slots.iter().map(|slot| slot.polls).sum()
    }

    /// Polls one task if its waker fired; whether it did.
    pub fn poll_once<T>(&mut self, task: &Task<T>) -> bool {
        let slot = &mut self.slots[task.index];
        slot.flag.0.load(Ordering::SeqCst) && slot.poll()
    }

    /// Does everything that can be done at this instant.
    ///
    /// # Panics
    /// If there is no end to it.
    pub fn settle(&mut self) {
        let mut polls = 0;
        let mut last = Vec::new();
        loop {
            let mut any = false;
            for at in 0..self.slots.len() {
                let slot = &mut self.slots[at];
                if !slot.flag.0.load(Ordering::SeqCst) || !slot.poll() {
                    continue;
                }
                any = true;
                polls += 1;
                if polls + 40 > MAX_POLLS {
                    last.push(self.slots[at].name.clone());
                }
                assert!(
                    polls < MAX_POLLS,
                    "livelock at {} us; polled last: {last:?}",
                    Instant::now().as_micros()
                );
            }
            if !any {
                return;
            }
        }
    }

    /// Runs until `done`.
    ///
    /// # Panics
    /// If that takes more than 300 virtual seconds, or there is a livelock.
    pub fn run_until(&mut self, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.settle();
            if done() {
                return;
            }
            assert!(Instant::now() < end, "stuck: {}", self.state());
            MockDriver::get().advance(TICK);
        }
    }

    /// Runs for so long.
    pub fn run_for(&mut self, span: Duration) {
        let end = Instant::now() + span;
        self.settle();
        while Instant::now() < end {
            MockDriver::get().advance(TICK);
            self.settle();
        }
    }

    /// Runs until a task is done; what it returns.
    ///
    /// # Panics
    /// As [`run_until`](Self::run_until).
    pub fn join<T>(&mut self, task: Task<T>) -> T {
        self.run_until(|| task.is_done());
        task.result.borrow_mut().take().expect("it is done")
    }

    /// Runs a future to its end among the other tasks.
    ///
    /// # Panics
    /// As [`run_until`](Self::run_until).
    pub fn block_on<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        let task = self.spawn("block_on", future);
        self.join(task)
    }

    fn state(&self) -> String {
        let mut text = format!("{} us;", Instant::now().as_micros());
        for slot in &self.slots {
            let state = match &slot.future {
                Some(_) => "waits",
                None => "done",
            };
            let _ = write!(text, " {}: {state} after {} polls;", slot.name, slot.polls);
        }
        text
    }
}

/// When a future that was polled often enough is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drops {
    /// At once.
    Now,
    /// When it is woken: what it was given meanwhile was given in vain.
    Woken,
}

/// Polls a future up to `n` times and then drops it at that await point: `None` if it was not ready by then. With `n` of
/// zero it is dropped unpolled.
pub async fn poll_times<F: Future>(n: usize, future: F) -> Option<F::Output> {
    poll_and_drop(n, Drops::Now, future).await
}

/// As [`poll_times`], dropped as `drops` says.
pub async fn poll_and_drop<F: Future>(n: usize, drops: Drops, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut polled = 0;
    poll_fn(move |cx| {
        if polled < n {
            polled += 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(value) => return Poll::Ready(Some(value)),
                Poll::Pending if polled < n || drops == Drops::Woken => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        Poll::Ready(None)
    })
    .await
}

/// Waits for so many milliseconds of virtual time.
pub async fn millis(n: u64) {
    embassy_time::Timer::after_millis(n).await;
}

/// The virtual time in milliseconds.
pub fn now_millis() -> u64 {
    Instant::now().as_millis()
}
