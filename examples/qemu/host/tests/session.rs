//! The program and a node of the std adapter.
#![allow(missing_docs, reason = "tests")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::enode::Enode;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::peer::PeerHandle;
use devp2p_std::protocol::Protocol;

/// The program, until it has ended.
struct App {
    child: Child,
    out: BufReader<ChildStdout>,
    log: String,
}

impl App {
    fn start(parameters: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_qemu-host"))
            .args(parameters)
            .env_remove("DEFMT_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let out = BufReader::new(child.stdout.take().expect("its log"));
        let log = String::new();
        Self { child, out, log }
    }

    /// What follows `start` in the first line that has it.
    fn line(&mut self, start: &str) -> String {
        loop {
            let from = self.log.len();
            let read = self.out.read_line(&mut self.log).expect("its log");
            assert_ne!(read, 0, "no line {start:?} in:\n{}", self.log);
            if let Some((_, rest)) = self.log[from..].split_once(start) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Its status and all of its log.
    fn end(mut self) -> (Option<i32>, String) {
        self.out.read_to_string(&mut self.log).expect("its log");
        let status = self.child.wait().expect("its status");
        (status.code(), std::mem::take(&mut self.log))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // Only after a test that failed is it still there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that answers `echo/1` and passes on what comes on `sensor/1`.
fn node() -> (Node, mpsc::Receiver<Vec<u8>>) {
    let (sender, readings) = mpsc::channel();
    let echo = Protocol::new("echo", 1, 2, |echo| {
        loop {
            let message = echo.read()?;
            if message.code == 0 {
                echo.write(1, &message.payload)?;
            }
        }
    });
    let sensor = Protocol::new("sensor", 1, 1, move |sensor| {
        loop {
            let message = sensor.read()?;
            // Of a test that has seen enough.
            let _ = sender.send(message.payload.to_vec());
        }
    });
    let host = Host::builder(NodeKey::new(&[7; 32]).expect("a key"))
        .protocol(echo.expect("a name"))
        .protocol(sensor.expect("a name"))
        .build()
        .expect("a host");
    let node = Node::builder(host).listen("127.0.0.1:0").start();
    (node.expect("a node"), readings)
}

fn traffic(peer: &PeerHandle) -> (u64, u64) {
    let traffic = peer.traffic(0);
    (traffic.messages_in, traffic.messages_out)
}

#[test]
fn it_dials_and_every_payload_comes_back_in_each_session() {
    let (node, readings) = node();
    let sessions = node.host().subscribe_sessions(16);
    let enode = format!("enode={}", node.enode());
    let mut app = App::start(&[enode, "sessions=2".to_owned(), "hold=1".to_owned()]);
    let id = app.line("this node is ");
    for _ in 0..2 {
        app.line("connected");
        let _added = sessions.receiver().recv().expect("a session begins");
        let peers = node.peers();
        let [peer] = peers.as_slice() else {
            panic!("{} sessions", peers.len())
        };
        assert_eq!(peer.id().to_string(), id);
        assert_eq!(peer.client_name(), "devp2p-rs/host");
        peer.closed();
        // Nine sizes, one that is too large for the application's inbox, and one that shows that the session lives.
        assert_eq!(traffic(peer), (11, 11));
        let _dropped = sessions.receiver().recv().expect("it ends");
    }
    let (status, log) = app.end();
    assert_eq!(status, Some(0), "{log}");
    let echoes = "9 sizes came back, and 3048 bytes were too large";
    assert_eq!(log.matches(echoes).count(), 2, "{log}");
    let numbers: Vec<_> = readings
        .try_iter()
        .map(|reading| reading[..4].to_vec())
        .collect();
    assert_eq!(numbers.first().map(Vec::as_slice), Some(&[0, 0, 0, 0][..]));
}

#[test]
fn it_is_dialled_and_answers_until_the_remote_quits() {
    let (node, readings) = node();
    let mut app = App::start(&["listen=0".to_owned()]);
    let id = app.line("this node is ");
    let addr = app.line("listening at ");
    let enode: Enode = format!("enode://{id}@{addr}").parse().expect("an enode");
    let peer = node.dial(&enode).expect("a session");
    for number in 0..3_u32 {
        let reading = readings.recv().expect("a reading");
        assert_eq!(reading[..4], number.to_be_bytes());
    }
    peer.disconnect(DisconnectReason::CLIENT_QUITTING);
    let (status, log) = app.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("RemoteRequested"), "{log}");
}

#[test]
fn another_identity_than_the_one_to_be_dialled_is_a_failure() {
    let (node, _readings) = node();
    let mut enode = node.enode();
    enode.id = *NodeKey::new(&[8; 32]).expect("a key").id();
    let (status, log) = App::start(&[format!("enode={enode}")]).end();
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("the session ended"), "{log}");
}

#[test]
fn parameters_that_make_no_sense_are_named() {
    let (status, log) = App::start(&["listen=1".to_owned(), "hold=x".to_owned()]).end();
    assert_eq!(status, Some(2), "{log}");
    assert!(log.contains("hold=x"), "{log}");
}
