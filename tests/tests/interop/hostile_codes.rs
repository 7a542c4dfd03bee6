//! Message codes that are nobody's.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, Violation};
use serde_json::{Value, json};

use crate::hostile::Hostile;
use crate::local::{Dialler, both_ways};

const ENDED: CloseReason = CloseReason::Transport(TransportError::EndOfStream);

/// In an active session the remote sends this, and the session ends as a violation.
fn violates(remote: &Hostile, sent: Value, violation: Violation) {
    let session = remote.session();
    remote.geth.command(sent);
    let cause = CloseReason::Violation(violation);
    let report = remote.ends(session, cause, Some(DisconnectReason::PROTOCOL_ERROR));
    assert!(report.was_active);
}

both_ways!(
    a_code_out_of_range_is_a_breach,
    a_malformed_code_is_a_breach,
    reserved_codes_are_ignored,
);

/// From the end of the last range on: 0x10 and 0x11 are those of `echo`.
fn a_code_out_of_range_is_a_breach(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for code in [
        0x12,
        0x7f,
        0x80,
        0xff,
        0x110,
        0xffff_ffff,
        1 << 32,
        (1 << 32) + 0x10,
        u64::MAX,
    ] {
        violates(
            &remote,
            json!({"cmd": "send", "code": code, "size": 10}),
            Violation::CodeOutOfRange,
        );
    }
    // Whatever the payload is: none, no Snappy, and more than would be taken from anyone.
    for payload in [
        json!({"snappy": "raw"}),
        json!({"hex": "ffffffffff", "snappy": "raw"}),
        json!({"size": 0xff_0000, "snappy": "raw"}),
    ] {
        let mut message = payload.clone();
        message["cmd"] = json!("send");
        message["code"] = json!(0x12);
        violates(&remote, message, Violation::CodeOutOfRange);
    }
}

/// A code is a canonical RLP integer of at most 64 bits.
fn a_malformed_code_is_a_breach(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for body in [
        // A frame without a code.
        "",
        // 0x10 in two bytes, and in three with a leading zero.
        "8110",
        "820010",
        // 65 bits.
        "89010000000000000000",
        // A length in front of a length.
        "b80110",
        // A list.
        "c110",
        // Cut short.
        "81",
        "88ffff",
        "bf",
        "ff",
    ] {
        violates(
            &remote,
            json!({"cmd": "frame", "body": {"hex": body}}),
            Violation::MalformedCode,
        );
    }
}

/// As go-ethereum does; that they are dropped before decompression is for 0x04 to 0x0f too.
fn reserved_codes_are_ignored(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    let session = remote.session();
    for code in 0x04..=0x0f {
        for payload in [
            json!({"hex": "c0"}),
            json!({"snappy": "raw"}),
            json!({"hex": "ffffffffffff", "snappy": "raw"}),
            json!({"size": 2048, "pattern": "random", "seed": code, "snappy": "raw"}),
            // A word of 4 GiB that nobody asks for.
            json!({"size": 5, "snappy": "lie", "stated": u32::MAX}),
        ] {
            let mut message = payload.clone();
            message["cmd"] = json!("send");
            message["code"] = json!(code);
            remote.geth.ok(message);
        }
    }
    remote.assert_answers();
    remote.geth.ok(json!({"cmd": "close"}));
    assert_eq!(session.report().reason, ENDED);
    assert_eq!(remote.host.traffic(0).messages_in, 1);
    // None of them may be large.
    for code in [0x00, 0x02, 0x03, 0x04, 0x0f] {
        violates(
            &remote,
            json!({"cmd": "send", "code": code, "size": 2049, "snappy": "raw"}),
            Violation::BaseMessageTooLarge,
        );
    }
}
