//! `devp2p listen`.
use std::sync::mpsc;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::enode::Enode;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::protocol::Protocol;
use serde_json::{Value, json};

use crate::run::{Listening, assert_explained, run};

#[test]
fn a_listener_ends_cleanly_on_each_signal() {
    for signal in ["TERM", "INT", "HUP"] {
        let listening = Listening::start(&[]);
        let enode: Result<Enode, _> = listening.first.parse();
        assert!(enode.is_ok(), "{}", listening.first);
        let ended = listening.end(signal);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.err, "");
        assert!(ended.out.contains(&format!("SIG{signal}")), "{ended:?}");
    }
}

#[test]
fn sessions_are_told_as_they_come_and_go() {
    let mut listening = Listening::start(&[]);
    assert_eq!(
        run(&["ping", &listening.first, "--count", "1"]).code,
        Some(0)
    );
    let (came, went) = (listening.line(), listening.line());
    assert!(
        came.starts_with("+ ") && came.contains("bench/1 chat/1 echo/1"),
        "{came}"
    );
    assert!(
        went.starts_with("- ") && went.contains("client quitting (0x08)"),
        "{went}"
    );
    assert_eq!(listening.end("TERM").code, Some(0));
}

/// The node's only protocol, and it.
fn node(protocol: Protocol) -> Node {
    let host = Host::builder(NodeKey::new(&[7; 32]).expect("a valid secret"));
    let host = host.protocol(protocol).build().expect("a host");
    Node::builder(host).start().expect("a node")
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

/// The enode in the first line.
fn enode(listening: &Listening) -> Enode {
    let first = json(&listening.first);
    let enode = first["enode"].as_str().expect("text").parse();
    enode.expect("an enode")
}

#[test]
fn short_sessions_are_told_whole_and_in_order() {
    const SESSIONS: usize = 60;
    let mut listening = Listening::start(&["--json"]);
    let chat = Protocol::new("chat", 1, 1, |subprotocol| {
        Ok(subprotocol.write(0, b"hello and goodbye")?)
    });
    let node = node(chat.expect("a valid name"));
    for _ in 0..SESSIONS {
        // It may end before this is told that it began.
        if let Ok(peer) = node.dial(&enode(&listening)) {
            peer.closed();
        }
        let events = [(); 3].map(|()| json(&listening.line()));
        let names = events.each_ref().map(|event| &event["event"]);
        assert_eq!(names, ["session", "chat", "session_ended"]);
        assert_eq!(events[0]["capabilities"], json!(["chat/1"]));
        assert!(events[2]["seconds"].as_f64() > Some(0.0), "{events:?}");
        assert_eq!(events[2]["bytes_in"], 17);
    }
    let ended = listening.end("TERM");
    let last = json(ended.out.lines().last().expect("a line"));
    assert_eq!(last["sessions"], SESSIONS);
}

#[test]
fn events_are_one_object_a_line() {
    let mut listening = Listening::start(&["--json"]);
    let first = json(&listening.first);
    assert_eq!(first["event"], "listening");
    let enode = first["enode"].as_str().expect("text");
    let bench = run(&["bench", enode, "--count", "10", "--size", "100"]);
    assert_eq!(bench.code, Some(0), "{bench:?}");
    let mut lines = vec![listening.line(), listening.line()];
    lines.extend(listening.end("TERM").out.lines().map(str::to_owned));
    let events: Vec<Value> = lines.iter().map(|line| json(line)).collect();
    let names: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().expect("text"))
        .collect();
    assert_eq!(names, ["session", "session_ended", "ending", "ended"]);
    assert_eq!(events[0]["inbound"], true);
    assert_eq!(events[0]["capabilities"], json!(["bench/1"]));
    assert_eq!(events[1]["remote_requested"], true);
    assert!(events[1]["bytes_in"].as_u64() >= Some(1000), "{events:?}");
    assert!(events[1]["seconds"].as_f64() > Some(0.0), "{events:?}");
    assert_eq!(events[3]["sessions"], 1);
}

