//! The one session that runner and handles share.
//!
//! It sits in an async mutex that is only ever tried and never held across an await: on one executor it is always free, and
//! between executors whoever finds it taken is woken when it is released. Cryptography runs under it, but never in a critical
//! section.

use core::cell::{Cell, RefCell};
use core::task::{Context, Poll, Waker};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::session::Session;
use devp2p_core::time::{Instant, PollAt};
use devp2p_core::waiter::Waiter;
use embassy_sync::blocking_mutex::Mutex as BlockingMutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::mutex::{Mutex, MutexGuard};
use embassy_sync::signal::Signal;

use crate::event::PeerEvent;

/// Events that wait to be taken; when one more comes the oldest is lost, so the last one always has room.
const EVENTS: usize = 4;
/// Tasks woken by one change before the lock is taken again for more.
const WAKES: usize = 8;

/// What dropped handles ask for: they cannot wait for the lock.
#[derive(Clone, Copy, Default)]
struct Requests {
    /// Bit `i`: subprotocol `i` returned.
    returned: u32,
    /// Bit `i`: subprotocol `i` went away from a write.
    abandoned: u32,
    failed: Option<(u8, DisconnectReason)>,
    disconnect: Option<DisconnectReason>,
}

pub(crate) struct Inner<'a, const N: usize> {
    pub(crate) session: Session<'a, N>,
    /// Counts the sessions that became active.
    pub(crate) generation: u32,
    /// Where handles wait for a session to become active.
    pub(crate) starts: [Waiter; N],
    /// Why the last session ended.
    pub(crate) ended: CloseReason,
    /// When the drive loop looks at the session next.
    driven_at: PollAt,
}

pub(crate) struct Shared<'a, M: RawMutex, const N: usize> {
    inner: Mutex<M, Inner<'a, N>>,
    requests: BlockingMutex<M, Cell<Requests>>,
    /// Where tasks wait that found the session taken: two for each subprotocol, the runner, and the peer handle.
    contenders: BlockingMutex<M, RefCell<Contenders<N>>>,
    /// Wakes the runner's loops: something to do, to write, room to read into.
    pub(crate) drive: Signal<M, ()>,
    pub(crate) output: Signal<M, ()>,
    pub(crate) input: Signal<M, ()>,
    pub(crate) events: Channel<M, PeerEvent, EVENTS>,
}

struct Contenders<const N: usize> {
    readers: [Waiter; N],
    writers: [Waiter; N],
    others: [Waiter; 2],
}

/// Who tries the session, and so where it waits if it is taken.
#[derive(Clone, Copy)]
pub(crate) enum Who {
    Reader(usize),
    Writer(usize),
    /// The runner's loops over the transport.
    Runner,
    /// The runner's loop over the session itself.
    Drive,
    Peer,
}

