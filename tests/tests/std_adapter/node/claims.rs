//! What a remote only claims to be changes nothing outside its own connection.
use std::thread;

use devp2p_core::hello::NodeId;
use devp2p_std::node::DialError;
use devp2p_std::session::Session;

use super::*;

/// A connection to `node` that claims to be somebody, as long as it lives.
fn claims(node: &Node, claimed: NodeId, seed: u8) -> TcpStream {
    let address = node.local_addr().expect("an address");
    let mut stream = TcpStream::connect(address).expect("a connection");
    claim(&mut stream, node.host().id(), claimed, seed);
    stream
}

#[test]
fn a_claimed_identity_keeps_no_dial_from_its_node() {
    let (node, other) = (start(listening(70)), start(listening(71)));
    let enode = other.enode();
    let _spoofed: Vec<_> = (0..3).map(|seed| claims(&node, enode.id, seed)).collect();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let dialled = node.dial(&enode).map(|peer| peer.id());
            sender.send(dialled).expect("a test that waits");
        });
        let dialled = receiver.recv_timeout(PATIENCE / 2);
        // Where it fails, the dial must not be waited for.
        node.shutdown();
        let id = dialled.expect("the dial does not wait for those who claim");
        assert_eq!(id.expect("a session"), enode.id);
    });
}

#[test]
fn no_dial_gives_way_to_a_claimed_identity() {
    let nowhere = Nowhere::new();
    let limit = Duration::from_secs(2);
    let node = start(listening(72).max_pending(2).dial_timeout(limit));
    let enode = nowhere.enode();
    thread::scope(|scope| {
        let dial = scope.spawn(|| node.dial(&enode));
        drop(claims(&node, enode.id, 1));
        let error = dial.join().expect("no panic").expect_err("nowhere");
        assert!(matches!(error, DialError::TimedOut(_)), "{error}");
    });
}

#[test]
fn a_dial_without_a_connection_gives_way_to_a_proved_identity() {
    let nowhere = Nowhere::new();
    let node = start(listening(73).dial_timeout(PATIENCE));
    let (id, address) = (node.host().id(), node.local_addr().expect("an address"));
    let enode = nowhere.enode();
    thread::scope(|scope| {
        let dial = scope.spawn(|| node.dial(&enode));
        let stream = TcpStream::connect(address).expect("a connection");
        let session = Session::dial(&host(200), stream, id).expect("a session");
        let stopper = session.stopper();
        let running = scope.spawn(|| session.run());
        let dialled = dial.join().expect("no panic");
        stopper.stop(DisconnectReason::REQUESTED);
        assert!(running.join().expect("no panic").was_active);
        let peer = dialled.expect("its session");
        assert!(peer.is_inbound() && peer.id() == enode.id);
    });
}

#[test]
fn a_remote_that_opens_a_session_with_us_ends_no_dial_of_ours() {
    // They turn our connection away before Hello, and theirs becomes the session.
    let node = start(listening(74));
    let address = node.local_addr().expect("an address");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let enode = enode(&other);
    thread::scope(|scope| {
        let dial = scope.spawn(|| node.dial(&enode));
        let (stream, _) = other.accept().expect("a connection");
        let session = Session::accept(&host(200), stream).expect("a session");
        let refused = session.run_with(|_| Err(DisconnectReason::ALREADY_CONNECTED));
        assert_eq!(
            refused.reason,
            CloseReason::Rejected(DisconnectReason::ALREADY_CONNECTED)
        );
        let stream = TcpStream::connect(address).expect("a connection");
        let session = Session::dial(&host(200), stream, node.host().id()).expect("a session");
        let stopper = session.stopper();
        let running = scope.spawn(|| session.run());
        let dialled = dial.join().expect("no panic");
        stopper.stop(DisconnectReason::REQUESTED);
        assert!(running.join().expect("no panic").was_active);
        let peer = dialled.expect("their session");
        assert!(peer.is_inbound() && peer.id() == enode.id);
    });
}
