//! Two endpoints, the link between them, and a clock that jumps to whatever comes next.

use devp2p_core::error::TransportError;
use devp2p_core::time::{Duration, Instant, PollAt};

use crate::endpoint::{Ending, Endpoint};
use crate::link::{Faults, Link};
use crate::node::{Machine, Node, Spec};

/// Lines of the trace that a failure shows.
const SHOWN: usize = 80;
/// Rounds after which a run is taken for a livelock.
const MAX_STEPS: u64 = 3_000_000;

/// Two endpoints in virtual time. The clock moves only to the earliest `poll_at` of either side or the next arrival, so
/// whatever happens in time happens because `poll_at` said so.
pub struct Pair<A, B> {
    /// One side.
    pub a: A,
    /// The other.
    pub b: B,
    /// The direction towards `a`.
    pub to_a: Link,
    /// The direction towards `b`.
    pub to_b: Link,
    /// The clock.
    pub now: Instant,
    seed: u64,
    steps: u64,
    trace: Vec<String>,
    dropped: [bool; 2],
}

impl<M: Machine> Pair<Node<M>, Node<M>> {
    /// `a` dials `b` over a perfect link.
    pub fn dial(a: &Spec, b: &Spec) -> Self {
        Self::over(a, b, [Faults::none(), Faults::none()], 0)
    }

    /// `a` dials `b`; `faults` are those towards `a` and towards `b`.
    pub fn over(a: &Spec, b: &Spec, faults: [Faults; 2], seed: u64) -> Self {
        Self::new(Node::dial(a, b.id()), Node::accept(b), faults, seed)
    }

    /// Runs until both are active.
    ///
    /// # Panics
    /// If that does not happen.
    pub fn activate(&mut self) {
        self.run_until(|pair| pair.a.active().is_some() && pair.b.active().is_some());
    }

    /// Runs until both are closed.
    ///
    /// # Panics
    /// If that does not happen.
    pub fn close(&mut self) {
        self.run_until(|pair| pair.a.closed().is_some() && pair.b.closed().is_some());
    }
}

impl<A: Endpoint, B: Endpoint> Pair<A, B> {
    /// Two endpoints; `faults` are those of the links towards `a` and towards `b`.
    pub fn new(a: A, b: B, faults: [Faults; 2], seed: u64) -> Self {
        let [to_a, to_b] = faults;
        Self {
            a,
            b,
            to_a: Link::new(to_a, seed ^ 0x0a0a),
            to_b: Link::new(to_b, seed ^ 0x0b0b),
            now: Instant::ZERO,
            seed,
            steps: 0,
            trace: Vec::new(),
            dropped: [false; 2],
        }
    }

    /// Runs until `done`.
    ///
    /// # Panics
    /// If nothing is left to happen before that, or if it takes too many steps.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        loop {
            self.settle();
            if done(self) {
                return;
            }
            match self.next() {
                Some(next) => self.now = next,
                None => self.fail("nothing is left to happen"),
            }
        }
    }

    /// Runs for so long; the clock then stands at the end of it.
    pub fn run_for(&mut self, span: Duration) {
        self.run_to(self.now.saturating_add(span));
    }

    /// Runs up to and including this instant.
    pub fn run_to(&mut self, end: Instant) {
        loop {
            self.settle();
            match self.next().filter(|next| *next <= end) {
                Some(next) => self.now = next,
                None => {
                    self.now = end.max(self.now);
                    return;
                }
            }
        }
    }

    /// Runs until nothing is left to happen.
    ///
    /// # Panics
    /// If there is no end to it.
    pub fn run_out(&mut self) {
        loop {
            self.settle();
            match self.next() {
                Some(next) => self.now = next,
                None => return,
            }
        }
    }

    /// When the next thing happens; `None` if nothing will.
    fn next(&mut self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for at in [self.a.poll_at(), self.b.poll_at()] {
            match at {
                PollAt::Idle => {}
                PollAt::At(at) if at > self.now => {
                    next = Some(next.map_or(at, |next| next.min(at)));
                }
                at => self.fail(&format!("livelock: poll_at is {at:?}, nothing is done")),
            }
        }
        for at in [
            self.to_a.next_arrival(self.now),
            self.to_b.next_arrival(self.now),
        ]
        .into_iter()
        .flatten()
        {
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        next
    }

    /// Does everything that can be done at this instant.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// One round: each side, each direction. True if anything was done.
    pub fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            self.fail("livelock: too many steps");
        }
        let Self {
            a,
            b,
            to_a,
            to_b,
            now,
            trace,
            dropped: [a_dropped, b_dropped],
            ..
        } = self;
        let now = *now;
        let mut note = |who: &str, what: String| {
            trace.push(format!("{:>14} {who} {what}", now.as_micros()));
        };
        let mut any = a.advance(now, &mut |what| note("a", what));
        any |= b.advance(now, &mut |what| note("b", what));
        any |= carry(now, a, to_b, a_dropped, &mut |what| note("a", what));
        any |= carry(now, b, to_a, b_dropped, &mut |what| note("b", what));
        any |= arrive(now, a, to_a, *a_dropped, &mut |what| note("a", what));
        any |= arrive(now, b, to_b, *b_dropped, &mut |what| note("b", what));
        if self.trace.len() > 4 * SHOWN {
            self.trace.drain(..2 * SHOWN);
        }
        any
    }

    /// What happened last.
    pub fn trace(&self) -> String {
        let from = self.trace.len().saturating_sub(SHOWN);
        self.trace[from..].join("\n")
    }

    /// Fails with the seed and the trace.
    ///
    /// # Panics
    /// Always.
    pub fn fail(&self, why: &str) -> ! {
        panic!(
            "{why} (seed {}, step {}, time {} us)\n{}",
            self.seed,
            self.steps,
            self.now.as_micros(),
            self.trace()
        );
    }

    /// Fails with the trace unless `holds`.
    ///
    /// # Panics
    /// Unless it holds.
    pub fn check(&self, holds: bool, what: &str) {
        if !holds {
            self.fail(what);
        }
    }
}

/// Moves what `from` has to say onto the link.
fn carry(
    now: Instant,
    from: &mut impl Endpoint,
    link: &mut Link,
    dropped: &mut bool,
    note: &mut dyn FnMut(String),
) -> bool {
    let mut total = 0;
    loop {
        let n = link.send(now, from.output());
        if n == 0 {
            break;
        }
        from.consume_output(now, n);
        total += n;
    }
    if total > 0 {
        note(format!("sent {total}"));
    }
    let mut any = total > 0;
    while let Some(ending) = from.take_ending() {
        assert!(from.output().is_empty(), "{ending:?} with bytes unsent");
        note(format!("{ending:?}"));
        link.finish(now);
        *dropped |= ending == Ending::Drop;
        any = true;
    }
    any
}

/// Hands what has arrived to `to`.
fn arrive(
    now: Instant,
    to: &mut impl Endpoint,
    link: &mut Link,
    dropped: bool,
    note: &mut dyn FnMut(String),
) -> bool {
    let mut total = 0;
    while link.has_arrived(now) {
        let n = if dropped {
            link.deliver(now, |bytes| bytes.len())
        } else if to.wants_input() {
            link.deliver(now, |bytes| to.handle_input(now, bytes))
        } else {
            0
        };
        if n == 0 {
            break;
        }
        total += n;
    }
    if total > 0 {
        note(format!("took {total}"));
    }
    let ends = link.take_end(now);
    if ends && !dropped {
        note("end of stream".to_owned());
        to.handle_end(now, TransportError::EndOfStream);
    }
    ends || total > 0
}
