//! What happens when time passes: pings, stalled wires, inboxes that stay full, remotes that never close.

use devp2p_core::capability::Overflow;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::lifecycle::State;
use devp2p_tests::embassy_node::{Spec, Two};
use devp2p_tests::embassy_pipe::Shape;
use devp2p_tests::embassy_sim::now_millis;
use devp2p_tests::fixture;
use devp2p_tests::random::Random;
use embassy_time::Duration;

use crate::ends::{Active, active, plain, read_to_end};

#[test]
fn pings_are_answered_for_forty_seconds() {
    let Active {
        mut sim,
        a,
        b,
        sides,
        ..
    } = plain();
    sim.run_for(Duration::from_secs(40));
    let (a, b) = (
        a.peer.try_info().expect("free"),
        b.peer.try_info().expect("free"),
    );
    for info in [a, b] {
        assert_eq!(info.state, State::Active);
        assert!(info.round_trip.is_some(), "{info:?}");
    }
    assert!(a.pongs + b.pongs >= 2, "{a:?} {b:?}");
    drop(sides);
}

#[test]
fn a_silent_remote_times_out_after_a_ping() {
    let Active {
        mut sim,
        a,
        sides: _sides,
        wires: [_, back],
        ..
    } = plain();
    let began = now_millis();
    back.stall(true);
    assert_eq!(sim.join(a.run).reason, CloseReason::PingTimeout);
    // 15 s to the Ping, 15 s of silence, at most 2 s of closing.
    assert!(
        (30_000..=32_010).contains(&(now_millis() - began)),
        "{}",
        now_millis() - began
    );
}

#[test]
fn a_remote_that_does_not_say_hello_in_time_is_given_up() {
    let Two {
        mut sim, a, wires, ..
    } = Two::plain();
    wires[1].stall(true);
    assert_eq!(sim.join(a.run).reason, CloseReason::HandshakeTimeout);
    assert!((5000..=5010).contains(&now_millis()), "{}", now_millis());
}

#[test]
fn a_wire_that_takes_nothing_meets_the_write_deadline() {
    let Active {
        mut sim,
        a,
        sides: [mut side, _other],
        wires: [there, _],
        ..
    } = plain();
    there.stall(true);
    let began = now_millis();
    let written = sim.block_on(async move {
        loop {
            if let Err(error) = side.write(0, &[1; 700]).await {
                return error;
            }
        }
    });
    assert_eq!(written, WriteError::Closed(CloseReason::WriteTimeout));
    assert_eq!(sim.join(a.run).reason, CloseReason::WriteTimeout);
    assert!(
        (20_000..=20_010).contains(&(now_millis() - began)),
        "{}",
        now_millis() - began
    );
}

#[test]
fn a_remote_that_never_closes_meets_the_closing_deadline() {
    for stalls in [0, 1] {
        let Active {
            mut sim,
            a,
            sides: _sides,
            wires,
            ..
        } = plain();
        // Either our Disconnect does not get out, or the end of the remote's stream does not come.
        wires[stalls].stall(true);
        let began = now_millis();
        a.peer.disconnect(DisconnectReason::REQUESTED);
        assert_eq!(
            sim.join(a.run).reason,
            CloseReason::Local(DisconnectReason::REQUESTED)
        );
        assert!(
            (2000..=2010).contains(&(now_millis() - began)),
            "{}",
            now_millis() - began
        );
    }
}

#[test]
fn a_full_inbox_holds_back_without_loss_and_goes_on() {
    let Active {
        mut sim,
        a: _a,
        b: _b,
        sides: [mut writes, mut reads],
        ..
    } = plain();
    let writer = sim.spawn("writer", async move {
        for i in 0..40 {
            writes
                .write(0, &Random::new(i).bytes(500))
                .await
                .expect("written");
        }
        writes.flush().await.expect("flushed");
        writes
    });
    sim.run_for(Duration::from_secs(10));
    assert!(!writer.is_done(), "inbox, pipe and ring are full");
    let reads = sim.block_on(async move {
        let mut buffer = [0; 500];
        for i in 0..40 {
            let message = reads.read(&mut buffer).await.expect("a message");
            assert_eq!(buffer[..message.length], Random::new(i).bytes(500));
        }
        reads
    });
    let writes = sim.join(writer);
    drop((writes, reads));
}

#[test]
fn an_inbox_that_stays_full_stalls_the_session() {
    let Active {
        mut sim,
        a: _a,
        b,
        sides: [mut writes, reads],
        ..
    } = plain();
    sim.spawn("writer", async move {
        while writes.write(0, &[1; 500]).await.is_ok() {}
    });
    let began = now_millis();
    assert_eq!(
        sim.join(b.run).reason,
        CloseReason::Stalled { subprotocol: 0 }
    );
    assert!(
        (15_000..=17_010).contains(&(now_millis() - began)),
        "{}",
        now_millis() - began
    );
    // What was committed before the end can be read after it.
    let reason = sim.block_on(read_to_end(reads));
    assert_eq!(reason, CloseReason::Stalled { subprotocol: 0 });
}

#[test]
fn an_inbox_that_drops_counts_what_it_dropped() {
    let mut lossy = fixture::protocol("echo", 2, 2048);
    lossy.overflow = Overflow::Drop;
    let b = Spec::new(2).protocols(&[lossy, fixture::protocol("sense", 2, 2048)]);
    let Active {
        mut sim,
        a: _a,
        b,
        sides: [mut writes, mut reads],
        ..
    } = active(&Spec::new(1), &b, Shape::default());
    sim.block_on(async move {
        for i in 0..10u8 {
            writes.write(0, &[i; 500]).await.expect("written");
        }
        writes.flush().await.expect("flushed");
        core::mem::forget(writes);
    });
    sim.settle();
    let counters = b.peer.try_counters(0).expect("free");
    assert_eq!(
        (counters.received.messages, counters.received.dropped),
        (3, 7)
    );
    let mut buffer = [0; 500];
    for i in 0..3 {
        assert!(matches!(reads.try_read(&mut buffer), Ok(Some(_))));
        assert_eq!(buffer, [i; 500]);
    }
    assert_eq!(reads.try_read(&mut buffer), Ok(None));
}
