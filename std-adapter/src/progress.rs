//! What any number of threads may wait for: bytes that the wire took, and the end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use devp2p_core::error::CloseReason;

#[derive(Debug, Default)]
struct State {
    taken: u64,
    closed: Option<CloseReason>,
    waiting: usize,
}

/// How far one session has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

impl Progress {
    /// The wire took `bytes` more.
    pub(crate) fn on_taken(&self, bytes: usize) {
        self.update(|state| state.taken = state.taken.saturating_add(bytes as u64));
    }

    /// The session is closed.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.update(|state| {
            state.closed.get_or_insert(reason);
        });
    }

    /// Waits until the wire took `bytes` in all.
    pub(crate) fn wait_taken(&self, bytes: u64) -> Result<(), CloseReason> {
        self.wait(|state| match state.closed {
            _ if state.taken >= bytes => Some(Ok(())),
            closed => closed.map(Err),
        })
    }

    /// Waits until the session is closed.
    pub(crate) fn wait_closed(&self) -> CloseReason {
        self.wait(|state| state.closed)
    }

    fn update(&self, f: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        f(&mut state);
        let awaited = state.waiting > 0;
        drop(state);
        if awaited {
            self.changed.notify_all();
        }
    }

    fn wait<R>(&self, done: impl Fn(&State) -> Option<R>) -> R {
        let mut state = self.lock();
        state.waiting += 1;
        loop {
            if let Some(result) = done(&state) {
                state.waiting -= 1;
                return result;
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
