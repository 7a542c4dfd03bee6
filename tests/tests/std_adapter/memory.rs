use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::task::{Wake, Waker};
use std::thread;

use devp2p_core::time::{Duration, Instant};
use devp2p_std::memory::{Account, MAX_SHARE, MemoryCap, Reservation};
use proptest::prelude::*;

/// Counts its wakes.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Counter {
    fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (Arc::clone(&counter), counter.into())
    }

    fn wakes(&self) -> usize {
        self.0.load(SeqCst)
    }
}

fn cap(limit: usize, sessions: usize) -> Arc<MemoryCap> {
    let cap = Arc::new(MemoryCap::new(limit));
    cap.guarantee(sessions);
    cap
}

fn account(cap: &Arc<MemoryCap>) -> Arc<Account> {
    cap.account(|| panic!("nobody is evicted here"))
}

#[test]
fn what_is_held_never_exceeds_the_limit() {
    // Two shares of 25, a pool of 50.
    let cap = cap(100, 2);
    let [one, two] = [account(&cap), account(&cap)];
    assert_eq!((one.share(), two.share(), cap.pool()), (25, 25, 50));
    assert_eq!(one.most(), 75);
    let (mut a, mut b) = (one.reservation(), two.reservation());
    assert!(a.grow(0));
    assert!(!a.grow(76), "the other's share is not its own");
    assert!(a.grow(75));
    assert!(!a.grow(1));
    assert!(!a.grow(usize::MAX));
    assert!(b.grow(25), "its share is there whatever others hold");
    assert!(!b.grow(1));
    assert_eq!((cap.used(), cap.limit()), (100, 100));
    a.shrink(3);
    assert!(!b.grow(4));
    assert!(b.grow(3));
    assert_eq!((a.bytes(), b.bytes(), cap.used()), (72, 28, 100));
    a.shrink(1_000);
    drop(b);
    assert_eq!((a.bytes(), cap.used()), (0, 0));
    assert_eq!((one.held(), two.held()), (0, 0));
}

#[test]
fn shares_are_64_kib_and_never_more_than_half_of_the_limit() {
    let one = cap(64 << 20, 50);
    assert_eq!(account(&one).share(), MAX_SHARE);
    assert_eq!(one.pool(), (64 << 20) - 50 * MAX_SHARE);
    let many = cap(64 << 20, 10_000);
    assert_eq!(account(&many).share(), (32 << 20) / 10_000);
    assert!(many.pool() >= 32 << 20);
    // A second node of the same host: shares of the same size, as far as they go.
    let two = cap(1_000, 10);
    two.guarantee(10);
    assert_eq!((account(&two).share(), two.pool()), (50, 500));
}

#[test]
fn a_session_beyond_the_number_has_no_share_until_one_ends() {
    let cap = cap(100, 1);
    let first = account(&cap);
    let second = account(&cap);
    assert_eq!((first.share(), second.share()), (50, 0));
    drop(first);
    assert_eq!(account(&cap).share(), 50);
    drop(second);
}

/// A session that waits is woken once there is room for what it wants, and those that want least are woken first.
#[test]
fn a_release_wakes_those_for_whom_there_is_room() {
    let cap = cap(200, 1);
    let holder = account(&cap);
    let mut held = holder.reservation();
    assert!(held.grow(200));
    let waiting: Vec<_> = [30, 10, 20]
        .map(|wanted| {
            let account = account(&cap);
            let mut memory = account.reservation();
            assert!(!memory.grow(wanted));
            let (counter, waker) = Counter::new();
            assert!(account.wait(&waker));
            assert!(account.wait(&waker), "asked twice, woken once");
            (account, memory, counter)
        })
        .into();
    let wakes = || -> Vec<_> {
        waiting
            .iter()
            .map(|(_, _, counter)| counter.wakes())
            .collect()
    };
    held.shrink(0);
    held.shrink(9);
    assert_eq!(wakes(), [0, 0, 0], "there is room for nobody");
    held.shrink(1);
    assert_eq!(wakes(), [0, 1, 0]);
    held.shrink(29);
    assert_eq!(
        wakes(),
        [0, 1, 1],
        "what the first was granted is not granted twice"
    );
    held.shrink(21);
    assert_eq!(wakes(), [1, 1, 1]);
    held.shrink(140);
    assert_eq!(wakes(), [1, 1, 1]);
}

#[test]
fn a_release_of_everything_wakes_n_sessions_in_n_steps() {
    const N: usize = 1_000;
    let cap = cap(2 * N, 1);
    let holder = account(&cap);
    let mut held = holder.reservation();
    assert!(held.grow(2 * N));
    let mut waiting: Vec<_> = (0..N)
        .map(|_| {
            let account = account(&cap);
            let mut memory = account.reservation();
            assert!(!memory.grow(1));
            let (counter, waker) = Counter::new();
            assert!(account.wait(&waker));
            (account, memory, counter, waker)
        })
        .collect();
    // Byte by byte: each wakes one, which takes it.
    let mut wakes = 0;
    for _ in 0..N {
        held.shrink(1);
        for (account, memory, counter, waker) in &mut waiting {
            let woken = counter.0.swap(0, SeqCst);
            wakes += woken;
            if woken > 0 && !memory.grow(1) {
                account.wait(waker);
            }
        }
    }
    assert_eq!(wakes, N);
    assert!(waiting.iter().all(|(_, memory, ..)| memory.bytes() == 1));
}

