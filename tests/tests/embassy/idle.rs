//! Nothing is polled without need, and no poll does more than its share.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;

use devp2p_core::capability::Overflow;
use devp2p_tests::embassy_node::{Spec, Two};
use devp2p_tests::embassy_pipe::{End, Shape, Wire, pipe};
use devp2p_tests::embassy_sim::Sim;
use devp2p_tests::fixture;
use devp2p_tests::random::Random;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_time::Duration;

use crate::basics::{ask, serve};

#[test]
fn an_idle_session_polls_only_for_its_pings_and_a_message_costs_a_bounded_number_of_polls() {
    let Two {
        mut sim,
        a,
        b,
        wires,
    } = Two::plain();
    let (mut echo_a, mut echo_b) = (a.echo, b.echo);
    let (mut sense_a, mut sense_b) = (a.sense, b.sense);
    // Everything that can be waited for is waited for.
    sim.spawn("serves", async move {
        let mut side = echo_b.session().await.expect("shared");
        serve(&mut side).await
    });
    for sense in [&mut sense_a, &mut sense_b] {
        let spare = Spec::new(9).build();
        let mut sense = std::mem::replace(sense, spare.sense);
        sim.spawn("reads", async move {
            let mut side = sense.session().await.expect("shared");
            serve(&mut side).await
        });
    }
    let peer = a.peer;
    sim.spawn("closed", async move { peer.closed().await });
    sim.spawn("events", async move {
        let mut events = peer.events().expect("a place");
        loop {
            let _ = events.next().await;
        }
    });
    let mut side = sim.block_on(async move { (echo_a.session().await.expect("shared"), echo_a) });
    sim.spawn("next session", async move {
        let next = side.1.session().await;
        drop(next);
    });
    const MESSAGES: u64 = 100;
    sim.settle();
    let before = (sim.all_polls(), wires[0].taken());
    let side = sim.block_on(async move {
        for i in 0..MESSAGES {
            ask(&mut side.0, &[i as u8; 100]).await;
        }
        side.0
    });
    sim.settle();
    let polls = sim.all_polls() - before.0;
    println!("{} polls for an echo", polls as f64 / MESSAGES as f64);
    assert!(polls <= 16 * MESSAGES, "{polls}");
    // Until the first Ping nobody moves: but a timer that was set for something else may have to fire once.
    let before = sim.all_polls();
    sim.run_for(Duration::from_secs(14));
    let polls = sim.all_polls() - before;
    assert!(polls <= 4, "{polls}");
    let before = sim.all_polls();
    sim.run_for(Duration::from_secs(120));
    let polls = sim.all_polls() - before;
    println!("{polls} polls in 120 s of Pings");
    // One Ping each 15 s from either side, some polls for each.
    assert!(polls <= 16 * 12, "{polls}");
    drop(side);
}

#[test]
fn a_session_that_holds_back_or_waits_for_the_wire_is_not_polled() {
    let Two {
        mut sim,
        a,
        b,
        wires,
    } = Two::plain();
    let (mut echo_a, mut echo_b) = (a.echo, b.echo);
    let side_b = sim.block_on(async move { echo_b.session().await.expect("shared") });
    sim.spawn("writes", async move {
        let mut side = echo_a.session().await.expect("shared");
        let mut random = Random::new(1);
        while side.write(0, &random.bytes(700)).await.is_ok() {}
    });
    sim.settle();
    let before = sim.all_polls();
    sim.run_for(Duration::from_secs(10));
    assert!(sim.all_polls() - before <= 4, "held back");
    wires[1].stall(true);
    sim.settle();
    let before = sim.all_polls();
    sim.run_for(Duration::from_secs(3));
    assert!(sim.all_polls() - before <= 4, "stalled");
    drop(side_b);
}

/// What the documentation says that the runner reads, and writes, before it yields.
const CHUNK: u64 = 512;

/// Polls a future; `most` is what came out of `from`, and what went into `to`, within one poll.
async fn metered<T>(
    run: impl Future<Output = T>,
    [from, to]: [Wire; 2],
    most: Rc<Cell<[u64; 2]>>,
) -> T {
    let mut run = pin!(run);
    poll_fn(move |cx| {
        let before = [from.given(), to.taken()];
        let result = run.as_mut().poll(cx);
        let [read, written] = most.get();
        let [had_read, had_written] = before;
        most.set([
            read.max(from.given() - had_read),
            written.max(to.taken() - had_written),
        ]);
        result
    })
    .await
}

#[test]
fn no_poll_of_the_runner_reads_or_writes_more_than_a_chunk() {
    let mut sim = Sim::new();
    let (near, far, [there, back]) = pipe(Shape {
        capacity: usize::MAX,
        chunk: usize::MAX,
    });
    let mut lossy = fixture::protocol("echo", 2, 2048);
    lossy.overflow = Overflow::Drop;
    let lossy = [lossy, fixture::protocol("sense", 2, 2048)];
    let (mut a, mut b) = (
        Spec::new(1).build::<NoopRawMutex>(),
        Spec::new(2).protocols(&lossy).build::<NoopRawMutex>(),
    );
    let b_peer = b.peer;
    let most = [(); 2].map(|()| Rc::new(Cell::new([0; 2])));
    let [most_a, most_b] = most.clone();
    let wires = [back.clone(), there.clone()];
    sim.spawn("a runs", async move {
        let End {
            mut reader,
            mut writer,
        } = near;
        let run = a.runner.dial(b.id, &mut a.rng, &mut reader, &mut writer);
        metered(run, wires, most_a).await
    });
    let wires = [there.clone(), back];
    sim.spawn("b runs", async move {
        let End {
            mut reader,
            mut writer,
        } = far;
        let run = b
            .runner
            .accept(&mut b.rng, &mut reader, &mut writer, |_| Ok(()));
        metered(run, wires, most_b).await
    });
    let mut side = sim.block_on(async move { a.echo.session().await.expect("shared") });
    let side_b = sim.block_on(async move { b.echo.session().await.expect("shared") });
    there.leave_unread(true);
    let side = sim.block_on(async move {
        for seed in 0..100 {
            let payload = Random::new(seed).bytes(1_000);
            side.write(0, &payload).await.expect("written");
        }
        side
    });
    sim.settle();
    let waits = there.taken() - there.given();
    assert!(waits > 100_000, "{waits} bytes wait to be read");
    there.leave_unread(false);
    sim.settle();
    assert_eq!(there.given(), there.taken());
    let [a, b] = most.map(|most| most.get());
    assert_eq!((a[1], b[0]), (CHUNK, CHUNK), "written by a, read by b");
    assert!(a[0] <= CHUNK && b[1] <= CHUNK, "{a:?} {b:?}");
    let received = b_peer.try_counters(0).expect("free").received;
    assert_eq!(received.messages + received.dropped, 100);
    drop((side, side_b));
}
