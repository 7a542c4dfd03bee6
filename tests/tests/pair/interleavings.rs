//! Writers of four subprotocols in random interleavings: one at a time, each in turn, none left waiting at the end.
use std::sync::Arc;
use std::task::{Context, Poll};

use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_tests::fixture::protocol;
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::{Kind, Nodes};
use devp2p_tests::node::{Machine, Spec};
use devp2p_tests::random::Random;
use devp2p_tests::wake::Counter;

for_each_kind! {
    one_writes_at_a_time_each_in_turn_and_a_close_releases_all,
    a_writer_that_goes_away_inside_its_frame_releases_all_others,
}

const COUNT: usize = 4;

/// The task that writes for one subprotocol.
struct Task<W> {
    write: Option<(W, Vec<u8>)>,
    counter: Arc<Counter>,
    /// It was told to wait, and not a byte of its frame is sealed.
    waits: bool,
    /// How often each other one began a frame while this one waited.
    passed_by: [u32; COUNT],
    /// What it has written.
    sent: Vec<Vec<u8>>,
}

struct Writers<K: Kind> {
    pair: Nodes<K>,
    tasks: [Task<<K::Machine as Machine>::Write>; COUNT],
    /// Whose frame is partly sealed.
    inside: Option<usize>,
}

impl<K: Kind> Writers<K> {
    fn new() -> Self {
        let protocols = ["a", "b", "c", "d"].map(|name| protocol(name, 1, 64 * 1024));
        let [a, b] = [1, 2].map(|seed| Spec::new(seed, &protocols));
        let mut pair = K::dial(&a, &b);
        pair.activate();
        Self {
            pair,
            tasks: std::array::from_fn(|_| Task {
                write: None,
                counter: Counter::new(),
                waits: false,
                passed_by: [0; COUNT],
                sent: Vec::new(),
            }),
            inside: None,
        }
    }

    /// Polls the write of task `i`, or begins one.
    fn poll(&mut self, i: usize, random: &mut Random) -> Option<Result<(), WriteError>> {
        let length = random.index(2500);
        let task = &mut self.tasks[i];
        task.counter.take();
        let (write, payload) = task
            .write
            .get_or_insert_with(|| (K::Machine::write(i, LocalCode(0)), random.bytes(length)));
        let waker = task.counter.waker();
        let mut cx = Context::from_waker(&waker);
        let session = &mut self.pair.a.session;
        let before = session.output_length();
        let polled = session.poll_write(self.pair.now, write, &[&*payload], Some(&mut cx));
        if session.output_length() > before {
            self.on_sealed(i);
        }
        let task = &mut self.tasks[i];
        match polled {
            Poll::Pending => {
                if self.inside != Some(i) && !task.waits {
                    task.waits = true;
                    task.passed_by = [0; COUNT];
                }
                None
            }
            Poll::Ready(result) => {
                let (_, payload) = task.write.take().expect("it was polled");
                task.waits = false;
                if self.inside == Some(i) {
                    self.inside = None;
                }
                if result.is_ok() {
                    task.sent.push(payload);
                }
                Some(result)
            }
        }
    }

    /// Bytes of task `i` were sealed.
    fn on_sealed(&mut self, i: usize) {
        if self.inside == Some(i) {
            return;
        }
        self.pair
            .check(self.inside.is_none(), "no two writers at once");
        self.inside = Some(i);
        self.tasks[i].waits = false;
        for other in 0..COUNT {
            let task = &mut self.tasks[other];
            if task.waits {
                task.passed_by[i] += 1;
                let in_turn = task.passed_by[i] <= 1;
                self.pair
                    .check(in_turn, "nobody is served twice while another one waits");
            }
        }
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(12) {
            0 => self.pair.to_b.faults_mut().window = random.index(3000),
            1 | 2 => self.pair.settle(),
            3 => {
                self.pair.step();
            }
            4 if random.one_in(3) => {
                let i = random.index(COUNT);
                let task = &mut self.tasks[i];
                if task.waits
                    && let Some((write, _)) = task.write.take()
                {
                    task.waits = false;
                    self.pair.a.session.abandon(self.pair.now, &write);
                }
            }
            _ => {
                let i = random.index(COUNT);
                let result = self.poll(i, random);
                self.pair
                    .check(matches!(result, None | Some(Ok(()))), "no write fails");
            }
        }
    }

    /// The session is closing for `reason`: whoever waits was woken since it was told to, and learns why.
    fn are_released(&mut self, reason: CloseReason, random: &mut Random) {
        self.pair.settle();
        for i in 0..COUNT {
            if self.tasks[i].waits {
                let woken = self.tasks[i].counter.take();
                self.pair.check(woken, "who waits is woken");
                let result = self.poll(i, random);
                let closed = result == Some(Err(WriteError::Closed(reason)));
                self.pair.check(closed, "and learns why");
            }
        }
    }

    fn verify(&self) {
        for (i, task) in self.tasks.iter().enumerate() {
            let same = self.pair.b.payloads(i) == task.sent;
            self.pair.check(same, "what was written arrives, in order");
        }
    }
}

fn one_writes_at_a_time_each_in_turn_and_a_close_releases_all<K: Kind>() {
    let mut written = 0;
    for seed in 0..150 {
        let random = &mut Random::new(seed);
        let mut writers = Writers::<K>::new();
        for _ in 0..300 {
            writers.step(random);
        }
        let reason = CloseReason::Local(DisconnectReason::CLIENT_QUITTING);
        let now = writers.pair.now;
        writers.pair.a.session.close(now, reason);
        writers.are_released(reason, random);
        // The frame that was begun may be completed, and the Disconnect follows it.
        writers.pair.to_b.faults_mut().window = usize::MAX;
        for _ in 0..10 {
            writers.pair.settle();
            if let Some(i) = writers.inside {
                writers.poll(i, random);
            }
        }
        writers.pair.close();
        let told = CloseReason::RemoteRequested(Some(DisconnectReason::CLIENT_QUITTING));
        assert_eq!(writers.pair.b.close_reason(), Some(told), "seed {seed}");
        writers.verify();
        written += writers.tasks.iter().map(|t| t.sent.len()).sum::<usize>();
    }
    assert!(written > 150 * 10, "{written} messages were written");
}

fn a_writer_that_goes_away_inside_its_frame_releases_all_others<K: Kind>() {
    let mut seen = 0;
    for seed in 1000..1100 {
        let random = &mut Random::new(seed);
        let mut writers = Writers::<K>::new();
        for _ in 0..100 {
            writers.step(random);
        }
        let Some(i) = writers.inside.take() else {
            continue;
        };
        seen += 1;
        let (write, _) = writers.tasks[i].write.take().expect("it is inside");
        let now = writers.pair.now;
        writers.pair.a.session.abandon(now, &write);
        writers.are_released(CloseReason::WriteAbandoned, random);
        writers.pair.to_b.faults_mut().window = usize::MAX;
        writers.pair.close();
        let end = CloseReason::WriteAbandoned;
        assert_eq!(writers.pair.a.close_reason(), Some(end), "seed {seed}");
    }
    assert!(seen > 20, "{seen} of them were inside a frame");
}