#[test]
fn what_a_woken_session_does_not_take_is_offered_to_the_next() {
    type End = fn(Arc<Account>);
    let ends: [End; 2] = [|account| account.return_grant(), drop];
    for end in ends {
        let cap = cap(100, 1);
        let holder = account(&cap);
        let mut held = holder.reservation();
        assert!(held.grow(100));
        let [first, second] = [10, 20].map(|wanted| {
            let account = account(&cap);
            assert!(!account.reservation().grow(wanted));
            let (counter, waker) = Counter::new();
            assert!(account.wait(&waker));
            (account, counter)
        });
        held.shrink(25);
        assert_eq!((first.1.wakes(), second.1.wakes()), (1, 0));
        end(first.0);
        assert_eq!(second.1.wakes(), 1);
    }
}

#[test]
fn what_a_session_was_granted_is_taken_by_no_other() {
    let cap = cap(200, 1);
    let holder = account(&cap);
    let mut held = holder.reservation();
    assert!(held.grow(200));
    let waiting = account(&cap);
    let mut memory = waiting.reservation();
    assert!(!memory.grow(30));
    memory.want(50);
    assert!(waiting.wait(Waker::noop()));
    let other = account(&cap);
    let mut others = other.reservation();
    held.shrink(40);
    assert!(!others.grow(41));
    assert!(
        others.grow(10),
        "less than is waited for is there for anyone"
    );
    held.shrink(20);
    assert!(!others.grow(1));
    assert!(memory.grow(30) && memory.grow(20));
    assert_eq!((waiting.held(), cap.used()), (50, 200));
}

#[test]
fn a_session_that_stopped_waiting_is_not_woken() {
    let cap = cap(100, 1);
    let holder = account(&cap);
    let mut held = holder.reservation();
    assert!(held.grow(100));
    let waiting = account(&cap);
    assert!(!waiting.reservation().grow(10));
    let (counter, waker) = Counter::new();
    assert!(waiting.wait(&waker));
    waiting.stop_waiting();
    drop(held);
    assert_eq!(counter.wakes(), 0);
}

/// Room that came between the refusal and the wait would be missed by a session that sleeps.
#[test]
fn a_wait_that_begins_too_late_says_so() {
    let cap = cap(100, 1);
    let holder = account(&cap);
    let mut held = holder.reservation();
    assert!(held.grow(100));
    let waiting = account(&cap);
    let mut memory = waiting.reservation();
    assert!(!memory.grow(10));
    held.shrink(10);
    assert!(!waiting.wait(Waker::noop()));
    assert!(memory.grow(10));
}

/// It waits for the pool, and its own messages are read: then it can go on within its share.
#[test]
fn a_session_that_gives_back_is_woken_itself() {
    let cap = cap(100, 1);
    let waiting = account(&cap);
    let mut own = waiting.reservation();
    assert!(own.grow(50));
    let other = account(&cap);
    let mut all = other.reservation();
    assert!(all.grow(50));
    let mut more = waiting.reservation();
    assert!(!more.grow(20));
    let (counter, waker) = Counter::new();
    assert!(waiting.wait(&waker));
    own.shrink(5);
    assert_eq!(counter.wakes(), 1);
    assert!(!more.grow(20));
    assert!(waiting.wait(&waker));
    own.shrink(15);
    assert_eq!(counter.wakes(), 2);
    assert!(more.grow(20));
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO.saturating_add(Duration::from_secs(seconds))
}

#[test]
fn when_the_pool_stays_full_the_one_that_holds_most_goes() {
    let cap = cap(100, 2);
    let told: [Arc<AtomicBool>; 3] = std::array::from_fn(|_| Arc::default());
    let sessions = told
        .clone()
        .map(|told| cap.account(move || told.store(true, SeqCst)));
    let is_told = || told.each_ref().map(|told| told.load(SeqCst));
    let mut held = sessions.each_ref().map(|session| session.reservation());
    assert!(held[0].grow(25 + 20) && held[1].grow(25 + 30));
    assert!(!held[2].grow(1));
    assert!(!sessions[2].must_go(at(10)), "it holds nothing");
    assert_eq!(is_told(), [false, true, false]);
    assert!(!sessions[2].must_go(at(11)), "the other has time to go");
    assert!(!sessions[0].must_go(at(12)));
    assert_eq!(is_told(), [false, true, false]);
    // It holds what it has: the next one is that which asks itself.
    assert!(!held[0].grow(1));
    assert!(sessions[0].must_go(at(20)));
    assert_eq!(
        is_told(),
        [false, true, false],
        "who asks is told by the answer"
    );
    held[1].shrink(10);
    assert!(!sessions[2].must_go(at(30)), "there is room now");
    assert_eq!(is_told(), [false, true, false]);
}

