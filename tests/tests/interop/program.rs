//! The `devp2p` program and a go-ethereum peer.
use std::path::Path;
use std::process::{Command, Output, Stdio};

use devp2p_tests::command::devp2p;
use devp2p_tests::geth::Geth;
use serde_json::{Value, json};

fn run(arguments: &[&str]) -> Output {
    let output = Command::new(devp2p())
        .arg("--json")
        .args(arguments)
        .output();
    output.expect("the program runs")
}

fn printed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// go-ethereum turns a node away as useless that offers nothing it has: ping offers what it sees in its Hello.
#[test]
fn ping_is_not_turned_away_whatever_go_ethereum_offers() {
    let geth = Geth::peer(&json!({"protocols": [
        {"name": "eth", "version": 68, "length": 17},
        {"name": "eth", "version": 69, "length": 18},
        {"name": "snap", "version": 1, "length": 8},
    ]}));
    let output = run(&["ping", &geth.enode().to_string(), "--count", "2"]);
    assert!(output.status.success(), "{output:?}");
    let ping = printed(&output);
    assert_eq!(ping["offered"], json!(["eth/69", "snap/1"]));
    assert_eq!(ping["rtt_us"].as_array().map(Vec::len), Some(2), "{ping}");
    let dropped = geth.event("peer_dropped");
    assert_eq!(
        (&dropped["reason"], &dropped["requested"]),
        (&json!(8), &json!(true))
    );
    geth.quit();
}

#[test]
fn ping_tells_why_go_ethereum_turned_it_away() {
    let geth = Geth::peer(&json!({"max_peers": 1}));
    let enode = geth.enode().to_string();
    let mut first = Command::new(devp2p())
        .args(["ping", &enode, "--count", "1000"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the program runs");
    geth.event("peer_added");
    let second = run(&["ping", &enode]);
    first.kill().expect("it runs");
    first.wait().expect("it ends");
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let error = printed(&second)["error"].to_string();
    assert!(error.contains("too many peers (0x04)"), "{error}");
    geth.quit();
}

#[test]
fn bench_measures_a_go_ethereum_peer() {
    let geth = Geth::peer(&json!({}));
    let output = run(&[
        "bench",
        &geth.enode().to_string(),
        "--count",
        "1000",
        "--size",
        "1000",
    ]);
    assert!(output.status.success(), "{output:?}");
    let bench = printed(&output);
    assert!(bench["messages_per_second"].as_f64() > Some(0.0), "{bench}");
    geth.event("peer_dropped");
    let ended = geth.event("protocol_ended");
    let taken = ended["received"]["count"].as_u64().unwrap_or_default();
    // And the round trips.
    assert!(taken > 1000, "{ended}");
    geth.quit();
}

#[test]
fn the_demo_with_go_ethereum_at_the_other_end_verifies_everything() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/geth");
    let folder = folder.to_str().expect("UTF-8");
    let output = run(&[
        "demo",
        "--no-board",
        "--geth",
        "--seconds",
        "1",
        "--geth-dir",
        folder,
    ]);
    assert!(output.status.success(), "{output:?}");
    let demo = printed(&output);
    assert_eq!(demo["ok"], true, "{demo}");
    assert_eq!(demo["far"], "go-ethereum");
    assert_eq!(demo["checks"].as_array().map(Vec::len), Some(9));
}
