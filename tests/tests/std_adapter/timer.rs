use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};

use devp2p_core::time::{Duration, Instant, PollAt};
use devp2p_std::time::Clock;
use devp2p_std::timer::{Target, Timekeeper, TimerId};

/// Calls a closure with the number of the call.
struct Call<F>(F, AtomicUsize);

impl<F: Fn(usize, Instant) -> PollAt + Send + Sync> Target for Call<F> {
    fn on_timer(&self, now: Instant) -> PollAt {
        (self.0)(self.1.fetch_add(1, SeqCst), now)
    }
}

fn call<F: Fn(usize, Instant) -> PollAt + Send + Sync + 'static>(f: F) -> Arc<dyn Target> {
    Arc::new(Call(f, AtomicUsize::new(0)))
}

fn keeper() -> (Arc<Timekeeper>, Clock) {
    let clock = Clock::new();
    (Arc::new(Timekeeper::start(clock).unwrap()), clock)
}

/// A target that reports each call, then has no deadline.
fn reporter(keeper: &Timekeeper) -> (TimerId, Receiver<usize>) {
    let (sender, receiver) = channel();
    let id = keeper.register(call(move |n, _| {
        let _ = sender.send(n);
        PollAt::Idle
    }));
    (id, receiver)
}

#[test]
fn a_target_is_called_when_its_deadline_has_come_and_only_then() {
    let (keeper, clock) = keeper();
    let (sender, calls) = channel();
    let id = keeper.register(call(move |_, now| {
        sender.send(now).unwrap();
        PollAt::Idle
    }));
    for at in [
        PollAt::Now,
        PollAt::At(Instant::ZERO),
        PollAt::At(clock.now().saturating_add(Duration::from_micros(500))),
    ] {
        keeper.set(&id, at);
        assert!(at.is_due(calls.recv().unwrap()));
    }
    drop(keeper);
    assert!(calls.try_recv().is_err(), "no call without a deadline");
}

#[test]
fn what_a_call_returns_is_the_next_deadline() {
    let (keeper, clock) = keeper();
    let (sender, calls) = channel();
    let id = keeper.register(call(move |n, _| {
        sender.send(n).unwrap();
        match n {
            0..=2 => PollAt::Now,
            3 => PollAt::At(clock.now()),
            _ => PollAt::Idle,
        }
    }));
    keeper.set(&id, PollAt::Now);
    for n in 0..=4 {
        assert_eq!(calls.recv().unwrap(), n);
    }
    keeper.set(&id, PollAt::Now);
    assert_eq!(calls.recv().unwrap(), 5);
}

#[test]
fn an_earlier_deadline_wakes_a_thread_that_sleeps_for_a_later_one() {
    let (keeper, clock) = keeper();
    let (far, far_calls) = reporter(&keeper);
    let (near, near_calls) = reporter(&keeper);
    let hour = clock.now().saturating_add(Duration::from_secs(3_600));
    keeper.set(&far, PollAt::At(hour));
    keeper.set(&near, PollAt::Now);
    near_calls.recv().unwrap();
    keeper.set(&near, PollAt::At(Instant::MAX));
    keeper.set(&far, PollAt::Now);
    far_calls.recv().unwrap();
}

#[test]
fn a_target_that_always_has_work_does_not_starve_others() {
    let (keeper, _) = keeper();
    let busy_calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&busy_calls);
    let busy = keeper.register(call(move |n, _| {
        count.store(n, SeqCst);
        PollAt::Now
    }));
    let (other, other_calls) = reporter(&keeper);
    keeper.set(&busy, PollAt::Now);
    for n in 0..100 {
        keeper.set(&other, PollAt::Now);
        assert_eq!(other_calls.recv().unwrap(), n);
    }
    keeper.unregister(&busy);
    let called = busy_calls.load(SeqCst);
    keeper.set(&other, PollAt::Now);
    other_calls.recv().unwrap();
    assert_eq!(busy_calls.load(SeqCst), called, "unregistered, so at rest");
}

#[test]
fn targets_may_use_the_timekeeper_while_they_are_called() {
    let (keeper, _) = keeper();
    let (sender, calls) = channel();
    let (other, other_calls) = reporter(&keeper);
    let weak = Arc::downgrade(&keeper);
    let own: Arc<OnceLock<TimerId>> = Arc::default();
    let own_id = Arc::clone(&own);
    let id = keeper.register(call(move |n, _| {
        let keeper = weak.upgrade().unwrap();
        let own = own_id.get().unwrap();
        match n {
            0 => keeper.set(own, PollAt::Now),
            1 => keeper.set(&other, PollAt::Now),
            _ => keeper.unregister(own),
        }
        sender.send(n).unwrap();
        PollAt::Now
    }));
    own.set(id.clone()).unwrap();
    keeper.set(&id, PollAt::Now);
    other_calls.recv().unwrap();
    for n in 0..=2 {
        assert_eq!(calls.recv().unwrap(), n);
    }
    assert!(
        calls.recv().is_err(),
        "the target was dropped after its last call"
    );
}

