//! `devp2p demo`, between two nodes of the program. With its board in QEMU it takes more than cargo, so here there is none, or
//! the host form.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{Ended, assert_explained, run};

const CHECKS: [&str; 9] = [
    "identity",
    "codes",
    "echo",
    "bench",
    "chat",
    "at once",
    "no loss",
    "ping",
    "disconnect",
];

#[test]
fn the_demo_verifies_everything_and_says_so_in_plain_lines() {
    let ended = run(&["demo", "--seconds", "1", "--no-board"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("verified 9 of 9"), "{ended:?}");
    for check in CHECKS {
        assert!(
            ended.out.contains(&format!("✓ {check}")),
            "{check}: {ended:?}"
        );
    }
    // No terminal, so no colours and nothing that moves.
    assert!(
        !ended.out.contains(['\x1b', '\r']) && !ended.err.contains(['\x1b', '\r']),
        "{ended:?}"
    );
}

#[test]
fn the_demo_as_json_is_one_object_with_its_numbers() {
    let ended = run(&["--json", "demo", "--seconds", "1", "--no-board"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err, "");
    let json = ended.json();
    assert_eq!((&json["ok"], &json["board"]), (&true.into(), &Value::Null));
    let checks = json["checks"].as_array().expect("a list");
    let names: Vec<_> = checks
        .iter()
        .map(|check| check["name"].as_str().expect("text"))
        .collect();
    assert_eq!(names, CHECKS);
    assert!(checks.iter().all(|check| check["ok"] == true), "{json}");
    let protocols = json["protocols"].as_array().expect("a list");
    let offsets: Vec<_> = protocols
        .iter()
        .map(|p| (p["protocol"].as_str(), p["offset"].as_u64()))
        .collect();
    assert_eq!(
        offsets,
        [
            (Some("bench/1"), Some(16)),
            (Some("chat/1"), Some(24)),
            (Some("echo/1"), Some(25))
        ]
    );
    assert!(
        protocols
            .iter()
            .all(|p| p["messages_in"].as_u64() > Some(0)),
        "{json}"
    );
    assert!(
        json["bench"]["messages_per_second"].as_f64() > Some(0.0),
        "{json}"
    );
}

/// What is verified of a board beside the rest.
const BOARD_CHECKS: [&str; 5] = [
    "board key",
    "board echo",
    "board sensor",
    "board ping",
    "board exit",
];

#[test]
fn the_application_of_the_boards_dials_in_where_there_is_no_board() {
    let ended = run(&["--json", "demo", "--seconds", "1", "--board", "host"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err, "");
    let json = ended.json();
    let checks = json["checks"].as_array().expect("a list");
    let names: Vec<_> = checks.iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(names, [&CHECKS[..], &BOARD_CHECKS].concat());
    assert!(checks.iter().all(|check| check["ok"] == true), "{json}");
    let board = &json["board"];
    assert_eq!(
        (&board["form"], &board["name"]),
        (&"host".into(), &"host".into())
    );
    assert_eq!((&board["status"], &board["why"]), (&0.into(), &Value::Null));
    assert_eq!(board["client"], "devp2p-rs/host");
    let protocols = board["protocols"].as_array().expect("a list");
    let names: Vec<_> = protocols
        .iter()
        .filter_map(|p| p["protocol"].as_str())
        .collect();
    assert_eq!(names, ["echo/1", "sensor/1"]);
    let log = board["log"].as_array().expect("a list");
    let id = board["id"].as_str().expect("text");
    assert!(
        log.iter()
            .filter_map(Value::as_str)
            .any(|line| line.ends_with(id)),
        "{json}"
    );
}

/// A folder whose script `run` stands in for that of the boards.
struct Script(PathBuf);

impl Script {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("devp2p-demo-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let script = folder.join("run");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(&script, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("its mode");
        Self(folder)
    }

    fn demo(&self) -> Ended {
        let folder = self.0.to_str().expect("UTF-8");
        run(&["demo", "--seconds", "1", "--board-dir", folder])
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_missing_for_the_board_is_named_and_the_host_form_runs_instead() {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples/qemu/run");
    let real = real.display();
    let script = Script::new(
        "missing",
        &format!(
            "[ $1 = host ] && exec '{real}' \"$@\"\necho 'run: X is missing; this installs it: Y' >&2\nexit 69"
        ),
    );
    let ended = script.demo();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for text in [
        "no mps2-an386: X is missing; this installs it: Y\n",
        "(host form)",
        "in its host form, not in QEMU",
    ] {
        assert!(ended.out.contains(text), "{text}: {ended:?}");
    }
}

#[test]
fn without_board_and_host_form_the_demo_says_so_and_verifies_the_rest() {
    let script = Script::new(
        "none",
        "echo 'run: X is missing; this installs it: Y' >&2; exit 69",
    );
    let ended = script.demo();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for text in [
        "no board: X is missing; this installs it: Y\n",
        "verified 9 of 9",
    ] {
        assert!(ended.out.contains(text), "{text}: {ended:?}");
    }
}

#[test]
fn a_board_that_fails_fails_the_demo() {
    let script = Script::new(
        "failing",
        "printf '%s\\n' /bin/sh -c 'echo its last words; exit 3'",
    );
    let ended = script.demo();
    assert_explained(
        &ended,
        "board key, board echo, board sensor, board ping, board exit",
    );
    assert!(ended.out.contains("verified 9 of 14"), "{ended:?}");
    for text in ["exit status: 3", "its last words"] {
        assert!(ended.out.contains(text), "{text}: {ended:?}");
    }
}

#[test]
fn boards_that_are_not_where_they_were_named_are_an_error_and_not_left_out() {
    let ended = run(&["demo", "--seconds", "1", "--board-dir", "no-such-folder"]);
    assert_explained(&ended, "no-such-folder");
}

#[test]
fn a_missing_go_ethereum_peer_is_an_error_that_says_where_it_was_looked_for() {
    let ended = run(&["--json", "demo", "--geth", "--geth-dir", "no-such-folder"]);
    assert_explained(&ended, "no-such-folder");
    assert!(ended.json()["advice"].is_string());
}
