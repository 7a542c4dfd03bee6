use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::task::{Wake, Waker};
use std::thread;

use devp2p_std::memory::{MemoryCap, Reservation};

/// Counts its wakes and, as a session would, uses the cap while it is woken.
struct Waiter {
    cap: Arc<MemoryCap>,
    wakes: AtomicUsize,
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, SeqCst);
        self.cap.unregister(Waker::noop());
        assert!(self.cap.try_reserve(1));
        self.cap.release(1);
    }
}

fn waiter(cap: &Arc<MemoryCap>) -> (Arc<Waiter>, Waker) {
    let waiter = Arc::new(Waiter {
        cap: Arc::clone(cap),
        wakes: AtomicUsize::new(0),
    });
    (Arc::clone(&waiter), waiter.into())
}

#[test]
fn what_is_reserved_never_exceeds_the_limit() {
    let cap = MemoryCap::new(10);
    assert!(cap.try_reserve(0));
    assert!(cap.try_reserve(4));
    assert!(cap.try_reserve(6));
    assert!(cap.try_reserve(0));
    assert!(!cap.try_reserve(1));
    assert!(!cap.try_reserve(usize::MAX));
    assert_eq!((cap.used(), cap.limit()), (10, 10));
    cap.release(3);
    assert!(!cap.try_reserve(4));
    assert!(cap.try_reserve(3));
}

#[test]
fn a_reservation_grows_shrinks_and_gives_back_on_drop() {
    let cap = Arc::new(MemoryCap::new(10));
    assert!(cap.reserve(11).is_none());
    let mut held = cap.reserve(4).unwrap();
    assert!(held.grow(6));
    assert!(!held.grow(1));
    assert_eq!((held.bytes(), cap.used()), (10, 10));
    held.shrink(7);
    assert_eq!((held.bytes(), cap.used()), (3, 3));
    held.shrink(100);
    assert_eq!((held.bytes(), cap.used()), (0, 0));
    assert!(held.grow(5));
    let other = Reservation::empty(Arc::clone(&cap));
    drop(held);
    drop(other);
    assert_eq!(cap.used(), 0);
}

#[test]
fn a_release_wakes_each_waiter_once() {
    let cap = Arc::new(MemoryCap::new(10));
    let (waiting, waker) = waiter(&cap);
    let (other, other_waker) = waiter(&cap);
    assert!(cap.try_reserve(10));
    for _ in 0..3 {
        cap.register(&waker);
        cap.register(&other_waker);
    }
    cap.release(0);
    assert_eq!(waiting.wakes.load(SeqCst), 0, "nothing was released");
    cap.release(1);
    cap.release(1);
    assert_eq!(waiting.wakes.load(SeqCst), 1);
    assert_eq!(other.wakes.load(SeqCst), 1);
}

#[test]
fn who_stopped_waiting_is_not_woken() {
    let cap = Arc::new(MemoryCap::new(10));
    let (waiting, waker) = waiter(&cap);
    let (other, other_waker) = waiter(&cap);
    assert!(cap.try_reserve(10));
    cap.register(&waker);
    cap.register(&other_waker);
    cap.unregister(&waker);
    cap.release(10);
    assert_eq!(waiting.wakes.load(SeqCst), 0);
    assert_eq!(other.wakes.load(SeqCst), 1);
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// More threads than fit take, wait for and release memory. Every one gets its turns, which a lost wake would prevent, and
/// what they hold together, counted apart, stays under the limit.
#[test]
fn the_limit_holds_and_no_wake_is_lost_between_threads() {
    const LIMIT: usize = 100;
    let cap = Arc::new(MemoryCap::new(LIMIT));
    let held = AtomicUsize::new(0);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (cap, held, start) = (&cap, &held, &start);
            scope.spawn(move || {
                let waker = Waker::from(Arc::new(Unpark(thread::current())));
                start.wait();
                for round in 0..2_000 {
                    let bytes = 40 + (worker * 7 + round) % 60;
                    let reservation = loop {
                        if let Some(taken) = cap.reserve(bytes) {
                            break taken;
                        }
                        cap.register(&waker);
                        if let Some(taken) = cap.reserve(bytes) {
                            break taken;
                        }
                        thread::park();
                    };
                    let together = held.fetch_add(bytes, SeqCst) + bytes;
                    assert!(together <= LIMIT, "{together} bytes held");
                    assert!(cap.used() <= LIMIT);
                    held.fetch_sub(bytes, SeqCst);
                    drop(reservation);
                }
            });
        }
    });
    assert_eq!(cap.used(), 0);
}