/// Holds each call until it is told to go on.
fn held(keeper: &Timekeeper) -> (TimerId, Receiver<()>, Sender<()>, Arc<AtomicBool>) {
    let (entered, entering) = channel();
    let (go_on, going_on) = channel::<()>();
    let going_on = Mutex::new(going_on);
    let running = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&running);
    let id = keeper.register(call(move |_, _| {
        flag.store(true, SeqCst);
        entered.send(()).unwrap();
        let _ = going_on.lock().unwrap().recv();
        flag.store(false, SeqCst);
        PollAt::Now
    }));
    (id, entering, go_on, running)
}

#[test]
fn unregister_waits_for_the_call_in_progress() {
    let (keeper, _) = keeper();
    for _ in 0..100 {
        let (id, entering, go_on, running) = held(&keeper);
        keeper.set(&id, PollAt::Now);
        entering.recv().unwrap();
        std::thread::scope(|scope| {
            let unregister = scope.spawn(|| {
                keeper.unregister(&id);
                running.load(SeqCst)
            });
            go_on.send(()).unwrap();
            // Were it called a second time, it would find nobody to let it go on.
            drop(go_on);
            assert!(
                !unregister.join().unwrap(),
                "returned while the target was running"
            );
        });
        keeper.set(&id, PollAt::Now);
    }
}

#[test]
fn a_deadline_set_during_a_call_is_kept() {
    let (keeper, _) = keeper();
    let (entered, entering) = channel();
    let (go_on, going_on) = channel::<()>();
    let going_on = Mutex::new(going_on);
    let id = keeper.register(call(move |n, _| {
        entered.send(n).unwrap();
        going_on.lock().unwrap().recv().unwrap();
        PollAt::Idle
    }));
    keeper.set(&id, PollAt::Now);
    assert_eq!(entering.recv().unwrap(), 0);
    keeper.set(&id, PollAt::Now);
    go_on.send(()).unwrap();
    assert_eq!(entering.recv().unwrap(), 1);
    go_on.send(()).unwrap();
}

#[test]
fn a_target_that_panics_leaves_the_others_their_deadlines() {
    let (keeper, _) = keeper();
    let broken = keeper.register(call(|_, _| std::panic::resume_unwind(Box::new("broken"))));
    let (other, calls) = reporter(&keeper);
    keeper.set(&broken, PollAt::Now);
    keeper.set(&other, PollAt::Now);
    calls.recv().unwrap();
    keeper.unregister(&broken);
    keeper.set(&other, PollAt::Now);
    calls.recv().unwrap();
}

#[test]
fn dropping_the_timekeeper_drops_its_targets_and_ends_its_thread() {
    let (keeper, clock) = keeper();
    let (id, calls) = reporter(&keeper);
    keeper.set(
        &id,
        PollAt::At(clock.now().saturating_add(Duration::from_secs(3_600))),
    );
    drop(keeper);
    assert!(calls.recv().is_err());
}

#[test]
fn the_last_owner_of_the_timekeeper_may_be_a_target() {
    let (keeper, _) = keeper();
    let (sender, calls) = channel();
    let owned = Mutex::new(Some(Arc::clone(&keeper)));
    let (go_on, going_on) = channel::<()>();
    let going_on = Mutex::new(going_on);
    let id = keeper.register(call(move |_, _| {
        going_on.lock().unwrap().recv().unwrap();
        drop(owned.lock().unwrap().take());
        let _ = sender.send(());
        PollAt::Now
    }));
    keeper.set(&id, PollAt::Now);
    drop(keeper);
    go_on.send(()).unwrap();
    calls.recv().unwrap();
    assert!(calls.recv().is_err(), "nothing is called after the end");
}

#[test]
fn many_targets_set_from_many_threads_are_all_called() {
    let (keeper, clock) = keeper();
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let keeper = &keeper;
            scope.spawn(move || {
                let targets: Vec<_> = (0..50).map(|_| reporter(keeper)).collect();
                for round in 0..50_u64 {
                    for (id, _) in &targets {
                        // A deadline that is soon moved later, and at last to now.
                        let soon = clock
                            .now()
                            .saturating_add(Duration::from_micros(worker + round));
                        keeper.set(id, PollAt::At(soon));
                        keeper.set(
                            id,
                            PollAt::At(soon.saturating_add(Duration::from_micros(50))),
                        );
                    }
                    for (_, calls) in &targets {
                        calls.recv().unwrap();
                        while calls.try_recv().is_ok() {}
                    }
                }
                targets.iter().for_each(|(id, _)| keeper.unregister(id));
            });
        }
    });
}
