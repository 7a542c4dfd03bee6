//! Hostile Pings and Disconnects.
use std::time::Instant;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, Violation};
use devp2p_core::time::Duration;
use devp2p_tests::geth::BOUND;
use serde_json::json;

use crate::hostile::{Hostile, patient};
use crate::local::{Dialler, both_ways, is_broken};

/// The most bytes of payload, with a code of one byte, that a frame has room for.
const LARGEST: u32 = 0xff_fffe;

both_ways!(
    a_ping_of_16_mib_is_skipped_and_a_breach,
    every_disconnect_ends_the_session,
);

/// Once it is here whole and its MAC holds, so that it is surely the remote's.
fn a_ping_of_16_mib_is_skipped_and_a_breach(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for payload in [
        json!({"size": LARGEST, "snappy": "raw"}),
        json!({"size": LARGEST, "pattern": "random", "seed": 1, "snappy": "raw"}),
        // Little on the wire, 16 MiB when uncompressed.
        json!({"size": 0xff_ffff}),
    ] {
        let session = remote.session();
        let mut ping = payload.clone();
        ping["cmd"] = json!("send");
        ping["code"] = json!(2);
        remote.geth.ok(ping.clone());
        let cause = CloseReason::Violation(Violation::BaseMessageTooLarge);
        remote.ends(session, cause, Some(DisconnectReason::PROTOCOL_ERROR));

        let session = remote.session();
        ping["alter"] = json!({"flip": [-1]});
        remote.geth.ok(ping);
        let cause = CloseReason::Transport(TransportError::BadMac);
        remote.ends(session, cause, None);
    }
}

/// Each Ping is answered by one Pong, unless more come than we care to answer: never by more than one.
#[test]
fn a_flood_of_pings_is_survived() {
    const PINGS: u64 = 100_000;
    let remote = Hostile::new(Dialler::Them);
    let session = remote.session();
    let seen = remote
        .geth
        .background(json!({"cmd": "read_until_close", "quiet": true}));
    let flood = json!({"cmd": "flood", "code": 2, "hex": "c0", "count": PINGS});
    assert_eq!(remote.geth.ok(flood)["sent"], PINGS);
    // What comes after them is answered too.
    remote
        .geth
        .ok(json!({"cmd": "send", "code": 0x10, "hex": "01"}));
    let bound = Instant::now() + BOUND;
    while remote.host.traffic(0).messages_out == 0 {
        assert!(Instant::now() < bound, "no answer");
        std::thread::yield_now();
    }
    session.peer().disconnect(DisconnectReason::REQUESTED);
    let seen = remote.geth.done(seen);
    let pongs = seen["codes"]["3"].as_u64().expect("Pongs");
    assert!((1..=PINGS).contains(&pongs), "{seen}");
    assert_eq!(
        (&seen["codes"]["17"], &seen["reason"]),
        (&json!(1), &json!(0))
    );
    remote.geth.ok(json!({"cmd": "close"}));
    session.report();
    remote.assert_well();
}

/// Pings without end from a remote that takes none of our Pongs: when the wire has stood still for the write deadline, the
/// session ends. Until then, and after, others are served.
#[test]
fn a_flood_of_pings_by_a_remote_that_never_reads() {
    let mut config = patient();
    config.write_timeout = Duration::from_millis(500);
    let remote = Hostile::with(Dialler::Them, config);
    let session = remote.session();
    let served = remote.session_on("served");
    let flood = remote
        .geth
        .background(json!({"cmd": "flood", "code": 2, "hex": "c0", "count": 100_000_000}));
    remote.geth.ok(json!({"cmd": "stats"}));
    for _ in 0..20 {
        remote
            .geth
            .ok(json!({"cmd": "send", "link": "served", "code": 0x10, "hex": "2a"}));
        let answer = remote.geth.ok(json!({"cmd": "read", "link": "served"}));
        assert_eq!(
            (&answer["code"], &answer["hex"]),
            (&json!(0x11), &json!("2a"))
        );
    }
    let report = session.report();
    assert_eq!(report.reason, CloseReason::WriteTimeout);
    assert_eq!(remote.geth.done(flood)["ending"], "reset");
    remote.geth.ok(json!({"cmd": "close", "link": "served"}));
    assert!(is_broken(served.report().reason));
    remote.assert_well();
}

/// Whatever its payload is: the specification's list, the forms that other peers send, and what nobody should.
fn every_disconnect_ends_the_session(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    let some = |reason| Some(DisconnectReason(reason));
    for (payload, reason) in [
        // The list and the bare integer, as they are and compressed.
        (json!({"hex": "c104", "snappy": "raw"}), some(0x04)),
        (json!({"hex": "04", "snappy": "raw"}), some(0x04)),
        (json!({"hex": "c104", "snappy": "on"}), some(0x04)),
        (json!({"hex": "04", "snappy": "on"}), some(0x04)),
        // Reason 0 has many forms.
        (json!({"hex": "00", "snappy": "raw"}), some(0x00)),
        (json!({"hex": "80", "snappy": "raw"}), some(0x00)),
        (json!({"hex": "c100", "snappy": "raw"}), some(0x00)),
        (json!({"hex": "c180", "snappy": "on"}), some(0x00)),
        // Reasons that have no name, and more elements than one.
        (json!({"hex": "c10c", "snappy": "on"}), some(0x0c)),
        (json!({"hex": "c281ff", "snappy": "on"}), some(0xff)),
        (json!({"hex": "c20405", "snappy": "raw"}), some(0x04)),
        (json!({"hex": "c20405", "snappy": "on"}), some(0x04)),
        // No reason that can be read.
        (json!({"snappy": "raw"}), None),
        (json!({"hex": "c0", "snappy": "on"}), None),
        (json!({"hex": "c1c0", "snappy": "raw"}), None),
        (json!({"hex": "c3820100", "snappy": "raw"}), None),
        (json!({"hex": "ffffffffffff", "snappy": "raw"}), None),
        (json!({"size": LARGEST, "snappy": "raw"}), None),
        (
            json!({"size": 5, "snappy": "lie", "stated": u32::MAX}),
            None,
        ),
    ] {
        let session = remote.session();
        let mut disconnect = payload.clone();
        disconnect["cmd"] = json!("send");
        disconnect["code"] = json!(1);
        remote.geth.ok(disconnect);
        let report = remote.ends(session, CloseReason::RemoteRequested(reason), None);
        assert!(report.remote_requested && report.was_active, "{payload}");
    }
}
