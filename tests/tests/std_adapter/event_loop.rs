//! The event loop, with itself and with sessions that have threads.
use std::collections::HashMap;
use std::sync::Arc;

use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_std::enode::Enode;
use devp2p_std::node::Node as ThreadNode;
use devp2p_std::protocol::Protocol;

use crate::event_rig::{Script, Seen, echo, node, node_with, protocol, send};
use crate::session_rig::{HANG, config, host, host_with, key, noise};

/// Sizes around what is special: empty, one block, a frame of the literal form, the buffers, the limit.
const SIZES: [usize; 11] = [
    0, 1, 15, 16, 1000, 4096, 65_535, 65_536, 200_000, 1_048_577, 16_777_215,
];

fn compressible(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 64) as u8).collect()
}

#[test]
fn messages_of_every_size_come_back_as_they_were() {
    let server = node(&host(1, vec![protocol("echo", 2)]), echo());
    let client = node_with(
        &host(2, vec![protocol("echo", 2)]),
        Script::default(),
        |b| b.loops(1),
    );
    let handle = client.dial(&server.enode());
    assert_eq!(client.next(), Seen::Active);
    for size in SIZES {
        for payload in [noise(size), compressible(size)] {
            if size == 16_777_215 && snap_overflows(&payload) {
                continue;
            }
            send(&handle, 0, 0, &payload);
            let Seen::Message(0, 1, answer) = client.next() else {
                panic!("an answer of {size} bytes");
            };
            assert!(answer == payload, "{size} bytes altered");
        }
    }
    handle.flush().expect("a live session");
    handle.disconnect(R::REQUESTED);
    assert_eq!(client.closed(), CloseReason::Local(R::REQUESTED));
    assert_eq!(
        server.closed(),
        CloseReason::RemoteRequested(Some(R::REQUESTED))
    );
    assert_eq!(handle.closed(), CloseReason::Local(R::REQUESTED));
    assert_eq!(
        handle.try_send(0, 0, &[]),
        Err(WriteError::Closed(CloseReason::Local(R::REQUESTED)))
    );
}

/// What does not compress grows a little, beyond what a frame can hold.
fn snap_overflows(payload: &[u8]) -> bool {
    snap::raw::Encoder::new()
        .compress_vec(payload)
        .is_ok_and(|bytes| bytes.len() >= 16_777_215)
}

/// Answers code 0 by code 1 with the same payload, in a thread.
fn echo_thread() -> Protocol {
    Protocol::new("echo", 1, 2, |subprotocol| {
        loop {
            let message = subprotocol.read()?;
            subprotocol.write(1, &message.payload)?;
        }
    })
    .expect("a valid name")
}

#[test]
fn a_node_with_threads_dials_an_event_loop_and_the_other_way() {
    let events = node(&host(1, vec![protocol("echo", 2)]), echo());
    let threads = ThreadNode::builder(host(2, vec![echo_thread()]))
        .listen("127.0.0.1:0")
        .start()
        .expect("a node");

    // The event loop dials.
    let handle = events.dial(&threads.enode());
    assert_eq!(handle.id(), threads.host().id());
    assert!(!handle.is_inbound());
    assert_eq!(handle.client_name(), threads.host().client_name());
    for size in [0, 1, 1000, 300_000] {
        send(&handle, 0, 0, &noise(size));
        assert_eq!(events.next_but_active(), Seen::Message(0, 1, noise(size)));
    }
    let traffic = handle.traffic(0);
    assert_eq!((traffic.messages_in, traffic.messages_out), (4, 4));
    assert_eq!((traffic.bytes_in, traffic.bytes_out), (301_001, 301_001));
    assert_eq!(events.node.host().traffic(0), traffic);
    handle.disconnect(R::CLIENT_QUITTING);
    assert_eq!(handle.closed(), CloseReason::Local(R::CLIENT_QUITTING));
    events.closed();

    // The node with threads dials, and asks through a run closure.
    let (asked, answers) = std::sync::mpsc::channel();
    let asks = Protocol::new("echo", 1, 2, move |subprotocol| {
        for size in [0, 1, 1000, 300_000] {
            subprotocol.write(0, &noise(size))?;
            let message = subprotocol.read()?;
            let _ = asked.send(message.payload == noise(size));
        }
        Ok(())
    });
    let asking = ThreadNode::builder(host(3, vec![asks.expect("a valid name")]));
    let asking = asking.start().expect("a node");
    let peer = asking.dial(&events.enode()).expect("a session");
    for _ in 0..4 {
        assert!(answers.recv_timeout(HANG).expect("an answer"));
    }
    assert_eq!(
        peer.closed(),
        CloseReason::ProtocolReturned { subprotocol: 0 }
    );
    assert_eq!(
        events.closed(),
        CloseReason::RemoteRequested(Some(R::CLIENT_QUITTING))
    );
}

