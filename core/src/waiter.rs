//! One place for one waiting task, and the one blocking semantics that every adapter shares.

use core::task::{Context, Poll, Waker};

use crate::error::CloseReason;

/// Where one task waits. Two tasks that share a `Waiter` would take each other's place, so each wait has its own.
#[derive(Debug, Default)]
pub struct Waiter(Option<Waker>);

impl Waiter {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Waits with the task of `cx`; without one, nothing is registered and the caller polls again by itself.
    pub fn register(&mut self, cx: Option<&mut Context<'_>>) {
        if let Some(cx) = cx {
            match &self.0 {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => self.0 = Some(cx.waker().clone()),
            }
        }
    }

    /// Takes the waiting task, to be woken once every lock is released.
    #[must_use = "the task waits until its waker is called"]
    pub fn take(&mut self) -> Option<Waker> {
        self.0.take()
    }
}

/// What a read or a wait answers: what there is, else why there will be nothing more, else wait.
///
/// What was delivered before the close can still be read after it.
pub fn poll_take<T>(
    item: Option<T>,
    closed: Option<CloseReason>,
    waiter: &mut Waiter,
    cx: Option<&mut Context<'_>>,
) -> Poll<Result<T, CloseReason>> {
    match (item, closed) {
        (Some(item), _) => Poll::Ready(Ok(item)),
        (None, Some(reason)) => Poll::Ready(Err(reason)),
        (None, None) => {
            waiter.register(cx);
            Poll::Pending
        }
    }
}
