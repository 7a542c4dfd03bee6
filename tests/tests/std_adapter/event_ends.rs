//! How sessions of the event loop end, and what they are held back by.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_std::event_loop::{EventNode, Handler, Loops, Message, Session};
use devp2p_std::node::{DialError, Node as ThreadNode};
use devp2p_std::protocol::{Failure, Protocol};

use crate::event_rig::{Script, Seen, echo, node, node_with, protocol, send, wait_for_peers};
use crate::session_rig::{HANG, config, host, host_with, key, millis, noise};

const fn told(reason: R) -> CloseReason {
    CloseReason::RemoteRequested(Some(reason))
}

#[test]
fn every_local_end_has_its_reason_on_both_sides() {
    type End = fn(&mut Session<'_>);
    let ends: [(End, CloseReason, R); 4] = [
        (
            |session| session.disconnect(R::USELESS_PEER),
            CloseReason::Local(R::USELESS_PEER),
            R::USELESS_PEER,
        ),
        (
            |session| session.finish(0),
            CloseReason::ProtocolReturned { subprotocol: 0 },
            R::CLIENT_QUITTING,
        ),
        (
            |session| {
                session.fail(
                    0,
                    &Failure::new(R::PROTOCOL_ERROR, "not what was asked for"),
                )
            },
            CloseReason::ProtocolError {
                subprotocol: 0,
                reason: R::PROTOCOL_ERROR,
            },
            R::PROTOCOL_ERROR,
        ),
        (
            |_| panic!("on purpose"),
            CloseReason::ProtocolError {
                subprotocol: 0,
                reason: R::SUBPROTOCOL_ERROR,
            },
            R::SUBPROTOCOL_ERROR,
        ),
    ];
    for (end, ours, theirs) in ends {
        let script = Script {
            on_active: Arc::new(end),
            ..Script::default()
        };
        let server = node(&host(1, vec![protocol("test", 1)]), script);
        let client = node(&host(2, vec![protocol("test", 1)]), Script::default());
        let handle = client.dial(&server.enode());
        assert_eq!(handle.closed(), told(theirs));
        assert_eq!(client.closed(), told(theirs));
        if theirs != R::SUBPROTOCOL_ERROR {
            // Nothing is called on a handler that panicked.
            assert_eq!(server.closed(), ours);
        }
    }
}

#[test]
fn a_message_handler_that_fails_or_panics_ends_its_session_and_no_other() {
    let script = Script {
        on_message: Arc::new(|session, message| match message.code {
            0 => Ok(session.try_write(0, 0, message.payload)?),
            1 => Err(Failure::new(R::PROTOCOL_ERROR, "code 1 is not for me")),
            _ => panic!("on purpose"),
        }),
        ..Script::default()
    };
    let server = node_with(&host(1, vec![protocol("test", 3)]), script, |b| {
        b.listen("127.0.0.1:0").loops(1)
    });
    let clients = [2, 3, 4].map(|n| node(&host(n, vec![protocol("test", 3)]), Script::default()));
    let [one, two, three] = [0, 1, 2].map(|n: usize| clients[n].dial(&server.enode()));
    send(&one, 0, 1, &[]);
    assert_eq!(one.closed(), told(R::PROTOCOL_ERROR));
    send(&two, 0, 2, &[]);
    assert_eq!(two.closed(), told(R::SUBPROTOCOL_ERROR));
    send(&three, 0, 0, b"alive");
    let answer = Seen::Message(0, 0, b"alive".to_vec());
    assert_eq!(clients[2].next_but_active(), answer);
    assert_eq!(server.node.peer_count(), 1);
}

#[test]
fn what_arrived_before_a_disconnect_is_delivered_before_it_is_told() {
    let server = node(&host(1, vec![protocol("test", 1)]), Script::default());
    let script = Script {
        on_active: Arc::new(|session| {
            for n in 0..5 {
                session.try_write(0, 0, &[n]).expect("room");
            }
            session.disconnect(R::REQUESTED);
            let closed = WriteError::Closed(CloseReason::Local(R::REQUESTED));
            assert_eq!(session.try_write(0, 0, &[9]), Err(closed));
        }),
        ..Script::default()
    };
    let client = node(&host(2, vec![protocol("test", 1)]), script);
    client.dial(&server.enode());
    for n in 0..5 {
        assert_eq!(server.next_but_active(), Seen::Message(0, 0, vec![n]));
    }
    assert_eq!(server.next(), Seen::Closed(told(R::REQUESTED)));
}

// ---- Admission ----

#[test]
fn who_is_too_many_connected_already_or_ourselves_is_told_so() {
    let server = node_with(
        &host(1, vec![protocol("test", 1)]),
        Script::default(),
        |b| b.listen("127.0.0.1:0").max_peers(1).trusted(*key(4).id()),
    );
    let client = |n| node(&host(n, vec![protocol("test", 1)]), Script::default());
    let refused = |client: &crate::event_rig::Node| {
        let dial = client.node.begin_dial(&server.enode()).expect("a dial");
        let outcome = dial.wait_timeout(HANG).expect("an outcome");
        outcome.expect_err("not admitted").remote_reason()
    };
    let (one, again, two, trusted) = (client(2), client(2), client(3), client(4));
    let first = one.dial(&server.enode());
    assert_eq!(refused(&two), Some(R::TOO_MANY_PEERS));
    trusted.dial(&server.enode());
    // At the limit that is told first; a trusted one passes it.
    server.node.add_trusted(again.node.host().id());
    assert_eq!(refused(&again), Some(R::ALREADY_CONNECTED));
    let own = client(1);
    server.node.add_trusted(own.node.host().id());
    let dial = own
        .node
        .begin_dial(&server.enode())
        .expect_err("its own identity");
    assert!(matches!(dial, DialError::ToSelf), "{dial}");
    // The place is free when the session has ended.
    first.disconnect(R::REQUESTED);
    assert_eq!(server.closed(), told(R::REQUESTED));
    server.node.remove_trusted(&again.node.host().id());
    trusted.node.shutdown();
    server.closed();
    two.dial(&server.enode());
}

#[test]
fn the_maker_of_handlers_may_turn_a_remote_away() {
    struct Nothing;
    impl Handler for Nothing {
        fn on_message(&mut self, _: &mut Session<'_>, _: Message<'_>) -> Result<(), Failure> {
            Ok(())
        }
    }
    let host_of = |n| host(n, vec![protocol("test", 1)]);
    let server = EventNode::with_handlers(host_of(1), |remote| match remote.client_name() {
        "unwanted" => Err(R::USELESS_PEER),
        _ => Ok(Nothing),
    });
    let server = server.listen("127.0.0.1:0").start().expect("a node");
    let address = server.local_addr().expect("it listens");
    let enode = devp2p_std::enode::Enode::new(server.host().id(), address);
    let unwanted = host_with(2, vec![protocol("test", 1)], |b| b.client_name("unwanted"));
    let unwanted = node(&unwanted, Script::default());
    let dial = unwanted.node.dial(&enode);
    // Hello was said before: the session may have been active on the other side.
    match dial {
        Ok(handle) => assert_eq!(handle.closed(), told(R::USELESS_PEER)),
        Err(error) => assert_eq!(error.remote_reason(), Some(R::USELESS_PEER)),
    }
    let events = server.host().subscribe_sessions(10);
    let wanted = node(&host_of(3), Script::default());
    let handle = wanted.dial(&enode);
    assert_eq!(handle.close_reason(), None);
    (events.receiver().recv_timeout(HANG)).expect("the session is active there too");
    assert_eq!(server.peer_count(), 1);
}

#[test]
fn two_nodes_that_dial_each_other_have_one_session() {
    for _ in 0..10 {
        let one = node(&host(1, vec![protocol("echo", 2)]), echo());
        let two = node(&host(2, vec![protocol("echo", 2)]), echo());
        let dials = [
            one.node.begin_dial(&two.enode()).expect("a dial"),
            two.node.begin_dial(&one.enode()).expect("a dial"),
        ];
        let outcomes = dials.map(|dial| dial.wait_timeout(HANG).expect("an outcome"));
        let live = outcomes.iter().flatten();
        let live = live.filter(|handle| handle.close_reason().is_none());
        assert!(live.count() >= 1, "{outcomes:?}");
        wait_for_peers(&one.node, 1);
        wait_for_peers(&two.node, 1);
    }
}

#[test]
fn no_shared_capability_is_a_useless_peer() {
    let server = node(&host(1, vec![protocol("theirs", 1)]), Script::default());
    let client = node(&host(2, vec![protocol("ours", 1)]), Script::default());
    let dial = client.node.begin_dial(&server.enode()).expect("a dial");
    let outcome = dial.wait_timeout(HANG).expect("an outcome");
    let DialError::Closed(reason) = outcome.expect_err("nothing is shared") else {
        panic!("not by the session's end");
    };
    // Whoever hears the other first says so; the other hears that, or finds out by itself.
    let useless = [CloseReason::UselessPeer, told(R::USELESS_PEER)];
    assert!(useless.contains(&reason), "{reason}");
}

#[test]
fn another_identity_than_dialled_fails_the_handshake() {
    let server = node(&host(1, vec![protocol("test", 1)]), Script::default());
    let client = node(&host(2, vec![protocol("test", 1)]), Script::default());
    let mut enode = server.enode();
    enode.id = *key(3).id();
    let dial = client.node.begin_dial(&enode).expect("a dial");
    let outcome = dial.wait_timeout(HANG).expect("an outcome");
    let error = outcome.expect_err("not who was dialled");
    let expected =
        |error: &DialError| matches!(error, DialError::Closed(CloseReason::Transport(_)));
    assert!(expected(&error), "{error}");
    assert_eq!(server.node.peer_count(), 0);
}

// ---- Deadlines ----

#[test]
fn a_remote_that_says_nothing_is_late_for_the_handshake() {
    let short = |b: devp2p_std::host::Builder<Loops>| {
        b.config(config(|config| config.handshake_timeout = millis(50)))
    };
    let host = host_with(1, vec![protocol("test", 1)], short);
    let node = node(&host, Script::default());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address");
    let stream = TcpStream::connect(address).expect("a connection");
    let (_kept, _) = silent.accept().expect("a connection");
    let remote = *key(2).id();
    let dial = node.node.dial_over(stream, remote).expect("a dial");
    let outcome = dial.wait_timeout(HANG).expect("an outcome");
    let error = outcome.expect_err("nobody answers");
    assert!(
        matches!(error, DialError::Closed(CloseReason::HandshakeTimeout)),
        "{error}"
    );
    // And inbound: its connection is closed.
    let mut stream = TcpStream::connect(node.node.local_addr().expect("it listens"));
    let stream = stream.as_mut().expect("a connection");
    stream.set_read_timeout(Some(HANG)).expect("a time limit");
    let n = stream.read(&mut [0; 16]).expect("the end of the stream");
    assert_eq!(n, 0);
}

#[test]
fn bytes_that_are_no_handshake_end_the_connection() {
    let node = node(&host(1, vec![protocol("test", 1)]), Script::default());
    let mut stream =
        TcpStream::connect(node.node.local_addr().expect("it listens")).expect("a connection");
    stream.set_read_timeout(Some(HANG)).expect("a time limit");
    // It may be reset while this is written.
    let _ = stream.write_all(&noise(2000));
    let ended = !matches!(stream.read(&mut [0; 16]), Ok(n) if n > 0);
    assert!(ended);
}

#[test]
fn a_remote_that_does_not_answer_a_ping_is_late() {
    // The remote's loop is blocked by its handler, so that nothing answers.
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().expect("a gate");
    let waits = Arc::clone(&gate);
    let blocked = Script {
        on_message: Arc::new(move |_, _| {
            drop(waits.lock());
            Ok(())
        }),
        ..Script::default()
    };
    let server = node(&host(1, vec![protocol("test", 1)]), blocked);
    let impatient = host_with(2, vec![protocol("test", 1)], |b| {
        b.config(config(|config| {
            config.ping_interval = millis(10);
            config.pong_timeout = millis(100);
            config.closing_timeout = millis(100);
        }))
    });
    let client = node(&impatient, Script::default());
    let handle = client.dial(&server.enode());
    send(&handle, 0, 0, b"wait");
    assert_eq!(handle.closed(), CloseReason::PingTimeout);
    drop(held);
    assert_eq!(server.closed(), told(R::READ_TIMEOUT));
}

#[test]
fn an_idle_session_stays_alive_by_pings() {
    let often = |b: devp2p_std::host::Builder<Loops>| {
        b.config(config(|config| config.ping_interval = millis(5)))
    };
    let server = node(
        &host_with(1, vec![protocol("test", 1)], often),
        Script::default(),
    );
    let client = node(
        &host_with(2, vec![protocol("test", 1)], often),
        Script::default(),
    );
    let handle = client.dial(&server.enode());
    while handle.pongs() < 20 {
        assert_eq!(handle.close_reason(), None);
        thread::yield_now();
    }
    assert!(client.node.punctuality().count() > 0);
}

// ---- Holding back ----

/// Fills an inbox whose subprotocol is paused, and its connection, until the sender must wait.
#[test]
fn a_paused_subprotocol_holds_the_sender_back_and_loses_nothing() {
    const COUNT: u32 = 400;
    const SIZE: usize = 50_000;
    let paused = Script {
        on_active: Arc::new(|session| session.pause(0)),
        ..Script::default()
    };
    let inbox = |p: Protocol<Loops>| p.inbox(200_000);
    let both = |p: Protocol<Loops>| vec![p, protocol("other", 1)];
    let server = node(&host(1, both(inbox(protocol("bulk", 1)))), paused);
    let client = node_with(
        &host(2, both(protocol("bulk", 1))),
        Script::default(),
        |b| b.output_limit(100_000),
    );
    let handle = client.dial(&server.enode());
    assert_eq!(server.next(), Seen::Active);
    send(&handle, 1, 0, b"not paused");
    assert_eq!(server.next(), Seen::Message(1, 0, b"not paused".to_vec()));

    // It cannot all be under way at once: 20 MB, and a socket takes a few.
    let sender = handle.clone();
    let sent = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&sent);
    let sending = thread::spawn(move || {
        for n in 0..COUNT {
            let mut payload = noise(SIZE);
            payload[..4].copy_from_slice(&n.to_be_bytes());
            send(&sender, 0, 0, &payload);
            counts.fetch_add(1, Ordering::Relaxed);
        }
    });
    // Once the sender is told to wait, everything on the way is full.
    while handle.try_send(1, 0, &noise(99_000)).is_ok() {
        thread::yield_now();
    }
    let remote = server.node.peers().pop().expect("a session");
    assert!(sent.load(Ordering::Relaxed) < COUNT as usize);
    assert!(server.node.host().memory().used() < 1_000_000);
    remote.resume(0);
    let mut expected = 0u32;
    while expected < COUNT {
        match server.next() {
            Seen::Message(0, 0, payload) => {
                assert_eq!(payload[..4], expected.to_be_bytes());
                assert_eq!(payload.len(), SIZE);
                expected += 1;
            }
            Seen::Message(1, 0, _) => {}
            seen => panic!("{seen:?}"),
        }
    }
    sending.join().expect("no panic");
    assert_eq!(handle.close_reason(), None);
}

