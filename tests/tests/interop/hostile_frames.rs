//! Frames that were altered, cut, or never end.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use serde_json::json;

use crate::hostile::{Hostile, SHORT, patient};
use crate::local::{Dialler, Running, both_ways};

const BAD_MAC: CloseReason = CloseReason::Transport(TransportError::BadMac);
const ENDED: CloseReason = CloseReason::Transport(TransportError::EndOfStream);

/// Bytes of the frame of a message of three bytes: header, its MAC, one block, its MAC.
const SHORT_FRAME: usize = 64;

both_ways!(
    a_frame_that_was_altered_is_not_answered,
    a_frame_cut_at_any_byte_ends_with_the_stream,
    a_frame_that_stops_at_any_byte_ends_with_the_deadline,
    a_byte_at_a_time_does_not_move_the_deadline,
    large_frames_that_are_cut,
);

/// One flipped bit, anywhere: header, header MAC, body, padding, body MAC.
fn a_frame_that_was_altered_is_not_answered(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for flip in 0..SHORT_FRAME {
        let session = remote.session();
        remote
            .geth
            .ok(json!({"cmd": "send", "code": 0x10, "hex": "2a", "alter": {"flip": [flip]}}));
        remote.ends(session, BAD_MAC, None);
    }
    for flip in [32, 1000, 50_000, -17, -16, -1] {
        let session = remote.session();
        remote.geth.command(
            json!({"cmd": "send", "code": 0x10, "size": 100_000, "pattern": "random", "alter": {"flip": [flip]}}),
        );
        remote.ends(session, BAD_MAC, None);
    }
}

fn a_frame_cut_at_any_byte_ends_with_the_stream(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for cut in 0..SHORT_FRAME {
        let session = remote.session();
        remote
            .geth
            .ok(json!({"cmd": "send", "code": 0x10, "hex": "2a", "alter": {"truncate": cut}}));
        remote.geth.ok(json!({"cmd": "close", "how": "half"}));
        remote.ends(session, ENDED, None);
    }
}

/// From the first byte of a message its deadline runs.
fn a_frame_that_stops_at_any_byte_ends_with_the_deadline(dialler: Dialler) {
    let mut config = patient();
    config.message_timeout = SHORT;
    let remote = Hostile::with(dialler, config);
    // All at once, so that they wait together.
    let sessions: Vec<(String, Running)> = (1..SHORT_FRAME)
        .map(|cut| {
            let link = format!("stops at {cut}");
            let session = remote.session_on(&link);
            remote.geth.ok(
                json!({"cmd": "send", "code": 0x10, "hex": "2a", "alter": {"truncate": cut}, "link": link}),
            );
            (link, session)
        })
        .collect();
    for (link, session) in sessions {
        let reason = Some(DisconnectReason::READ_TIMEOUT);
        remote.ends_on(&link, session, CloseReason::ReadTimeout, reason);
    }
    remote.assert_well();
}

fn a_byte_at_a_time_does_not_move_the_deadline(dialler: Dialler) {
    let mut config = patient();
    config.message_timeout = SHORT;
    let remote = Hostile::with(dialler, config);
    // In the header; and after a good part of a large body.
    for from in [0, 500_000] {
        let session = remote.session();
        let drip = remote.geth.background(json!({"cmd": "send", "code": 0x10,
            "size": 1_000_000, "pattern": "random", "alter": {"drip_ms": 20, "drip_from": from}}));
        let reason = Some(DisconnectReason::READ_TIMEOUT);
        remote.ends(session, CloseReason::ReadTimeout, reason);
        remote.geth.done(drip);
    }
}

fn large_frames_that_are_cut(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    for cut in [100_000, -32, -1] {
        let session = remote.session();
        remote
            .geth
            .ok(json!({"cmd": "send", "code": 0x10, "size": 1_000_000,
            "pattern": "random", "alter": {"truncate": cut}}));
        remote.geth.ok(json!({"cmd": "close", "how": "half"}));
        remote.ends(session, ENDED, None);
    }
}

/// What is not covered by any rule: the header's data and the padding.
#[test]
fn header_data_and_padding_are_ignored() {
    let remote = Hostile::new(Dialler::Them);
    let session = remote.session();
    for data in ["", "c0", "c3808080", "ffffffffffffffffffffffffff"] {
        // Code 0x10 and the byte 2a, compressed; the header's size leaves the rest of the block to the padding.
        remote
            .geth
            .ok(json!({"cmd": "frame", "stated": 4, "header_data": data,
            "body": {"hex": "1001002affffffffffffffffffffffff"}}));
        let answer = remote.geth.ok(json!({"cmd": "read"}));
        assert_eq!(
            (&answer["code"], &answer["hex"]),
            (&json!(0x11), &json!("2a"))
        );
    }
    remote.geth.ok(json!({"cmd": "close"}));
    assert_eq!(session.report().reason, ENDED);
}
