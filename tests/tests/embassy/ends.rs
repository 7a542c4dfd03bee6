//! How sessions end, and who is told what.

use devp2p_core::capability::Overflow;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::lifecycle::State;
use devp2p_embassy::{NotShared, PeerEvent, ReadError};
use devp2p_tests::embassy_node::{Handles, Spec, Two};
use devp2p_tests::embassy_pipe::{Broken, Shape};
use devp2p_tests::embassy_sim::{Sim, now_millis};
use devp2p_tests::fixture;
use devp2p_tests::random::Random;
use embassy_time::Duration;

use crate::basics::{Side, ask, serve};

/// Runs until both sessions are active; the first protocol's guards.
pub(crate) fn activate(
    sim: &mut Sim,
    a: &mut Option<Handles>,
    b: &mut Option<Handles>,
) -> [Side; 2] {
    [a, b].map(|handles| {
        let (mut handles, put) = (handles.take().expect("handles"), handles);
        let (side, echo) = sim.block_on(async move {
            let side = handles.echo.session().await.expect("shared");
            (side, handles)
        });
        *put = Some(echo);
        side
    })
}

/// Two active peers.
struct Active {
    sim: Sim,
    a: Handles,
    b: Handles,
    sides: [Side; 2],
    wires: [devp2p_tests::embassy_pipe::Wire; 2],
}

fn active(a: &Spec, b: &Spec, shape: Shape) -> Active {
    let Two {
        mut sim,
        a,
        b,
        wires,
    } = Two::new(a, b, shape);
    let (mut a, mut b) = (Some(a), Some(b));
    let sides = activate(&mut sim, &mut a, &mut b);
    Active {
        sim,
        a: a.expect("put back"),
        b: b.expect("put back"),
        sides,
        wires,
    }
}

fn plain() -> Active {
    active(&Spec::new(1), &Spec::new(2), Shape::default())
}

fn read_to_end(mut side: Side) -> impl Future<Output = CloseReason> {
    async move {
        let mut buffer = [0; 2048];
        loop {
            match side.read(&mut buffer).await {
                Err(ReadError::Closed(reason)) => return reason,
                Err(error) => panic!("{error:?}"),
                Ok(_) => {}
            }
        }
    }
}

#[test]
fn each_reason_of_a_local_disconnect_reaches_the_remote() {
    for code in (0..=0x11).chain([0x7f, 0x80, 0xff]) {
        let reason = DisconnectReason(code);
        let Active {
            mut sim,
            a,
            b,
            sides: [side_a, side_b],
            wires,
        } = plain();
        let (told_a, told_b) = (
            sim.spawn("a reads", read_to_end(side_a)),
            sim.spawn("b reads", read_to_end(side_b)),
        );
        let closed = sim.spawn("a closed", async move { a.peer.closed().await });
        sim.settle();
        a.peer.disconnect(reason);
        // Later ones do not count.
        a.peer.disconnect(DisconnectReason::ALREADY_CONNECTED);
        let started = now_millis();
        assert_eq!(sim.join(a.run).reason, CloseReason::Local(reason));
        assert_eq!(sim.join(closed), CloseReason::Local(reason));
        assert_eq!(sim.join(told_a), CloseReason::Local(reason));
        let theirs = CloseReason::RemoteRequested(Some(reason));
        assert_eq!(sim.join(b.run).reason, theirs);
        assert_eq!(sim.join(told_b), theirs);
        assert_eq!(now_millis(), started, "nobody had to wait for a deadline");
        assert!(wires[0].is_ended() && wires[1].is_ended());
    }
}

#[test]
fn a_subprotocol_that_fails_says_its_reason() {
    let Active {
        mut sim,
        a,
        b,
        sides: [side_a, _side_b],
        ..
    } = plain();
    side_a.fail(DisconnectReason::SUBPROTOCOL_ERROR);
    let reason = DisconnectReason::SUBPROTOCOL_ERROR;
    assert_eq!(
        sim.join(a.run).reason,
        CloseReason::ProtocolError {
            subprotocol: 0,
            reason
        }
    );
    assert_eq!(
        sim.join(b.run).reason,
        CloseReason::RemoteRequested(Some(reason))
    );
}

#[test]
fn a_protocol_that_the_remote_lacks_is_told_so_and_the_others_go_on() {
    let b = Spec::new(2).protocols(&[fixture::protocol("sense", 2, 2048)]);
    let Two {
        mut sim,
        mut a,
        mut b,
        ..
    } = Two::new(&Spec::new(1), &b, Shape::default());
    let told = sim.block_on(async move { a.echo.session().await.err() });
    assert_eq!(told, Some(NotShared));
    // It is `b`'s first and only one.
    let serving = sim.spawn("serve", async move {
        let mut side = b.echo.session().await.expect("shared");
        let reason = serve(&mut side).await;
        (reason, b.sense.try_session().err())
    });
    sim.block_on(async move {
        let mut side = a.sense.session().await.expect("shared");
        ask(&mut side, b"still").await;
    });
    let (_, registered_by_nobody) = sim.join(serving);
    assert_eq!(registered_by_nobody, Some(NotShared));
    assert_eq!(
        sim.join(a.run).reason,
        CloseReason::ProtocolReturned { subprotocol: 1 }
    );
}

#[test]
fn a_remote_without_anything_in_common_is_useless() {
    let b = Spec::new(2).protocols(&[fixture::protocol("other", 2, 2048)]);
    let Two {
        mut sim, mut a, b, ..
    } = Two::new(&Spec::new(1), &b, Shape::default());
    let mut events = a.peer.events().expect("a place");
    let session = sim.spawn("session", async move { a.echo.session().await.is_ok() });
    let reason = sim.join(a.run).reason;
    sim.join(b.run);
    assert_eq!(reason, CloseReason::UselessPeer);
    assert!(!session.is_done(), "no session became active");
    assert_eq!(events.try_next(), Ok(Some(PeerEvent::Dropped(reason))));
}