/// Two hundred sessions between two nodes of two loops each, every one with traffic both ways, none lost.
#[test]
fn two_hundred_sessions_talk_at_once() {
    const SESSIONS: u8 = 200;
    const MESSAGES: u32 = 20;
    let server = node_with(&host(1, vec![protocol("echo", 2)]), echo(), |b| {
        b.listen("127.0.0.1:0").loops(2).max_peers(1000)
    });
    let clients: Vec<_> = (0..SESSIONS)
        .map(|n| {
            let host = host(n.wrapping_add(2), vec![protocol("echo", 2)]);
            node_with(&host, Script::default(), |b| b.loops(1))
        })
        .collect();
    let events = server.node.host().subscribe_sessions(1000);
    let dials: Vec<_> = clients
        .iter()
        .map(|client| client.node.begin_dial(&server.enode()).expect("a dial"))
        .collect();
    let handles: Vec<_> = dials
        .into_iter()
        .map(|dial| {
            dial.wait_timeout(HANG)
                .expect("the dial hangs")
                .expect("a session")
        })
        .collect();
    for _ in 0..SESSIONS {
        (events.receiver().recv_timeout(HANG)).expect("the session is active there too");
    }
    assert_eq!(server.node.peer_count(), usize::from(SESSIONS));
    for n in 0..MESSAGES {
        for handle in &handles {
            send(handle, 0, 0, &noise(n as usize * 100));
        }
    }
    for client in &clients {
        for n in 0..MESSAGES {
            let expected = Seen::Message(0, 1, noise(n as usize * 100));
            assert_eq!(client.next_but_active(), expected);
        }
    }
    let shutdown = server.node.shutdown();
    assert_eq!(shutdown.unfinished, 0);
    let mut ends = HashMap::new();
    for ended in &shutdown.reports {
        assert_eq!(ended.reason, CloseReason::Local(R::CLIENT_QUITTING));
        *ends.entry(ended.id).or_insert(0) += 1;
    }
    assert_eq!(ends.len(), usize::from(SESSIONS));
    for client in &clients {
        let reason = client.closed();
        assert_eq!(
            reason,
            CloseReason::RemoteRequested(Some(R::CLIENT_QUITTING))
        );
    }
}

#[test]
fn a_message_over_the_limit_is_told_in_order_and_the_session_lives() {
    let limited = protocol("test", 2).message_limit(1000);
    let server = node(&host(1, vec![limited]), Script::default());
    let client = node(&host(2, vec![protocol("test", 2)]), Script::default());
    let handle = client.dial(&server.enode());
    for size in [1000, 1001, 100_000, 7] {
        send(&handle, 0, 1, &noise(size));
    }
    assert_eq!(server.next(), Seen::Active);
    assert_eq!(server.next(), Seen::Message(0, 1, noise(1000)));
    assert_eq!(server.next(), Seen::Oversize(0, 1, 1001));
    assert_eq!(server.next(), Seen::Oversize(0, 1, 100_000));
    assert_eq!(server.next(), Seen::Message(0, 1, noise(7)));
}

