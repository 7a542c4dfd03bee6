//! Disconnect, with every reason and in each direction.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_tests::geth::{Geth, is};
use serde_json::json;

use crate::local::{Dialler, Listening, both_ways, connect, dial, echo, host_with};

/// Those of the specification, and what lies between and beyond them.
fn reasons() -> impl Iterator<Item = DisconnectReason> {
    (0..=0x11)
        .chain([0x37, 0x7f, 0x80, 0x81, 0xfe, 0xff])
        .map(DisconnectReason)
}

both_ways!(they_see_our_reason, we_see_their_reason);

fn they_see_our_reason(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let host = host_with([echo()]);
    for reason in reasons() {
        let session = connect(dialler, &host, &geth);
        geth.event("protocol_started");
        session.peer().disconnect(reason);
        let dropped = geth.event("peer_dropped");
        assert_eq!(dropped["reason"], reason.0, "{reason}: {dropped}");
        assert_eq!(dropped["requested"], true, "{reason}");
        let report = session.report();
        assert_eq!(report.reason, CloseReason::Local(reason));
        assert!(report.was_active && !report.remote_requested && report.stuck.is_empty());
    }
}

fn we_see_their_reason(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let host = host_with([echo()]);
    // go-ethereum never sends "network error".
    for reason in reasons().filter(|reason| *reason != DisconnectReason::TCP_ERROR) {
        let session = connect(dialler, &host, &geth);
        session.peer();
        geth.event("protocol_started");
        geth.ok(json!({"cmd": "disconnect", "reason": reason.0}));
        let report = session.report();
        assert_eq!(report.reason, CloseReason::RemoteRequested(Some(reason)));
        assert!(report.was_active && report.remote_requested && report.stuck.is_empty());
        geth.event("peer_dropped");
    }
    assert_eq!(
        geth.take(is("setup_failed")),
        Vec::<serde_json::Value>::new()
    );
}

/// The list and the bare integer, compressed and not: peers send all four.
#[test]
fn every_form_of_disconnect_is_read() {
    let geth = Geth::raw(&json!({}));
    let host = host_with([echo()]);
    for snappy in ["raw", "on"] {
        for (payload, reason) in [
            ("c101", 0x01),
            ("01", 0x01),
            ("c180", 0x00),
            ("80", 0x00),
            ("c110", 0x10),
            ("10", 0x10),
            ("c281ff", 0xff),
        ] {
            geth.begin(json!({"cmd": "accept"}));
            let session = dial(&host, &geth);
            geth.ok(json!({"cmd": "session"}));
            session.peer();
            geth.ok(json!({"cmd": "send", "code": 1, "hex": payload, "snappy": snappy}));
            geth.ok(json!({"cmd": "close"}));
            let expected = CloseReason::RemoteRequested(Some(DisconnectReason(reason)));
            assert_eq!(session.report().reason, expected, "{payload}, {snappy}");
        }
    }
}

/// In place of Hello, before compression is agreed.
#[test]
fn a_disconnect_in_place_of_hello_is_read() {
    let geth = Geth::raw(&json!({}));
    let host = host_with([echo()]);
    let listening = Listening::new();
    for (payload, reason) in [
        ("c104", 0x04),
        ("04", 0x04),
        ("0204c104", 0x04),
        ("010080", 0x00),
    ] {
        geth.begin(json!({"cmd": "connect", "enode": listening.enode(&host)}));
        let session = listening.accept(&host);
        geth.ok(json!({"cmd": "handshake"}));
        geth.ok(json!({"cmd": "send", "code": 1, "hex": payload, "snappy": "raw"}));
        geth.ok(json!({"cmd": "close"}));
        let report = session.report();
        let expected = CloseReason::RemoteRequested(Some(DisconnectReason(reason)));
        assert_eq!(report.reason, expected, "{payload}");
        assert!(!report.was_active);
    }
}
