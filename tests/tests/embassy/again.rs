//! Sessions after sessions with the same resources, and handles of one that meet the next.

use std::cell::RefCell;
use std::rc::Rc;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::lifecycle::State;
use devp2p_core::rlpx::Entropy;
use devp2p_embassy::{Lagged, PeerEvent, ReadError, Subprotocol};
use devp2p_tests::embassy_node::{Node, Outcome, PROTOCOLS, Spec};
use devp2p_tests::embassy_pipe::{End, Shape, Wire, pipe};
use devp2p_tests::embassy_sim::{Sim, Task, millis, poll_times};
use devp2p_tests::random::Random;
use embassy_futures::join::join;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;

use crate::basics::{ask, serve};

pub(crate) type Handle = Subprotocol<'static, NoopRawMutex, PROTOCOLS>;

/// Two nodes whose sessions are begun one after the other.
pub(crate) struct Nodes {
    pub(crate) a: Node,
    pub(crate) b: Node,
    pub(crate) shape: Shape,
}

impl Nodes {
    pub(crate) fn new(shape: Shape) -> Self {
        let (a, b) = (Spec::new(1).build(), Spec::new(2).build());
        Self { a, b, shape }
    }

    /// One session to its end on both sides; `with` is given the wires first.
    pub(crate) async fn session(&mut self, with: impl FnOnce([Wire; 2])) -> [Outcome; 2] {
        let (near, far, wires) = pipe(self.shape);
        with(wires);
        let remote = self.b.id;
        let (a, b) = (&mut self.a, &mut self.b);
        // Each drops its end with its session.
        let dial = async {
            let End {
                mut reader,
                mut writer,
            } = near;
            a.runner
                .dial(remote, &mut a.rng, &mut reader, &mut writer)
                .await
        };
        let accept = async {
            let End {
                mut reader,
                mut writer,
            } = far;
            b.runner
                .accept(&mut b.rng, &mut reader, &mut writer, |_| Ok(()))
                .await
        };
        let (a, b) = join(dial, accept).await;
        [a, b]
    }
}

/// Echoes in every session.
pub(crate) async fn serve_for_ever(mut handle: Handle) {
    loop {
        if let Ok(mut side) = handle.session().await {
            serve(&mut side).await;
        }
    }
}

/// Takes the handle of `a`'s first protocol and lets `b` echo.
pub(crate) fn echoing(sim: &mut Sim, nodes: &mut Nodes) -> Handle {
    let spare = Spec::new(9).build::<NoopRawMutex>();
    let echo_b = std::mem::replace(&mut nodes.b.echo, spare.echo);
    sim.spawn("serves", serve_for_ever(echo_b));
    std::mem::replace(&mut nodes.a.echo, spare.sense)
}

#[test]
fn ten_sessions_in_the_same_memory() {
    let mut sim = Sim::new();
    let mut nodes = Nodes::new(Shape::default());
    let mut echo = echoing(&mut sim, &mut nodes);
    let peer = nodes.a.peer;
    let mut events = peer.events().expect("a place");
    let remote = nodes.b.id;
    let client = sim.spawn("client", async move {
        for i in 0..10u8 {
            let mut side = echo.session().await.expect("shared");
            ask(&mut side, &[i; 1500]).await;
            match i % 3 {
                0 => drop(side),
                1 => side.fail(DisconnectReason(0x33)),
                _ => {
                    peer.disconnect(DisconnectReason::REQUESTED);
                    assert_eq!(
                        side.read(&mut []).await,
                        Err(ReadError::Closed(CloseReason::Local(
                            DisconnectReason::REQUESTED
                        )))
                    );
                }
            }
        }
    });
    let runs = sim.spawn("runs", async move {
        for i in 0..10 {
            let [a, b] = nodes.session(|_| ()).await;
            let reason = match i % 3 {
                0 => DisconnectReason::CLIENT_QUITTING,
                1 => DisconnectReason(0x33),
                _ => DisconnectReason::REQUESTED,
            };
            assert_eq!(a.reason.disconnect(), Some(reason));
            assert_eq!(b.reason, CloseReason::RemoteRequested(Some(reason)));
        }
        nodes
    });
    let mut nodes = sim.join(runs);
    sim.join(client);
    assert_eq!(nodes.a.peer.try_info().expect("free").sessions, 10);
    assert_eq!(
        nodes.a.peer.try_counters(0).expect("free").sent_bytes,
        15_000
    );
    // Nobody took the twenty events: the last four are there.
    assert_eq!(events.try_next(), Err(Lagged(16)));
    assert_eq!(events.try_next(), Ok(Some(PeerEvent::Added(remote))));
    // The other protocol's handle is told of the last session alone.
    assert!(matches!(nodes.a.sense.try_session(), Ok(Some(_))));
    assert!(matches!(nodes.a.sense.try_session(), Ok(None)));
}

