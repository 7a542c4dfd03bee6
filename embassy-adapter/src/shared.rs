//! The one session that runner and handles share.
//!
//! It sits in an async mutex that is only ever tried and never held across an await: on one executor it is always free, and
//! between executors whoever finds it taken is woken when it is released. Cryptography runs under it, but never in a critical
//! section.

use core::cell::{Cell, RefCell};
use core::task::{Context, Poll, Waker};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::session::{Event, Session};
use devp2p_core::time::{Instant, PollAt};
use devp2p_core::waiter::Waiter;
use embassy_sync::blocking_mutex::Mutex as BlockingMutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::mutex::{Mutex, MutexGuard};
use embassy_sync::signal::Signal;

use crate::event::{Channel, PeerEvent};
use crate::waiters::Waiters;

/// Tasks woken by one change before the lock is taken again for more.
const WAKES: usize = 4;
/// Tasks that wait through `Peer` at a time without waking each other.
pub(crate) const PEER_TASKS: usize = 4;

/// What handles ask for that cannot wait for the lock, such as those that are being dropped.
#[derive(Clone, Copy)]
pub(crate) struct Requests {
    /// Which session they are meant for; what is asked of an earlier one is ignored.
    epoch: u32,
    /// Bit `i`: subprotocol `i` returned.
    returned: u32,
    /// Bit `i`: subprotocol `i` went away from a write.
    abandoned: u32,
    failed: Option<(u8, DisconnectReason)>,
    disconnect: Option<DisconnectReason>,
    /// The runner's future was dropped.
    dropped: bool,
}

impl Requests {
    const fn none(epoch: u32) -> Self {
        Self {
            epoch,
            returned: 0,
            abandoned: 0,
            failed: None,
            disconnect: None,
            dropped: false,
        }
    }

    const fn is_empty(&self) -> bool {
        self.returned == 0
            && self.abandoned == 0
            && self.failed.is_none()
            && self.disconnect.is_none()
            && !self.dropped
    }
}

/// What was sent by one subprotocol.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) messages: u32,
    pub(crate) bytes: u64,
}

pub(crate) struct Inner<'a, const N: usize> {
    pub(crate) session: Session<'a, N>,
    /// Counts the sessions that began. A handle of an earlier one finds that its session is over.
    pub(crate) epoch: u32,
    /// Whether this one has become active.
    pub(crate) active: bool,
    /// Counts the sessions that became active.
    pub(crate) sessions: u32,
    /// Why the session before this one ended.
    pub(crate) ended: CloseReason,
    pub(crate) sent: [Sent; N],
    /// Where handles wait for a session to become active, and whether they are being told.
    pub(crate) starts: [Waiter; N],
    telling: bool,
    pub(crate) closed: Waiters<PEER_TASKS>,
    /// When the drive loop looks at the session next.
    driven_at: PollAt,
}

impl<const N: usize> Inner<'_, N> {
    fn next_wake(&mut self) -> Option<Waker> {
        if let Some(waker) = self.session.next_wake() {
            return Some(waker);
        }
        if self.telling {
            let waker = self.starts.iter_mut().find_map(Waiter::take);
            self.telling = waker.is_some();
            if waker.is_some() {
                return waker;
            }
        }
        match self.session.poll_closed(None) {
            Poll::Ready(_) => self.closed.take(),
            Poll::Pending => None,
        }
    }

    /// Lets the session proceed.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Event> {
        let event = self.session.poll(now);
        if event == Some(Event::Active) {
            self.active = true;
            self.telling = true;
            self.sessions = self.sessions.wrapping_add(1);
        }
        event
    }

    /// When it wants to proceed; the drive loop then sleeps until that.
    pub(crate) fn drive_at(&mut self) -> PollAt {
        self.driven_at = self.session.poll_at();
        self.driven_at
    }
}

