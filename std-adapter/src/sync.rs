//! The locks and threads of the blocking part of a session: those of the standard library, or shuttle's, which explores schedules.

#[cfg(not(feature = "shuttle"))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// The thread as the standard library has it; shuttle's joins its own.
#[cfg(not(feature = "shuttle"))]
pub(crate) fn joinable(thread: thread::JoinHandle<()>) -> Option<std::thread::JoinHandle<()>> {
    Some(thread)
}

#[cfg(feature = "shuttle")]
pub(crate) fn joinable(_: thread::JoinHandle<()>) -> Option<std::thread::JoinHandle<()>> {
    None
}

/// Locks. Code of the user never runs under a lock of this crate, so a poisoned one guards a whole state.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified, at most until `deadline`. May return without either.
pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> MutexGuard<'a, T> {
    match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
        None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(Duration::ZERO) => guard,
        Some(left) => {
            let woken = condvar.wait_timeout(guard, left);
            woken.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
