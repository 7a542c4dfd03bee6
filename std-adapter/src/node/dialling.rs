//! A dial in progress, and how it ends.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::DialError;

type Ended<P> = Result<P, DialError>;

/// What became of a dial, for all who wait for it.
#[derive(Debug)]
pub(super) struct Outcome<P> {
    ended: Mutex<Option<Ended<P>>>,
    changed: Condvar,
}

impl<P> Outcome<P> {
    pub(super) fn new(ended: Option<Ended<P>>) -> Self {
        Self {
            ended: Mutex::new(ended),
            changed: Condvar::new(),
        }
    }

    /// Tells it; the first call counts.
    pub(super) fn tell(&self, ended: Ended<P>) {
        self.lock().get_or_insert(ended);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ended<P>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A dial in progress. Dropping it loses the answer only: the dial goes on.
#[derive(Debug, Clone)]
pub struct Dialling<P>(pub(super) Arc<Outcome<P>>);

impl<P: Clone> Dialling<P> {
    /// Waits for the session to be active.
    ///
    /// # Errors
    /// [`DialError`] says what happened and what to do.
    pub fn wait(self) -> Result<P, DialError> {
        loop {
            if let Some(ended) = self.wait_timeout(Duration::from_secs(60 * 60)) {
                return ended;
            }
        }
    }

    /// Waits so long for the outcome; `None` if it is not known by then.
    pub fn wait_timeout(&self, limit: Duration) -> Option<Result<P, DialError>> {
        let until = Instant::now().checked_add(limit);
        let mut ended = self.0.lock();
        while ended.is_none() {
            let left = until.map_or(limit, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            let woken = self.0.changed.wait_timeout(ended, left);
            ended = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        ended.clone()
    }
}
