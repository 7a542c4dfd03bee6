//! Sessions that one side does not want.
use std::net::TcpStream;
use std::sync::Arc;

use devp2p_core::config::Config;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_std::host::Host;
use devp2p_std::session::Session;
use devp2p_tests::geth::Geth;
use serde_json::json;

use crate::local::{
    Dialler, Listening, Running, both_ways, connect, connect_raw, dial, echo, host, host_with,
    refusal,
};

const TOO_MANY_PEERS: DisconnectReason = DisconnectReason::TOO_MANY_PEERS;

both_ways!(
    no_shared_capability_is_useless,
    they_are_useless_to_us,
    we_are_useless_to_them,
    we_have_too_many_peers_after_the_handshake,
    we_have_too_many_peers_after_hello,
);

/// Both sides notice; whose Disconnect is first is chance.
fn no_shared_capability_is_useless(dialler: Dialler) {
    let geth = Geth::peer(&json!({"protocols": [
        {"name": "other", "version": 1, "length": 1},
        {"name": "echo", "version": 2, "length": 2},
    ]}));
    let host = host_with([echo()]);
    let report = connect(dialler, &host, &geth).report();
    let theirs = CloseReason::RemoteRequested(Some(DisconnectReason::USELESS_PEER));
    assert!(
        [CloseReason::UselessPeer, theirs].contains(&report.reason),
        "{}",
        report.reason
    );
    assert!(!report.was_active);
    let failed = geth.event("setup_failed");
    assert_eq!(
        failed["reason"],
        DisconnectReason::USELESS_PEER.0,
        "{failed}"
    );
}

fn they_are_useless_to_us(dialler: Dialler) {
    let geth = Geth::raw(&json!({}));
    let host = host_with([echo()]);
    let session = connect_raw(dialler, &host, &geth);
    geth.ok(json!({"cmd": "handshake"}));
    geth.ok(json!({"cmd": "hello", "caps": [["echo", 2], ["other", 1]]}));
    assert_eq!(refusal(&geth), DisconnectReason::USELESS_PEER.0);
    geth.ok(json!({"cmd": "close"}));
    assert_eq!(session.report().reason, CloseReason::UselessPeer);
}

/// A host that requires nothing shared leaves the word to the remote.
fn we_are_useless_to_them(dialler: Dialler) {
    let geth = Geth::peer(&json!({"protocols": [{"name": "other", "version": 1, "length": 1}]}));
    let mut config = Config::new();
    config.require_shared = false;
    let host = host().config(config).protocol(echo()).build();
    let report = connect(dialler, &host.expect("a host"), &geth).report();
    let expected = CloseReason::RemoteRequested(Some(DisconnectReason::USELESS_PEER));
    assert_eq!(report.reason, expected);
}

/// go-ethereum answers in place of Hello.
#[test]
fn they_have_too_many_peers() {
    let geth = Geth::peer(&json!({"max_peers": 1}));
    let first = dial(&host_with([echo()]), &geth);
    geth.event("peer_added");
    let report = dial(&host_with([echo()]), &geth).report();
    let expected = CloseReason::RemoteRequested(Some(TOO_MANY_PEERS));
    assert_eq!(report.reason, expected);
    assert!(report.remote_requested && !report.was_active);
    // The place is free again when the first has left.
    first.peer().disconnect(DisconnectReason::REQUESTED);
    first.report();
    geth.event("peer_dropped");
    let next = dial(&host_with([echo()]), &geth);
    next.peer();
    geth.quit();
    next.report();
}

#[test]
fn they_have_a_session_with_us_already() {
    let geth = Geth::peer(&json!({}));
    let host = host_with([echo()]);
    let first = dial(&host, &geth);
    let peer = first.peer();
    geth.event("peer_added");
    let report = dial(&host, &geth).report();
    let expected = CloseReason::RemoteRequested(Some(DisconnectReason::ALREADY_CONNECTED));
    assert_eq!(report.reason, expected);
    assert!(!report.was_active);
    assert_eq!(peer.close_reason(), None);
    geth.quit();
    first.report();
}

/// The reason goes out in place of our Hello.
fn we_have_too_many_peers_after_the_handshake(dialler: Dialler) {
    we_have_too_many_peers(dialler, false);
}

/// Their Hello was taken, and ours is sent.
fn we_have_too_many_peers_after_hello(dialler: Dialler) {
    we_have_too_many_peers(dialler, true);
}

fn we_have_too_many_peers(dialler: Dialler, after_hello: bool) {
    let geth = Geth::peer(&json!({}));
    let host = host_with([echo()]);
    let listening = Listening::new();
    let session = start(dialler, &host, &geth, &listening);
    let session = Running::new_with(session, move |candidate| {
        match candidate.peer.is_some() == after_hello {
            true => Err(TOO_MANY_PEERS),
            false => Ok(()),
        }
    });
    let report = session.report();
    assert_eq!(report.reason, CloseReason::Rejected(TOO_MANY_PEERS));
    assert!(!report.was_active);
    // Before its Hello it only claims to be somebody.
    assert_eq!(report.id, after_hello.then(|| geth.id()));
    // With our Hello, go-ethereum may have taken the session for active before the reason came.
    let end = geth.wait_for(
        |event| event["event"] == "setup_failed" || event["event"] == "peer_dropped",
        devp2p_tests::geth::BOUND,
    );
    assert_eq!(end["reason"], TOO_MANY_PEERS.0, "{end}");
}

fn start(dialler: Dialler, host: &Arc<Host>, geth: &Geth, listening: &Listening) -> Session {
    match dialler {
        Dialler::Us => {
            let stream = TcpStream::connect(geth.address()).expect("a connection");
            Session::dial(host, stream, geth.id())
        }
        Dialler::Them => {
            geth.begin(json!({"cmd": "dial", "enode": listening.enode(host)}));
            Session::accept(host, listening.connection())
        }
    }
    .expect("a session")
}