#[test]
fn a_remote_is_told_when_the_listener_quits() {
    let listening = Listening::start(&[]);
    let enode: Enode = listening.first.parse().expect("an enode");
    let (sender, answers) = mpsc::channel();
    let echo = Protocol::new("echo", 1, 2, move |subprotocol| {
        subprotocol.write(0, b"are you there")?;
        let answer = subprotocol.read()?;
        let _ = sender.send((answer.code, answer.payload));
        // Until the session is closed.
        while subprotocol.read().is_ok() {}
        Ok(())
    });
    let node = node(echo.expect("a valid name"));
    let peer = node.dial(&enode).expect("a session");
    assert_eq!(answers.recv(), Ok((1, b"are you there".to_vec())));
    assert_eq!(listening.end("TERM").code, Some(0));
    let quitting = Some(DisconnectReason::CLIENT_QUITTING);
    assert_eq!(peer.closed(), CloseReason::RemoteRequested(quitting));
}

#[test]
fn what_a_stranger_calls_itself_is_no_line_of_ours() {
    let mut listening = Listening::start(&[]);
    let enode: Enode = listening.first.parse().expect("an enode");
    let echo = Protocol::new("echo", 1, 2, |subprotocol| {
        while subprotocol.read().is_ok() {}
        Ok(())
    });
    let host = Host::builder(NodeKey::new(&[7; 32]).expect("a valid secret"))
        .client_name("x\n- forged\x1b[31m\u{202e}\u{200b}!")
        .protocol(echo.expect("a valid name"))
        .build()
        .expect("a host");
    let node = Node::builder(host).start().expect("a node");
    node.dial(&enode).expect("a session");
    let told = listening.line();
    assert!(told.starts_with("+ "), "{told:?}");
    assert!(told.contains("x- forged[31m!"), "{told:?}");
    let ended = listening.end("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.out.contains('\x1b'), "{ended:?}");
}

#[test]
fn without_a_host_every_address_of_this_machine_is_listened_to() {
    let program = devp2p_tests::command::devp2p().to_str().expect("UTF-8");
    for addr in [":0", "localhost:0"] {
        let mut listening = Listening::of(&[program, "listen", "--addr", addr]);
        let enode: Enode = listening.first.parse().expect("an enode");
        let enode = format!("enode://{}@127.0.0.1:{}\n", enode.id, enode.tcp);
        let ping = run(&["ping", &enode, "--count", "1"]);
        assert_eq!(ping.code, Some(0), "{ping:?}");
        let came = listening.line();
        assert!(came.contains("  127.0.0.1:"), "{came}");
        assert_eq!(listening.end("TERM").code, Some(0));
    }
}

#[test]
fn an_address_in_use_is_an_error() {
    let listening = Listening::start(&[]);
    let enode: Enode = listening.first.parse().expect("an enode");
    let addr = format!("127.0.0.1:{}", enode.tcp);
    let ended = run(&["listen", "--addr", &addr]);
    assert_explained(&ended, &addr);
    assert_eq!(ended.out, "");
    assert_eq!(listening.end("TERM").code, Some(0));
}

#[test]
fn a_session_that_lives_at_the_end_is_told_between_the_signal_and_the_last_line() {
    let (mut listening, node) = listening_with_a_session();
    let first = json(&listening.line());
    assert_eq!(first["event"], "session");
    let ended = listening.end("HUP");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let events: Vec<Value> = ended.out.lines().map(json).collect();
    let names: Vec<_> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(names, ["ending", "session_ended", "ended"]);
    assert_eq!(events[0]["signal"], "SIGHUP");
    drop(node);
}

/// Events of a listener with which a node has a session of `echo/1`.
fn listening_with_a_session() -> (Listening, Node) {
    let listening = Listening::start(&["--json"]);
    let enode = enode(&listening);
    let echo = Protocol::new("echo", 1, 2, |subprotocol| {
        while subprotocol.read().is_ok() {}
        Ok(())
    });
    let node = node(echo.expect("a valid name"));
    node.dial(&enode).expect("a session");
    (listening, node)
}

#[test]
#[cfg(target_os = "linux")]
fn a_listener_whose_hangups_are_ignored_outlives_one() {
    let program = devp2p_tests::command::devp2p().display();
    let listen = format!("trap '' HUP; exec '{program}' listen --addr 127.0.0.1:0");
    let listening = Listening::of(&["sh", "-c", &listen]);
    listening.signal("HUP");
    let ping = run(&["ping", &listening.first, "--count", "1"]);
    assert_eq!(ping.code, Some(0), "{ping:?}");
    let ended = listening.end("TERM");
    assert!(ended.out.contains("SIGTERM"), "{ended:?}");
}
