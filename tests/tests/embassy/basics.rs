//! Messages between two peers.

use std::future::poll_fn;
use std::task::Poll;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::lifecycle::State;
use devp2p_embassy::{Guard, PeerEvent, ReadError};
use devp2p_tests::embassy_node::{INBOX, PROTOCOLS, RING, Spec, TABLE, Two};
use devp2p_tests::embassy_pipe::Shape;
use devp2p_tests::fixture;
use devp2p_tests::random::Random;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;

pub(crate) type Side = Guard<'static, NoopRawMutex, PROTOCOLS>;

/// The largest payload that an inbox of 2 048 bytes takes.
pub(crate) const LARGEST: usize = 2048 - devp2p_core::arena::RECORD_OVERHEAD;

/// Answers code 0 by code 1 with the same payload, and says oversize ones by their length, until the session is closed.
pub(crate) async fn serve(side: &mut Side) -> CloseReason {
    let mut buffer = [0; LARGEST];
    loop {
        let written = match side.read(&mut buffer).await {
            Ok(message) => side.write(1, &buffer[..message.length]).await,
            Err(ReadError::Oversize { length, .. }) => side.write(1, &length.to_be_bytes()).await,
            Err(ReadError::Closed(reason)) => return reason,
        };
        if let Err(error) = written {
            assert!(matches!(error, WriteError::Closed(_)), "{error:?}");
        }
    }
}

/// Sends this payload and expects it back.
pub(crate) async fn ask(side: &mut Side, payload: &[u8]) {
    let mut buffer = [0; LARGEST];
    side.write(0, payload).await.expect("written");
    let answer = side.read(&mut buffer).await.expect("an answer");
    assert_eq!((answer.code, &buffer[..answer.length]), (1, payload));
}

#[test]
fn messages_of_every_size_up_to_the_inbox_are_echoed() {
    for (seed, version, shape) in [
        (1, 5, Shape::default()),
        (2, 4, Shape::default()),
        (
            3,
            5,
            Shape {
                capacity: 64,
                chunk: 7,
            },
        ),
    ] {
        let mut spec = Spec::new(1);
        spec.version = version;
        let Two { mut sim, a, b, .. } = Two::new(&spec, &Spec::new(2), shape);
        let (mut echo_a, mut echo_b) = (a.echo, b.echo);
        sim.spawn("echo b", async move {
            let mut side = echo_b.session().await.expect("shared");
            serve(&mut side).await
        });
        sim.block_on(async move {
            let mut random = Random::new(seed);
            let mut side = echo_a.session().await.expect("shared");
            for size in [
                0,
                1,
                15,
                16,
                17,
                55,
                56,
                255,
                256,
                1000,
                LARGEST - 1,
                LARGEST,
            ] {
                ask(&mut side, &random.bytes(size)).await;
                ask(&mut side, &random.compressible(size)).await;
            }
        });
        let (a, b) = (sim.join(a.run), sim.join(b.run));
        assert_eq!(a.reason, CloseReason::ProtocolReturned { subprotocol: 0 });
        assert_eq!(
            b.reason,
            CloseReason::RemoteRequested(Some(DisconnectReason::CLIENT_QUITTING))
        );
        assert_eq!((a.read_error, a.write_error), (None, None));
    }
}

#[test]
fn a_message_larger_than_the_inbox_or_the_buffer_is_reported_and_the_session_lives() {
    let Two { mut sim, a, b, .. } = Two::plain();
    let (mut echo_a, mut echo_b) = (a.echo, b.echo);
    sim.spawn("echo b", async move {
        let mut side = echo_b.session().await.expect("shared");
        serve(&mut side).await
    });
    sim.block_on(async move {
        let mut side = echo_a.session().await.expect("shared");
        let mut buffer = [0; 8];
        for size in [LARGEST + 1, 5000, 100_000] {
            side.write(0, &vec![7; size]).await.expect("written");
            let answer = side.read(&mut buffer).await.expect("an answer");
            assert_eq!(buffer[..answer.length], (size as u32).to_be_bytes());
        }
        // Larger than our buffer, though not than the inbox.
        side.write(0, &[1; 9]).await.expect("written");
        assert_eq!(
            side.read(&mut buffer).await,
            Err(ReadError::Oversize { code: 1, length: 9 })
        );
        ask(&mut side, b"in step").await;
    });
}

