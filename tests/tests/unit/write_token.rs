//! The write token against its promises, under random interleavings of up to 32 writers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll};

use devp2p_core::write_token::{GivenBack, WriteToken};
use devp2p_tests::random::Random;
use devp2p_tests::wake::Counter;
use proptest::prelude::*;

/// A token, and what its writers saw of it.
struct Model<const N: usize> {
    token: WriteToken<N>,
    tasks: [Arc<Counter>; N],
    /// How often each task must have been woken by now.
    woken: [u32; N],
    /// Whether a task left its waker. It stays if the asker gets the token at once, since another task may have left it.
    registered: [bool; N],
    waiting: BTreeSet<usize>,
    /// Who holds the token, and whether its frame is begun.
    holder: Option<(usize, bool)>,
    /// Who was served while this one waited.
    overtook: [BTreeSet<usize>; N],
    lane_is_free: bool,
}

impl<const N: usize> Model<N> {
    fn new() -> Self {
        Self {
            token: WriteToken::new(),
            tasks: std::array::from_fn(|_| Counter::new()),
            woken: [0; N],
            registered: [false; N],
            waiting: BTreeSet::new(),
            holder: None,
            overtook: std::array::from_fn(|_| BTreeSet::new()),
            lane_is_free: true,
        }
    }

    fn served(&mut self, writer: usize) {
        self.waiting.remove(&writer);
        self.overtook[writer].clear();
        for other in &self.waiting {
            assert!(
                self.overtook[*other].insert(writer),
                "{writer} was served twice while {other} waited"
            );
        }
        self.holder = Some((writer, false));
    }

    fn acquire(&mut self, writer: usize, with_waker: bool) {
        let waker = self.tasks[writer].waker();
        let mut cx = Context::from_waker(&waker);
        let answer =
            self.token
                .poll_acquire(writer, self.lane_is_free, with_waker.then_some(&mut cx));
        let at_once = self.lane_is_free
            && self.holder.is_none()
            && self.waiting.iter().all(|other| *other == writer);
        if self.holder == Some((writer, false)) {
            assert_eq!(answer, Some(Poll::Ready(())), "it is granted already");
        } else if at_once {
            assert_eq!(answer, Some(Poll::Ready(())), "nobody is before it");
            self.served(writer);
        } else {
            assert_eq!(answer, Some(Poll::Pending));
            self.waiting.insert(writer);
            self.registered[writer] |= with_waker;
        }
    }