impl<'a, M: RawMutex, const N: usize> Shared<'a, M, N> {
    pub(crate) const fn new(session: Session<'a, N>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                session,
                generation: 0,
                starts: [const { Waiter::new() }; N],
                ended: CloseReason::Local(DisconnectReason::REQUESTED),
                driven_at: PollAt::Idle,
            }),
            requests: BlockingMutex::new(Cell::new(Requests {
                returned: 0,
                abandoned: 0,
                failed: None,
                disconnect: None,
            })),
            contenders: BlockingMutex::new(RefCell::new(Contenders {
                readers: [const { Waiter::new() }; N],
                writers: [const { Waiter::new() }; N],
                others: [const { Waiter::new() }; 2],
            })),
            drive: Signal::new(),
            output: Signal::new(),
            input: Signal::new(),
            events: Channel::new(),
        }
    }

    /// Runs `f` on the session if it is free, else waits. After it, wakes and signals what the change asks for.
    pub(crate) fn poll_with<R>(
        &self,
        who: Who,
        cx: &mut Context<'_>,
        f: impl FnOnce(&mut Inner<'a, N>, Instant, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(_) => {
                self.wait(who, cx);
                // It may have been released before we were registered.
                match self.inner.try_lock() {
                    Ok(inner) => inner,
                    Err(_) => return Poll::Pending,
                }
            }
        };
        self.run(who, inner, |inner, now| f(inner, now, cx))
    }

    /// Runs `f` on the session if it is free.
    pub(crate) fn try_with<R>(&self, f: impl FnOnce(&mut Inner<'a, N>, Instant) -> R) -> Option<R> {
        let inner = self.inner.try_lock().ok()?;
        Some(self.run(Who::Peer, inner, f))
    }

    fn run<R>(
        &self,
        who: Who,
        mut inner: MutexGuard<'_, M, Inner<'a, N>>,
        f: impl FnOnce(&mut Inner<'a, N>, Instant) -> R,
    ) -> R {
        let now = now();
        self.apply_requests(&mut inner, now);
        let result = f(&mut inner, now);
        let at = inner.session.poll_at();
        let drives = match who {
            // The drive loop looks at the deadline itself.
            Who::Drive => {
                inner.driven_at = at;
                false
            }
            _ => at != inner.driven_at && at.min(inner.driven_at) == at,
        };
        let sends = !inner.session.output().is_empty();
        let reads = inner.session.wants_input();
        self.wake_all(inner);
        if drives {
            self.drive.signal(());
        }
        if sends {
            self.output.signal(());
        }
        if reads {
            self.input.signal(());
        }
        self.wake_contenders();
        result
    }

    /// Wakes every task whose turn has come, with the session released.
    fn wake_all<'b>(&'b self, mut inner: MutexGuard<'b, M, Inner<'a, N>>) {
        loop {
            let mut wakes: heapless::Vec<Waker, WAKES> = heapless::Vec::new();
            while !wakes.is_full()
                && let Some(waker) = inner.session.next_wake()
            {
                let _ = wakes.push(waker);
            }
            drop(inner);
            let more = wakes.is_full();
            wakes.into_iter().for_each(Waker::wake);
            // Whoever has taken the session in between wakes the others when it is done.
            match self.inner.try_lock() {
                Ok(again) if more => inner = again,
                _ => return,
            }
        }
    }

    fn apply_requests(&self, inner: &mut Inner<'a, N>, now: Instant) {
        let requests = self.requests.lock(Cell::take);
        for subprotocol in 0..N {
            if requests.abandoned & (1 << subprotocol) != 0 {
                inner.session.give_back(now, subprotocol);
            }
        }
        if let Some((subprotocol, reason)) = requests.failed {
            let cause = CloseReason::ProtocolError {
                subprotocol,
                reason,
            };
            inner.session.close(now, cause);
        }
        if requests.returned != 0 {
            let subprotocol = requests.returned.trailing_zeros() as u8;
            let cause = CloseReason::ProtocolReturned { subprotocol };
            inner.session.close(now, cause);
        }
        if let Some(reason) = requests.disconnect {
            inner.session.close(now, CloseReason::Local(reason));
        }
    }

    fn request(&self, f: impl FnOnce(&mut Requests)) {
        self.requests.lock(|cell| {
            let mut requests = cell.get();
            f(&mut requests);
            cell.set(requests);
        });
        self.drive.signal(());
    }

    pub(crate) fn request_return(&self, subprotocol: usize) {
        self.request(|requests| requests.returned |= 1 << subprotocol);
    }

    pub(crate) fn request_fail(&self, subprotocol: usize, reason: DisconnectReason) {
        self.request(|requests| {
            requests.failed.get_or_insert((subprotocol as u8, reason));
        });
    }

    pub(crate) fn request_abandon(&self, subprotocol: usize) {
        self.request(|requests| requests.abandoned |= 1 << subprotocol);
    }

    pub(crate) fn request_disconnect(&self, reason: DisconnectReason) {
        self.request(|requests| {
            requests.disconnect.get_or_insert(reason);
        });
    }

    /// Tells an event; the oldest is lost if none was taken for long.
    pub(crate) fn tell(&self, event: PeerEvent) {
        while self.events.try_send(event).is_err() {
            let _ = self.events.try_receive();
        }
    }

    fn wait(&self, who: Who, cx: &mut Context<'_>) {
        self.contenders.lock(|contenders| {
            let mut contenders = contenders.borrow_mut();
            let waiter = match who {
                Who::Reader(i) => contenders.readers.get_mut(i),
                Who::Writer(i) => contenders.writers.get_mut(i),
                Who::Runner | Who::Drive => contenders.others.first_mut(),
                Who::Peer => contenders.others.last_mut(),
            };
            if let Some(waiter) = waiter {
                waiter.register(Some(cx));
            }
        });
    }

    fn wake_contenders(&self) {
        loop {
            let waker = self.contenders.lock(|contenders| {
                let Contenders {
                    readers,
                    writers,
                    others,
                } = &mut *contenders.borrow_mut();
                let mut all = readers.iter_mut().chain(writers).chain(others);
                all.find_map(Waiter::take)
            });
            match waker {
                Some(waker) => waker.wake(),
                None => return,
            }
        }
    }
}

/// Embassy's clock as the core counts time.
pub(crate) fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}
