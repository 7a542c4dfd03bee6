//! Hostile bytes in place of Hello, the first message of a session.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, Violation};
use devp2p_core::hello::NodeId;
use devp2p_std::session::Report;
use serde_json::{Value, json};

use crate::hostile::{Hostile, SHORT, patient};
use crate::local::{Dialler, both_ways};

const BREACH: Option<DisconnectReason> = Some(DisconnectReason::PROTOCOL_ERROR);
const ENDED: CloseReason = CloseReason::Transport(TransportError::EndOfStream);

/// In place of a good Hello the remote sends this; the session ends as a violation.
fn violates(remote: &Hostile, instead: Value, violation: Violation) {
    let session = remote.shake();
    remote.geth.command(instead);
    let report = remote.ends(session, CloseReason::Violation(violation), BREACH);
    assert!(!report.was_active);
}

both_ways!(
    a_hello_that_is_too_large_is_refused_by_its_header,
    a_malformed_hello_is_a_breach,
    anything_else_before_hello_is_a_breach,
    an_invalid_identity_is_told,
    a_frame_that_was_altered_is_not_answered,
    a_hello_that_stops_ends_with_the_deadline,
    a_hello_that_is_cut_ends_with_the_stream,
);

/// 2048 bytes, as go-ethereum has it; here decided by the frame's header, before anything is gathered.
fn a_hello_that_is_too_large_is_refused_by_its_header(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for size in [2050, 4096, 0xff_ffff] {
        // Of the frame only the header comes, and then nothing.
        let frame = json!({"cmd": "frame", "body": {"size": size}, "alter": {"truncate": 32}});
        violates(&remote, frame, Violation::HelloTooLarge);
        // Or all of it.
        let frame = json!({"cmd": "frame", "body": {"size": size}});
        violates(&remote, frame, Violation::HelloTooLarge);
    }
    let hello = json!({"cmd": "hello", "pad_name": 5000});
    violates(&remote, hello, Violation::HelloTooLarge);

    // The largest that is not too large. A name of so many bytes has the same header whatever its length.
    let session = remote.shake();
    let sent = remote.geth.ok(json!({"cmd": "hello", "pad_name": 1000}));
    let size = sent["size"].as_u64().expect("a size");
    remote.geth.ok(json!({"cmd": "close"}));
    session.report();
    let pad = 1000 + 2048 - size;
    let session = remote.shake();
    let sent = remote.geth.ok(json!({"cmd": "hello", "pad_name": pad}));
    assert_eq!(sent["size"], 2048);
    session.peer();
    remote.assert_answers();
    remote.geth.ok(json!({"cmd": "close"}));
    assert_eq!(session.report().reason, ENDED);
    let hello = json!({"cmd": "hello", "pad_name": pad + 1});
    violates(&remote, hello, Violation::HelloTooLarge);
}

fn a_malformed_hello_is_a_breach(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    let id = remote.geth.id().to_string();
    let list = |fields: &str, id: &str| {
        // A list of more than 55 bytes: its header states the length in one more byte.
        let payload = format!("{fields}b840{id}");
        format!("f8{:02x}{payload}", payload.len() / 2)
    };
    let (version, name, caps, port) = ("05", "80", "c7c6846563686f01", "80");
    let good = list(&[version, name, caps, port].concat(), &id);
    let session = remote.shake();
    remote
        .geth
        .ok(json!({"cmd": "send", "code": 0, "hex": good, "snappy": "raw"}));
    session.peer();
    remote.geth.ok(json!({"cmd": "close"}));
    session.report();

    let halved = &good[..good.len() / 4 * 2];
    let malformed = [
        // No list: nothing, a string, noise.
        "".to_owned(),
        "85".to_owned() + "0102030405",
        "ff".repeat(100),
        // Lists that state more than there is, one of them more than any machine has.
        halved.to_owned(),
        "ffffffffffffffffff".to_owned() + &good,
        // Elements that are missing.
        "c0".to_owned(),
        "c3058080".to_owned(),
        "c40580c080".to_owned(),
        // Elements of the wrong kind: a list as the version, as the name and as the identity; a string as the capabilities.
        list(&["c0", name, caps, port].concat(), &id),
        list(&[version, "c0", caps, port].concat(), &id),
        list(&[version, name, "83616263", port].concat(), &id),
        "c5".to_owned() + "0580c080c0",
        // A version that begins with a zero byte.
        list(&["820005", name, caps, port].concat(), &id),
        // Capabilities that are no pairs, or whose version is no integer.
        list(&[version, name, "c3826162", port].concat(), &id),
        list(&[version, name, "c6c5846563686f", port].concat(), &id),
        list(&[version, name, "c8c7846563686f8200", port].concat(), &id),
        // A good one, compressed.
        compressed(&good),
    ];
    for hex in malformed {
        let hello = json!({"cmd": "send", "code": 0, "hex": hex, "snappy": "raw"});
        violates(&remote, hello, Violation::MalformedHello);
    }
}

