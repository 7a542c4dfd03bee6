//! One subprotocol writes at a time: who waits, who holds the token, whose turn is next.

use core::task::{Context, Poll, Waker};

use crate::MAX_PROTOCOLS;
use crate::waiter::Waiter;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Holder {
    Nobody,
    /// Granted: not a byte of its frame is sealed.
    Granted(u8),
    /// Writing: a part of its frame is sealed.
    Writing(u8),
}

/// Arbitrates writing among up to `N` subprotocols, round robin: between two grants to one waiting subprotocol, every other
/// waiting one is served.
///
/// Drive it so: [`poll_acquire`](Self::poll_acquire) until it is ready; [`begin`](Self::begin) before the first byte is sealed;
/// then [`complete`](Self::complete), or [`give_back`](Self::give_back) if the writer goes away. After each, and whenever the
/// control lane is empty again, [`grant`](Self::grant) passes the token on.
#[derive(Debug)]
pub struct WriteToken<const N: usize> {
    holder: Holder,
    /// Bit `i`: subprotocol `i` waits.
    waiting: u32,
    /// Who was served last.
    last: u8,
    retired: bool,
    waiters: [Waiter; N],
}

/// What a writer that goes away left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenBack {
    /// Nothing: it held no token, or had sealed nothing.
    Clean,
    /// A part of a frame: nothing can follow it on the wire.
    InsideFrame,
}

impl<const N: usize> Default for WriteToken<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> WriteToken<N> {
    /// A free token.
    pub const fn new() -> Self {
        const { assert!(N <= MAX_PROTOCOLS, "at most 32 subprotocols") };
        Self {
            holder: Holder::Nobody,
            waiting: 0,
            last: 0,
            retired: false,
            waiters: [const { Waiter::new() }; N],
        }
    }

    /// Asks for the token and answers whether it is `subprotocol`'s now. `lane_is_free` is false while a control message
    /// wants to go first. `None` once the token is retired.
    pub fn poll_acquire(
        &mut self,
        subprotocol: usize,
        lane_is_free: bool,
        cx: Option<&mut Context<'_>>,
    ) -> Option<Poll<()>> {
        if subprotocol >= N || self.retired {
            return None;
        }
        // One that is writing asks for its next frame, or in the name of another task: that waits for the end of this one.
        if self.holder == Holder::Granted(subprotocol as u8) {
            return Some(Poll::Ready(()));
        }
        self.waiting |= 1 << subprotocol;
        if lane_is_free && self.holder == Holder::Nobody {
            // Those who wait already come first; their wakers are called when they are granted, so here only an empty
            // queue makes the asker the holder.
            if self.waiting == 1 << subprotocol {
                self.give(subprotocol as u8);
                return Some(Poll::Ready(()));
            }
        }
        if let Some(waiter) = self.waiters.get_mut(subprotocol) {
            waiter.register(cx);
        }
        Some(Poll::Pending)
    }

    /// Passes a free token to whoever waits next; returns the task to wake once every lock is released.
    #[must_use = "the task waits until its waker is called"]
    pub fn grant(&mut self) -> Option<Waker> {
        if self.holder != Holder::Nobody || self.waiting == 0 || self.retired {
            return None;
        }
        let after = self.waiting & (!1 << self.last);
        let next = if after != 0 { after } else { self.waiting }.trailing_zeros();
        self.give(next as u8);
        self.waiters.get_mut(next as usize).and_then(Waiter::take)
    }

    /// The holder seals its first byte.
    pub fn begin(&mut self, subprotocol: usize) {
        if self.holder == Holder::Granted(subprotocol as u8) {
            self.holder = Holder::Writing(subprotocol as u8);
        }
    }

    /// The holder's frame is whole: the token is free.
    pub fn complete(&mut self, subprotocol: usize) {
        if self.is_held_by(subprotocol) {
            self.holder = Holder::Nobody;
        }
    }

    /// `subprotocol` waits no longer, or drops the token it holds.
    pub fn give_back(&mut self, subprotocol: usize) -> GivenBack {
        self.stop_waiting(subprotocol);
        match self.holder {
            Holder::Granted(holder) if usize::from(holder) == subprotocol => {
                self.holder = Holder::Nobody;
                GivenBack::Clean
            }
            Holder::Writing(holder) if usize::from(holder) == subprotocol => GivenBack::InsideFrame,
            _ => GivenBack::Clean,
        }
    }

    /// `subprotocol` waits no longer, but what it is writing goes on.
    pub fn stop_waiting(&mut self, subprotocol: usize) {
        if let Some(waiter) = self.waiters.get_mut(subprotocol) {
            self.waiting &= !(1 << subprotocol);
            drop(waiter.take());
        }
    }

    /// Whether a frame of `subprotocol` is partly sealed.
    pub fn is_writing(&self, subprotocol: usize) -> bool {
        matches!(self.holder, Holder::Writing(h) if usize::from(h) == subprotocol)
    }

    /// No new write begins; a frame in progress may still be completed. Returns one waiting task; call until `None`.
    #[must_use = "the task waits until its waker is called"]
    pub fn retire(&mut self) -> Option<Waker> {
        if !self.is_inside_frame() {
            self.holder = Holder::Nobody;
        }
        self.retired = true;
        self.waiting = 0;
        self.waiters.iter_mut().find_map(Waiter::take)
    }

    /// Whether a frame is partly sealed.
    pub fn is_inside_frame(&self) -> bool {
        matches!(self.holder, Holder::Writing(_))
    }

    /// Whether nobody holds the token and nobody waits for it.
    pub fn is_free(&self) -> bool {
        self.holder == Holder::Nobody && self.waiting == 0
    }

    /// Whether `subprotocol` holds the token.
    pub fn is_held_by(&self, subprotocol: usize) -> bool {
        matches!(self.holder, Holder::Granted(h) | Holder::Writing(h) if usize::from(h) == subprotocol)
    }

    fn give(&mut self, subprotocol: u8) {
        self.holder = Holder::Granted(subprotocol);
        self.waiting &= !(1 << subprotocol);
        self.last = subprotocol;
    }
}
