//! What is not as it should be is noticed.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use devp2p_core::rlpx::NodeKey;
use devp2p_tests::board::{Board, Kind, dial};
use devp2p_tests::geth::Geth;
use serde_json::json;

use crate::boards::{both_boards, ended};

both_boards!(
    parameters_without_sense_are_refused,
    a_board_that_does_not_end_has_failed,
    nobody_to_talk_to_is_a_failure,
    a_remote_of_another_identity_is_a_failure,
    a_remote_without_echo_is_a_failure,
);

fn parameters_without_sense_are_refused(kind: Kind) {
    let mut board = Board::boot(kind, "listen=30303 sessions=many");
    board.line("BadParameter(sessions=many)");
    board.line("BadParameters");
    assert_eq!(board.exit(), Some(2));
}

fn a_board_that_does_not_end_has_failed(kind: Kind) {
    let mut board = Board::boot(kind, "listen=30303");
    board.line("listening on port 30303");
    let silent = catch_unwind(AssertUnwindSafe(|| {
        board.line_within("never said", Duration::from_secs(1))
    }));
    assert!(silent.is_err());
    let hangs = catch_unwind(AssertUnwindSafe(|| {
        board.exit_within(Duration::from_secs(1))
    }));
    assert!(hangs.is_err());
}

fn nobody_to_talk_to_is_a_failure(kind: Kind) {
    let geth = Geth::peer(&json!({}));
    let words = dial(&geth.id(), geth.address());
    drop(geth);
    let mut board = Board::boot(kind, &format!("{words} retries=2"));
    for _ in 0..3 {
        board.line("no connection: ");
    }
    board.line("Failure");
    assert_eq!(board.exit(), Some(1));
}

fn a_remote_of_another_identity_is_a_failure(kind: Kind) {
    let geth = Geth::peer(&json!({}));
    let another = NodeKey::new(&[0x33; 32]).expect("a key");
    let words = dial(another.id(), geth.address());
    let mut board = Board::boot(kind, &format!("{words} retries=0"));
    // It cannot read what is not for it, and closes.
    ended(&board, "Transport(");
    geth.event("setup_failed");
    board.line("Failure");
    assert_eq!(board.exit(), Some(1));
}

fn a_remote_without_echo_is_a_failure(kind: Kind) {
    let sensor = json!({"name": "sensor", "version": 1, "length": 1, "behaviour": "sink"});
    let geth = Geth::peer(&json!({"protocols": [sensor]}));
    let mut board = Board::boot(kind, &dial(&geth.id(), geth.address()));
    ended(&board, "Local(DisconnectReason(3))");
    board.line("NotShared");
    board.line("Failure");
    assert_eq!(board.exit(), Some(1));
}
