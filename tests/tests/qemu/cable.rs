//! Two boards on a cable of their own.
use devp2p_core::rlpx::NodeKey;
use devp2p_tests::board::{Board, Kind, LM3S6965EVB, MPS2_AN386};
use devp2p_tests::relay::Cable;

use crate::boards::{ended, listens, succeeds, told};

#[test]
fn the_small_board_dials_the_large_one() {
    one_dials_the_other(LM3S6965EVB, MPS2_AN386);
}

#[test]
fn the_large_board_dials_the_small_one() {
    one_dials_the_other(MPS2_AN386, LM3S6965EVB);
}

fn one_dials_the_other(dialler: Kind, recipient: Kind) {
    let cable = Cable::new();
    let key = NodeKey::new(&[0x11; 32]).expect("a key");
    let words = format!(
        "listen=30303 address=10.0.2.16 sessions=3 retries=0 key={}",
        "11".repeat(32)
    );
    let recipient = Board::on_cable(recipient, &cable, 16, &words);
    listens(&recipient);
    let words = format!(
        "enode=enode://{}@10.0.2.16:30303 sessions=3 reasons=00080b hold=2",
        key.id()
    );
    let dialler = Board::on_cable(dialler, &cable, 15, &words);
    for reason in [0x00, 0x08, 0x0b] {
        recipient.line("a session is active");
        for too_large in [2049, 3048] {
            recipient.line(&format!(
                "echo: a question of {too_large} bytes is too large"
            ));
        }
        dialler.line("echo: 10 sizes came back, and 2 were too large");
        ended(&dialler, &format!("Local(DisconnectReason({reason}))"));
        recipient.line("echo: 13 answered");
        ended(&recipient, &told(reason));
    }
    for board in [&dialler, &recipient] {
        assert_eq!(board.count("sensor: 5 readings sent"), 3);
    }
    succeeds(dialler);
    succeeds(recipient);
}
