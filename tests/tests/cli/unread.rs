//! A `devp2p listen` whose output nobody reads, and what it keeps of its peers.
#[cfg(target_os = "linux")]
use std::fs;
use std::sync::mpsc::channel;
use std::time::Duration;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::rlpx::NodeKey;
use devp2p_std::enode::Enode;
use devp2p_std::handle::Writer;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::protocol::Protocol;
use serde_json::Value;

use crate::run::{HANG, Listening, assert_explained};

/// More than all sockets, pipes and queues on the way hold.
const FLOOD: usize = 64 << 20;
const LINE: usize = 60_000;

/// A node that speaks `chat/1`, and its session with `listening`, as writer.
fn chatting(listening: &Listening) -> (Node, Writer) {
    let (sender, writers) = channel();
    let chat = Protocol::new("chat", 1, 1, move |subprotocol| {
        let _ = sender.send(subprotocol.writer());
        while subprotocol.read().is_ok() {}
        Ok(())
    });
    let host = Host::builder(NodeKey::new(&[7; 32]).expect("a valid secret"));
    let host = host.protocol(chat.expect("a valid name"));
    let node = Node::builder(host.build().expect("a host"));
    let node = node.start().expect("a node");
    let enode: Enode = listening.first.parse().expect("an enode");
    node.dial(&enode).expect("a session");
    let writer = writers.recv_timeout(HANG).expect("a writer");
    (node, writer)
}

/// Says lines, which do not compress, until they are held back.
fn say_all(writer: &Writer) {
    let mut state = 1_u64;
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        b'!' + (state >> 58) as u8
    };
    let line: Vec<_> = (0..LINE).map(|_| letter()).collect();
    for _ in 0..FLOOD / LINE {
        match writer.write_timeout(0, &line, Duration::from_secs(2)) {
            Ok(()) => {}
            Err(WriteError::TimedOut) => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("{FLOOD} bytes of chat were taken that nobody read");
}

#[test]
fn an_output_that_nobody_reads_holds_peers_back_and_no_signal() {
    for signal in ["TERM", "INT"] {
        let listening = Listening::start(&[]);
        let (node, writer) = chatting(&listening);
        say_all(&writer);
        let peer = node.peers().pop().expect("a session");
        listening.signal(signal);
        let quitting = Some(DisconnectReason::CLIENT_QUITTING);
        assert_eq!(peer.closed(), CloseReason::RemoteRequested(quitting));
        assert_explained(&listening.end_unread(), "nobody reads standard output");
    }
}

#[test]
fn an_output_that_is_closed_ends_the_listener_which_tells_its_peers() {
    let mut listening = Listening::start(&["--json"]);
    listening.first = json_enode(&listening);
    listening.close();
    // What is told of this session has nowhere to go.
    let (node, writer) = chatting(&listening);
    let ended = listening.end_unread();
    assert_explained(&ended, "standard output cannot be written");
    let quitting = Some(DisconnectReason::CLIENT_QUITTING);
    assert_eq!(
        writer.peer().closed(),
        CloseReason::RemoteRequested(quitting)
    );
    drop(node);
}

/// The enode in the first line.
fn json_enode(listening: &Listening) -> String {
    let first: Value = serde_json::from_str(&listening.first).expect("JSON");
    first["enode"].as_str().expect("text").to_owned()
}

#[test]
fn what_finds_no_room_is_counted() {
    const SESSIONS: usize = 250;
    let listening = Listening::start(&["--json"]);
    let enode = json_enode(&listening).parse();
    // Their events are twice what pipe and queue hold.
    come_and_go(&enode.expect("an enode"), &"x".repeat(1000), SESSIONS);
    let ended = listening.end("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (mut told, mut lost, mut last) = (0, 0, Vec::new());
    for line in ended.out.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        match event["event"].as_str().expect("text") {
            "session" | "session_ended" => told += 1,
            "lost" => lost += event["count"].as_u64().expect("a number"),
            name => last.push(name.to_owned()),
        }
    }
    assert!(lost > 0, "{told} events were told");
    assert_eq!(told + lost, 2 * SESSIONS as u64);
    // These have room always.
    assert_eq!(last, ["ending", "ended"]);
}

#[test]
fn a_log_that_nobody_reads_stops_no_session() {
    let listening = Listening::start(&["-vv"]);
    let enode = listening.first.parse().expect("an enode");
    // Each session is 3 KiB of log: together twice what a pipe holds.
    come_and_go(&enode, &"x".repeat(1000), 50);
    let ended = listening.end("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // All that a pipe holds; the rest went nowhere.
    assert!((1 << 15..=1 << 16).contains(&ended.err.len()), "{ended:?}");
}

/// Sessions of a node with this name, one after the other.
fn come_and_go(enode: &Enode, name: &str, sessions: usize) {
    let host = Host::builder(NodeKey::new(&[7; 32]).expect("a valid secret"));
    let chat = Protocol::new("chat", 1, 1, |subprotocol| {
        while subprotocol.read().is_ok() {}
        Ok(())
    });
    let host = host.client_name(name).protocol(chat.expect("a valid name"));
    let node = Node::builder(host.build().expect("a host"));
    let node = node.start().expect("a node");
    for _ in 0..sessions {
        let peer = node.dial(enode).expect("a session");
        peer.disconnect(DisconnectReason::CLIENT_QUITTING);
        peer.closed();
    }
}

/// Memory of its own that a process has touched, in KiB.
#[cfg(target_os = "linux")]
fn resident(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .expect("its memory");
    let number = line.split_whitespace().next().expect("a number");
    number.parse().expect("a number")
}

#[test]
#[cfg(target_os = "linux")]
fn nothing_is_kept_of_a_session_that_has_ended() {
    const SESSIONS: usize = 400;
    let listening = Listening::start(&[]);
    let enode = listening.first.parse().expect("an enode");
    // What it needs at all, and what the allocator keeps.
    come_and_go(&enode, "first", SESSIONS / 2);
    let before = resident(listening.id());
    come_and_go(&enode, "then", SESSIONS);
    let grown = resident(listening.id()).saturating_sub(before);
    assert!(
        grown < SESSIONS,
        "{grown} KiB for {SESSIONS} ended sessions"
    );
    assert_eq!(listening.end("TERM").code, Some(0));
}
