//! Sessions that follow each other on one line, which has no connections.

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_embassy::FlushOnly;
use devp2p_embassy::serial::LineReader;
use devp2p_tests::embassy_node::Node;
use devp2p_tests::embassy_pipe::{End, Shape, pipe};
use devp2p_tests::embassy_sim::{Sim, now_millis};
use devp2p_tests::random::Random;
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Timer};
use embedded_io_async::Read;

use crate::again::{Nodes, echoing};
use crate::basics::ask;

const SILENCE: Duration = Duration::from_millis(50);

/// Accepts `sessions` sessions one after the other over its end of the line; why each ended.
async fn accept(mut node: Node, end: End, sessions: usize) -> Vec<CloseReason> {
    let mut reader = LineReader::new(end.reader);
    let mut writer = FlushOnly(end.writer);
    let mut reasons = Vec::new();
    while reasons.len() < sessions {
        reader.discard(SILENCE).await.expect("a line");
        assert_eq!(reader.begun().await, Ok(true));
        let (reader, writer) = (&mut reader, &mut writer);
        let run = node
            .runner
            .accept(&mut node.rng, reader, writer, |_| Ok(()));
        reasons.push(run.await.reason);
    }
    reasons
}

const DONE: CloseReason = CloseReason::ProtocolReturned { subprotocol: 0 };
const QUITS: CloseReason = CloseReason::RemoteRequested(Some(DisconnectReason::CLIENT_QUITTING));

#[test]
fn what_an_old_session_left_on_the_line_does_not_reach_the_next() {
    let mut sim = Sim::new();
    let (near, far, [there, back]) = pipe(Shape::default());
    let mut nodes = Nodes::new(Shape::default());
    let mut echo = echoing(&mut sim, &mut nodes);
    let Nodes { mut a, b, .. } = nodes;
    let remote = b.id;
    there.inject(&Random::new(9).bytes(100));
    let accepts = sim.spawn("b runs", accept(b, far, 3));
    sim.block_on(async move {
        let mut reader = LineReader::new(near.reader);
        let mut writer = FlushOnly(near.writer);
        for session in 0..3 {
            back.inject(&Random::new(session).bytes(100));
            Timer::after(SILENCE * 2).await;
            assert_eq!(reader.discard(SILENCE).await, Ok(100));
            let run = a.runner.dial(remote, &mut a.rng, &mut reader, &mut writer);
            let work = async {
                let mut side = echo.session().await.expect("shared");
                ask(&mut side, &[session as u8; 700]).await;
            };
            let (ended, ()) = join(run, work).await;
            assert_eq!(ended.reason, DONE, "session {session}");
        }
    });
    assert_eq!(sim.join(accepts), [QUITS; 3]);
}

/// It dials into the old session of the other side, which finds that its MAC is wrong.
#[test]
fn a_side_that_was_reset_has_a_session_again_after_one_handshake_in_vain() {
    let mut sim = Sim::new();
    let (near, far, _) = pipe(Shape::default());
    let mut nodes = Nodes::new(Shape::default());
    let mut echo = echoing(&mut sim, &mut nodes);
    let Nodes { mut a, b, .. } = nodes;
    let remote = b.id;
    let accepts = sim.spawn("b runs", accept(b, far, 2));
    sim.block_on(async move {
        let mut reader = LineReader::new(near.reader);
        let mut writer = FlushOnly(near.writer);
        let mut reasons = Vec::new();
        for session in 0..3 {
            reader.discard(SILENCE).await.expect("a line");
            let run = a.runner.dial(remote, &mut a.rng, &mut reader, &mut writer);
            let work = async {
                let mut side = echo.session().await.expect("shared");
                ask(&mut side, &[session as u8; 700]).await;
                side
            };
            match session {
                // Reset: the runner is dropped in the middle of the session.
                0 => match select(run, work).await {
                    Either::First(ended) => panic!("{ended:?}"),
                    Either::Second(side) => drop(side),
                },
                1 => reasons.push(run.await.reason),
                _ => reasons.push(join(run, async { drop(work.await) }).await.0.reason),
            }
        }
        assert_eq!(reasons, [CloseReason::HandshakeTimeout, DONE]);
    });
    let broken = CloseReason::Transport(TransportError::BadMac);
    assert_eq!(sim.join(accepts), [broken, QUITS]);
}

#[test]
fn the_byte_that_begins_a_session_is_read_and_waiting_for_it_does_not_end_by_time() {
    let mut sim = Sim::new();
    let (near, far, [there, _back]) = pipe(Shape::default());
    let mut reader = LineReader::new(far.reader);
    let waits = sim.spawn("waits", async move {
        assert_eq!(reader.begun().await, Ok(true));
        assert_eq!(reader.begun().await, Ok(true), "it is still there");
        let at = now_millis();
        let (mut bytes, mut heard) = ([0; 4], Vec::new());
        loop {
            match reader.read(&mut bytes).await {
                Ok(0) => break,
                Ok(n) => heard.extend_from_slice(&bytes[..n]),
                Err(error) => panic!("{error}"),
            }
        }
        let ended = reader.begun().await;
        assert_eq!(ended, Ok(false), "the stream has ended");
        (at, heard)
    });
    sim.run_for(Duration::from_secs(60));
    there.inject(b"hello");
    sim.settle();
    drop(near);
    let (at, heard) = sim.join(waits);
    assert!(at >= 60_000, "{at}");
    assert_eq!(heard, b"hello");
}
