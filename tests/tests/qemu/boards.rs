//! What the tests of the boards with a network card have in common.
use devp2p_tests::board::Board;
use devp2p_tests::geth::Geth;
use serde_json::{Value, json};

/// Each of these functions is a test, once on each board.
macro_rules! both_boards {
    ($($name:ident),* $(,)?) => {
        mod mps2_an386 {
            $(#[test] fn $name() { super::$name(devp2p_tests::board::MPS2_AN386) })*
        }
        mod lm3s6965evb {
            $(#[test] fn $name() { super::$name(devp2p_tests::board::LM3S6965EVB) })*
        }
    };
}
pub(crate) use both_boards;

/// The largest payload that a board takes on `echo/1`.
pub(crate) const LARGEST: usize = 2048;

/// Those of the specification, the two numbers after 0x0b that it leaves out, and the one for subprotocols.
pub(crate) const REASONS: [u8; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0x10];

/// What a go-ethereum peer serves: everything that the boards know.
pub(crate) fn services() -> Value {
    json!([
        {"name": "echo", "version": 1, "length": 2},
        {"name": "sensor", "version": 1, "length": 1, "behaviour": "sink"},
    ])
}

/// A go-ethereum peer that serves everything that the boards know.
pub(crate) fn geth() -> Geth {
    Geth::peer(&json!({"protocols": services()}))
}

/// Waits until the board can be dialled: between two sessions it cannot.
pub(crate) fn listens(board: &Board) {
    board.line("listening on port 30303");
}

/// Waits until the board's questions were answered.
pub(crate) fn echoes(board: &Board) {
    board.line("a session is active");
    board.line("echo: Oversize, 2049 bytes");
    board.line("echo: Oversize, 3048 bytes");
    board.line("echo: 10 sizes came back, and 2 were too large");
}

/// Waits for the end of a session, which is to be so.
pub(crate) fn ended(board: &Board, cause: &str) {
    let line = board.line("the session ended: ");
    assert!(line.contains(cause), "{line}");
}

/// How the log shows a reason of the remote.
pub(crate) fn told(reason: u8) -> String {
    format!("RemoteRequested(Some(DisconnectReason({reason})))")
}

/// Waits until the board has stopped and all went as it should.
pub(crate) fn succeeds(mut board: Board) {
    board.line("Success, stack ");
    assert_eq!(board.exit(), Some(0));
    assert_eq!(board.count("a damaged line"), 0);
}