#[test]
fn reader_and_writer_are_used_at_once_by_one_task() {
    let Two { mut sim, a, b, .. } = Two::plain();
    let (mut echo_a, mut echo_b) = (a.echo, b.echo);
    sim.spawn("echo b", async move {
        let mut side = echo_b.session().await.expect("shared");
        serve(&mut side).await
    });
    sim.block_on(async move {
        let mut side = echo_a.session().await.expect("shared");
        let (reader, writer) = side.split();
        let (mut sent, mut received) = (0u32, 0u32);
        let mut buffer = [0; LARGEST];
        // More on its way than all buffers hold: only who reads while it writes gets through.
        while received < 200 {
            let payload = [sent as u8; 600];
            // Given up between two polls it goes on with the next: `poll_write` keeps what it has begun.
            let write = poll_fn(|cx| {
                if sent < 200 {
                    writer.poll_write(cx, 0, &payload)
                } else {
                    Poll::Pending
                }
            });
            match select(reader.read(&mut buffer), write).await {
                Either::First(message) => {
                    let message = message.expect("an answer");
                    assert_eq!(buffer[..message.length], [received as u8; 600]);
                    received += 1;
                }
                Either::Second(written) => {
                    written.expect("written");
                    sent += 1;
                }
            }
        }
    });
}

#[test]
fn events_info_and_counters_tell_of_the_session() {
    let Two { mut sim, a, b, .. } = Two::plain();
    let (mut echo_a, mut echo_b) = (a.echo, b.echo);
    let mut events = a.peer.events().expect("a place");
    let _other = a.peer.events().expect("a place");
    assert!(a.peer.events().is_none());
    assert_eq!(events.try_next(), Ok(None));
    sim.spawn("echo b", async move {
        let mut side = echo_b.session().await.expect("shared");
        serve(&mut side).await
    });
    let peer = a.peer;
    let side = sim.block_on(async move {
        let mut side = echo_a.session().await.expect("shared");
        ask(&mut side, &[1; 100]).await;
        ask(&mut side, &[2; 50]).await;
        side.flush().await.expect("flushed");
        side
    });
    sim.block_on(async move {
        let info = peer.info().await;
        assert_eq!(info.state, State::Active);
        let id = *fixture::key(2).id();
        assert_eq!(
            info.remote.map(|remote| (remote.id, remote.version)),
            Some((id, 5))
        );
        assert!(info.is_shared(0) && info.is_shared(1) && !info.is_shared(2));
        assert_eq!((info.sessions, info.close_reason), (1, None));
        let counters = peer.counters(0).await;
        assert_eq!((counters.sent_messages, counters.sent_bytes), (2, 150));
        assert_eq!(
            (counters.received.messages, counters.received.bytes),
            (2, 150)
        );
        assert_eq!(peer.counters(1).await.sent_messages, 0);
        assert_eq!(events.next().await, Ok(PeerEvent::Added(id)));
        assert_eq!(events.try_next(), Ok(None));
        drop(side);
        let reason = CloseReason::ProtocolReturned { subprotocol: 0 };
        assert_eq!(peer.closed().await, reason);
        assert_eq!(events.next().await, Ok(PeerEvent::Dropped(reason)));
        assert_eq!(peer.info().await.close_reason, Some(reason));
    });
}

#[test]
fn what_cannot_be_sent_is_said_at_once() {
    let Two { mut sim, a, b, .. } = Two::plain();
    let (mut echo_a, _echo_b) = (a.echo, b.echo);
    sim.block_on(async move {
        let mut side = echo_a.session().await.expect("shared");
        assert_eq!(side.write(2, b"").await, Err(WriteError::InvalidCode));
        assert_eq!(side.try_write(2, b""), Err(WriteError::InvalidCode));
        let random = Random::new(1).bytes(RING);
        assert_eq!(side.try_write(0, &random), Err(WriteError::TooLarge));
        assert_eq!(side.try_write(0, &random[..500]), Ok(()));
        let would_block = side.try_write(0, &random[..500]);
        assert!(
            matches!(would_block, Err(WriteError::WouldBlock { free }) if free > 0 && free < 500),
            "{would_block:?}"
        );
        side.flush().await.expect("flushed");
        assert_eq!(side.try_write(1, &random[..500]), Ok(()));
        let mut buffer = [0; 4];
        assert_eq!(side.try_read(&mut buffer), Ok(None));
    });
}

#[test]
fn memory_besides_the_lent_buffers_is_small() {
    let whole = size_of::<devp2p_tests::embassy_node::Memory<NoopRawMutex>>();
    let lent = INBOX + RING + 2 * TABLE;
    println!(
        "resources: {whole} bytes, {} besides inboxes, ring and table",
        whole - lent
    );
    assert!(whole - lent < 1024 + 3 * 1024, "{}", whole - lent);
}
