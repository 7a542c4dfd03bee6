//! Hostile bytes before there are keys: whatever is wrong, the answer is the same silence.
use devp2p_core::error::{CloseReason, TransportError};
use serde_json::{Value, json};

use crate::hostile::{Hostile, SHORT, patient};
use crate::local::{Dialler, both_ways};

const FAILED: CloseReason = CloseReason::Transport(TransportError::Handshake);
const ENDED: CloseReason = CloseReason::Transport(TransportError::EndOfStream);

/// Every kind of bad packet: points off the curve or out of range, packets too short or too long, contents that are none.
const BAD: [&str; 17] = [
    "offcurve",
    "range",
    "zero",
    "prefix",
    "mac",
    "body_offcurve",
    "body_range",
    "body_zero",
    "signature",
    "nonce_short",
    "list_short",
    "not_rlp",
    "empty",
    "short",
    "short_sealed",
    "oversize",
    "garbage",
];

/// The command that sends the remote's packet of the handshake.
fn packet(dialler: Dialler) -> &'static str {
    match dialler {
        Dialler::Us => "ack",
        Dialler::Them => "auth",
    }
}

/// When we dial, our auth is on the wire before anything can be wrong.
fn skip_our_auth(remote: &Hostile, dialler: Dialler) {
    if dialler == Dialler::Us {
        let prefix = remote.geth.ok(json!({"cmd": "tcp_read", "max": 2}));
        let size = prefix["hex"].as_str().expect("hex");
        let size = u16::from_str_radix(size, 16).expect("a size");
        remote.geth.ok(json!({"cmd": "tcp_read", "max": size}));
    }
}

both_ways!(
    every_bad_packet_ends_alike,
    a_size_beyond_the_limits_is_refused_before_anything_is_read,
    a_packet_that_stops_ends_with_the_deadline,
    a_packet_that_is_cut_ends_with_the_stream,
    a_byte_at_a_time_does_not_move_the_deadline,
);

/// RLPx and EIP-8: a packet that cannot be opened ends the connection. That nothing tells which one it was is ours: an answer
/// that differs is an oracle.
fn every_bad_packet_ends_alike(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for bad in BAD {
        // An ack has no signature.
        if (dialler, bad) == (Dialler::Us, "signature") {
            continue;
        }
        let sizes: &[u32] = match bad {
            // The bytes under the tag; of them the first 16 are the IV.
            "short_sealed" => &[0, 1, 15, 16, 17],
            "garbage" => &[113, 400, 2048],
            "oversize" => &[2049, 65_535],
            _ => &[0],
        };
        for size in sizes {
            let session = remote.connect();
            remote
                .geth
                .command(json!({"cmd": packet(dialler), "bad": bad, "size": size}));
            remote.ends_unauthenticated(session, FAILED);
        }
    }
}

/// At most 2048 bytes after the prefix, and no fewer than point, IV and tag take.
fn a_size_beyond_the_limits_is_refused_before_anything_is_read(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for prefix in ["0801", "ffff", "0000", "0070"] {
        let session = remote.connect();
        skip_our_auth(&remote, dialler);
        remote.geth.ok(json!({"cmd": "tcp", "hex": prefix}));
        // The prefix alone, and no end of the stream.
        remote.ends_unauthenticated(session, FAILED);
    }
}

/// How much of a packet is sent before it stops: inside its prefix, point, IV, content and tag.
const CUTS: [i32; 12] = [0, 1, 2, 3, 34, 66, 67, 82, 83, 200, -32, -1];

fn a_packet_that_stops_ends_with_the_deadline(dialler: Dialler) {
    let mut config = patient();
    config.handshake_timeout = SHORT;
    let remote = Hostile::with(dialler, config);
    for cut in CUTS {
        let session = remote.connect();
        remote
            .geth
            .ok(json!({"cmd": packet(dialler), "alter": {"truncate": cut}}));
        remote.ends_unauthenticated(session, CloseReason::HandshakeTimeout);
    }
    // A connection on which nothing comes at all.
    let session = remote.connect();
    skip_our_auth(&remote, dialler);
    remote.ends_unauthenticated(session, CloseReason::HandshakeTimeout);
}

fn a_packet_that_is_cut_ends_with_the_stream(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for cut in CUTS {
        for (how, cause) in [
            ("half", ENDED),
            ("rst", CloseReason::Transport(TransportError::Io)),
        ] {
            let session = remote.connect();
            remote
                .geth
                .ok(json!({"cmd": packet(dialler), "alter": {"truncate": cut}}));
            remote.geth.ok(json!({"cmd": "close", "how": how}));
            if how == "rst" {
                let report = session.report();
                assert_eq!(report.reason, cause, "{cut}");
                remote.assert_well();
            } else {
                remote.ends_unauthenticated(session, cause);
            }
        }
    }
}

fn a_byte_at_a_time_does_not_move_the_deadline(dialler: Dialler) {
    let mut config = patient();
    config.handshake_timeout = SHORT;
    let remote = Hostile::with(dialler, config);
    let session = remote.connect();
    let drip = remote
        .geth
        .background(json!({"cmd": packet(dialler), "alter": {"drip_ms": 20}}));
    let report = session.report();
    assert_eq!(report.reason, CloseReason::HandshakeTimeout);
    // It notices when it goes on.
    assert_eq!(remote.geth.done(drip)["ending"], "reset");
    remote.assert_well();
}

/// Who dials us and hangs up as soon as its auth is sent.
#[test]
fn a_remote_that_leaves_before_our_ack() {
    let remote = Hostile::new(Dialler::Them);
    for (how, causes) in [
        ("half", &[ENDED][..]),
        // Our ack, or our Hello after it, meets a reset.
        ("fin", &[ENDED, CloseReason::Transport(TransportError::Io)]),
        ("rst", &[ENDED, CloseReason::Transport(TransportError::Io)]),
    ] {
        let session = remote.connect();
        remote.geth.ok(json!({"cmd": "auth"}));
        remote.geth.ok(json!({"cmd": "close", "how": how}));
        let report = session.report();
        assert!(
            causes.contains(&report.reason),
            "{how}: {:?}",
            report.reason
        );
        assert!(!report.was_active);
        remote.assert_well();
    }
}

/// The other side of the limits: what EIP-8 has us accept.
#[test]
fn odd_but_valid_packets_are_answered() {
    let remote = Hostile::new(Dialler::Them);
    for odd in [
        json!({"pad": 0}),
        json!({"pad": 1700}),
        json!({"version": 99}),
        json!({"extra": 7}),
    ] {
        let session = remote.connect();
        let mut auth = odd.clone();
        auth["cmd"] = json!("auth");
        remote.geth.ok(auth);
        // Our ack; what follows is our Hello, for keys that nobody has.
        let ack = remote.geth.ok(json!({"cmd": "tcp_read", "max": 2}));
        assert_ne!(ack["size"], Value::from(0), "{odd}");
        remote.geth.ok(json!({"cmd": "close"}));
        session.report();
    }
    remote.assert_well();
}
