//! Which sessions there are, and which of them wait for the pool.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Waker;

use devp2p_core::time::{Duration, Instant};

use super::account::Ledger;

/// From one eviction to the next at the earliest: longer than a session takes to close by default, and to
/// give back what it holds.
const BETWEEN_EVICTIONS: Duration = Duration::from_secs(3);

/// What changes under the lock of a [`MemoryCap`](super::MemoryCap).
#[derive(Debug, Default)]
pub(super) struct State {
    /// Bytes of one share; 0 until that is decided.
    pub(super) share: usize,
    /// Shares that no session has now, and the bytes of all of them.
    pub(super) shares_left: usize,
    pub(super) guaranteed: usize,
    accounts: HashMap<u64, Entry>,
    last_id: u64,
    /// Who waits, by the bytes that it wants of the pool, and its account.
    waiting: BTreeMap<(usize, u64), Waker>,
    /// Bytes that were free for sessions which were woken and have not tried again.
    promised: usize,
    evicted_at: Option<Instant>,
}

/// One account.
#[derive(Debug)]
struct Entry {
    ledger: Arc<Ledger>,
    /// Bytes of the pool that it waits for.
    wants: Option<usize>,
    /// Bytes of the pool that it was woken for.
    promised: usize,
}

impl State {
    /// Adds an account; its number.
    pub(super) fn add(&mut self, ledger: Arc<Ledger>) -> u64 {
        self.last_id += 1;
        let entry = Entry {
            ledger,
            wants: None,
            promised: 0,
        };
        self.accounts.insert(self.last_id, entry);
        self.last_id
    }

    /// The account is closed; it holds nothing.
    pub(super) fn remove(&mut self, id: u64) {
        self.forget(id);
        if let Some(entry) = self.accounts.remove(&id)
            && entry.ledger.share > 0
        {
            self.shares_left += 1;
        }
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// This account waits for `wanted` bytes of the pool, and for nothing else.
    pub(super) fn wait(&mut self, id: u64, wanted: usize, waker: Waker) {
        self.forget(id);
        if let Some(entry) = self.accounts.get_mut(&id) {
            entry.wants = Some(wanted);
            self.waiting.insert((wanted, id), waker);
        }
    }

    /// This account waits no more, and what was promised to it is for others.
    pub(super) fn forget(&mut self, id: u64) {
        let Some(entry) = self.accounts.get_mut(&id) else {
            return;
        };
        if let Some(wanted) = entry.wants.take() {
            self.waiting.remove(&(wanted, id));
        }
        self.promised -= std::mem::take(&mut entry.promised);
        entry.ledger.woken.store(false, SeqCst);
    }

    /// This account gave bytes back: if it waits itself, it may want less now.
    pub(super) fn on_released(&mut self, id: u64) -> Option<Waker> {
        let entry = self.accounts.get_mut(&id)?;
        let wanted = entry.wants.take()?;
        self.waiting.remove(&(wanted, id))
    }

    /// Whom to wake next, if so many bytes of the pool are free.
    pub(super) fn next_wake(&mut self, free: usize) -> Option<Waker> {
        let (&(wanted, id), _) = self.waiting.first_key_value()?;
        if wanted > free.saturating_sub(self.promised) {
            return None;
        }
        let waker = self.waiting.remove(&(wanted, id));
        if let Some(entry) = self.accounts.get_mut(&id) {
            (entry.wants, entry.promised) = (None, wanted);
            self.promised += wanted;
            entry.ledger.woken.store(true, SeqCst);
        }
        waker
    }

    /// The account that holds most and was not told to go, and whether it is `id`; `None` if there is no use in another one
    /// going now.
    pub(super) fn evict(&mut self, now: Instant, id: u64) -> Option<(Arc<Ledger>, bool)> {
        if let Some(at) = self.evicted_at
            && now < at.saturating_add(BETWEEN_EVICTIONS)
        {
            return None;
        }
        let staying = |entry: &&Entry| !entry.ledger.evicted.load(SeqCst);
        let above_share = |entry: &&Entry| entry.ledger.held.load(SeqCst) > entry.ledger.share;
        let entries = self.accounts.values().filter(staying).filter(above_share);
        let own = self.accounts.get(&id)?;
        // If nobody holds any of the pool, this one wants more than there is.
        let most = entries.max_by_key(|entry| entry.ledger.held.load(SeqCst));
        let most = most.unwrap_or(own);
        most.ledger.evicted.store(true, SeqCst);
        self.evicted_at = Some(now);
        let is_own = Arc::ptr_eq(&own.ledger, &most.ledger);
        Some((Arc::clone(&most.ledger), is_own))
    }
}
