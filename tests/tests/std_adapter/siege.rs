//! Remotes that each state a message of nearly 16 MiB and never end it, against nodes of both forms: they fill the memory that
//! all sessions share, and no other session pays for that.
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use devp2p_core::MAX_MESSAGE_LENGTH;
use devp2p_core::capability;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::NodeId;
use devp2p_std::enode::Enode;
use devp2p_std::event_loop::Handle;
use devp2p_std::event_loop::Loops;
use devp2p_std::host::{Builder, Host};
use devp2p_std::node::Node as ThreadNode;
use devp2p_std::node::Service;
use devp2p_std::protocol::Protocol;

use crate::event_rig::{Node, Script, Seen, echo, node, node_with, protocol, send};
use crate::session_raw::Raw;
use crate::session_rig::{HANG, config, host, host_with, millis, noise};

const LIMIT: usize = 64 << 20;

/// A remote that sends all of its message but the end, and waits for ours.
struct Attacker(JoinHandle<Option<DisconnectReason>>);

impl Attacker {
    /// Tells `greeted` once its session is active.
    fn new(
        address: SocketAddr,
        remote: NodeId,
        seed: u8,
        payload: Arc<[u8]>,
        greeted: Sender<()>,
    ) -> Self {
        Self(thread::spawn(move || {
            let stream = TcpStream::connect(address).expect("a connection");
            let sender = stream.try_clone().expect("a socket");
            let mut raw = Raw::dial(stream, seed, remote);
            raw.greet(&[capability::Protocol::new("echo", 1, 2, 2048).expect("a valid name")]);
            let _ = greeted.send(());
            let frame = raw.frame(16, &payload);
            // As much as is taken: what is held back must not keep this from hearing why.
            let sending = thread::spawn(move || {
                let mut sender = sender;
                let _ = std::io::Write::write_all(&mut sender, &frame[..frame.len() - 100]);
            });
            let reason = raw.receive_disconnect();
            drop(raw);
            sending.join().expect("no panic");
            reason
        }))
    }
}

/// A node of either form that answers code 0 by code 1.
enum Server {
    Loop(Node),
    Threads(ThreadNode),
}

impl Server {
    fn looping(host: &Arc<Host<Loops>>) -> Self {
        let set = |b: devp2p_std::node::Builder<Loops>| {
            b.listen("127.0.0.1:0").max_peers(200).max_pending(200)
        };
        Self::Loop(node_with(host, echo(), set))
    }

    fn threads(host: &Arc<Host>) -> Self {
        let node = ThreadNode::builder(Arc::clone(host)).listen("127.0.0.1:0");
        let node = node.max_peers(200).max_pending(200).start();
        Self::Threads(node.expect("a node"))
    }

    fn enode(&self) -> Enode {
        match self {
            Self::Loop(node) => node.enode(),
            Self::Threads(node) => node.enode(),
        }
    }
}

fn settings<S: Service>(builder: Builder<S>) -> Builder<S> {
    builder
        .memory_limit(LIMIT)
        .config(config(|config| config.hold_back_limit = millis(500)))
}

fn loop_host() -> Arc<Host<Loops>> {
    host_with(1, vec![protocol("echo", 2)], settings)
}

fn thread_host() -> Arc<Host> {
    let echo = Protocol::new("echo", 1, 2, |subprotocol| {
        loop {
            let message = subprotocol.read()?;
            subprotocol.write(1, &message.payload)?;
        }
    });
    host_with(1, vec![echo.expect("a valid name")], settings)
}

/// A session that has nothing to do with the attack.
struct Honest {
    node: Node,
    handle: Handle,
}

impl Honest {
    fn new(seed: u8, server: &Server) -> Self {
        let host = host(seed, vec![protocol("echo", 2)]);
        let node = node(&host, Script::default());
        let handle = node.dial(&server.enode());
        assert_eq!(node.next(), Seen::Active);
        Self { node, handle }
    }

    fn echo(&self, length: usize) {
        let payload = noise(length);
        send(&self.handle, 0, 0, &payload);
        let answer = self.node.next();
        assert!(answer == Seen::Message(0, 1, payload), "another answer");
    }
}

/// `attackers` remotes against a node. Whatever they do, sessions that want little have it at once, and the limit holds at each
/// moment. One that wants `more` has it once those that hold most are gone.
fn siege<S: Service>(server: &Server, host: &Arc<Host<S>>, attackers: u8, more: Option<usize>) {
    let honest = [2, 3, 4].map(|seed| Honest::new(seed, server));
    let address = match server {
        Server::Loop(node) => node.node.local_addr(),
        Server::Threads(node) => node.local_addr(),
    };
    let address = address.expect("it listens");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let used = host.memory().used();
                assert!(used <= LIMIT, "{used} bytes used");
                // The machine has other work too.
                thread::park_timeout(Duration::from_micros(100));
            }
        });
        let done = Done(&over);
        let zeros = vec![0; MAX_MESSAGE_LENGTH as usize];
        let payload = snap::raw::Encoder::new().compress_vec(&zeros);
        let payload: Arc<[u8]> = payload.expect("not too large").into();
        drop(zeros);
        let (greeted, greetings) = channel();
        let attack = |seed| {
            let payload = Arc::clone(&payload);
            Attacker::new(address, host.id(), seed, payload, greeted.clone())
        };
        let attackers: Vec<_> = (0..attackers).map(|n| attack(10 + n)).collect();
        let began = Instant::now();
        while host.memory().used() < host.memory().pool() - (1 << 20) {
            assert!(began.elapsed() < HANG, "they fill the pool");
            thread::yield_now();
        }
        for _ in 0..20 {
            honest.iter().for_each(|honest| honest.echo(50_000));
        }
        assert!(
            host.memory().used() >= host.memory().pool() - (17 << 20),
            "the siege goes on"
        );
        if let Some(length) = more {
            honest[0].echo(length);
        }
        honest.iter().for_each(|honest| {
            honest.echo(50_000);
            assert_eq!(honest.handle.close_reason(), None);
        });
        // On a busy machine some of them come late.
        for _ in &attackers {
            greetings.recv_timeout(HANG).expect("every attacker is in");
        }
        match server {
            Server::Loop(node) => drop(node.node.shutdown()),
            Server::Threads(node) => drop(node.shutdown()),
        }
        let told = attackers
            .into_iter()
            .map(|Attacker(end)| end.join().expect("no panic"));
        let told: Vec<_> = told.collect();
        let gone = told.contains(&Some(DisconnectReason::TOO_MANY_PEERS));
        assert!(gone || more.is_none(), "{told:?}");
        drop(done);
    });
    assert_eq!(host.memory().used(), 0);
}

/// Ends the thread that watches, also when the test panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_few_that_never_end_their_message_harm_no_session_of_a_loop() {
    let host = loop_host();
    siege(&Server::looping(&host), &host, 17, Some(3_000_000));
}

#[test]
fn a_few_that_never_end_their_message_harm_no_session_of_threads() {
    let host = thread_host();
    siege(&Server::threads(&host), &host, 17, Some(3_000_000));
}

#[test]
fn many_that_begin_at_once_stay_within_the_limit_of_a_loop() {
    let host = loop_host();
    siege(&Server::looping(&host), &host, 150, None);
}

#[test]
fn many_that_begin_at_once_stay_within_the_limit_of_threads() {
    let host = thread_host();
    siege(&Server::threads(&host), &host, 150, None);
}
