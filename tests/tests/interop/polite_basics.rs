//! The harness itself, and the plainest session.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_tests::geth::{self, Geth};
use serde_json::json;

use crate::local::{Listening, dial, echo, host_with};

#[test]
fn payloads_and_checksums_are_those_of_the_go_program() {
    assert_eq!(geth::random(1, 8), 0x1ddd_6c89_4bce_e447_u64.to_be_bytes());
    assert_eq!(geth::fnv(b"foobar"), "85944171f73967e8");
    let geth = Geth::raw(&json!({"listen": "none"}));
    let two = Geth::raw(&json!({}));
    let tag = two.begin(json!({"cmd": "accept"}));
    let enode = two.enode().to_string();
    geth.ok(json!({"cmd": "connect", "enode": enode}));
    two.done(tag);
    let tag = two.begin(json!({"cmd": "session"}));
    geth.ok(json!({"cmd": "session"}));
    two.done(tag);
    for (pattern, seed, size) in [("random", 7, 1001), ("numbered", 0, 5), ("numbered", 3, 70)] {
        geth.ok(json!({
            "cmd": "send", "code": 16, "pattern": pattern, "seed": seed, "size": size
        }));
        let payload = match pattern {
            "random" => geth::random(seed, size),
            _ => geth::numbered(seed, 0, size),
        };
        let read = two.ok(json!({"cmd": "read"}));
        assert_eq!(read["size"], size);
        assert_eq!(read["fnv"], geth::fnv(&payload), "{read}");
    }
}

#[test]
fn a_session_that_we_dialled() {
    let geth = Geth::peer(&json!({}));
    let host = host_with([echo()]);
    let session = dial(&host, &geth);
    let peer = session.peer();
    assert!(!peer.is_inbound());
    let added = geth.event("peer_added");
    assert_eq!(added["peer"], Geth::name_of(&host.id()));
    assert_eq!(added["inbound"], true);
    peer.disconnect(DisconnectReason::REQUESTED);
    let report = session.report();
    assert_eq!(
        report.reason,
        CloseReason::Local(DisconnectReason::REQUESTED)
    );
    let dropped = geth.event("peer_dropped");
    assert_eq!(dropped["reason"], 0);
    assert_eq!(dropped["requested"], true);
}

#[test]
fn a_session_that_we_accepted() {
    let geth = Geth::peer(&json!({"listen": "none"}));
    let host = host_with([echo()]);
    let listening = Listening::new();
    let tag = geth.begin(json!({"cmd": "dial", "enode": listening.enode(&host)}));
    let session = listening.accept(&host);
    assert!(session.peer().is_inbound());
    assert_eq!(geth.done(tag)["ok"], true);
    geth.ok(json!({"cmd": "disconnect", "reason": 4}));
    let report = session.report();
    assert_eq!(
        report.reason,
        CloseReason::RemoteRequested(Some(DisconnectReason::TOO_MANY_PEERS))
    );
    assert!(report.remote_requested);
}
