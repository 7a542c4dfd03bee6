//! Who is let in, and what the others are told.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use devp2p_std::node::DialError;
use devp2p_std::session::{Report, Session};

use super::*;

/// One session with `server` under this key, and whether it got as far as the server's Hello.
fn knock(server: &Node, seed: u8) -> (Report, bool) {
    let address = server.local_addr().expect("an address");
    let stream = TcpStream::connect(address).expect("a connection");
    let saw_hello = Arc::new(AtomicBool::new(false));
    let saw = Arc::clone(&saw_hello);
    let session = Session::dial(&host(seed), stream, server.host().id()).expect("a session");
    let report = session
        .learn(move |_| {
            saw.store(true, Ordering::Relaxed);
            vec![echo()]
        })
        .run();
    (report, saw_hello.load(Ordering::Relaxed))
}

/// Ends a session and waits until it is closed on this side.
fn end(peer: &devp2p_std::peer::PeerHandle) {
    peer.disconnect(DisconnectReason::REQUESTED);
    peer.closed();
}

#[test]
fn one_more_than_the_limit_is_told_so_in_place_of_hello() {
    let server = start(listening(20).max_peers(1));
    let first = dialler(21);
    let peer = first.dial(&server.enode()).expect("a session");
    let events = server.host().subscribe(10);
    wait_for_peers(&server, &events, 1);
    let (report, saw_hello) = knock(&server, 22);
    assert_eq!(report.reason, remote_says(DisconnectReason::TOO_MANY_PEERS));
    assert!(!report.was_active && !saw_hello);

    let error = dialler(22).dial(&server.enode()).expect_err("no room");
    assert_eq!(
        error.remote_reason(),
        Some(DisconnectReason::TOO_MANY_PEERS)
    );
    assert!(error.to_string().contains("trust"), "{error}");
    assert_eq!(peer.close_reason(), None);
}

#[test]
fn a_session_that_ended_makes_room_at_once() {
    let server = start(listening(23).max_peers(1));
    let clients = [dialler(24), dialler(25)];
    let events = server.host().subscribe(100);
    for round in 0..20 {
        let peer = clients[round % 2].dial(&server.enode()).expect("a session");
        added(&events);
        end(&peer);
        dropped(&events);
    }
}

#[test]
fn trusted_peers_pass_the_limit() {
    let server = start(listening(26).max_peers(0).trusted(*key(27).id()));
    let trusted = dialler(27);
    let events = server.host().subscribe(10);
    trusted.dial(&server.enode()).expect("a session");
    wait_for_peers(&server, &events, 1);
    let network = &server.peer_infos()[0].network;
    assert!(network.trusted && network.inbound && !network.is_static);

    let other = dialler(28);
    other.dial(&server.enode()).expect_err("no room");
    server.add_trusted(other.host().id());
    let peer = other.dial(&server.enode()).expect("a session");
    wait_for_peers(&server, &events, 2);
    server.remove_trusted(&other.host().id());
    assert_eq!(peer.close_reason(), None);
    end(&peer);
    other.dial(&server.enode()).expect_err("no room");
}

#[test]
fn the_limit_holds_for_dials_too() {
    let server = start(listening(29));
    let client = start(Node::builder(host(30)).max_peers(0));
    let error = client.dial(&server.enode()).expect_err("no room");
    assert!(matches!(error, DialError::TooManyPeers(0)), "{error}");
    client.add_trusted(server.host().id());
    client.dial(&server.enode()).expect("a session");
}

#[test]
fn a_second_session_with_one_identity_is_turned_away_before_hello() {
    let server = start(listening(31));
    let peer = dialler_of(&server, 32);
    let (report, saw_hello) = knock(&server, 32);
    assert_eq!(
        report.reason,
        remote_says(DisconnectReason::ALREADY_CONNECTED)
    );
    assert!(!report.was_active && !saw_hello);
    assert_eq!(peer.1.close_reason(), None);
    assert_eq!(server.peers().len(), 1);
}

/// A node with a session with `server`, active on both sides.
fn dialler_of(server: &Node, seed: u8) -> (Node, devp2p_std::peer::PeerHandle) {
    let events = server.host().subscribe(100);
    let before = server.peers().len();
    let client = dialler(seed);
    let peer = client.dial(&server.enode()).expect("a session");
    wait_for_peers(server, &events, before + 1);
    (client, peer)
}

#[test]
fn dialling_a_peer_again_gives_its_session() {
    let server = start(listening(33));
    let (client, peer) = dialler_of(&server, 34);
    let again = client.dial(&server.enode()).expect("the session");
    assert_eq!(again.local_addr(), peer.local_addr());
    // The other side too, although it cannot reach the client, which does not listen.
    let other = server.dial(&client.enode()).expect("the session");
    assert!(other.is_inbound());
    assert_eq!(client.peers().len(), 1);
}

#[test]
fn dials_of_one_node_at_once_are_one() {
    let server = start(listening(35));
    let client = dialler(36);
    let addresses: Vec<_> = thread::scope(|scope| {
        let dial = || {
            client
                .dial(&server.enode())
                .expect("a session")
                .local_addr()
        };
        let dials: Vec<_> = (0..8).map(|_| scope.spawn(dial)).collect();
        let joined = dials.into_iter().map(|dial| dial.join().expect("no panic"));
        joined.collect()
    });
    assert!(addresses.iter().all(|address| *address == addresses[0]));
}

#[test]
fn a_peer_can_come_back_as_soon_as_its_session_is_closed() {
    let server = start(listening(37));
    let client = dialler(38);
    for _ in 0..20 {
        end(&client.dial(&server.enode()).expect("a session"));
    }
}

#[test]
fn a_node_does_not_talk_to_itself() {
    let server = start(listening(39));
    let error = server.dial(&server.enode()).expect_err("itself");
    assert!(matches!(error, DialError::ToSelf));
    let (report, saw_hello) = knock(&server, 39);
    assert_eq!(report.reason, remote_says(DisconnectReason::SELF));
    assert!(!saw_hello);
}

#[test]
fn of_two_nodes_that_dial_each_other_at_once_one_session_stays() {
    for _ in 0..20 {
        let (a, b) = (start(listening(40)), start(listening(41)));
        let (smaller, larger) = match a.host().id() < b.host().id() {
            true => (a, b),
            false => (b, a),
        };
        let events = larger.host().subscribe(100);
        thread::scope(|scope| {
            // One of them may be told that the other's connection comes first: that is its session then.
            scope.spawn(|| larger.dial(&smaller.enode()).expect("a session"));
            smaller.dial(&larger.enode()).expect("a session");
        });
        wait_for_peers(&larger, &events, 1);
        let (ours, theirs) = (&smaller.peers()[0], &larger.peers()[0]);
        assert_eq!(ours.local_addr(), theirs.remote_addr());
        // It is alive: it ends for no other reason than this.
        drop(smaller);
        assert_eq!(
            dropped(&events),
            remote_says(DisconnectReason::CLIENT_QUITTING)
        );
    }
}

#[test]
fn a_remote_without_a_protocol_in_common_is_useless() {
    let server = start(listening(44));
    let other = Protocol::new("other", 1, 1, |_| Ok(())).expect("a valid name");
    let client = start(Node::builder(host_with(45, |host| host.protocol(other))));
    let error = client.dial(&server.enode()).expect_err("useless");
    let text = error.to_string();
    assert!(text.contains("offer a protocol"), "{text}");
}
