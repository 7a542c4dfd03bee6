//! Where several tasks wait for the same thing.

use core::task::{Context, Waker};

/// Up to `K` tasks. One more takes the place of another, which is given back to be woken: it asks again.
pub(crate) struct Waiters<const K: usize>([Option<Waker>; K]);

impl<const K: usize> Waiters<K> {
    pub(crate) const fn new() -> Self {
        Self([const { None }; K])
    }

    #[must_use = "the task waits until its waker is called"]
    pub(crate) fn register(&mut self, cx: &mut Context<'_>) -> Option<Waker> {
        let waker = cx.waker();
        if self.0.iter().flatten().any(|w| w.will_wake(waker)) {
            return None;
        }
        match self.0.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(waker.clone()),
            // The oldest goes, so that all get their turn.
            None => {
                self.0.rotate_left(1);
                return self.0.last_mut().and_then(|w| w.replace(waker.clone()));
            }
        }
        None
    }

    #[must_use = "the task waits until its waker is called"]
    pub(crate) fn take(&mut self) -> Option<Waker> {
        self.0.iter_mut().find_map(Option::take)
    }
}