pub(crate) struct Shared<'a, M: RawMutex, const N: usize> {
    inner: Mutex<M, Inner<'a, N>>,
    requests: BlockingMutex<M, Cell<Requests>>,
    /// Where tasks wait that found the session taken.
    contenders: BlockingMutex<M, RefCell<Contenders<N>>>,
    /// Wakes the runner's loops: something to do, to write, room to read into.
    pub(crate) drive: Signal<M, ()>,
    pub(crate) output: Signal<M, ()>,
    pub(crate) input: Signal<M, ()>,
    pub(crate) events: Channel<M>,
}

struct Contenders<const N: usize> {
    sessions: [Waiter; N],
    readers: [Waiter; N],
    writers: [Waiter; N],
    runner: Waiter,
    peers: Waiters<PEER_TASKS>,
}

impl<const N: usize> Contenders<N> {
    fn take(&mut self) -> Option<Waker> {
        let handles = self.sessions.iter_mut().chain(&mut self.readers);
        let mut all = handles.chain(&mut self.writers).chain([&mut self.runner]);
        all.find_map(Waiter::take).or_else(|| self.peers.take())
    }
}

/// Who tries the session, and so where it waits if it is taken.
#[derive(Clone, Copy)]
pub(crate) enum Who {
    Session(usize),
    Reader(usize),
    Writer(usize),
    /// The runner's loops.
    Runner,
    Peer,
}

type Locked<'s, 'a, M, const N: usize> = MutexGuard<'s, M, Inner<'a, N>>;

