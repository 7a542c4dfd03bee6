//! A node is shut down in bounded time.
use std::io::Read;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use devp2p_std::node::DialError;

use super::*;

const QUITTING: DisconnectReason = DisconnectReason::CLIENT_QUITTING;

#[test]
fn every_session_is_told_that_the_client_quits() {
    let server = start(listening(160));
    let clients: Vec<_> = (161..165).map(dialler).collect();
    let events = server.host().subscribe(100);
    let dial = |client: &Node| client.dial(&server.enode()).expect("a session");
    let peers: Vec<_> = clients.iter().map(dial).collect();
    wait_for_peers(&server, &events, peers.len());
    let end = server.shutdown();
    assert_eq!(end.unfinished, 0);
    assert!(end.stuck.is_empty());
    assert_eq!(end.reports.len(), peers.len());
    for report in end.reports {
        assert_eq!(report.reason, CloseReason::Local(QUITTING));
        assert!(report.was_active);
    }
    for peer in peers {
        assert_eq!(peer.closed(), remote_says(QUITTING));
    }
    assert!(server.peers().is_empty());
    assert!(server.shutdown().reports.is_empty());
}

#[test]
fn dropping_a_node_shuts_it_down() {
    let server = start(listening(165));
    let client = dialler(166);
    let peer = client.dial(&server.enode()).expect("a session");
    let events = server.host().subscribe(100);
    wait_for_peers(&server, &events, 1);
    let enode = server.enode();
    drop(server);
    assert_eq!(peer.closed(), remote_says(QUITTING));
    let error = client.dial(&enode).expect_err("nobody listens");
    assert!(matches!(error, DialError::Connect { .. }), "{error}");
}

#[test]
fn a_run_closure_that_does_not_return_is_named() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let stuck = Protocol::new("stuck", 1, 1, move |_| {
        let _ = released.lock().expect("no panic").recv();
        Ok(())
    })
    .expect("a valid name");
    let other = || {
        let run = |subprotocol: &mut devp2p_std::handle::Subprotocol| {
            subprotocol.read()?;
            Ok(())
        };
        Protocol::new("stuck", 1, 1, run).expect("a valid name")
    };
    let short = |host: host::Builder| {
        let mut config = config();
        config.closing_timeout = time::Duration::from_millis(50);
        host.config(config).protocol(stuck).protocol(echo())
    };
    let server = start(Node::builder(host_with(167, short)).listen("127.0.0.1:0"));
    let client = start(Node::builder(host_with(168, |host| {
        host.protocol(other()).protocol(echo())
    })));
    client.dial(&server.enode()).expect("a session");
    let events = server.host().subscribe(100);
    wait_for_peers(&server, &events, 1);
    let end = server.shutdown();
    assert_eq!((end.stuck.len(), end.unfinished), (1, 0));
    assert_eq!(end.stuck[0].peer, client.host().id());
    assert_eq!(end.stuck[0].capability.to_string(), "stuck/1");
    drop(release);
}

#[test]
fn a_dial_without_a_connection_ends_with_the_node() {
    let nowhere = Nowhere::new();
    let client = Node::builder(host(169)).dial_timeout(PATIENCE);
    let client = start(client.max_pending(1));
    // It fails at once, unless the other dial is there.
    let probe = Enode {
        id: *key(170).id(),
        tcp: 0,
        ..nowhere.enode()
    };
    let is_refused = |error: &DialError| matches!(error, DialError::TooManyPending(1));
    thread::scope(|scope| {
        let dial = scope.spawn(|| {
            loop {
                match client.dial(&nowhere.enode()) {
                    Err(error) if is_refused(&error) => {}
                    result => return result,
                }
            }
        });
        while !is_refused(&client.dial(&probe).expect_err("no port")) {}
        let end = client.shutdown();
        assert_eq!((end.unfinished, end.reports.len()), (0, 0));
        let error = dial.join().expect("no panic").expect_err("the end");
        assert!(matches!(error, DialError::ShutDown), "{error}");
    });
}

