//! Nodes over loopback sockets.
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use devp2p_core::config::Config;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::rlpx::NodeKey;
use devp2p_core::time;
use devp2p_std::enode::Enode;
use devp2p_std::events::{PeerEvent, Subscription};
use devp2p_std::host::{self, Host};
use devp2p_std::node::{self, Node};
use devp2p_std::protocol::Protocol;

mod admission;
mod dialling;
mod end;
mod listening;

fn key(seed: u8) -> NodeKey {
    let mut secret = [seed; 32];
    secret[0] = 1;
    NodeKey::new(&secret).expect("a valid secret")
}

/// Answers code 0 by code 1 with the same payload, until the session closes.
fn echo() -> Protocol {
    Protocol::new("echo", 1, 2, |subprotocol| {
        loop {
            let message = subprotocol.read()?;
            if message.code == 0 {
                subprotocol.write(1, &message.payload)?;
            }
        }
    })
    .expect("a valid name")
}

/// Deadlines that no test waits for, except that of closing, which a failing test should not wait for long.
fn config() -> Config {
    let mut config = Config::new();
    config.handshake_timeout = time::Duration::from_secs(60);
    config
}

fn host_with(seed: u8, with: impl FnOnce(host::Builder) -> host::Builder) -> Arc<Host> {
    let host = Host::builder(key(seed)).config(config());
    with(host).build().expect("a host")
}

fn host(seed: u8) -> Arc<Host> {
    host_with(seed, |host| host.protocol(echo()))
}

/// A node that listens on loopback.
fn listening(seed: u8) -> node::Builder {
    Node::builder(host(seed)).listen("127.0.0.1:0")
}

/// A node that only dials.
fn dialler(seed: u8) -> Node {
    Node::builder(host(seed)).start().expect("a node")
}

fn start(builder: node::Builder) -> Node {
    builder.start().expect("a node")
}

/// The reason of the next session to end.
fn dropped(events: &Subscription) -> CloseReason {
    loop {
        if let PeerEvent::Dropped { reason, .. } = next(events) {
            return reason;
        }
    }
}

/// Waits until a session is active.
fn added(events: &Subscription) {
    while !matches!(next(events), PeerEvent::Added { .. }) {}
}

/// How long a test waits for what must come: far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn next(events: &Subscription) -> PeerEvent {
    let event = events.receiver().recv_timeout(PATIENCE);
    event.expect("an event in time")
}

fn remote_says(reason: DisconnectReason) -> CloseReason {
    CloseReason::RemoteRequested(Some(reason))
}

/// Waits until a node has so many sessions; `events` are those of its host, subscribed to before.
fn wait_for_peers(node: &Node, events: &Subscription, count: usize) {
    while node.peers().len() != count {
        next(events);
    }
}

/// Where connections are not made: a listener whose queue is full, as long as this lives.
struct Nowhere {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Nowhere {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let limit = Duration::from_millis(100);
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, limit) {
            queued.push(stream);
        }
        Self {
            listener,
            _queued: queued,
        }
    }

    fn enode(&self) -> Enode {
        enode(&self.listener)
    }
}

/// Somebody who is said to listen there.
fn enode(listener: &TcpListener) -> Enode {
    let address = listener.local_addr().expect("its address");
    Enode::new(*key(200).id(), address)
}

/// Runs the test of this name in a process of its own, with so many descriptors. True in that process: go on there.
fn is_alone(test: &str, descriptors: u32) -> bool {
    const ALONE: &str = "DEVP2P_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let status = Command::new("sh")
        .args(["-c", r#"ulimit -n "$1" && shift && exec "$@""#, "sh"])
        .arg(descriptors.to_string())
        .arg(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("a process").success(), "{test} failed alone");
    false
}

#[test]
fn two_nodes_exchange_messages() {
    let (sender, receiver) = mpsc::channel();
    let asks = Protocol::new("echo", 1, 2, move |subprotocol| {
        subprotocol.write(0, b"hello")?;
        let answer = subprotocol.read()?;
        sender.send(answer.payload).expect("a test that waits");
        subprotocol.read()?;
        Ok(())
    })
    .expect("a valid name");
    let server = start(listening(2));
    let events = server.host().subscribe(10);
    let client = start(Node::builder(host_with(1, |host| host.protocol(asks))));
    let peer = client.dial(&server.enode()).expect("a session");
    let answer = receiver.recv_timeout(PATIENCE).expect("an answer");
    assert_eq!(answer, b"hello");
    assert_eq!(peer.id(), server.host().id());
    assert!(!peer.is_inbound());
    assert_eq!(client.peers().len(), 1);
    let other = server.peer(&client.host().id()).expect("the session");
    assert!(other.is_inbound());
    while !matches!(next(&events), PeerEvent::MessageSent { .. }) {}
    assert_eq!(server.host().traffic(0).bytes_out, 5);
}
