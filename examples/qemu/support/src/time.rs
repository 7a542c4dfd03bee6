//! An embassy-time driver over whatever counter and alarm a board has.
//!
//! It counts what the counter shows, not interrupts: an emulator that was late makes one interrupt of several.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

/// A board's counter and alarm.
pub trait Counter: 'static {
    /// The bits that count before it wraps.
    const MASK: u32;

    /// The counter, counting up.
    fn count() -> u32;

    /// Counts in microseconds.
    fn micros(counts: u64) -> u64;

    /// Has [`TimeDriver::on_alarm`] called in so many microseconds, rounded up, or a little later; at once if that time passes
    /// while it is set. It is called more often than the counter wraps in any case.
    fn set_alarm(micros: u64);
}

struct State {
    queue: Queue,
    /// The counter when it was read last, and all counts until then.
    last: u32,
    total: u64,
}

/// The time driver of a board.
pub struct TimeDriver<C> {
    state: Mutex<RefCell<State>>,
    counter: core::marker::PhantomData<fn() -> C>,
}

impl<C: Counter> Default for TimeDriver<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Counter> TimeDriver<C> {
    /// At time zero. [`start`](Self::start) it once the counter runs.
    pub const fn new() -> Self {
        Self {
            state: Mutex::new(RefCell::new(State {
                queue: Queue::new(),
                last: 0,
                total: 0,
            })),
            counter: core::marker::PhantomData,
        }
    }

    /// Counts from what the counter shows now.
    pub fn start(&self) {
        critical_section::with(|cs| {
            self.state.borrow_ref_mut(cs).last = C::count();
            self.rearm(cs);
        });
    }

    /// To be called by the alarm's interrupt.
    pub fn on_alarm(&self) {
        critical_section::with(|cs| self.rearm(cs));
    }

    fn now_in(&self, cs: CriticalSection<'_>) -> u64 {
        let mut state = self.state.borrow_ref_mut(cs);
        let count = C::count();
        state.total += u64::from(count.wrapping_sub(state.last) & C::MASK);
        state.last = count;
        C::micros(state.total)
    }

    /// Wakes what is due and sets the alarm for what comes next.
    fn rearm(&self, cs: CriticalSection<'_>) {
        let now = self.now_in(cs);
        let next = self.state.borrow_ref_mut(cs).queue.next_expiration(now);
        C::set_alarm(next.saturating_sub(now));
    }
}

impl<C: Counter> Driver for TimeDriver<C> {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.now_in(cs))
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            if self.state.borrow_ref_mut(cs).queue.schedule_wake(at, waker) {
                self.rearm(cs);
            }
        });
    }
}
