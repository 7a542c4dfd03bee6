//! One limit on the bytes of all inboxes of a node.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Counts the bytes that all inboxes of a node hold, against a limit that only [`take`](Self::take) can exceed.
///
/// Reserving and releasing take no lock while nobody waits. To wait for room without missing it:
/// 1. [`try_reserve`](Self::try_reserve); if that says no,
/// 2. [`register`](Self::register) a waker,
/// 3. `try_reserve` again, for room may have come in between; if that still says no, wait to be woken and begin again.
///
/// Each release wakes everyone who is registered, once; none is promised the room.
#[derive(Debug)]
pub struct MemoryCap {
    limit: usize,
    used: AtomicUsize,
    /// Whether `waiters` may hold any. Together with `used` it decides who sees whom, hence sequential consistency: either the
    /// one that releases sees this flag, or the one that waits sees the room.
    has_waiters: AtomicBool,
    waiters: Mutex<Vec<Waker>>,
}

impl MemoryCap {
    /// At most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            has_waiters: AtomicBool::new(false),
            waiters: Mutex::new(Vec::new()),
        }
    }

    /// The limit in bytes. What is larger will never fit.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes reserved now.
    pub fn used(&self) -> usize {
        self.used.load(SeqCst)
    }

    /// Takes `bytes` if they fit under the limit; pair with [`release`](Self::release).
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(SeqCst, SeqCst, fits).is_ok()
    }

    /// Takes `bytes` even beyond the limit, for a message that has begun and so must be completed: the limit decides when a
    /// message begins.
    pub fn take(&self, bytes: usize) {
        let sum = |used: usize| Some(used.saturating_add(bytes));
        let _ = self.used.fetch_update(SeqCst, SeqCst, sum);
    }

    /// Gives `bytes` back, which were reserved before, and wakes those who wait.
    pub fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self
            .used
            .fetch_update(SeqCst, SeqCst, |used| Some(used.saturating_sub(bytes)));
        debug_assert!(before.is_ok_and(|used| used >= bytes), "released twice");
        if self.has_waiters.load(SeqCst) {
            let wakers = {
                let mut waiters = self.lock_waiters();
                self.has_waiters.store(false, SeqCst);
                std::mem::take(&mut *waiters)
            };
            // After unlocking: a waker runs code that is not ours.
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Takes `bytes` if they fit, until the guard is dropped.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation::empty(Arc::clone(self));
        reservation.grow(bytes).then_some(reservation)
    }

    /// Asks to be woken, once, after the next release. A waker that is registered already is not kept twice.
    pub fn register(&self, waker: &Waker) {
        let mut waiters = self.lock_waiters();
        if !waiters.iter().any(|waiting| waiting.will_wake(waker)) {
            waiters.push(waker.clone());
        }
        self.has_waiters.store(true, SeqCst);
    }

    /// Takes back a [`register`](Self::register): for those who stop waiting before any release.
    pub fn unregister(&self, waker: &Waker) {
        let removed = {
            let mut waiters = self.lock_waiters();
            let found = waiters.iter().position(|waiting| waiting.will_wake(waker));
            let removed = found.map(|index| waiters.swap_remove(index));
            self.has_waiters.store(!waiters.is_empty(), SeqCst);
            removed
        };
        // Dropped after unlocking, for the same reason.
        drop(removed);
    }

    fn lock_waiters(&self) -> MutexGuard<'_, Vec<Waker>> {
        // Cloning a waker may panic, and leaves the list whole.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes taken from a [`MemoryCap`], given back on drop.
#[derive(Debug)]
pub struct Reservation {
    cap: Arc<MemoryCap>,
    bytes: usize,
}

impl Reservation {
    /// Holds nothing yet; grows later.
    pub const fn empty(cap: Arc<MemoryCap>) -> Self {
        Self { cap, bytes: 0 }
    }

    /// Bytes held.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `more` bytes if they fit; otherwise nothing changes.
    #[must_use]
    pub fn grow(&mut self, more: usize) -> bool {
        let taken = self.cap.try_reserve(more);
        if taken {
            // Cannot overflow: what is held never exceeds what is used.
            self.bytes += more;
        }
        taken
    }

    /// Takes `more` bytes even beyond the limit, as [`MemoryCap::take`] does.
    pub fn extend(&mut self, more: usize) {
        self.cap.take(more);
        self.bytes = self.bytes.saturating_add(more);
    }

    /// Gives back up to `less` bytes.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.bytes);
        self.bytes -= less;
        self.cap.release(less);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.cap.release(self.bytes);
    }
}
