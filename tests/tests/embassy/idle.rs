//! Nothing is polled without need.

use devp2p_tests::embassy_node::{PROTOCOLS, Two};
use devp2p_tests::embassy_sim::Task;
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
        let spare = devp2p_tests::embassy_node::Spec::new(9).build();
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
    let mut next = sim.spawn("next session", async move {
        let next = side.1.session().await;
        drop(next);
    });
    let _: &mut Task<()> = &mut next;
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
    let _ = PROTOCOLS;
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
        let mut random = devp2p_tests::random::Random::new(1);
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
