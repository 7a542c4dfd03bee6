//! Headers, accounts and slots of a real node, against the state that is listed beside its chain.
use devp2p_tests::geth_node::{GethNode, block_hashes, head_hash, head_state};
use serde_json::{Value, json};

use crate::run::{Ended, light, light_anywhere};

/// The first account that has storage, and one of its slots.
fn with_storage(state: &Value) -> (&str, &Value, &str, &str) {
    let accounts = state.as_object().expect("accounts");
    let mut rich = accounts.iter().filter_map(|(address, account)| {
        let (key, value) = account["storage"].as_object()?.iter().next()?;
        Some((address.as_str(), account, key.as_str(), value.as_str()?))
    });
    rich.next().expect("an account with storage")
}

fn assert_account(ended: &Ended, address: &str, account: &Value, evidence: &str) {
    let proved = ended.one("account");
    assert_eq!(proved["exists"], true, "{proved}");
    assert_eq!(proved["address"], address.to_lowercase());
    assert_eq!(proved["balance"], account["balance"]);
    assert_eq!(proved["nonce"], account["nonce"]);
    assert_eq!(proved["storage_root"], account["root"]);
    assert_eq!(proved["code_hash"], account["codeHash"]);
    let against = json!({"evidence": evidence, "number": 600, "hash": head_hash()});
    assert_eq!(proved["against"], against);
}

#[test]
fn state_is_proved_from_a_trusted_hash_over_every_version_compressed_or_not() {
    let node = GethNode::start(&[]);
    let (enode, head) = (node.enode.to_string(), head_hash());
    let state = head_state();
    let (address, account, key, value) = with_storage(&state);
    let arguments = [
        &enode,
        "--checkpoint",
        &head,
        "--account",
        address,
        "--slot",
        key,
        "--code",
    ];
    for version in ["69", "70", "71", "72"] {
        for options in [&["--eth", version][..], &["--eth", version, "--no-snappy"]] {
            let ended = light(&[&arguments[..], options].concat());
            assert_eq!(ended.code, Some(0), "{options:?}: {:#?}", ended.events);
            assert_eq!(ended.one("status")["eth"].to_string(), version);
            let trusted = ended.one("trusted");
            assert_eq!(
                (&trusted["number"], &trusted["hash"]),
                (&json!(600), &json!(head))
            );
            assert_account(&ended, address, account, "trusted");
            let slot = ended.one("slot");
            assert_eq!(slot["value"], format!("0x{value:0>64}"));
            assert_eq!(slot["against"]["evidence"], "trusted");
            let code = account["code"].as_str().expect("code");
            assert_eq!(ended.one("code")["length"], code.len() / 2 - 1);
            // The trusted block, and 64 before it.
            assert_eq!(ended.one("result")["verified"], 65);
            assert_eq!(ended.one("result")["claimed"], Value::Null);
        }
    }
}

#[test]
fn every_fourth_account_is_as_listed_and_one_that_is_not_there_is_absent() {
    let node = GethNode::start(&[]);
    let (enode, head) = (node.enode.to_string(), head_hash());
    let state = head_state();
    let accounts = state.as_object().expect("accounts");
    assert!(accounts.len() > 40, "{} accounts", accounts.len());
    for (address, account) in accounts.iter().step_by(4) {
        let ended = light(&[&enode, "--checkpoint", &head, "--account", address]);
        assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
        assert_account(&ended, address, account, "trusted");
    }
    for n in 0..4 {
        let address = format!("0x{n}{}", "ab".repeat(20).split_at(1).1);
        assert!(!accounts.contains_key(&address));
        let ended = light(&[&enode, "--checkpoint", &head, "--account", &address]);
        assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
        let account = ended.one("account");
        assert_eq!(account["exists"], false);
        assert_eq!(account["against"]["evidence"], "trusted");
    }
}

#[test]
fn every_header_back_to_the_genesis_block_is_verified() {
    let node = GethNode::start(&[]);
    let (enode, head) = (node.enode.to_string(), head_hash());
    let ended = light(&[&enode, "--checkpoint", &head, "--back", "100000"]);
    assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
    assert_eq!(ended.one("result")["verified"], 601);
}

#[test]
fn what_follows_the_trusted_block_is_only_claimed() {
    let node = GethNode::start(&[]);
    let enode = node.enode.to_string();
    let state = head_state();
    let (address, account, _, _) = with_storage(&state);
    // The genesis block is trusted, and its state is not served any more.
    let ended = light(&[&enode, "--account", address]);
    assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
    assert_eq!(ended.one("trusted")["number"], 0);
    assert_eq!(ended.one("trusted")["hash"], block_hashes()[0]);
    let claimed = ended.one("claimed");
    assert_eq!(
        (&claimed["number"], &claimed["hash"]),
        (&json!(600), &json!(head_hash()))
    );
    assert_eq!((&claimed["by"], &claimed["of"]), (&json!(1), &json!(1)));
    assert_eq!(ended.one("unavailable")["against"]["number"], 0);
    assert_account(&ended, address, account, "claimed");
    assert_eq!(ended.one("result")["verified"], 601);
}

#[test]
fn several_nodes_are_compared() {
    let nodes = [GethNode::start(&[]), GethNode::start(&[])];
    let enodes = nodes.each_ref().map(|node| node.enode.to_string());
    let checkpoint = &block_hashes()[590];
    let ended = light(&[&enodes[0], &enodes[1], "--checkpoint", checkpoint]);
    assert_eq!(ended.code, Some(0), "{:#?}", ended.events);
    let claimed = &ended.one("result")["claimed"];
    assert_eq!(claimed["hash"], head_hash());
    assert_eq!((&claimed["by"], &claimed["of"]), (&json!(2), &json!(2)));
}

#[test]
fn other_networks_blocks_and_chains_are_told_apart() {
    let node = GethNode::start(&[]);
    let enode = node.enode.to_string();
    let ended = light_anywhere(&[&enode]);
    assert!(
        ended.error().contains("another network"),
        "{}",
        ended.error()
    );
    let unknown = "11".repeat(32);
    let ended = light(&[&enode, "--checkpoint", &unknown]);
    let error = ended.error();
    assert!(
        error.contains("does not have the block") && error.contains(&unknown),
        "{error}"
    );
}