#[test]
fn a_subprotocol_that_stays_paused_ends_the_session_as_stalled() {
    let paused = Script {
        on_active: Arc::new(|session| session.pause(0)),
        ..Script::default()
    };
    let soon = |b: devp2p_std::host::Builder<Loops>| {
        b.config(config(|config| config.hold_back_limit = millis(100)))
    };
    let bulk = protocol("bulk", 1).inbox(1000);
    let server = node(&host_with(1, vec![bulk], soon), paused);
    let client = node(&host(2, vec![protocol("bulk", 1)]), Script::default());
    let handle = client.dial(&server.enode());
    for _ in 0..3 {
        send(&handle, 0, 0, &noise(900));
    }
    assert_eq!(server.closed(), CloseReason::Stalled { subprotocol: 0 });
    assert_eq!(handle.closed(), told(R::SUBPROTOCOL_ERROR));
}

#[test]
fn a_writer_that_is_told_to_wait_is_told_to_go_on() {
    const COUNT: u32 = 300;
    let next = Arc::new(AtomicUsize::new(0));
    let write = move |session: &mut Session<'_>| {
        while next.load(Ordering::Relaxed) < COUNT as usize {
            let n = next.load(Ordering::Relaxed) as u32;
            let mut payload = noise(30_000);
            payload[..4].copy_from_slice(&n.to_be_bytes());
            match session.try_write(0, 0, &payload) {
                Ok(()) => next.fetch_add(1, Ordering::Relaxed),
                Err(WriteError::WouldBlock { .. }) => return,
                Err(error) => panic!("{error}"),
            };
        }
    };
    let write = Arc::new(write);
    let begins = Arc::clone(&write);
    let script = Script {
        on_active: Arc::new(move |session| begins(session)),
        on_writable: Arc::new(move |session| write(session)),
        ..Script::default()
    };
    let server = node(&host(1, vec![protocol("bulk", 1)]), Script::default());
    let client = node_with(&host(2, vec![protocol("bulk", 1)]), script, |b| {
        b.output_limit(64 * 1024)
    });
    client.dial(&server.enode());
    for n in 0..COUNT {
        let Seen::Message(0, 0, payload) = server.next_but_active() else {
            panic!("message {n}");
        };
        assert_eq!(payload[..4], n.to_be_bytes());
    }
}

