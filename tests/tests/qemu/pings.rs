//! Sessions that last by Pings.
use devp2p_tests::board::{Board, Kind, dial};
use devp2p_tests::geth::{Geth, is};
use serde_json::json;

use crate::boards::{both_boards, echoes, ended, geth, listens, succeeds, told};

both_boards!(
    pings_are_answered_both_ways_over_40_seconds,
    answers_to_pings_alone_keep_a_session_up,
);

fn pings_are_answered_both_ways_over_40_seconds(kind: Kind) {
    let board = Board::boot(kind, "listen=30303 retries=0");
    let enode = board.enode().to_string();
    let raw = Geth::raw(&json!({"listen": "none"}));
    listens(&board);
    raw.ok(json!({"cmd": "connect", "enode": enode}));
    raw.ok(json!({"cmd": "session", "caps": [["echo", 1]]}));
    board.line("a session is active");
    let ours = 3;
    let reading = raw.background(
        json!({"cmd": "read_until_close", "quiet": true, "pong": true, "timeout_ms": 40_000}),
    );
    for _ in 0..ours {
        raw.ok(json!({"cmd": "send", "code": 2, "hex": "c0"}));
    }
    let seen = raw.done(reading);
    assert_eq!(seen["ending"], "timeout", "{seen}");
    assert_eq!(seen["codes"]["3"], ours, "{seen}");
    let theirs = seen["codes"]["2"].as_u64().expect("Pings of the board");
    assert!(theirs >= 2, "{seen}");
    // It lives on.
    raw.ok(json!({"cmd": "send", "code": 2, "hex": "c0"}));
    let pong = raw.ok(json!({"cmd": "read"}));
    assert_eq!(pong["code"], 3, "{pong}");
    raw.ok(json!({"cmd": "send", "code": 1, "hex": "c108"}));
    ended(&board, &told(0x08));
    board.line(&format!("{theirs} of our Pings were answered"));
    succeeds(board);
}

/// go-ethereum ends a session in which it hears nothing for 30 s.
fn answers_to_pings_alone_keep_a_session_up(kind: Kind) {
    let geth = geth();
    let words = dial(&geth.id(), geth.address());
    let board = Board::boot(kind, &format!("{words} ping=3600 hold=40 retries=0"));
    echoes(&board);
    ended(&board, "ProtocolReturned");
    board.line("0 of our Pings were answered");
    let dropped = geth.event("peer_dropped");
    assert_eq!(
        (&dropped["reason"], &dropped["requested"]),
        (&json!(8), &json!(true))
    );
    assert_eq!(geth.take(is("peer_added")).len(), 1);
    succeeds(board);
}