#[test]
fn a_guard_of_an_earlier_session_neither_reads_nor_writes_nor_ends_the_next() {
    let mut sim = Sim::new();
    let mut nodes = Nodes::new(Shape::default());
    let mut echo = echoing(&mut sim, &mut nodes);
    let peer = nodes.a.peer;
    let wires: Rc<RefCell<Vec<Wire>>> = Rc::default();
    let keep = Rc::clone(&wires);
    let runs = sim.spawn("runs", async move {
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let [a, _] = nodes
                .session(|[there, back]| keep.borrow_mut().extend([there, back]))
                .await;
            outcomes.push(a.reason);
            // The second one's handshake takes its time.
            millis(10).await;
        }
        outcomes
    });
    let first = CloseReason::Local(DisconnectReason(0x21));
    let closed = Err(ReadError::Closed(first));
    sim.block_on(async move {
        let mut buffer = [0; 100];
        let mut old = echo.session().await.expect("shared");
        ask(&mut old, b"one").await;
        peer.disconnect(DisconnectReason(0x21));
        assert_eq!(peer.closed().await, first);
        // In the middle of the second handshake.
        while peer.info().await.state != State::AwaitingHello {
            millis(1).await;
        }
        assert_eq!(old.read(&mut buffer).await, closed);
        assert_eq!(old.try_read(&mut buffer).map(|_| ()), closed.map(|_| ()));
        assert_eq!(old.write(0, b"").await, Err(WriteError::Closed(first)));
        assert_eq!(old.try_write(0, b""), Err(WriteError::Closed(first)));
        assert_eq!(old.flush().await, Err(first));
        let mut new = echo.session().await.expect("shared");
        ask(&mut new, b"two").await;
        assert_eq!(old.read(&mut buffer).await, closed);
        assert_eq!(old.write(0, b"").await, Err(WriteError::Closed(first)));
        // Neither its end nor its failure is the new session's.
        drop(old);
        ask(&mut new, b"three").await;
        peer.disconnect(DisconnectReason(0x22));
        drop(new);
    });
    assert_eq!(
        sim.join(runs),
        [first, CloseReason::Local(DisconnectReason(0x22))]
    );
}

#[test]
fn tasks_that_wait_at_the_end_of_a_session_are_told_though_the_next_begins_at_once() {
    let mut sim = Sim::new();
    let mut nodes = Nodes::new(Shape::default());
    let mut echo = echoing(&mut sim, &mut nodes);
    let peer = nodes.a.peer;
    let runs = sim.spawn("runs", async move {
        nodes.session(|_| ()).await;
        nodes.session(|_| ()).await
    });
    let mut side = sim.block_on(async move {
        let side = echo.session().await.expect("shared");
        (side, echo)
    });
    // As many as have a place of their own.
    let waiting: Vec<Task<CloseReason>> = (0..4)
        .map(|i| sim.spawn(format!("closed {i}"), async move { peer.closed().await }))
        .collect();
    let reads = sim.spawn("reads", async move {
        let read = side.0.read(&mut []).await;
        (read, side)
    });
    sim.settle();
    peer.disconnect(DisconnectReason(0x21));
    let reason = CloseReason::Local(DisconnectReason(0x21));
    for task in waiting {
        assert_eq!(sim.join(task), reason);
    }
    let (read, (old, mut echo)) = sim.join(reads);
    assert_eq!(read, Err(ReadError::Closed(reason)));
    drop(old);
    sim.block_on(async move {
        let mut side = echo.session().await.expect("shared");
        ask(&mut side, b"again").await;
    });
    sim.join(runs);
}