#[test]
fn connections_that_are_opening_end_with_the_node() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let node = start(listening(172));
    let address = node.local_addr().expect("an address");
    let mut inbound = TcpStream::connect(address).expect("a connection");
    thread::scope(|scope| {
        let dial = scope.spawn(|| node.dial(&enode(&silent)));
        let (mut connection, _) = silent.accept().expect("a connection");
        // The first byte of its handshake.
        connection.read_exact(&mut [0]).expect("a handshake");
        let end = node.shutdown();
        assert_eq!((end.unfinished, end.reports.len()), (0, 0));
        let error = dial.join().expect("no panic").expect_err("the end");
        assert!(matches!(error, DialError::ShutDown), "{error}");
    });
    assert!(matches!(inbound.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn several_threads_may_shut_down_at_once() {
    let server = start(listening(173));
    let client = dialler(174);
    client.dial(&server.enode()).expect("a session");
    let events = server.host().subscribe(100);
    wait_for_peers(&server, &events, 1);
    let reports: usize = thread::scope(|scope| {
        let ends: Vec<_> = (0..4).map(|_| scope.spawn(|| server.shutdown())).collect();
        let joined = ends.into_iter().map(|end| end.join().expect("no panic"));
        joined.map(|end| end.reports.len()).sum()
    });
    assert_eq!(reports, 1);
}

#[test]
fn nodes_may_start_dial_and_end_in_any_order() {
    for round in 0..20 {
        let server = start(listening(175));
        let enode = server.enode();
        thread::scope(|scope| {
            for seed in 176..180 {
                let enode = &enode;
                scope.spawn(move || {
                    let client = dialler(seed);
                    let _ = client.dial(enode);
                    drop(client);
                });
            }
            if round % 2 == 0 {
                drop(server);
            }
        });
    }
}

/// How many threads this process has.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux").count()
}

/// Waits until this process has so many threads.
#[cfg(target_os = "linux")]
fn wait_for_threads(count: usize) {
    let patience = Instant::now() + PATIENCE;
    while threads() != count && Instant::now() < patience {
        thread::yield_now();
    }
    assert_eq!(threads(), count);
}

/// An idle session has a thread for each subprotocol and no more; while that is elsewhere, Pings are answered all the same.
#[test]
#[cfg(target_os = "linux")]
fn an_idle_session_has_the_threads_of_its_subprotocols_alone() {
    if !is_alone(
        "node::end::an_idle_session_has_the_threads_of_its_subprotocols_alone",
        1024,
    ) {
        return;
    }
    let (away, back) = (mpsc::channel::<()>(), mpsc::channel::<()>());
    let receiver = Mutex::new(back.1);
    // Goes elsewhere at each message, until it is told to come back.
    let busy = Protocol::new("echo", 1, 2, move |subprotocol| {
        loop {
            subprotocol.read()?;
            away.0.send(()).expect("a test that waits");
            let _ = receiver.lock().expect("no panic").recv();
        }
    });
    let busy = busy.expect("a valid name");
    let server = host_with(170, |host| host.protocol(busy));
    let server = start(Node::builder(server).listen("127.0.0.1:0"));
    let (sender, writers) = mpsc::channel();
    let writes = Protocol::new("echo", 1, 2, move |subprotocol| {
        sender.send(subprotocol.writer()).expect("a test");
        loop {
            subprotocol.read()?;
        }
    });
    let client = host_with(171, |host| host.protocol(writes.expect("a valid name")));
    let client = start(Node::builder(client));
    let before = threads();
    let peer = client.dial(&server.enode()).expect("a session");
    let ping = || {
        let (pongs, until) = (peer.pongs(), Instant::now() + PATIENCE);
        peer.ping();
        while peer.pongs() == pongs {
            assert!(Instant::now() < until, "no Pong");
            thread::yield_now();
        }
    };
    // A thread that reads meanwhile leaves that to whoever waits as soon as anything comes.
    let becomes_idle = || {
        let until = Instant::now() + PATIENCE;
        while threads() != before + 2 {
            assert!(
                Instant::now() < until,
                "{} threads more",
                threads() - before
            );
            ping();
            let pause = Instant::now() + Duration::from_secs(1);
            while threads() != before + 2 && Instant::now() < pause {
                thread::yield_now();
            }
        }
    };
    let writer = writers.recv_timeout(PATIENCE).expect("a subprotocol");
    becomes_idle();
    for round in 0..3 {
        writer.write(0, &[round]).expect("a live session");
        (away.1.recv_timeout(PATIENCE)).expect("the message arrived");
        ping();
        back.0.send(()).expect("it waits");
        becomes_idle();
    }
    peer.disconnect(DisconnectReason::REQUESTED);
    peer.closed();
    wait_for_threads(before);
}

/// Every thread is joined, so that as many are left as there were before.
#[test]
#[cfg(target_os = "linux")]
fn no_thread_is_left() {
    if !is_alone("node::end::no_thread_is_left", 1024) {
        return;
    }
    let before = threads();
    let server = start(listening(180));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let _inbound = TcpStream::connect(address).expect("a connection");
    server.add_static(enode(&silent));
    let clients: Vec<_> = (181..186).map(dialler).collect();
    let events = server.host().subscribe(100);
    for client in &clients {
        client.dial(&server.enode()).expect("a session");
    }
    wait_for_peers(&server, &events, clients.len());
    assert!(threads() > before + 3 * clients.len());
    let host = Arc::downgrade(server.host());
    assert_eq!(server.shutdown().unfinished, 0);
    drop((server, clients));
    // Nothing keeps the host, whose timer thread is the last.
    assert!(host.upgrade().is_none());
    // The system lists a thread for a moment after it was joined.
    wait_for_threads(before);
}
