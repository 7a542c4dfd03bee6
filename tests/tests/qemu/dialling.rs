//! A board dials a go-ethereum node.
use devp2p_core::rlpx::NodeKey;
use devp2p_tests::board::{Board, Kind, dial};
use devp2p_tests::geth::is;
use serde_json::json;

use crate::boards::{REASONS, both_boards, echoes, ended, geth, succeeds, told};

both_boards!(
    messages_go_both_ways_on_two_subprotocols,
    each_reason_that_the_board_gives_is_told,
    each_reason_that_the_remote_gives_is_told_and_the_board_dials_again,
);

fn messages_go_both_ways_on_two_subprotocols(kind: Kind) {
    let geth = geth();
    let secret = [0x42; 32];
    let key = "42".repeat(32);
    let words = dial(&geth.id(), geth.address());
    let board = Board::boot(kind, &format!("{words} key={key} hold=3"));
    assert_eq!(board.id(), *NodeKey::new(&secret).expect("a key").id());
    let added = geth.event("peer_added");
    assert_eq!(added["caps"], json!(["echo/1", "sensor/1"]));
    assert_eq!(added["name"], format!("devp2p-rs/{}", kind.name));
    echoes(&board);
    for number in 0..5u32 {
        let reading = geth.event("message");
        assert_eq!(
            (&reading["protocol"], &reading["code"]),
            (&json!("sensor/1"), &json!(0))
        );
        let celsius = 2150 + number * 7 % 40;
        assert_eq!(reading["hex"], format!("{number:08x}{celsius:08x}"));
    }
    ended(&board, "ProtocolReturned");
    let mut dropped = geth.event("peer_dropped");
    assert_eq!(dropped["reason"].take(), 8);
    assert_eq!(dropped["requested"], true);
    assert_eq!(geth.take(is("setup_failed")).len(), 0);
    succeeds(board);
}

fn each_reason_that_the_board_gives_is_told(kind: Kind) {
    let geth = geth();
    let digits: String = REASONS
        .iter()
        .map(|reason| format!("{reason:02x}"))
        .collect();
    let words = dial(&geth.id(), geth.address());
    let words = format!(
        "{words} sessions={} reasons={digits} retries=0",
        REASONS.len()
    );
    let board = Board::boot(kind, &words);
    for reason in REASONS {
        echoes(&board);
        ended(&board, &format!("Local(DisconnectReason({reason}))"));
        let dropped = geth.event("peer_dropped");
        assert_eq!(dropped["reason"], reason, "{dropped}");
        assert_eq!(dropped["requested"], true, "{dropped}");
    }
    succeeds(board);
}

fn each_reason_that_the_remote_gives_is_told_and_the_board_dials_again(kind: Kind) {
    const LAST: u8 = 0x08;
    let geth = geth();
    // go-ethereum never sends "network error".
    let others: Vec<u8> = REASONS
        .into_iter()
        .filter(|reason| ![0x01, LAST].contains(reason))
        .collect();
    let words = dial(&geth.id(), geth.address());
    let words = format!("{words} until={LAST:02x} retries={}", others.len());
    let board = Board::boot(kind, &words);
    for reason in others.into_iter().chain([LAST]) {
        echoes(&board);
        geth.ok(json!({"cmd": "disconnect", "reason": reason}));
        ended(&board, &told(reason));
        geth.event("peer_dropped");
    }
    succeeds(board);
}