#[test]
fn a_session_that_waits_for_memory_goes_on_when_another_session_s_messages_are_delivered() {
    // A pool of 100 000 bytes, and a share of 2 000 for each of 50. One loop, so that who waits is woken by who gives back in
    // the same loop and turn.
    let protocols = ["held", "bulk"].map(|name| protocol(name, 1).inbox(90_000));
    let host_of = host_with(1, protocols.into(), |b| b.memory_limit(200_000));
    let sessions = Arc::new(Mutex::new(Vec::new()));
    let active = Arc::clone(&sessions);
    let script = Script {
        on_active: Arc::new(move |session| {
            session.pause(0);
            active
                .lock()
                .expect("no panic")
                .push(session.handle().clone());
        }),
        ..Script::default()
    };
    let server = node_with(&host_of, script, |b| b.listen("127.0.0.1:0").loops(1));
    let clients = [(2, "held"), (3, "bulk")].map(|(n, name)| {
        let client = node(&host(n, vec![protocol(name, 1)]), Script::default());
        let handle = client.dial(&server.enode());
        assert_eq!(server.next(), Seen::Active);
        (client, handle)
    });
    send(&clients[0].1, 0, 0, &noise(60_000));
    while host_of.memory().used() < 60_000 {
        thread::yield_now();
    }
    send(&clients[1].1, 0, 0, &noise(80_000));
    while host_of.memory().used() < 100_000 {
        thread::yield_now();
    }
    sessions.lock().expect("no panic")[0].resume(0);
    let seen = [server.next(), server.next()];
    let lengths = seen.map(|seen| match seen {
        Seen::Message(subprotocol, 0, payload) => (subprotocol, payload.len()),
        seen => panic!("{seen:?}"),
    });
    assert_eq!(lengths, [(0, 60_000), (1, 80_000)]);
    assert!(
        clients
            .iter()
            .all(|(_, handle)| handle.close_reason().is_none())
    );
}