#[test]
fn who_is_not_admitted_is_told_why_in_place_of_hello() {
    use devp2p_tests::embassy_pipe::pipe;
    use embassy_sync::blocking_mutex::raw::NoopRawMutex;
    let mut sim = Sim::new();
    let (mut near, mut far, _) = pipe(Shape::default());
    let mut a = Spec::new(1).build::<NoopRawMutex>();
    let mut b = Spec::new(2).build::<NoopRawMutex>();
    let (dialler, remote) = (a.id, b.id);
    let peer = b.peer;
    let dial = sim.spawn("a", async move {
        let (reader, writer) = (&mut near.reader, &mut near.writer);
        a.runner.dial(remote, &mut a.rng, reader, writer).await
    });
    let accept = sim.spawn("b", async move {
        let (reader, writer) = (&mut far.reader, &mut far.writer);
        let admit = |id| {
            assert_eq!(id, dialler);
            Err(DisconnectReason::TOO_MANY_PEERS)
        };
        b.runner.accept(&mut b.rng, reader, writer, admit).await
    });
    let reason = DisconnectReason::TOO_MANY_PEERS;
    assert_eq!(sim.join(accept).reason, CloseReason::Rejected(reason));
    assert_eq!(
        sim.join(dial).reason,
        CloseReason::RemoteRequested(Some(reason))
    );
    assert_eq!(peer.try_info().expect("free").sessions, 0);
}

#[test]
fn the_end_of_the_stream_and_a_broken_link_close_the_session() {
    for breaks in [false, true] {
        let Active {
            mut sim,
            a,
            sides: [side, _other],
            wires: [_, back],
            ..
        } = plain();
        let reads = sim.spawn("reads", read_to_end(side));
        sim.settle();
        let error = if breaks {
            back.break_off();
            TransportError::Io
        } else {
            back.end();
            TransportError::EndOfStream
        };
        let ended = sim.join(a.run);
        assert_eq!(ended.reason, CloseReason::Transport(error));
        assert_eq!(ended.read_error, breaks.then_some(Broken));
        assert_eq!(sim.join(reads), CloseReason::Transport(error));
    }
}

#[test]
fn a_link_that_breaks_while_it_is_written_to_closes_the_session() {
    for refuses in [false, true] {
        let Active {
            mut sim,
            a,
            sides: [mut side, _other],
            wires: [there, _],
            ..
        } = plain();
        if refuses {
            there.refuse();
        } else {
            there.break_at(there.taken() + 100);
        }
        let written = sim.block_on(async move {
            loop {
                if let Err(error) = side.write(0, &[1; 1000]).await {
                    return error;
                }
            }
        });
        let reason = CloseReason::Transport(TransportError::Io);
        assert_eq!(written, WriteError::Closed(reason));
        let ended = sim.join(a.run);
        assert_eq!(ended.reason, reason);
        assert_eq!(ended.write_error, (!refuses).then_some(Broken));
    }
}

#[test]
fn an_altered_byte_is_a_bad_mac_and_nothing_is_sent_for_it() {
    let Active {
        mut sim,
        a: _a,
        b,
        sides: [mut side, _other],
        wires: [there, back],
    } = plain();
    there.stall(true);
    side.try_write(0, &[1; 100]).expect("room");
    sim.settle();
    // Nothing went into a wire that stands still: let one write pass, but no read.
    let before = back.taken();
    there.stall(false);
    let mut altered = false;
    while !altered {
        // The writer runs before the reader: between the two the byte is altered.
        altered = sim.poll_once(&_a.run) && there.corrupt();
    }
    assert_eq!(
        sim.join(b.run).reason,
        CloseReason::Transport(TransportError::BadMac)
    );
    assert_eq!(back.taken(), before);
}

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
fn noise_in_place_of_a_handshake_fails_it() {
    let Two {
        mut sim,
        a,
        b,
        wires,
        ..
    } = Two::plain();
    wires[0].inject(&[0x01, 0x80]);
    wires[0].inject(&[0x55; 600]);
    let handshake = CloseReason::Transport(TransportError::Handshake);
    assert_eq!(sim.join(b.run).reason, handshake);
    assert_eq!(
        sim.join(a.run).reason,
        CloseReason::Transport(TransportError::EndOfStream)
    );
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

#[test]
fn what_came_with_the_end_is_still_given_to_a_task_that_was_slow() {
    let Two {
        mut sim,
        mut a,
        mut b,
        ..
    } = Two::plain();
    sim.block_on(async move {
        let mut side = a.echo.session().await.expect("shared");
        side.write(0, b"last words").await.expect("written");
        side.flush().await.expect("flushed");
    });
    // The session is over before `b`'s task asks for it.
    let reason = sim.join(b.run).reason;
    let (text, end) = sim.block_on(async move {
        let mut side = b.echo.session().await.expect("shared");
        let text = side.read_with(|m| m.payload.map(<[u8]>::to_vec)).await;
        let end = side.read_with(|_| ()).await;
        (text, end)
    });
    assert_eq!(text, Ok(Some(b"last words".to_vec())));
    assert_eq!(end, Err(ReadError::Closed(reason)));
}

#[test]
fn what_is_sealed_goes_out_though_the_transport_waits_for_an_acknowledgement() {
    let Active {
        mut sim,
        a: _a,
        b: _b,
        sides: [mut side, _other],
        wires: [there, _],
    } = plain();
    there.leave_unread(true);
    for _ in 0..5 {
        let before = there.taken();
        side.try_write(0, b"more").expect("room");
        sim.settle();
        assert!(there.taken() > before);
    }
}
