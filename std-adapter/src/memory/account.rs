//! What one session holds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::Waker;

use devp2p_core::time::Instant;

use super::MemoryCap;

/// The figures of an [`Account`], as its [`MemoryCap`] sees them too.
pub(super) struct Ledger {
    /// Bytes that are kept for this session.
    pub(super) share: usize,
    /// Bytes held, of the share first.
    pub(super) held: AtomicUsize,
    /// The bytes that it waits for, if it waits: those that were refused last, or more.
    wanted: AtomicUsize,
    /// Bytes of the pool that are kept for it since it was woken.
    pub(super) granted: AtomicUsize,
    /// It was told to go.
    pub(super) evicted: AtomicBool,
    evict: Box<dyn Fn() + Send + Sync>,
}

impl Ledger {
    pub(super) fn new(share: usize, evict: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            share,
            held: AtomicUsize::new(0),
            wanted: AtomicUsize::new(0),
            granted: AtomicUsize::new(0),
            evicted: AtomicBool::new(false),
            evict,
        }
    }

    /// Bytes of the pool that lie between holding `less` and holding `more`.
    fn of_pool(&self, less: usize, more: usize) -> usize {
        more.max(self.share) - less.max(self.share)
    }

    /// Bytes of the pool that it needs to hold `more` than now.
    fn missing(&self, more: usize) -> usize {
        let held = self.held.load(SeqCst);
        self.of_pool(held, held.saturating_add(more))
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("share", &self.share)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

/// One session's part of a [`MemoryCap`].
///
/// To wait for room without missing it: after a [`Reservation`] was refused bytes, [`wait`](Self::wait); if that says that
/// there may be room, try again at once. A session that is woken was granted what it waits for, so that no other can take it;
/// what it does not use of that it [gives back](Self::return_grant).
#[derive(Debug)]
pub struct Account {
    cap: Arc<MemoryCap>,
    id: u64,
    ledger: Arc<Ledger>,
}

impl Account {
    pub(super) fn new(cap: Arc<MemoryCap>, id: u64, ledger: Arc<Ledger>) -> Self {
        Self { cap, id, ledger }
    }

    /// Bytes that this session holds.
    pub fn held(&self) -> usize {
        self.ledger.held.load(SeqCst)
    }

    /// Bytes that are kept for this session.
    pub fn share(&self) -> usize {
        self.ledger.share
    }

    /// The most bytes that this session can hold if no other holds more than its share.
    pub fn most(&self) -> usize {
        self.ledger.share.saturating_add(self.cap.pool())
    }

    /// Holds nothing yet; grows later.
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation {
            account: Arc::clone(self),
            bytes: 0,
        }
    }

    /// Has `waker` woken, once, when this session was granted what it wants, or gave bytes back itself. False if it can have
    /// them now: then nothing is registered.
    pub fn wait(&self, waker: &Waker) -> bool {
        let (cap, ledger) = (&self.cap, &self.ledger);
        let wanted = ledger.wanted.load(SeqCst);
        cap.change(|state| {
            cap.give(ledger.granted.swap(0, SeqCst));
            state.wait(self.id, ledger.missing(wanted), waker.clone());
            cap.has_waiters.store(true, SeqCst);
            // Others may have released since the refusal, before they could see that this one waits; this session too.
            let waits = ledger.missing(wanted) > cap.free.load(SeqCst);
            if !waits {
                state.leave(self.id);
            }
            waits
        })
    }

    /// Waits no more.
    pub fn stop_waiting(&self) {
        self.cap.change(|state| state.leave(self.id));
    }

    /// Leaves to others what this session was granted and has not used.
    pub fn return_grant(&self) {
        if self.ledger.granted.load(SeqCst) > 0 {
            self.cap.give(self.ledger.granted.swap(0, SeqCst));
            self.cap.wake_waiters();
        }
    }

    /// This session has waited for long enough: the one that holds most goes. True if that is this one; another is told so,
    /// unless one just was, and this one waits on.
    #[must_use]
    pub fn must_go(&self, now: Instant) -> bool {
        let missing = self.ledger.missing(self.ledger.wanted.load(SeqCst));
        let granted = self.ledger.granted.load(SeqCst);
        if missing <= granted.max(self.cap.free.load(SeqCst)) {
            return false;
        }
        let Some((most, is_own)) = self.cap.lock().evict(now, self.id) else {
            return false;
        };
        if !is_own {
            (most.evict)();
        }
        is_own
    }

    /// Takes `bytes` if they fit.
    fn reserve(&self, bytes: usize) -> bool {
        let Ledger { held, wanted, .. } = &*self.ledger;
        let mut before = held.load(SeqCst);
        loop {
            let Some(after) = before.checked_add(bytes) else {
                return false;
            };
            let of_pool = self.ledger.of_pool(before, after);
            if of_pool > 0 && !self.draw(of_pool) {
                wanted.store(bytes, SeqCst);
                return false;
            }
            match held.compare_exchange(before, after, SeqCst, SeqCst) {
                Ok(_) => break,
                Err(now) => {
                    before = now;
                    self.cap.give(of_pool);
                    self.cap.wake_waiters();
                }
            }
        }
        self.cap.used.fetch_add(bytes, SeqCst);
        true
    }

    /// Takes `bytes` of the pool: those that were granted first.
    fn draw(&self, bytes: usize) -> bool {
        let granted = &self.ledger.granted;
        let rest = |granted: usize| Some(granted.saturating_sub(bytes));
        let before = granted.fetch_update(SeqCst, SeqCst, rest);
        let of_grant = before.unwrap_or(0).min(bytes);
        let drawn = self.cap.take(bytes - of_grant);
        if !drawn {
            granted.fetch_add(of_grant, SeqCst);
        }
        drawn
    }

    /// Gives `bytes` back, which are held.
    fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let cap = &self.cap;
        let used = cap.used.fetch_sub(bytes, SeqCst);
        let before = self.ledger.held.fetch_sub(bytes, SeqCst);
        debug_assert!(before >= bytes && used >= bytes, "released twice");
        cap.give(self.ledger.of_pool(before - bytes, before));
        if cap.has_waiters.load(SeqCst) {
            // If it waits itself, it may want less of the pool now.
            let own = cap.change(|state| state.leave(self.id));
            own.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.cap.give(self.ledger.granted.swap(0, SeqCst));
        self.cap.change(|state| state.remove(self.id));
    }
}

/// Bytes that a session holds, given back on drop.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    bytes: usize,
}

impl Reservation {
    /// Bytes held.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `more` bytes if they fit; otherwise nothing changes.
    #[must_use]
    pub fn grow(&mut self, more: usize) -> bool {
        let taken = self.account.reserve(more);
        if taken {
            // Cannot overflow: what is held never exceeds the limit.
            self.bytes += more;
        }
        taken
    }

    /// After a refusal: waits for so many bytes instead of those that were refused.
    pub fn want(&self, bytes: usize) {
        self.account.ledger.wanted.store(bytes, SeqCst);
    }

    /// The account that the bytes belong to.
    pub const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Gives back up to `less` bytes.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.bytes);
        self.bytes -= less;
        self.account.release(less);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.release(self.bytes);
    }
}
