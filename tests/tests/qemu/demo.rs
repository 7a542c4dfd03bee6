//! The board in `devp2p demo`, and the boards as one starts them by hand.
use std::path::Path;
use std::process::Command;

use devp2p_tests::board::target_folder;
use devp2p_tests::command::devp2p;
use serde_json::Value;

#[test]
fn the_demo_boots_a_board_that_dials_its_node() {
    demo(&["--board", "mps2-an386"], "listener");
}

#[test]
fn the_demo_boots_the_small_board_beside_go_ethereum() {
    demo(&["--board", "lm3s6965evb", "--geth"], "go-ethereum");
}

fn demo(arguments: &[&str], far: &str) {
    let output = Command::new(devp2p())
        .args(["--json", "demo", "--seconds", "1"])
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .env("CARGO_TARGET_DIR", target_folder())
        .output()
        .expect("the program runs");
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

#[test]
fn by_hand_a_board_dials_a_node_of_this_project_or_go_ethereum() {
    for (arguments, says) in [
        (&["lm3s6965evb"][..], "host: "),
        (&["mps2-an386", "--geth"], "go-ethereum: 1 session(s) with "),
    ] {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/qemu/run");
        let output = Command::new(run)
            .args(arguments)
            .env("CARGO_TARGET_DIR", target_folder())
            .output()
            .expect("examples/qemu/run runs");
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