#[test]
fn a_runner_dropped_at_any_await_point_ends_the_session_and_runs_the_next() {
    let shape = Shape {
        capacity: 100,
        chunk: 50,
    };
    let mut sim = Sim::new();
    let mut nodes = Nodes::new(shape);
    let echo = echoing(&mut sim, &mut nodes);
    let peer = nodes.a.peer;
    let asked = Rc::new(RefCell::new(0));
    let count = Rc::clone(&asked);
    // Asks in every session, as long as it lives.
    sim.spawn("client", async move {
        let mut echo = echo;
        loop {
            let mut side = echo.session().await.expect("shared");
            let mut buffer = [0; 2000];
            while side.write(0, &[5; 300]).await.is_ok() && side.read(&mut buffer).await.is_ok() {
                *count.borrow_mut() += 1;
                millis(1).await;
            }
        }
    });
    let mut events = peer.events().expect("a place");
    sim.block_on(async move {
        for n in 0..160 {
            let gone = poll_times(n, nodes.session(|_| ())).await;
            assert!(gone.is_none(), "nobody ends the session");
            if n == 0 {
                continue;
            }
            let info = peer.info().await;
            assert_eq!(info.state, State::Closed, "{n}");
            let reason = CloseReason::Transport(TransportError::Io);
            assert_eq!(info.close_reason, Some(reason), "{n}");
            assert_eq!(peer.closed().await, reason);
            let mut last = None;
            while let Some(event) = events.try_next().expect("none lost") {
                last = Some(event);
            }
            assert_eq!(last, Some(PeerEvent::Dropped(reason)), "{n}");
        }
        // The handles are as good as new.
        let before = *asked.borrow();
        assert!(before > 0, "some of them were active");
        let run = nodes.session(|_| ());
        let checks = async {
            while *asked.borrow() < before + 10 {
                millis(1).await;
            }
            peer.disconnect(DisconnectReason::REQUESTED);
        };
        let ([a, _], ()) = join(run, checks).await;
        assert_eq!(a.reason, CloseReason::Local(DisconnectReason::REQUESTED));
    });
}

/// Gives the bytes of one draw again and again.
struct Repeating {
    from: Random,
    bytes: [u8; Entropy::LENGTH],
}

impl Repeating {
    fn entropy(&mut self) -> Entropy {
        let drawn = Entropy::try_fill_with(|bytes| {
            bytes.copy_from_slice(&self.bytes);
            Ok::<_, ()>(())
        });
        drawn.expect("it never fails")
    }

    fn reseed(&mut self) {
        self.from.fill(&mut self.bytes);
    }
}

#[test]
fn a_generator_that_repeats_itself_is_refused_before_anything_is_sent() {
    let refused = CloseReason::Transport(TransportError::Entropy);
    let mut sim = Sim::new();
    let mut nodes = Nodes::new(Shape::default());
    let mut events = nodes.a.peer.events().expect("a place");
    sim.block_on(async move {
        let mut generator = Repeating {
            from: Random::new(7),
            bytes: [0x55; Entropy::LENGTH],
        };
        let remote = nodes.b.id;
        for (draw, is_refused) in [
            ("one byte", true),
            ("sound", false),
            ("the same", true),
            ("still", true),
            ("sound again", false),
        ] {
            if !is_refused {
                generator.reseed();
            }
            let (near, far, [there, back]) = pipe(Shape::default());
            let (a, b) = (&mut nodes.a, &mut nodes.b);
            let dial = async {
                let mut end = near;
                let (reader, writer) = (&mut end.reader, &mut end.writer);
                let entropy = generator.entropy();
                a.runner.dial_with(remote, entropy, reader, writer).await
            };
            let accept = async {
                let mut end = far;
                let (reader, writer) = (&mut end.reader, &mut end.writer);
                let admit = |_| Err(DisconnectReason::TOO_MANY_PEERS);
                b.runner.accept(&mut b.rng, reader, writer, admit).await
            };
            let (ended, _) = join(dial, accept).await;
            assert_eq!(ended.reason == refused, is_refused, "{draw}: {ended:?}");
            assert_eq!(there.taken() == 0, is_refused, "{draw}");
            assert_eq!(events.next().await, Ok(PeerEvent::Dropped(ended.reason)));
            // As well where we are dialled.
            if is_refused {
                assert_eq!(back.taken(), 0, "{draw}");
                let (_near, mut far, [_, back]) = pipe(Shape::default());
                let entropy = generator.entropy();
                let (reader, writer) = (&mut far.reader, &mut far.writer);
                let accept = a.runner.accept_with(entropy, reader, writer, |_| Ok(()));
                assert_eq!(accept.await.reason, refused, "{draw}");
                assert_eq!(back.taken(), 0, "{draw}");
                assert_eq!(events.next().await, Ok(PeerEvent::Dropped(refused)));
            }
        }
    });
}