    /// What the driver does after each step: the control lane first, then whoever is next.
    fn grant(&mut self) {
        if !self.lane_is_free {
            return;
        }
        let expects = self.holder.is_none() && !self.waiting.is_empty();
        let waker = self.token.grant();
        let granted = (0..N).find(|writer| self.token.is_held_by(*writer));
        assert_eq!(
            granted.is_some(),
            expects || self.holder.is_some(),
            "a free token that someone waits for is granted"
        );
        if let (true, Some(writer)) = (expects, granted) {
            assert!(self.waiting.contains(&writer), "{writer} does not wait");
            assert_eq!(waker.is_some(), self.registered[writer]);
            self.woken[writer] += u32::from(waker.is_some());
            self.registered[writer] = false;
            self.served(writer);
        } else {
            assert!(waker.is_none(), "nothing was granted");
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn begin(&mut self) {
        if let Some((writer, begun)) = &mut self.holder {
            self.token.begin(*writer);
            *begun = true;
        }
    }

    fn complete(&mut self) {
        if let Some((writer, true)) = self.holder {
            self.token.complete(writer);
            self.holder = None;
        }
    }

    fn give_back(&mut self, writer: usize) {
        let expected = match self.holder {
            Some((holder, true)) if holder == writer => GivenBack::InsideFrame,
            Some((holder, false)) if holder == writer => {
                self.holder = None;
                GivenBack::Clean
            }
            _ => GivenBack::Clean,
        };
        assert_eq!(self.token.give_back(writer), expected);
        self.left(writer);
    }

    fn stop_waiting(&mut self, writer: usize) {
        self.token.stop_waiting(writer);
        self.left(writer);
    }

    fn left(&mut self, writer: usize) {
        self.waiting.remove(&writer);
        self.overtook[writer].clear();
        self.registered[writer] = false;
    }

    fn check(&self) {
        for writer in 0..N {
            let holds = self.holder.is_some_and(|(holder, _)| holder == writer);
            assert_eq!(
                self.token.is_held_by(writer),
                holds,
                "one holder, and the right one"
            );
            assert_eq!(
                self.token.is_writing(writer),
                self.holder == Some((writer, true))
            );
            assert_eq!(self.tasks[writer].total(), self.woken[writer]);
        }
        assert_eq!(
            self.token.is_inside_frame(),
            matches!(self.holder, Some((_, true)))
        );
        assert_eq!(
            self.token.is_free(),
            self.holder.is_none() && self.waiting.is_empty()
        );
    }

    fn step(&mut self, random: &mut Random) {
        let writer = random.index(N);
        match random.below(12) {
            0..5 => self.acquire(writer, !random.one_in(4)),
            5 | 6 => self.begin(),
            7 | 8 => self.complete(),
            9 => self.give_back(writer),
            10 => self.stop_waiting(writer),
            _ => self.lane_is_free = !self.lane_is_free,
        }
        self.check();
        // The driver grants after each step; here also later, so that askers meet a free token that others wait for.
        if !random.one_in(3) {
            self.grant();
            self.check();
        }
    }

    /// With an empty control lane, all who wait are served, each once.
    fn drain(&mut self) {
        self.lane_is_free = true;
        let mut turns = self.waiting.len();
        self.begin();
        self.complete();
        self.grant();
        while self.holder.is_some() {
            turns -= 1;
            self.begin();
            self.check();
            self.complete();
            self.grant();
        }
        assert_eq!(turns, 0);
        assert!(self.token.is_free(), "nobody waits for ever");
    }

    fn retire(&mut self) {
        while let Some(waker) = self.token.retire() {
            waker.wake();
        }
        for (woken, registered) in self.woken.iter_mut().zip(&mut self.registered) {
            *woken += u32::from(std::mem::take(registered));
        }
        self.waiting.clear();
        self.holder = self.holder.filter(|(_, begun)| *begun);
        self.check();
        for writer in 0..N {
            assert_eq!(self.token.poll_acquire(writer, true, None), None);
        }
        assert!(self.token.grant().is_none());
        self.complete();
        assert!(self.token.grant().is_none());
        self.check();
        assert!(self.token.is_free());
    }
}

fn run<const N: usize>(seed: u64, steps: usize) {
    let mut random = Random::new(seed);
    let mut model = Model::<N>::new();
    for _ in 0..steps {
        model.step(&mut random);
    }
    if random.one_in(2) {
        model.drain();
    }
    model.retire();
}

proptest! {
    #[test]
    fn one_at_a_time_everyone_in_turn_and_woken_when_it_matters(seed: u64, steps in 0usize..300) {
        run::<1>(seed, steps);
        run::<2>(seed, steps);
        run::<3>(seed, steps);
        run::<7>(seed, steps);
        run::<32>(seed, steps);
    }
}

/// Takes the token for `writer`, which must get it at once.
fn take<const N: usize>(token: &mut WriteToken<N>, writer: usize) {
    assert_eq!(
        token.poll_acquire(writer, true, None),
        Some(Poll::Ready(()))
    );
}

/// Lets `writer` wait, which must not get it at once.
fn wait<const N: usize>(token: &mut WriteToken<N>, writer: usize, task: &Arc<Counter>) {
    let waker = task.waker();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(
        token.poll_acquire(writer, true, Some(&mut cx)),
        Some(Poll::Pending)
    );
}

#[test]
fn all_32_that_wait_are_served_in_a_round_whoever_held_it() {
    for first in 0..32 {
        let mut token = WriteToken::<32>::new();
        let tasks: Vec<_> = (0..32).map(|_| Counter::new()).collect();
        take(&mut token, first);
        token.begin(first);
        for (writer, task) in tasks.iter().enumerate() {
            wait(&mut token, writer, task);
        }
        token.complete(first);
        let mut order = Vec::new();
        while let Some(waker) = token.grant() {
            waker.wake();
            let writer = tasks
                .iter()
                .position(|task| task.take())
                .expect("one is woken");
            order.push(writer);
            token.begin(writer);
            token.complete(writer);
        }
        let expected: Vec<_> = (1..=32).map(|turn| (first + turn) % 32).collect();
        assert_eq!(order, expected);
    }
}

#[test]
fn a_writer_that_asks_again_and_again_does_not_overtake_one_that_waits() {
    let mut token = WriteToken::<2>::new();
    let (greedy, patient) = (Counter::new(), Counter::new());
    take(&mut token, 0);
    token.begin(0);
    wait(&mut token, 1, &patient);
    token.complete(0);
    wait(&mut token, 0, &greedy);
    let next = token.grant().expect("the one that waits is granted");
    next.wake();
    assert!(patient.take() && !greedy.take());
    assert!(token.is_held_by(1));
}

#[test]
fn the_control_lane_goes_first() {
    let mut token = WriteToken::<2>::new();
    assert_eq!(token.poll_acquire(0, false, None), Some(Poll::Pending));
    assert!(!token.is_held_by(0));
    assert_eq!(token.poll_acquire(0, true, None), Some(Poll::Ready(())));
}

#[test]
fn a_holder_that_goes_away_before_its_first_byte_returns_the_token() {
    let mut token = WriteToken::<2>::new();
    let task = Counter::new();
    take(&mut token, 0);
    wait(&mut token, 1, &task);
    assert_eq!(token.give_back(0), GivenBack::Clean);
    token.grant().expect("the next one is granted").wake();
    assert!(task.take() && token.is_held_by(1));
}

#[test]
fn a_holder_that_goes_away_inside_its_frame_is_reported_and_nobody_follows_it() {
    let mut token = WriteToken::<2>::new();
    let task = Counter::new();
    take(&mut token, 0);
    token.begin(0);
    wait(&mut token, 1, &task);
    assert_eq!(token.give_back(0), GivenBack::InsideFrame);
    assert!(token.is_inside_frame());
    assert!(token.grant().is_none());
}

#[test]
fn a_granted_writer_that_never_began_loses_the_token_when_it_is_retired() {
    let mut token = WriteToken::<2>::new();
    take(&mut token, 0);
    assert!(token.retire().is_none());
    assert!(!token.is_held_by(0));
    token.begin(0);
    assert!(!token.is_inside_frame(), "no new write begins");
    assert_eq!(token.poll_acquire(0, true, None), None);
}

#[test]
fn what_another_writer_says_does_not_move_the_holders_token() {
    let mut token = WriteToken::<3>::new();
    take(&mut token, 1);
    token.begin(0);
    token.complete(0);
    assert_eq!(token.give_back(0), GivenBack::Clean);
    assert!(token.is_held_by(1) && !token.is_inside_frame());
    token.begin(1);
    token.complete(2);
    assert!(token.is_writing(1));
}

#[test]
fn an_index_beyond_the_registered_ones_gets_nothing() {
    let mut token = WriteToken::<2>::new();
    for index in [2, 31, 32, 256, usize::MAX] {
        assert_eq!(token.poll_acquire(index, true, None), None);
        assert_eq!(token.give_back(index), GivenBack::Clean);
        token.stop_waiting(index);
    }
    assert!(token.is_free());
}
