//! Blocking a thread on what the core polls.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

/// Wakes one thread. The flag keeps a wake that comes before the thread parks.
#[derive(Debug)]
struct Unparker {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

thread_local! {
    static UNPARKER: RefCell<Option<(Arc<Unparker>, Waker)>> = const { RefCell::new(None) };
}

/// Polls `poll` until it is ready, or until `deadline`: then `None`. The thread sleeps in between.
pub(crate) fn block_until<T>(
    deadline: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let (unparker, waker) = UNPARKER.with_borrow_mut(|slot| {
        slot.get_or_insert_with(|| {
            let unparker = Arc::new(Unparker {
                thread: thread::current(),
                woken: AtomicBool::new(false),
            });
            let waker = Waker::from(Arc::clone(&unparker));
            (unparker, waker)
        })
        .clone()
    });
    let mut cx = Context::from_waker(&waker);
    loop {
        unparker.woken.store(false, Ordering::Relaxed);
        if let Poll::Ready(value) = poll(&mut cx) {
            return Some(value);
        }
        while !unparker.woken.swap(false, Ordering::Acquire) {
            match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return None,
                Some(left) => thread::park_timeout(left),
            }
        }
    }
}

/// [`block_until`] without a deadline.
pub(crate) fn block_on<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut poll = poll;
    loop {
        if let Some(value) = block_until(None, &mut poll) {
            return value;
        }
    }
}