impl<'a, M: RawMutex, const N: usize> Shared<'a, M, N> {
    pub(crate) const fn new(session: Session<'a, N>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                session,
                epoch: 0,
                active: false,
                sessions: 0,
                ended: CloseReason::Transport(TransportError::EndOfStream),
                sent: [Sent {
                    messages: 0,
                    bytes: 0,
                }; N],
                starts: [const { Waiter::new() }; N],
                telling: false,
                closed: Waiters::new(),
                driven_at: PollAt::Idle,
            }),
            requests: BlockingMutex::new(Cell::new(Requests::none(0))),
            contenders: BlockingMutex::new(RefCell::new(Contenders {
                sessions: [const { Waiter::new() }; N],
                readers: [const { Waiter::new() }; N],
                writers: [const { Waiter::new() }; N],
                runner: Waiter::new(),
                peers: Waiters::new(),
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
        self.run(inner, |inner, now| f(inner, now, cx))
    }

    /// Runs `f` on the session if it is free.
    pub(crate) fn try_with<R>(&self, f: impl FnOnce(&mut Inner<'a, N>, Instant) -> R) -> Option<R> {
        let inner = self.inner.try_lock().ok()?;
        Some(self.run(inner, f))
    }

    /// Begins a session in place of the one before, whose handles must have been woken.
    pub(crate) fn begin(&self, inner: &mut Inner<'a, N>) {
        if let Poll::Ready(reason) = inner.session.poll_closed(None) {
            inner.ended = reason;
        }
        inner.epoch = inner.epoch.wrapping_add(1);
        inner.active = false;
        inner.telling = false;
        let none = Requests::none(inner.epoch);
        self.requests.lock(|cell| cell.set(none));
    }

    fn run<R>(
        &self,
        mut inner: Locked<'_, 'a, M, N>,
        f: impl FnOnce(&mut Inner<'a, N>, Instant) -> R,
    ) -> R {
        let now = now();
        self.apply_requests(&mut inner, now);
        let result = f(&mut inner, now);
        self.settle(inner);
        result
    }

    /// Releases the session, then wakes and signals what the change asks for. Whoever asked for something while the session
    /// was taken does not wait: that is done here.
    fn settle<'s>(&'s self, mut inner: Locked<'s, 'a, M, N>) {
        loop {
            self.apply_requests(&mut inner, now());
            let at = inner.session.poll_at();
            let drives = at != inner.driven_at && at.min(inner.driven_at) == at;
            let sends = !inner.session.output().is_empty();
            let reads = inner.session.wants_input();
            let mut wakes: heapless::Vec<Waker, WAKES> = heapless::Vec::new();
            while !wakes.is_full()
                && let Some(waker) = inner.next_wake()
            {
                let _ = wakes.push(waker);
            }
            drop(inner);
            let more = wakes.is_full();
            wakes.into_iter().for_each(Waker::wake);
            for (signals, signal) in [
                (drives, &self.drive),
                (sends, &self.output),
                (reads, &self.input),
            ] {
                if signals {
                    signal.signal(());
                }
            }
            if !more && self.requests.lock(|cell| cell.get().is_empty()) {
                break;
            }
            // Whoever has taken the session in between settles too when it is done.
            match self.inner.try_lock() {
                Ok(again) => inner = again,
                Err(_) => break,
            }
        }
        while let Some(waker) = self.contenders.lock(|all| all.borrow_mut().take()) {
            waker.wake();
        }
    }

    fn apply_requests(&self, inner: &mut Inner<'a, N>, now: Instant) {
        let requests = self
            .requests
            .lock(|cell| cell.replace(Requests::none(cell.get().epoch)));
        if requests.is_empty() {
            return;
        }
        // A writer that went away inside a frame is the first cause: nothing can be said after it.
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
        if requests.dropped {
            inner.session.handle_end(now, TransportError::Io);
            // In place of the drive loop, which is gone.
            while let Some(event) = inner.poll(now) {
                if let Event::Closed(reason) = event {
                    self.tell(PeerEvent::Dropped(reason));
                }
            }
            inner.drive_at();
        }
    }

    /// Asks the session of `epoch`, or with `None` the one that lives, for something. Done before this returns, unless the
    /// session is taken: then whoever has it does it.
    fn request(&self, epoch: Option<u32>, f: impl FnOnce(&mut Requests)) {
        self.requests.lock(|cell| {
            let mut requests = cell.get();
            if epoch.is_none_or(|epoch| epoch == requests.epoch) {
                f(&mut requests);
                cell.set(requests);
            }
        });
        self.try_with(|_, _| ());
    }

    pub(crate) fn request_return(&self, epoch: u32, subprotocol: usize) {
        self.request(Some(epoch), |r| r.returned |= 1 << subprotocol);
    }

    pub(crate) fn request_fail(&self, epoch: u32, subprotocol: usize, reason: DisconnectReason) {
        self.request(Some(epoch), |r| {
            r.failed.get_or_insert((subprotocol as u8, reason));
        });
    }

    pub(crate) fn request_abandon(&self, epoch: u32, subprotocol: usize) {
        self.request(Some(epoch), |r| r.abandoned |= 1 << subprotocol);
    }

    pub(crate) fn request_disconnect(&self, reason: DisconnectReason) {
        self.request(None, |r| {
            r.disconnect.get_or_insert(reason);
        });
    }

    pub(crate) fn request_drop(&self) {
        self.request(None, |r| r.dropped = true);
    }

    /// Tells an event.
    pub(crate) fn tell(&self, event: PeerEvent) {
        self.events.immediate_publisher().publish_immediate(event);
    }

    fn wait(&self, who: Who, cx: &mut Context<'_>) {
        let evicted = self.contenders.lock(|contenders| {
            let mut contenders = contenders.borrow_mut();
            let waiter = match who {
                Who::Session(i) => contenders.sessions.get_mut(i),
                Who::Reader(i) => contenders.readers.get_mut(i),
                Who::Writer(i) => contenders.writers.get_mut(i),
                Who::Runner => Some(&mut contenders.runner),
                Who::Peer => return contenders.peers.register(cx),
            };
            if let Some(waiter) = waiter {
                waiter.register(Some(cx));
            }
            None
        });
        if let Some(waker) = evicted {
            waker.wake();
        }
    }
}

/// Embassy's clock as the core counts time.
pub(crate) fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}

/// The first tick of Embassy's clock that is not before `at`; `None` if it has none.
pub(crate) fn tick(at: Instant) -> Option<embassy_time::Instant> {
    let tick = embassy_time::Instant::try_from_micros(at.as_micros())?;
    let early = tick.as_micros() < at.as_micros();
    tick.checked_add(embassy_time::Duration::from_ticks(early.into()))
}