#[test]
fn a_code_out_of_range_and_a_protocol_that_is_not_shared_are_refused() {
    let server = node(&host(1, vec![protocol("test", 2)]), Script::default());
    let both = vec![protocol("other", 1), protocol("test", 2)];
    let client = node(&host(2, both), Script::default());
    let handle = client.dial(&server.enode());
    assert_eq!(handle.try_send(0, 0, &[]), Err(WriteError::NotShared));
    assert_eq!(handle.try_send(1, 2, &[]), Err(WriteError::InvalidCode));
    assert_eq!(
        handle.try_send(1, 1, &[0; 1 << 24]),
        Err(WriteError::TooLarge)
    );
    assert_eq!(handle.try_send(1, 1, &[5]), Ok(()));
    assert_eq!(server.next_but_active(), Seen::Message(0, 1, vec![5]));
    assert_eq!(handle.shared().len(), 1);
    assert!(handle.is_shared(1) && !handle.is_shared(0));
}

#[test]
fn version_4_on_either_side_is_a_session_without_compression() {
    for versions in [(4, 4), (4, 5), (5, 4), (5, 5)] {
        let echoes = || vec![protocol("echo", 2)];
        let server = node(&host_with(1, echoes(), |b| b.version(versions.0)), echo());
        let client = host_with(2, echoes(), |b| b.version(versions.1));
        let client = node(&client, Script::default());
        let handle = client.dial(&server.enode());
        send(&handle, 0, 0, &[0; 10_000]);
        let answer = Seen::Message(0, 1, vec![0; 10_000]);
        assert_eq!(client.next_but_active(), answer);
        let is_plain = handle.traffic(0).wire_bytes_in == 10_000;
        assert_eq!(is_plain, versions != (5, 5), "{versions:?}");
    }
}

#[test]
fn a_timer_is_called_once_and_can_be_set_again() {
    let script = Script {
        on_active: Arc::new(|session| session.set_timer(std::time::Duration::ZERO)),
        on_timer: Arc::new(|session| {
            if session.handle().traffic(0).messages_out < 3 {
                session.try_write(0, 0, &[]).expect("room");
                session.set_timer(std::time::Duration::from_millis(1));
            } else {
                session.finish(0);
            }
        }),
        ..Script::default()
    };
    let server = node(&host(1, vec![protocol("test", 1)]), Script::default());
    let client = node(&host(2, vec![protocol("test", 1)]), script);
    client.dial(&server.enode());
    let timers: Vec<_> = (0..4).map(|_| client.next_but_active()).collect();
    assert_eq!(timers, vec![Seen::Timer; 4]);
    assert_eq!(
        client.closed(),
        CloseReason::ProtocolReturned { subprotocol: 0 }
    );
    for _ in 0..3 {
        assert_eq!(server.next_but_active(), Seen::Message(0, 0, vec![]));
    }
    let quit = CloseReason::RemoteRequested(Some(R::CLIENT_QUITTING));
    assert_eq!(server.closed(), quit);
}

#[test]
fn a_dial_of_nobody_says_so() {
    let client = node(&host(1, vec![protocol("test", 1)]), Script::default());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("its address");
    drop(nobody);
    let dial = client.node.begin_dial(&Enode::new(*key(2).id(), address));
    let outcome = dial
        .expect("a dial")
        .wait_timeout(HANG)
        .expect("an outcome");
    let error = outcome.expect_err("nobody is there");
    assert!(
        error.to_string().contains("nothing listens there"),
        "{error}"
    );
}

#[test]
fn a_ping_is_answered_and_its_round_trip_told() {
    let one = |seed| {
        host_with(seed, vec![protocol("test", 1)], |b| {
            b.config(config(|_| ()))
        })
    };
    let server = node(&one(1), Script::default());
    let client = node(&one(2), Script::default());
    let handle = client.dial(&server.enode());
    assert_eq!((handle.pongs(), handle.round_trip()), (0, None));
    handle.ping();
    while handle.pongs() == 0 {
        assert_eq!(handle.close_reason(), None);
        std::thread::yield_now();
    }
    assert!(handle.round_trip().is_some());
}