/// The Snappy form that copies nothing: a length, and literals of up to 60 bytes.
fn compressed(hex: &str) -> String {
    let length = hex.len() / 2;
    let mut out = format!("{:02x}{:02x}", length & 0x7f | 0x80, length >> 7);
    if length < 0x80 {
        out = format!("{length:02x}");
    }
    for chunk in hex.as_bytes().chunks(120) {
        out += &format!("{:02x}", (chunk.len() / 2 - 1) << 2);
        out += std::str::from_utf8(chunk).expect("hex");
    }
    out
}

fn anything_else_before_hello_is_a_breach(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for code in [
        2_u64,
        3,
        4,
        0x0f,
        0x10,
        0x11,
        0x12,
        0x80,
        0xffff_ffff,
        u64::MAX,
    ] {
        for snappy in ["raw", "on"] {
            let other = json!({"cmd": "send", "code": code, "hex": "c0", "snappy": snappy});
            violates(&remote, other, Violation::ExpectedHello);
        }
    }
    // Codes that are none, and a frame without any.
    for body in [json!({}), json!({"hex": "8100"}), json!({"hex": "c0"})] {
        let frame = json!({"cmd": "frame", "body": body});
        violates(&remote, frame, Violation::MalformedCode);
    }
}

/// Null or of another length: 0x07. A proper one that is not the handshake's: 0x09. Ours: 0x09 likewise, for the handshake
/// proved that it is not theirs.
fn an_invalid_identity_is_told(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    let someone = NodeId([7; 64]).to_string();
    let ours = remote.host.id().to_string();
    let not_theirs = CloseReason::IdentityMismatch;
    for (id, cause, reason) in [
        ("zero", CloseReason::InvalidIdentity, 0x07),
        ("empty", CloseReason::InvalidIdentity, 0x07),
        ("short", CloseReason::InvalidIdentity, 0x07),
        ("long", CloseReason::InvalidIdentity, 0x07),
        (&someone, not_theirs, 0x09),
        (&ours, not_theirs, 0x09),
    ] {
        let session = remote.shake();
        remote.geth.ok(json!({"cmd": "hello", "id": id}));
        let report = remote.ends(session, cause, Some(DisconnectReason(reason)));
        assert!(!report.was_active);
    }
}

/// A byte that was flipped on the way, in the header, its MAC, the body, its padding or its MAC.
fn a_frame_that_was_altered_is_not_answered(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for flip in [0, 2, 15, 16, 31, 32, 50, -17, -16, -1] {
        let session = remote.shake();
        remote
            .geth
            .ok(json!({"cmd": "hello", "alter": {"flip": [flip]}}));
        let cause = CloseReason::Transport(TransportError::BadMac);
        let report = remote.ends(session, cause, None);
        assert!(!report.was_active);
    }
}

/// How much of a Hello is sent before it stops: within its header and its body, and nothing.
const CUTS: [i32; 9] = [0, 1, 16, 31, 32, 33, 48, -16, -1];