// ---- The node's end ----

#[test]
fn shutting_down_tells_every_remote_and_every_dial() {
    let server = node(&host(1, vec![protocol("test", 1)]), Script::default());
    let threads = Protocol::new("test", 1, 1, |subprotocol| {
        loop {
            subprotocol.read()?;
        }
    });
    let threads = ThreadNode::builder(host(2, vec![threads.expect("a valid name")]));
    let threads = threads.start().expect("a node");
    let peer = threads.dial(&server.enode()).expect("a session");
    assert_eq!(server.next(), Seen::Active);
    let shutdown = server.node.shutdown();
    assert_eq!(shutdown.unfinished, 0);
    let quit = CloseReason::Local(R::CLIENT_QUITTING);
    let ends: Vec<_> = shutdown
        .reports
        .iter()
        .map(|end| (end.id, end.reason))
        .collect();
    assert_eq!(ends, [(Some(threads.host().id()), quit)]);
    assert_eq!(peer.closed(), told(R::CLIENT_QUITTING));
    assert_eq!(server.closed(), quit);
    let dial = server.node.begin_dial(&threads_enode(&threads));
    assert!(matches!(dial, Err(DialError::ShutDown)));
    assert_eq!(server.node.shutdown().reports.len(), 0);
}

fn threads_enode(node: &ThreadNode) -> devp2p_std::enode::Enode {
    let mut enode = node.enode();
    enode.tcp = 1;
    enode
}

