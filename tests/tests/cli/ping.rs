//! `devp2p ping`.
use std::net::TcpListener;
use std::time::Duration;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::protocol::{Failure, Protocol};
use serde_json::{Value, json};

use crate::run::{Listening, assert_explained, run};

fn node(names: &[(&str, u32)]) -> Node {
    node_called("somebody", names)
}

fn node_called(client_name: &str, names: &[(&str, u32)]) -> Node {
    let builder = Host::builder(NodeKey::new(&[9; 32]).expect("a valid secret"));
    let host = names.iter().fold(builder, |builder, (name, version)| {
        let idle = Protocol::new(name, *version, 5, |subprotocol| {
            while subprotocol.read().is_ok() {}
            Ok(())
        });
        builder.protocol(idle.expect("a valid name"))
    });
    let host = host.client_name(client_name).build().expect("a host");
    Node::builder(host)
        .listen("127.0.0.1:0")
        .start()
        .expect("a node")
}

#[test]
fn whatever_a_node_offers_is_offered_to_it() {
    let node = node(&[("zzz", 9), ("zzz", 8), ("a", 1)]);
    let ended = run(&["ping", &node.enode().to_string(), "--count", "2", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let json = ended.json();
    assert_eq!(json["client"], "somebody");
    assert_eq!(json["p2p_version"], 5);
    let mut capabilities = json["capabilities"].as_array().expect("a list").clone();
    capabilities.sort_by_key(Value::to_string);
    assert_eq!(capabilities, [json!("a/1"), json!("zzz/8"), json!("zzz/9")]);
    // Of one name the highest version is used.
    assert_eq!(json["offered"], json!(["a/1", "zzz/9"]));
    assert_eq!(json["rtt_us"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&json["ended"], &json["note"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_person_reads_the_same() {
    let listening = Listening::start(&[]);
    let ended = run(&["ping", &listening.first, "--count", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("capabilities  bench/1  chat/1  echo/1"),
        "{ended:?}"
    );
    assert!(ended.out.contains("pong 1"), "{ended:?}");
    assert_eq!(ended.err, "");
    assert_eq!(listening.end("TERM").code, Some(0));
}

#[test]
fn what_a_stranger_calls_itself_does_not_steer_the_terminal() {
    let node = node_called("\x1b[2Jsome\nbody\u{9b}", &[("a", 1)]);
    let ended = run(&["ping", &node.enode().to_string(), "--count", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("  client        [2Jsomebody\n"),
        "{ended:?}"
    );
    assert!(!ended.out.contains(['\x1b', '\u{9b}']), "{ended:?}");
}

#[test]
fn a_closed_port_is_an_error_that_helps() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let enode = format!("enode://{}@127.0.0.1:{port}", "ab".repeat(64));
    let ended = run(&["ping", &enode]);
    assert_explained(&ended, &format!("127.0.0.1:{port}"));

    let json = run(&["ping", &enode, "--json"]);
    assert_eq!(json.code, Some(1));
    for field in ["error", "expected", "advice"] {
        assert!(json.json()[field].is_string(), "{json:?}");
    }
}

#[test]
fn the_reason_of_a_node_that_is_full_is_told() {
    let listening = Listening::start(&["--max-peers", "0"]);
    let ended = run(&["ping", &listening.first]);
    assert_explained(&ended, "too many peers (0x04)");
    assert_eq!(listening.end("TERM").code, Some(0));
}

#[test]
fn another_identity_than_the_one_dialled_is_an_error() {
    let listening = Listening::start(&[]);
    let other = run(&["key", "--json"]).json();
    let (_, host) = listening.first.split_once('@').expect("a host");
    let enode = format!("enode://{}@{host}", other["id"].as_str().expect("text"));
    let ended = run(&["ping", &enode]);
    assert_explained(&ended, "no session");
    assert_eq!(listening.end("TERM").code, Some(0));
}

#[test]
fn a_node_of_eth_that_leaves_without_a_status_is_not_at_fault() {
    let eth = Protocol::new("eth", 69, 18, |subprotocol| {
        // As go-ethereum does, though sooner.
        match subprotocol.read_timeout(Duration::from_millis(500))? {
            Some(_) => Ok(()),
            None => Err(Failure::new(DisconnectReason::READ_TIMEOUT, "no Status")),
        }
    });
    let host = Host::builder(NodeKey::new(&[9; 32]).expect("a valid secret"));
    let host = host.protocol(eth.expect("a valid name")).build();
    let node = Node::builder(host.expect("a host")).listen("127.0.0.1:0");
    let node = node.start().expect("a node");
    let enode = node.enode().to_string();

    let ended = run(&["ping", &enode]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for text in [
        "eth: the node waits for a Status",
        "1 answered; ",
        "then the node left, since no Status came: the remote disconnected: read timeout (0x0b)",
    ] {
        assert!(ended.out.contains(text), "{text}: {ended:?}");
    }

    let json = run(&["ping", &enode, "--json", "--count", "1"]).json();
    let note = json["note"].as_str().expect("text");
    assert!(note.contains("no fault of the node"), "{note}");
    assert_eq!(json["unanswered"], 0);
}