/// The deadline covers handshake and Hello together; there are keys to say so.
fn a_hello_that_stops_ends_with_the_deadline(dialler: Dialler) {
    let mut config = patient();
    config.handshake_timeout = SHORT;
    let remote = Hostile::with(dialler, config);
    let late = |session| -> Report {
        let reason = Some(DisconnectReason::READ_TIMEOUT);
        remote.ends(session, CloseReason::HandshakeTimeout, reason)
    };
    for cut in CUTS {
        let session = remote.shake();
        remote
            .geth
            .ok(json!({"cmd": "hello", "alter": {"truncate": cut}}));
        assert!(!late(session).was_active);
    }
    let session = remote.shake();
    let drip = json!({"cmd": "hello", "alter": {"drip_ms": 20}});
    let drip = remote.geth.background(drip);
    assert!(!late(session).was_active);
    remote.geth.done(drip);
}

fn a_hello_that_is_cut_ends_with_the_stream(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for cut in CUTS {
        let session = remote.shake();
        remote
            .geth
            .ok(json!({"cmd": "hello", "alter": {"truncate": cut}}));
        remote.geth.ok(json!({"cmd": "close", "how": "half"}));
        assert!(!remote.ends(session, ENDED, None).was_active);
    }
}

/// EIP-8: further elements, and bytes after the list, are for versions to come.
#[test]
fn what_a_later_version_adds_is_ignored() {
    let remote = Hostile::new(Dialler::Them);
    for hello in [
        json!({"extra": ["c0", "80", "05", "c3010203"]}),
        json!({"trailing": "ffffffff"}),
        json!({"version": 6}),
        json!({"version": u64::MAX}),
        json!({"port": 70_000}),
        json!({"name": ""}),
        json!({"caps": [["echo", 1], ["echo", 1], ["", 0], ["echo", u64::MAX]]}),
    ] {
        let session = remote.shake();
        let mut command = hello.clone();
        command["cmd"] = json!("hello");
        remote.geth.ok(command);
        session.peer();
        remote.assert_answers();
        remote.geth.ok(json!({"cmd": "close"}));
        assert_eq!(session.report().reason, ENDED, "{hello}");
    }
    remote.assert_well();
}

/// go-ethereum's way: the first counts.
#[test]
fn a_second_hello_is_ignored() {
    let remote = Hostile::new(Dialler::Them);
    let session = remote.session();
    for (hex, snappy) in [("c0", "on"), ("c0", "raw"), ("ffff", "raw"), ("", "raw")] {
        remote
            .geth
            .ok(json!({"cmd": "send", "code": 0, "hex": hex, "snappy": snappy}));
    }
    remote.geth.ok(json!({"cmd": "hello"}));
    remote
        .geth
        .ok(json!({"cmd": "hello", "id": "zero", "caps": [["other", 9]], "version": 4}));
    // The code as one raw byte.
    remote
        .geth
        .ok(json!({"cmd": "frame", "body": {"hex": "00c0"}}));
    remote.assert_answers();
    remote.geth.ok(json!({"cmd": "close"}));
    assert_eq!(session.report().reason, ENDED);
}

/// Its own version decides how a remote reads what follows the Hellos, also when it is refused for that Hello: the list as it
/// is before version 5, compressed from then on.
#[test]
fn a_refusal_comes_in_the_form_that_the_remote_reads() {
    let remote = Hostile::new(Dialler::Them);
    let someone = NodeId([7; 64]).to_string();
    for (hello, reason) in [
        (json!({"id": "zero"}), 0x07),
        (json!({"id": someone}), 0x09),
        (json!({"caps": []}), 0x03),
    ] {
        for (version, prefix) in [(4, ""), (5, "0204"), (6, "0204")] {
            let session = remote.shake();
            let mut command = hello.clone();
            command["cmd"] = json!("hello");
            command["version"] = json!(version);
            remote.geth.ok(command);
            let seen = remote.geth.ok(json!({"cmd": "read"}));
            assert_eq!(
                seen["wire_hex"],
                format!("{prefix}c1{reason:02x}"),
                "{hello}"
            );
            remote.geth.ok(json!({"cmd": "close"}));
            let sent = session.report().reason.disconnect();
            assert_eq!(sent, Some(DisconnectReason(reason)));
        }
    }
}
