//! The board in `devp2p demo`, and the boards as one starts them by hand.
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use devp2p_tests::board::target_folder;
use devp2p_tests::command::{devp2p, output_within};
use devp2p_tests::geth;
use serde_json::Value;

/// Longer than the demo and `examples/qemu/run` give a board.
const BOUND: Duration = Duration::from_secs(180);

#[test]
fn the_demo_boots_a_board_that_dials_its_node() {
    demo(&["--board", "mps2-an386"], "listener");
}

#[test]
fn the_demo_boots_the_small_board_beside_go_ethereum() {
    demo(&["--board", "lm3s6965evb", "--geth"], "go-ethereum");
}

fn demo(arguments: &[&str], far: &str) {
    let mut demo = Command::new(devp2p());
    demo.args(["--json", "demo", "--seconds", "1"])
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let output = output_within(as_built(&mut demo), BOUND);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&json["ok"], &json["far"]), (&true.into(), &far.into()));
    // Without QEMU the demo would be content with the host form.
    let board = &json["board"];
    assert_eq!(board["form"], "qemu", "{json}");
    assert_eq!(board["status"], 0, "{json}");
    let checks = json["checks"].as_array().expect("a list");
    for name in [
        "board key",
        "board echo",
        "board sensor",
        "board ping",
        "board exit",
    ] {
        let check = checks.iter().find(|check| check["name"] == name);
        assert_eq!(
            check.map(|check| &check["ok"]),
            Some(&true.into()),
            "{json}"
        );
    }
}

/// With what is built already: while tests run, nothing may be built anew under those that run it.
fn as_built(command: &mut Command) -> &mut Command {
    command
        .env("NO_BUILD", "1")
        .env("CARGO_TARGET_DIR", target_folder())
}

#[test]
fn by_hand_a_board_dials_a_node_of_this_project_or_go_ethereum() {
    geth::program();
    for (arguments, says) in [
        (&["lm3s6965evb"][..], "host: "),
        (&["mps2-an386", "--geth"], "go-ethereum: 1 session(s) with "),
    ] {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/qemu/run");
        let output = output_within(as_built(Command::new(run).args(arguments)), BOUND);
        let log = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        for expected in [
            "this node is ",
            "10 sizes came back, and 2 were too large",
            "Success, stack ",
            says,
        ] {
            assert!(log.contains(expected), "no {expected:?} in\n{log}");
        }
    }
}
