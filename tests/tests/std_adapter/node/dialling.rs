//! Dials that succeed, fail, and are made again.
use std::io;
use std::thread;

use devp2p_core::error::TransportError;
use devp2p_std::backoff::BackoffConfig;
use devp2p_std::enode;
use devp2p_std::node::DialError;

use super::*;

/// Redials within milliseconds.
fn hasty() -> BackoffConfig {
    let mut backoff = BackoffConfig::new();
    backoff.first = time::Duration::from_millis(1);
    backoff.longest = time::Duration::from_millis(10);
    backoff
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let enode = enode(&listener);
    drop(listener);
    let error = dialler(50).dial(&enode).expect_err("nobody");
    let DialError::Connect {
        address,
        error: cause,
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(address.port(), enode.tcp);
    assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("nothing listens there"));
}

#[test]
fn an_enode_without_a_port_cannot_be_dialled() {
    let error = dialler(51).dial(&dialler(52).enode()).expect_err("no port");
    assert!(matches!(error, DialError::Lookup(_)), "{error}");
}

#[test]
fn connecting_takes_no_longer_than_the_dial_timeout() {
    let nowhere = Nowhere::new();
    let limit = Duration::from_millis(50);
    let client = start(Node::builder(host(53)).dial_timeout(limit));
    let error = client.dial(&nowhere.enode()).expect_err("nowhere");
    assert!(matches!(error, DialError::TimedOut(after) if after == limit));
    assert!(error.to_string().contains("within 0.05 s"), "{error}");
}

#[test]
fn a_listener_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let short = |host: host::Builder| {
        let mut config = config();
        config.handshake_timeout = time::Duration::from_millis(50);
        host.config(config).protocol(echo())
    };
    let client = start(Node::builder(host_with(54, short)));
    let error = client.dial(&enode(&silent)).expect_err("silence");
    assert!(
        matches!(error, DialError::Closed(CloseReason::HandshakeTimeout)),
        "{error}"
    );
}

#[test]
fn a_node_with_another_identity_than_the_enode_says_does_not_answer() {
    let server = start(listening(55));
    let enode = Enode {
        id: *key(56).id(),
        ..server.enode()
    };
    let error = dialler(57).dial(&enode).expect_err("another identity");
    let DialError::Closed(CloseReason::Transport(cause)) = error else {
        panic!("{error:?}");
    };
    assert!(matches!(
        cause,
        TransportError::EndOfStream | TransportError::Io | TransportError::Handshake
    ));
    assert!(error.to_string().contains("identity"), "{error}");
    assert!(server.peers().is_empty());
}

#[test]
fn a_name_is_looked_up() {
    let server = start(listening(58));
    let enode = Enode {
        host: enode::Host::Name("localhost".to_owned()),
        ..server.enode()
    };
    let peer = dialler(59).dial(&enode).expect("a session");
    assert_eq!(peer.remote_addr(), server.local_addr());
}

#[test]
fn dials_at_once_are_limited() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let client = start(Node::builder(host(60)).max_pending(1));
    thread::scope(|scope| {
        let first = scope.spawn(|| client.dial(&enode(&listeners[0])));
        // It is connected, and waits for an answer.
        let _connection = listeners[0].accept().expect("a connection");
        let second = Enode {
            id: *key(61).id(),
            ..enode(&listeners[1])
        };
        let error = client.dial(&second).expect_err("too many");
        assert!(matches!(error, DialError::TooManyPending(1)), "{error}");
        client.shutdown();
        let error = first.join().expect("no panic").expect_err("the end");
        assert!(matches!(error, DialError::ShutDown), "{error}");
    });
}

#[test]
fn a_static_peer_is_dialled_again_after_each_session() {
    let server = start(listening(62));
    let client = Node::builder(host(63)).backoff(hasty());
    let events = server.host().subscribe(1000);
    let client = start(client.static_peer(server.enode()));
    for _ in 0..5 {
        added(&events);
        let id = client.host().id();
        let peer = server.peer(&id).expect("the session");
        assert!(peer.is_inbound());
        // Its successor may be told of before its end is.
        peer.disconnect(DisconnectReason::REQUESTED);
    }
    added(&events);
    let events = client.host().subscribe(1000);
    wait_for_peers(&client, &events, 1);
    assert!(client.peer_infos()[0].network.is_static);
}

#[test]
fn a_static_peer_is_dialled_until_it_takes_us() {
    let server = start(listening(64).max_peers(0));
    let client = start(Node::builder(host(65)).backoff(hasty()));
    let events = client.host().subscribe(10);
    client.add_static(server.enode());
    let refused = client.dial(&server.enode()).expect_err("no room");
    assert_eq!(
        refused.remote_reason(),
        Some(DisconnectReason::TOO_MANY_PEERS)
    );
    server.add_trusted(client.host().id());
    added(&events);
}

#[test]
fn a_static_peer_that_is_connected_already_is_marked() {
    let server = start(listening(66));
    let client = start(Node::builder(host(67)).backoff(hasty()));
    let peer = client.dial(&server.enode()).expect("a session");
    assert!(!peer.info().network.is_static);
    client.add_static(server.enode());
    assert!(peer.info().network.is_static);
    client.remove_static(&server.host().id());
    assert!(!peer.info().network.is_static);
    assert_eq!(peer.close_reason(), None);
}

#[test]
fn two_nodes_that_are_static_peers_of_each_other_find_one_session() {
    let server = start(listening(68).backoff(hasty()));
    let client = listening(69).backoff(hasty()).static_peer(server.enode());
    let client = start(client);
    let of_server = server.host().subscribe(1000);
    server.add_static(client.enode());
    wait_for_peers(&server, &of_server, 1);
    let of_client = client.host().subscribe(1000);
    wait_for_peers(&client, &of_client, 1);
    let (ours, theirs) = (&client.peers()[0], &server.peers()[0]);
    assert_eq!(ours.local_addr(), theirs.remote_addr());
    assert_ne!(ours.is_inbound(), theirs.is_inbound());
}

#[test]
fn a_node_that_is_shut_down_does_not_dial() {
    let server = start(listening(70));
    let client = dialler(71);
    client.shutdown();
    let error = client.dial(&server.enode()).expect_err("the end");
    assert!(matches!(error, DialError::ShutDown));
    client.add_static(server.enode());
    assert!(client.peers().is_empty());
}