#[test]
fn a_connection_that_is_cut_is_an_error_of_the_transport() {
    let server = node(&host(1, vec![protocol("test", 1)]), Script::default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    // A relay between the two, so that the test can cut.
    let address = listener.local_addr().expect("its address");
    let to = server.node.local_addr().expect("it listens");
    let (sender, cut) = std::sync::mpsc::channel();
    let relay = thread::spawn(move || {
        let (one, _) = listener.accept().expect("a connection");
        let two = TcpStream::connect(to).expect("a connection");
        let _ = sender.send((
            one.try_clone().expect("a socket"),
            two.try_clone().expect("a socket"),
        ));
        let pipe = |from: &TcpStream, to: &TcpStream| {
            let (mut from, mut to) = (
                from.try_clone().expect("a socket"),
                to.try_clone().expect("a socket"),
            );
            thread::spawn(move || drop(std::io::copy(&mut from, &mut to)))
        };
        let pipes = [pipe(&one, &two), pipe(&two, &one)];
        for pipe in pipes {
            pipe.join().expect("no panic");
        }
    });
    let client = node(&host(2, vec![protocol("test", 1)]), Script::default());
    let mut enode = server.enode();
    enode.tcp = address.port();
    let handle = client.dial(&enode);
    let (one, two) = cut.recv_timeout(HANG).expect("a connection");
    for stream in [one, two] {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    let is_transport = |reason| {
        matches!(
            reason,
            CloseReason::Transport(TransportError::EndOfStream | TransportError::Io)
        )
    };
    assert!(is_transport(handle.closed()));
    assert!(is_transport(server.closed()));
    relay.join().expect("no panic");
}

#[test]
fn events_of_sessions_and_messages_are_told() {
    use devp2p_std::events::PeerEvent;
    let server = node(&host(1, vec![protocol("echo", 2)]), echo());
    let client_host = host(2, vec![protocol("echo", 2)]);
    let events = client_host.subscribe(16);
    let client = node(&client_host, Script::default());
    let handle = client.dial(&server.enode());
    send(&handle, 0, 0, &[1, 2, 3]);
    assert_eq!(client.next_but_active(), Seen::Message(0, 1, vec![1, 2, 3]));
    handle.disconnect(R::REQUESTED);
    handle.closed();
    let next = || events.receiver().recv_timeout(HANG).expect("an event");
    assert!(matches!(next(), PeerEvent::Added { inbound: false, .. }));
    assert!(matches!(next(), PeerEvent::MessageSent { length: 3, .. }));
    assert!(matches!(
        next(),
        PeerEvent::MessageReceived { length: 3, .. }
    ));
    let reason = CloseReason::Local(R::REQUESTED);
    let peer = server.node.host().id();
    let PeerEvent::Dropped {
        peer: who,
        reason: why,
        traffic,
        ..
    } = next()
    else {
        panic!("not the end");
    };
    assert_eq!((who, why), (peer, reason));
    assert_eq!((traffic.bytes_in, traffic.bytes_out), (3, 3));
    assert_eq!(events.lost(), 0);
}

#[test]
fn a_handler_that_is_dropped_after_its_session_holds_nothing_back() {
    struct Noisy(Arc<AtomicBool>);
    impl Drop for Noisy {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
            panic!("on purpose");
        }
    }
    impl Handler for Noisy {
        fn on_message(&mut self, _: &mut Session<'_>, _: Message<'_>) -> Result<(), Failure> {
            Ok(())
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let server = EventNode::with_handlers(host(1, vec![protocol("test", 1)]), move |_| {
        Ok::<_, R>(Noisy(Arc::clone(&flag)))
    });
    let server = server
        .listen("127.0.0.1:0")
        .loops(1)
        .start()
        .expect("a node");
    let address = server.local_addr().expect("it listens");
    let enode = devp2p_std::enode::Enode::new(server.host().id(), address);
    for n in [2, 3] {
        let client = node(&host(n, vec![protocol("test", 1)]), Script::default());
        let handle = client.dial(&enode);
        handle.disconnect(R::REQUESTED);
        handle.closed();
    }
    assert_eq!(server.shutdown().unfinished, 0);
    assert!(dropped.load(Ordering::Relaxed));
}
