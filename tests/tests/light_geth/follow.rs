//! Staying beside a real node.
use std::fs;

use devp2p_tests::geth_node::{GethNode, block_hashes, head_hash, head_state};
use serde_json::json;

use crate::run::Following;

#[test]
fn a_newer_trusted_hash_covers_what_was_claimed() {
    let node = GethNode::start(&[]);
    let enode = node.enode.to_string();
    let hashes = block_hashes();
    let file = std::env::temp_dir().join(format!("devp2p-trust-{}", std::process::id()));
    fs::write(&file, &hashes[500]).expect("a file");
    let trust_file = file.to_str().expect("UTF-8").to_owned();
    let state = head_state();
    let address = state
        .as_object()
        .and_then(|accounts| accounts.keys().next());
    let mut arguments = vec![
        &*enode,
        "--checkpoint",
        &hashes[500],
        "--trust-file",
        &trust_file,
    ];
    arguments.extend(["--account", address.expect("an account")]);
    let mut following = Following::start(&arguments);
    assert_eq!(following.event("trusted")["number"], 500);
    assert_eq!(following.event("claimed")["hash"], head_hash());
    assert_eq!(following.event("account")["against"]["number"], 500);
    fs::write(&file, format!("{}\n{}\n", hashes[500], hashes[590])).expect("a file");
    let trusted = following.event("trusted");
    assert_eq!(
        (&trusted["number"], &trusted["hash"]),
        (&json!(590), &json!(hashes[590]))
    );
    // It is proved again, against the newer block.
    assert_eq!(following.event("account")["against"]["number"], 590);
    fs::write(&file, head_hash()).expect("a file");
    assert_eq!(following.event("trusted")["number"], 600);
    assert_eq!(following.event("account")["against"]["number"], 600);
    assert_eq!(following.end(), Some(0));
    fs::remove_file(&file).expect("it is there");
}

#[test]
fn a_node_that_ends_is_named_and_others_are_followed_on() {
    for (signal, reason) in [("INT", "quitting"), ("KILL", "transport")] {
        let nodes = [GethNode::start(&[]), GethNode::start(&[])];
        let enodes = nodes.each_ref().map(|node| node.enode.to_string());
        let checkpoint = &block_hashes()[599];
        let mut following = Following::start(&[&enodes[0], &enodes[1], "--checkpoint", checkpoint]);
        while following.event("claimed")["by"] != 2 {}
        nodes[0].signal(signal);
        let left = following.event("left");
        assert_eq!((&left["peer"], &left["lie"]), (&json!(1), &json!(false)));
        assert!(left["reason"].to_string().contains(reason), "{left}");
        assert_eq!(following.end(), Some(0));
    }
}

/// A node with required blocks asks for one at once, and drops who does not answer.
#[test]
fn a_node_with_required_blocks_keeps_us() {
    let required = format!("100={}", block_hashes()[100]);
    let node = GethNode::start(&["--eth.requiredblocks", &required]);
    let enode = node.enode.to_string();
    let hashes = block_hashes();
    let file = std::env::temp_dir().join(format!("devp2p-required-{}", std::process::id()));
    let trust_file = file.to_str().expect("UTF-8").to_owned();
    let arguments = [
        &enode,
        "--checkpoint",
        &hashes[500],
        "--trust-file",
        &trust_file,
    ];
    let mut following = Following::start(&arguments);
    following.event("claimed");
    // Its patience is 15 s, five looks at this file here.
    for (number, hash) in hashes.iter().enumerate().skip(560).take(6) {
        fs::write(&file, hash).expect("a file");
        assert_eq!(following.event("trusted")["number"], number);
    }
    assert_eq!(following.end(), Some(0));
    fs::remove_file(&file).expect("it is there");
}
