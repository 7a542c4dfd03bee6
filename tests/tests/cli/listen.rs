//! `devp2p listen`.
use devp2p_std::enode::Enode;
use serde_json::Value;

use crate::run::{Listening, assert_explained, run};

#[test]
fn a_listener_ends_cleanly_on_either_signal() {
    for signal in ["TERM", "INT"] {
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
    let listening = Listening::start(&[]);
    assert_eq!(
        run(&["ping", &listening.first, "--count", "1"]).code,
        Some(0)
    );
    let ended = listening.end("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<_> = ended.out.lines().collect();
    assert!(
        lines[0].starts_with("+ ") && lines[0].contains("bench/1 chat/1 echo/1"),
        "{ended:?}"
    );
    assert!(
        lines[1].starts_with("- ") && lines[1].contains("client quitting (0x08)"),
        "{ended:?}"
    );
}

#[test]
fn events_are_one_object_a_line() {
    let listening = Listening::start(&["--json"]);
    let first: Value = serde_json::from_str(&listening.first).expect("JSON");
    assert_eq!(first["event"], "listening");
    let enode = first["enode"].as_str().expect("text");
    let bench = run(&["bench", enode, "--count", "10", "--size", "100"]);
    assert_eq!(bench.code, Some(0), "{bench:?}");
    let ended = listening.end("TERM");
    let events: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let names: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().expect("text"))
        .collect();
    assert_eq!(names, ["session", "session_ended", "ending", "ended"]);
    assert_eq!(events[0]["inbound"], true);
    assert_eq!(events[1]["remote_requested"], true);
    assert!(events[1]["bytes_in"].as_u64() >= Some(1000), "{events:?}");
    assert_eq!(events[3]["sessions"], 1);
}

#[test]
fn a_remote_is_told_when_the_listener_quits() {
    use devp2p_core::disconnect::DisconnectReason;
    use devp2p_core::error::CloseReason;
    use devp2p_core::rlpx::NodeKey;
    use devp2p_std::host::Host;
    use devp2p_std::node::Node;
    use devp2p_std::protocol::Protocol;
    use std::sync::mpsc;

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
    let host = Host::builder(NodeKey::new(&[7; 32]).expect("a valid secret"))
        .protocol(echo.expect("a valid name"))
        .build()
        .expect("a host");
    let node = Node::builder(host).start().expect("a node");
    let peer = node.dial(&enode).expect("a session");
    assert_eq!(answers.recv(), Ok((1, b"are you there".to_vec())));
    assert_eq!(listening.end("TERM").code, Some(0));
    let quitting = Some(DisconnectReason::CLIENT_QUITTING);
    assert_eq!(peer.closed(), CloseReason::RemoteRequested(quitting));
}

#[test]
fn what_a_stranger_calls_itself_is_no_line_of_ours() {
    use devp2p_core::rlpx::NodeKey;
    use devp2p_std::host::Host;
    use devp2p_std::node::Node;
    use devp2p_std::protocol::Protocol;

    let mut listening = Listening::start(&[]);
    let enode: Enode = listening.first.parse().expect("an enode");
    let echo = Protocol::new("echo", 1, 2, |subprotocol| {
        while subprotocol.read().is_ok() {}
        Ok(())
    });
    let host = Host::builder(NodeKey::new(&[7; 32]).expect("a valid secret"))
        .client_name("x\n- forged\x1b[31m")
        .protocol(echo.expect("a valid name"))
        .build()
        .expect("a host");
    let node = Node::builder(host).start().expect("a node");
    node.dial(&enode).expect("a session");
    let told = listening.line();
    assert!(told.starts_with("+ "), "{told:?}");
    assert!(told.contains("x- forged[31m"), "{told:?}");
    assert!(!told.contains('\x1b'), "{told:?}");
    let ended = listening.end("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.out.contains('\x1b'), "{ended:?}");
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
