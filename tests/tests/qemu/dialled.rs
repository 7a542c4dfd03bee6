//! A board is dialled.
use std::process::Command;

use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::enode::Enode;
use devp2p_tests::board::{Board, Kind};
use devp2p_tests::command::{devp2p, output_within};
use devp2p_tests::geth::{Geth, fnv};
use serde_json::{Value, json};

use crate::boards::{LARGEST, REASONS, both_boards, ended, geth, listens, succeeds, told};

both_boards!(
    by_the_host_program,
    by_go_ethereum,
    each_reason_of_a_remote_that_dialled_is_told,
    who_dials_with_an_identity_that_is_not_its_own_is_told_so,
);

/// `devp2p ping`: its exit status and its answer.
fn ping(enode: &Enode) -> (Option<i32>, Value) {
    let mut ping = Command::new(devp2p());
    ping.args(["ping", &enode.to_string(), "--count", "2", "--json"]);
    // Each connection is a session that the board counts.
    ping.arg("--no-probe");
    let output = output_within(&mut ping, devp2p_tests::geth::BOUND);
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), answer)
}

fn by_the_host_program(kind: Kind) {
    let board = Board::boot(kind, "listen=30303 retries=1");
    let enode = board.enode();
    // Another identity than the board's is not met there.
    let mut another = enode.clone();
    another.id = *NodeKey::new(&[0x33; 32]).expect("a key").id();
    listens(&board);
    let (code, _) = ping(&another);
    assert_eq!(code, Some(1));
    ended(&board, "Transport(Handshake)");
    listens(&board);
    let (code, answer) = ping(&enode);
    assert_eq!(code, Some(0), "{answer}");
    assert_eq!(answer["client"], format!("devp2p-rs/{}", kind.name));
    assert_eq!(answer["capabilities"], json!(["echo/1", "sensor/1"]));
    assert_eq!(answer["rtt_us"].as_array().map(Vec::len), Some(2));
    ended(&board, "RemoteRequested");
    succeeds(board);
}

fn by_go_ethereum(kind: Kind) {
    let board = Board::boot(kind, "listen=30303 sessions=2 retries=0");
    let enode = board.enode();
    let geth = geth();
    for _ in 0..2 {
        listens(&board);
        geth.ok(json!({"cmd": "dial", "enode": enode.to_string()}));
        board.line("a session is active");
        let sizes = [0, 1, 55, 56, 255, 256, 1024, LARGEST - 1, LARGEST];
        for size in sizes
            .into_iter()
            .chain([LARGEST + 1, 5000, 100_000, 0, LARGEST])
        {
            let question = json!({"cmd": "send", "protocol": "echo", "code": 0, "size": size, "pattern": "random", "seed": size});
            let sent = geth.ok(question);
            let is_answer = |event: &Value| {
                event["event"] == "message" && event["protocol"] == "echo/1" && event["code"] == 1
            };
            let answer = geth.wait_for(is_answer, devp2p_tests::geth::BOUND);
            if size > LARGEST {
                board.line(&format!("echo: a question of {size} bytes is too large"));
                assert_eq!(answer["fnv"], fnv(&[]));
            } else {
                assert_eq!(
                    (&answer["size"], &answer["fnv"]),
                    (&json!(size), &sent["fnv"])
                );
            }
        }
        geth.ok(json!({"cmd": "disconnect", "reason": 0x05}));
        ended(&board, &told(0x05));
        geth.event("peer_dropped");
    }
    succeeds(board);
}

/// Also 0x01, which go-ethereum itself never sends.
fn each_reason_of_a_remote_that_dialled_is_told(kind: Kind) {
    let words = format!("listen=30303 retries=0 sessions={}", REASONS.len());
    let board = Board::boot(kind, &words);
    let enode = board.enode().to_string();
    let raw = Geth::raw(&json!({"listen": "none"}));
    for reason in REASONS {
        listens(&board);
        raw.ok(json!({"cmd": "connect", "enode": enode}));
        raw.ok(json!({"cmd": "session", "caps": [["echo", 1]]}));
        board.line("a session is active");
        let payload = if reason == 0 {
            "c180".to_owned()
        } else {
            format!("c1{reason:02x}")
        };
        raw.ok(json!({"cmd": "send", "code": 1, "hex": payload}));
        ended(&board, &told(reason));
        raw.ok(json!({"cmd": "read_until_close", "quiet": true}));
        raw.ok(json!({"cmd": "close"}));
    }
    succeeds(board);
}

fn who_dials_with_an_identity_that_is_not_its_own_is_told_so(kind: Kind) {
    let board = Board::boot(kind, "listen=30303 retries=2");
    let enode = board.enode().to_string();
    let raw = Geth::raw(&json!({"listen": "none"}));
    let another = NodeId([0x77; 64]).to_string();
    for (id, cause, reason) in [
        (another.as_str(), "IdentityMismatch", 0x09),
        ("zero", "InvalidIdentity", 0x07),
    ] {
        listens(&board);
        raw.ok(json!({"cmd": "connect", "enode": enode}));
        raw.ok(json!({"cmd": "handshake"}));
        raw.ok(json!({"cmd": "hello", "id": id, "caps": [["echo", 1]]}));
        let hello = raw.ok(json!({"cmd": "read"}));
        assert_eq!(hello["code"], 0, "{hello}");
        raw.ok(json!({"cmd": "snappy", "on": true}));
        let seen = raw.ok(json!({"cmd": "read_until_close", "quiet": true}));
        assert_eq!(seen["reason"], reason, "{seen}");
        raw.ok(json!({"cmd": "close"}));
        ended(&board, cause);
    }
    listens(&board);
    let (code, answer) = ping(&enode.parse().expect("an enode URL"));
    assert_eq!(code, Some(0), "{answer}");
    succeeds(board);
}
