//! A waker that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

/// Counts how often a task was woken.
#[derive(Debug, Default)]
pub struct Counter {
    total: AtomicU32,
    untaken: AtomicU32,
}

impl Counter {
    /// A task that was never woken.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A waker of this task.
    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// How often it was woken in all.
    pub fn total(&self) -> u32 {
        self.total.load(Ordering::SeqCst)
    }

    /// Whether it was woken since this was last asked.
    pub fn take(&self) -> bool {
        self.untaken.swap(0, Ordering::SeqCst) > 0
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.total.fetch_add(1, Ordering::SeqCst);
        self.untaken.fetch_add(1, Ordering::SeqCst);
    }
}
