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
    /// Who waits, in the order in which they are served.
    waiting: BTreeMap<Place, Waker>,
    evicted_at: Option<Instant>,
}

/// A place among those who wait: who wants least of the pool comes first, of equals who holds least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    wanted: usize,
    held: usize,
    id: u64,
}

/// One account.
#[derive(Debug)]
struct Entry {
    ledger: Arc<Ledger>,
    /// Where it waits, if it does.
    place: Option<Place>,
}

impl State {
    /// Adds an account; its number.
    pub(super) fn add(&mut self, ledger: Arc<Ledger>) -> u64 {
        self.last_id += 1;
        let place = None;
        self.accounts.insert(self.last_id, Entry { ledger, place });
        self.last_id
    }

    /// The account is closed; it holds nothing.
    pub(super) fn remove(&mut self, id: u64) {
        self.leave(id);
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
        self.leave(id);
        if let Some(entry) = self.accounts.get_mut(&id) {
            let held = entry.ledger.held.load(SeqCst);
            let place = Place { wanted, held, id };
            entry.place = Some(place);
            self.waiting.insert(place, waker);
        }
    }

    /// This account waits no more: the waker that it had left.
    pub(super) fn leave(&mut self, id: u64) -> Option<Waker> {
        let place = self.accounts.get_mut(&id)?.place.take()?;
        self.waiting.remove(&place)
    }

    /// Whom to wake next, once `take` took for it what it wants of the pool.
    pub(super) fn next_wake(&mut self, take: impl FnOnce(usize) -> bool) -> Option<Waker> {
        let (&Place { wanted, id, .. }, _) = self.waiting.first_key_value()?;
        if !take(wanted) {
            return None;
        }
        let entry = self.accounts.get(&id)?;
        entry.ledger.granted.fetch_add(wanted, SeqCst);
        self.leave(id)
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