#[test]
fn a_session_that_wants_more_than_there_is_goes_itself() {
    let cap = cap(100, 2);
    let [one, other] = [account(&cap), account(&cap)];
    let (mut memory, mut small) = (one.reservation(), other.reservation());
    assert!(small.grow(25));
    assert!(!memory.grow(76));
    assert!(one.must_go(at(0)));
}

/// What a session may do, as the model below sees it.
#[derive(Debug, Clone)]
enum Step {
    Begin,
    End(usize),
    Grow(usize, usize),
    Shrink(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..12usize;
    prop_oneof![
        1 => Just(Step::Begin),
        1 => session.clone().prop_map(Step::End),
        8 => (session.clone(), 0..400usize).prop_map(|(s, n)| Step::Grow(s, n)),
        5 => (session, 0..400usize).prop_map(|(s, n)| Step::Shrink(s, n)),
    ]
}

/// A session, with what it waits for.
struct Session {
    account: Arc<Account>,
    memory: Reservation,
    counter: Arc<Counter>,
    waker: Waker,
    wanted: Option<usize>,
}

fn of_pool(session: &Session, held: usize) -> usize {
    held.saturating_sub(session.account.share())
}

proptest! {
    /// Whatever sessions do: what is used is what they hold, it is within the limit, bytes are refused only if the pool has
    /// too few, and none waits for what is there.
    #[test]
    fn the_limit_is_exact_and_nobody_waits_for_what_is_there(
        limit in 0..2_000usize,
        sessions in 0..8usize,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let cap = cap(limit, sessions);
        let mut live: BTreeMap<usize, Session> = BTreeMap::new();
        let mut next = 0;
        for step in steps {
            let keys: Vec<_> = live.keys().copied().collect();
            let pick = |n: usize| keys.get(n % keys.len().max(1)).copied();
            match step {
                Step::Begin => {
                    let account = account(&cap);
                    let (counter, waker) = Counter::new();
                    let memory = account.reservation();
                    live.insert(next, Session { account, memory, counter, waker, wanted: None });
                    next += 1;
                }
                Step::End(n) => {
                    pick(n).map(|n| live.remove(&n));
                }
                Step::Grow(n, bytes) => if let Some(n) = pick(n) {
                    let free = cap.pool() - live.values().map(|s| of_pool(s, s.memory.bytes())).sum::<usize>();
                    let session = live.get_mut(&n).expect("it is alive");
                    let before = session.memory.bytes();
                    let needed = of_pool(session, before + bytes) - of_pool(session, before);
                    prop_assert_eq!(session.memory.grow(bytes), needed <= free);
                    session.account.stop_waiting();
                    session.wanted = (needed > free).then_some(bytes);
                    if needed > free {
                        prop_assert!(session.account.wait(&session.waker));
                    }
                }
                Step::Shrink(n, bytes) => if let Some(n) = pick(n) {
                    live.get_mut(&n).expect("it is alive").memory.shrink(bytes);
                }
            }
            // Those that were woken try again, in any order, until none is woken any more.
            while let Some(session) = live.values_mut().find(|s| s.counter.0.swap(0, SeqCst) > 0) {
                if let Some(wanted) = session.wanted.take()
                    && !session.memory.grow(wanted)
                {
                    session.wanted = Some(wanted);
                    if !session.account.wait(&session.waker) {
                        prop_assert!(session.memory.grow(wanted));
                        session.wanted = None;
                    }
                }
                if session.wanted.is_none() {
                    session.account.return_grant();
                }
            }
            let held: usize = live.values().map(|s| s.memory.bytes()).sum();
            prop_assert_eq!(cap.used(), held);
            prop_assert!(held <= limit);
            let free = cap.pool() - live.values().map(|s| of_pool(s, s.memory.bytes())).sum::<usize>();
            for session in live.values() {
                if let Some(wanted) = session.wanted {
                    let held = session.memory.bytes();
                    let needed = of_pool(session, held + wanted) - of_pool(session, held);
                    prop_assert!(needed > free, "waits for {needed} of {free} bytes");
                }
            }
        }
        drop(live);
        prop_assert_eq!(cap.used(), 0);
    }
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
    const LIMIT: usize = 120;
    let cap = cap(LIMIT, 3);
    let together = AtomicUsize::new(0);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (cap, together, start) = (&cap, &together, &start);
            scope.spawn(move || {
                let waker = Waker::from(Arc::new(Unpark(thread::current())));
                let account = account(cap);
                start.wait();
                for round in 0..2_000 {
                    let bytes = 20 + (worker * 7 + round) % 40;
                    let mut memory = account.reservation();
                    while !memory.grow(bytes) {
                        if account.wait(&waker) {
                            thread::park();
                        }
                    }
                    let held = together.fetch_add(bytes, SeqCst) + bytes;
                    assert!(held <= LIMIT, "{held} bytes held");
                    assert!(cap.used() <= LIMIT);
                    together.fetch_sub(bytes, SeqCst);
                }
            });
        }
    });
    assert_eq!(cap.used(), 0);
}
