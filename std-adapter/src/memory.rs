//! One limit on the bytes of all inboxes of a node: a guaranteed share for each session, and a pool for what goes beyond it.
//!
//! A session that wants little always gets it: its share is kept for it, whatever others hold. Beyond its share it draws from
//! the pool, and waits while that is empty: bytes that come free are granted to those that want least. If the pool stays empty,
//! the session that holds most is ended.

mod account;
mod waiters;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use account::Ledger;
pub use account::{Account, Reservation};
use waiters::State;

/// The most bytes that are guaranteed to one session.
pub const MAX_SHARE: usize = 64 * 1024;

/// Sessions that have a guaranteed share if [`MemoryCap::guarantee`] was not called.
pub const DEFAULT_SESSIONS: usize = 64;

/// Counts the bytes that all inboxes of a node hold. [`used`](Self::used) is never above [`limit`](Self::limit).
///
/// Each session has an [`Account`], and takes bytes by a [`Reservation`] before it has them. Reserving and releasing take no
/// lock while nobody waits.
#[derive(Debug)]
pub struct MemoryCap {
    limit: usize,
    /// Bytes held. Raised after bytes were taken and lowered before they are given back, so that it never exceeds the limit.
    used: AtomicUsize,
    /// Bytes of the pool in all, and those that nobody holds.
    pool: AtomicUsize,
    free: AtomicUsize,
    /// Whether a session waits. Together with `free` and a session's own bytes it decides who sees whom, hence sequential
    /// consistency: either the one that releases sees this flag, or the one that waits sees the room.
    has_waiters: AtomicBool,
    state: Mutex<State>,
}

impl MemoryCap {
    /// At most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            pool: AtomicUsize::new(limit),
            free: AtomicUsize::new(limit),
            has_waiters: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The limit in bytes.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held now, by all sessions.
    pub fn used(&self) -> usize {
        self.used.load(SeqCst)
    }

    /// Bytes of the pool: the limit without the guaranteed shares.
    pub fn pool(&self) -> usize {
        self.pool.load(SeqCst)
    }

    /// Keeps a share for each of `sessions` more sessions that are alive at a time: as many bytes as half of the limit allows
    /// for each, at most [`MAX_SHARE`]. The first call decides how large a share is. Sessions beyond that number have none.
    /// To be called before sessions begin: what they hold already cannot be kept for others.
    pub fn guarantee(&self, sessions: usize) {
        self.keep_shares(&mut self.lock(), sessions);
    }

    fn keep_shares(&self, state: &mut State, sessions: usize) {
        let half = self.limit / 2;
        if state.share == 0 {
            state.share = MAX_SHARE.min(half / sessions.max(1));
        }
        let room = half - state.guaranteed;
        let shares = sessions.min(room.checked_div(state.share).unwrap_or(0));
        let bytes = shares * state.share;
        if self.take(bytes) {
            state.guaranteed += bytes;
            state.shares_left += shares;
            self.pool.store(self.limit - state.guaranteed, SeqCst);
        }
    }

    /// Opens the account of a session. `evict` is called, from any thread and under no lock of this, when the session must end
    /// because it holds most and others have waited for too long.
    pub fn account(self: &Arc<Self>, evict: impl Fn() + Send + Sync + 'static) -> Arc<Account> {
        let mut state = self.lock();
        if state.share == 0 {
            self.keep_shares(&mut state, DEFAULT_SESSIONS);
        }
        let share = match state.shares_left {
            0 => 0,
            _ => state.share,
        };
        state.shares_left -= usize::from(share > 0);
        let ledger = Arc::new(Ledger::new(share, Box::new(evict)));
        let id = state.add(Arc::clone(&ledger));
        drop(state);
        Arc::new(Account::new(Arc::clone(self), id, ledger))
    }

    /// Takes bytes out of the pool, if it has them.
    fn take(&self, bytes: usize) -> bool {
        let rest = |free: usize| free.checked_sub(bytes);
        self.free.fetch_update(SeqCst, SeqCst, rest).is_ok()
    }

    /// Gives bytes back to the pool.
    fn give(&self, bytes: usize) {
        let before = self.free.fetch_add(bytes, SeqCst);
        debug_assert!(before + bytes <= self.limit, "released twice");
    }

    /// Grants sessions that wait what they want, as far as the pool has it, and wakes them.
    fn wake_waiters(&self) {
        if self.has_waiters.load(SeqCst) {
            self.change(|_| ());
        }
    }

    /// Changes who waits, then wakes those who can go on: after unlocking, for a waker runs code that is not ours.
    fn change<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut wakers: Vec<Waker> = Vec::new();
        let mut state = self.lock();
        let result = f(&mut state);
        while let Some(waker) = state.next_wake(|bytes| self.take(bytes)) {
            wakers.push(waker);
        }
        self.has_waiters.store(state.has_waiters(), SeqCst);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Cloning a waker may panic, and leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
