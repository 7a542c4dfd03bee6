//! Payloads that are not the Snappy blocks they claim to be.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, Violation};
use serde_json::{Value, json};

use crate::hostile::{Hostile, SHORT, patient};
use crate::local::{Dialler, both_ways};

/// The largest uncompressed payload that anyone takes.
const LARGEST: u32 = 0xff_ffff;

both_ways!(
    a_length_that_lies_is_a_breach,
    a_length_beyond_16_mib_is_a_breach,
    what_is_no_snappy_is_a_breach,
    snappy_is_judged_after_the_mac,
    a_large_length_reserves_nothing,
);

fn message(payload: &Value) -> Value {
    let mut message = payload.clone();
    message["cmd"] = json!("send");
    message["code"] = json!(0x10);
    message
}

/// The remote sends this to `echo`, and the session ends as a violation.
fn violates(remote: &Hostile, payload: &Value, violation: Violation) {
    let session = remote.session();
    remote.geth.ok(message(payload));
    let cause = CloseReason::Violation(violation);
    let report = remote.ends(session, cause, Some(DisconnectReason::PROTOCOL_ERROR));
    assert!(report.was_active);
}

/// Too short by one or by all, too long by one or by all that is allowed.
fn lies() -> impl Iterator<Item = Value> {
    [0, 1, 999, 1001, 70_000, LARGEST]
        .into_iter()
        .flat_map(|stated| {
            ["zero", "random"].map(|pattern| {
                json!({"size": 1000, "pattern": pattern, "snappy": "lie", "stated": stated})
            })
        })
}

fn a_length_that_lies_is_a_breach(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for lie in lies() {
        violates(&remote, &lie, Violation::BadSnappy);
    }
    // So is the beginning of a block that would have been that long.
    let cut = json!({"hex": "ffffff07fc", "snappy": "raw"});
    violates(&remote, &cut, Violation::BadSnappy);
}

fn a_length_beyond_16_mib_is_a_breach(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for (stated, violation) in [
        (u64::from(LARGEST) + 1, Violation::MessageTooLarge),
        (1 << 31, Violation::MessageTooLarge),
        ((1 << 32) - 1, Violation::MessageTooLarge),
        // More than the format has room for.
        (1 << 32, Violation::BadSnappy),
        (1 << 35, Violation::BadSnappy),
        (u64::MAX, Violation::BadSnappy),
    ] {
        let lie = json!({"size": 1000, "snappy": "lie", "stated": stated});
        violates(&remote, &lie, violation);
    }
    // A bomb that keeps its word: 16 MiB and one byte of zeros.
    let bomb = json!({"size": LARGEST + 1});
    violates(&remote, &bomb, Violation::MessageTooLarge);
}

fn what_is_no_snappy_is_a_breach(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for hex in [
        // Not even a length, or one without an end.
        "",
        "ff",
        "ffffffff",
        "8080808080",
        // A copy before anything was written, from too far back, and from no distance.
        "0a0101",
        "0a00410505",
        "0a0041050000",
        "0a00410100",
        // A literal that has fewer bytes than it states, and one that states them in four bytes.
        "0af041",
        "0afcffffffff41",
        // A block that goes on after its end.
        "01004100",
    ] {
        let raw = json!({"hex": hex, "snappy": "raw"});
        violates(&remote, &raw, Violation::BadSnappy);
    }
    let noise = json!({"size": 100_000, "pattern": "random", "seed": 5, "snappy": "raw"});
    violates(&remote, &noise, Violation::BadSnappy);
}

/// Nothing of a frame is believed before its MAC: with a wrong one it is the transport that broke, and nothing is said.
fn snappy_is_judged_after_the_mac(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    let beyond = json!({"size": 1000, "snappy": "lie", "stated": LARGEST + 1});
    let noise = json!({"size": 100_000, "pattern": "random", "snappy": "raw"});
    for payload in lies().chain([beyond, noise]) {
        let session = remote.session();
        let mut altered = message(&payload);
        altered["alter"] = json!({"flip": [-1]});
        remote.geth.ok(altered);
        let cause = CloseReason::Transport(TransportError::BadMac);
        remote.ends(session, cause, None);
    }
}

/// A frame that states 16 MiB, holding a block that states 16 MiB, stops: no memory is taken on the word of a length, and the
/// message deadline ends it.
fn a_large_length_reserves_nothing(dialler: Dialler) {
    let mut config = patient();
    config.message_timeout = SHORT;
    let remote = Hostile::with(dialler, config);
    for arrived in [33, 48, 64, 1024, 100_000] {
        let session = remote.session();
        // Code 0x10, the length 0xffffff, then one literal of many bytes.
        let frame = json!({"cmd": "frame", "stated": LARGEST, "header_data": "c28080",
            "body": {"hex": format!("10ffffff07f8feffff{}", "00".repeat(200_000))},
            "alter": {"truncate": arrived}});
        let tag = remote.geth.begin(frame);
        let peer = session.peer();
        let mut most = 0;
        while peer.close_reason().is_none() {
            // What inboxes hold.
            most = most.max(remote.host.memory().used());
            std::thread::yield_now();
        }
        remote.geth.done(tag);
        // The densest Snappy makes 22 bytes of one; before the code nothing is held at all.
        assert!(most <= 22 * arrived + 256, "{most} bytes for {arrived}");
        assert_eq!(most > 0, arrived >= 48, "{most} bytes for {arrived}");
        let reason = Some(DisconnectReason::READ_TIMEOUT);
        remote.ends(session, CloseReason::ReadTimeout, reason);
    }
}
