//! A node is the same whether threads or callbacks serve its sessions.
use std::collections::HashSet;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::CloseReason;
use devp2p_core::hello::NodeId;
use devp2p_core::time;
use devp2p_std::backoff::BackoffConfig;
use devp2p_std::enode::Enode;
use devp2p_std::event_loop::{EventNode, Handler, Loops, Message, Session as Callback};
use devp2p_std::events::{PeerEvent, Subscription};
use devp2p_std::host::Host;
use devp2p_std::node::{Builder, DialError, Dialling, Node, Remote, Service, Threads};
use devp2p_std::protocol::{Failure, Protocol};
use devp2p_std::session::Session;
use serde_json::json;

use crate::session_raw::claim;
use crate::session_rig::{HANG, config, key};

/// A time that no test waits for.
const LONG: time::Duration = time::Duration::from_secs(600);

fn host<S: Service>(seed: u8, protocol: Protocol<S>, handshake: time::Duration) -> Arc<Host<S>> {
    let protocol = protocol.node_info(|| json!("of the node"));
    let protocol = protocol.peer_info(|_| Some(json!("of the peer")));
    let host = Host::builder(key(seed)).protocol(protocol);
    let config = config(|config| config.handshake_timeout = handshake);
    host.config(config).build().expect("a host")
}

fn waits() -> Protocol {
    Protocol::new("test", 1, 1, |subprotocol| {
        loop {
            subprotocol.read()?;
        }
    })
    .expect("a valid name")
}

fn threads(seed: u8, handshake: time::Duration) -> Builder<Threads> {
    Node::builder(host(seed, waits(), handshake)).listen("127.0.0.1:0")
}

struct Waits;

impl Handler for Waits {
    fn on_message(&mut self, _: &mut Callback<'_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

fn loops(seed: u8, handshake: time::Duration) -> Builder<Loops> {
    let protocol = Protocol::for_handlers("test", 1, 1).expect("a valid name");
    EventNode::with_handlers(host(seed, protocol, handshake), |_| Ok(Waits)).listen("127.0.0.1:0")
}

/// Makes a node of either form with the key of this seed and this handshake timeout; it listens.
type Make<S> = fn(u8, time::Duration) -> Builder<S>;

/// Each of these is a test of both forms.
macro_rules! alike {
    ($($name:ident)*) => {
        mod with_threads {
            $(#[test] fn $name() { super::$name(super::threads); })*
        }
        mod with_loops {
            $(#[test] fn $name() { super::$name(super::loops); })*
        }
    };
}

alike! {
    a_claimed_identity_keeps_no_dial_from_its_node
    no_dial_gives_way_to_a_claimed_identity
    a_dial_without_a_connection_gives_way_to_a_proved_identity
    a_remote_that_opens_a_session_with_us_ends_no_dial_of_ours
    a_remote_that_says_it_has_a_session_and_has_none_ends_the_dial
    dials_of_one_node_at_once_are_one
    two_nodes_that_dial_each_other_at_once_have_one_session
    silent_connections_keep_nobody_out
    connections_that_begin_and_stop_keep_nobody_out
    a_connection_that_stays_silent_is_closed
    a_static_peer_is_dialled_again_after_each_session
    a_connection_that_others_made_becomes_a_session
    the_node_and_its_peers_tell_of_themselves
    shutting_down_ends_sessions_and_dials
}

fn start<S: Service>(builder: Builder<S>) -> Node<S> {
    builder.start().expect("a node")
}

fn outcome<P: Clone>(dialling: &Dialling<P>) -> Result<P, DialError> {
    dialling.wait_timeout(HANG).expect("the dial hangs")
}

fn dial<S: Service>(node: &Node<S>, enode: &Enode) -> S::Peer {
    let dialling = node.begin_dial(enode).expect("a dial");
    outcome(&dialling).expect("a session")
}

fn connect<S: Service>(node: &Node<S>) -> TcpStream {
    let address = node.local_addr().expect("it listens");
    TcpStream::connect(address).expect("a connection")
}

/// Waits until a session is active, and until one has ended.
fn next(events: &Subscription, wanted: fn(&PeerEvent) -> bool) {
    while !wanted(&(events.receiver().recv_timeout(HANG)).expect("an event in time")) {}
}

fn added(event: &PeerEvent) -> bool {
    matches!(event, PeerEvent::Added { .. })
}

fn dropped(event: &PeerEvent) -> bool {
    matches!(event, PeerEvent::Dropped { .. })
}

/// Where no connection is made, as long as this lives: a listener whose queue is full.
struct Nowhere(Enode, #[allow(dead_code)] (TcpListener, Vec<TcpStream>));

fn nowhere(id: NodeId) -> Nowhere {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let limit = Duration::from_millis(100);
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, limit) {
        queued.push(stream);
    }
    Nowhere(Enode::new(id, address), (listener, queued))
}

/// A session of the key of this seed with the node, until it is ended.
struct Other {
    stopper: devp2p_std::session::Stopper,
    running: thread::JoinHandle<devp2p_std::session::Report>,
}

impl Other {
    fn with<S: Service>(node: &Node<S>, seed: u8) -> Self {
        let id = node.host().id();
        let session =
            Session::dial(&host(seed, waits(), LONG), connect(node), id).expect("a session");
        let stopper = session.stopper();
        let running = thread::spawn(|| session.run());
        Self { stopper, running }
    }

    fn end(self) {
        self.stopper.stop(R::REQUESTED);
        self.running.join().expect("no panic");
    }
}

// ---- What a remote only claims ----

fn a_claimed_identity_keeps_no_dial_from_its_node<S: Service>(make: Make<S>) {
    let (node, other) = (start(make(1, LONG)), start(make(2, LONG)));
    let id = other.host().id();
    let mut spoofed = [(); 3].map(|()| connect(&node));
    for (stream, seed) in spoofed.iter_mut().zip(0..) {
        claim(stream, node.host().id(), id, seed);
    }
    assert_eq!(dial(&node, &other.enode()).id(), id);
    assert_eq!(node.peer_count(), 1);
}

fn no_dial_gives_way_to_a_claimed_identity<S: Service>(make: Make<S>) {
    let nowhere = nowhere(*key(3).id());
    let node = start(make(1, LONG).dial_timeout(Duration::from_secs(2)));
    let dialling = node.begin_dial(&nowhere.0).expect("a dial");
    let mut stream = connect(&node);
    claim(&mut stream, node.host().id(), nowhere.0.id, 1);
    let error = outcome(&dialling).err().expect("nobody is there");
    assert!(matches!(error, DialError::TimedOut(_)), "{error}");
}

fn a_dial_without_a_connection_gives_way_to_a_proved_identity<S: Service>(make: Make<S>) {
    let nowhere = nowhere(*key(3).id());
    let node = start(make(1, LONG).dial_timeout(HANG));
    let dialling = node.begin_dial(&nowhere.0).expect("a dial");
    let other = Other::with(&node, 3);
    let dialled = outcome(&dialling);
    other.end();
    let peer = dialled.expect("its session");
    assert!(peer.id() == nowhere.0.id && peer.info().network.inbound);
}

// ---- Dials that meet ----

fn a_remote_that_opens_a_session_with_us_ends_no_dial_of_ours<S: Service>(make: Make<S>) {
    // They turn our connection away before Hello, and theirs becomes the session.
    let node = start(make(1, LONG));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let enode = Enode::new(*key(3).id(), listener.local_addr().expect("its address"));
    let dialling = node.begin_dial(&enode).expect("a dial");
    let (stream, _) = listener.accept().expect("a connection");
    let session = Session::accept(&host(3, waits(), LONG), stream).expect("a session");
    let refused = session.run_with(|_| Err(R::ALREADY_CONNECTED));
    assert_eq!(refused.reason, CloseReason::Rejected(R::ALREADY_CONNECTED));
    let other = Other::with(&node, 3);
    let dialled = outcome(&dialling);
    other.end();
    let peer = dialled.expect("their session");
    assert!(peer.id() == enode.id && peer.info().network.inbound);
}

fn a_remote_that_says_it_has_a_session_and_has_none_ends_the_dial<S: Service>(make: Make<S>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let enode = Enode::new(*key(3).id(), listener.local_addr().expect("its address"));
    let node = start(make(1, time::Duration::from_millis(500)));
    let dialling = node.begin_dial(&enode).expect("a dial");
    let (stream, _) = listener.accept().expect("a connection");
    let session = Session::accept(&host(3, waits(), LONG), stream).expect("a session");
    session.run_with(|_| Err(R::ALREADY_CONNECTED));
    // It is waited for as long as a handshake may take; another dial joins in that.
    let joined = node.begin_dial(&enode).expect("a dial");
    for dialling in [dialling, joined] {
        let error = outcome(&dialling).err().expect("no session");
        assert_eq!(error.remote_reason(), Some(R::ALREADY_CONNECTED));
    }
}

fn dials_of_one_node_at_once_are_one<S: Service>(make: Make<S>)
where
    S::Peer: Debug,
{
    let (node, other) = (start(make(1, LONG)), start(make(2, LONG)));
    let events = other.host().subscribe_sessions(100);
    let dials = [(); 20].map(|()| node.begin_dial(&other.enode()).expect("a dial"));
    let sessions: HashSet<_> = dials
        .iter()
        .map(|dial| {
            outcome(dial)
                .expect("a session")
                .info()
                .network
                .local_address
        })
        .collect();
    assert_eq!(sessions.len(), 1);
    next(&events, added);
    assert_eq!((node.peer_count(), other.peer_count()), (1, 1));
}

fn two_nodes_that_dial_each_other_at_once_have_one_session<S: Service>(make: Make<S>) {
    for _ in 0..20 {
        let (one, two) = (start(make(1, LONG)), start(make(2, LONG)));
        let events = [&one, &two].map(|node| node.host().subscribe_sessions(100));
        let dials = [
            one.begin_dial(&two.enode()).expect("a dial"),
            two.begin_dial(&one.enode()).expect("a dial"),
        ];
        let peers = dials.map(|dial| outcome(&dial).expect("a session"));
        events.iter().for_each(|events| next(events, added));
        let ends = peers.map(|peer| peer.info().network);
        assert_eq!(ends[0].local_address, ends[1].remote_address);
        assert_eq!((one.peer_count(), two.peer_count()), (1, 1));
    }
}

// ---- Connections that say nothing ----

fn silent_connections_keep_nobody_out<S: Service>(make: Make<S>) {
    let (node, other) = (start(make(1, LONG).max_pending(2)), start(make(2, LONG)));
    let _silent = [(); 60].map(|()| connect(&node));
    dial(&other, &node.enode());
}

fn connections_that_begin_and_stop_keep_nobody_out<S: Service>(make: Make<S>) {
    let (node, other) = (start(make(1, LONG).max_pending(2)), start(make(2, LONG)));
    let begun = || {
        let mut stream = connect(&node);
        stream.write_all(&[1]).expect("a write");
        stream
    };
    let _begun = [(); 6].map(|()| begun());
    dial(&other, &node.enode());
}

fn a_connection_that_stays_silent_is_closed<S: Service>(make: Make<S>) {
    // Long before a handshake would be late.
    let node = start(make(1, LONG));
    let mut silent = connect(&node);
    silent.set_read_timeout(Some(HANG)).expect("a socket");
    assert_eq!(silent.read(&mut [0]).expect("the end of the stream"), 0);
}

// ---- What every node has ----

fn a_static_peer_is_dialled_again_after_each_session<S: Service>(make: Make<S>) {
    let mut hasty = BackoffConfig::new();
    hasty.first = time::Duration::from_millis(1);
    hasty.longest = time::Duration::from_millis(10);
    let server = start(make(2, LONG));
    let theirs = server.host().subscribe_sessions(100);
    let client = start(make(1, LONG).backoff(hasty).static_peer(server.enode()));
    let ours = client.host().subscribe_sessions(100);
    for _ in 0..3 {
        next(&ours, added);
        let peer = client.peer(&server.host().id()).expect("the session");
        assert!(peer.info().network.is_static);
        let network = peer.info().network;
        assert_eq!(
            network.remote_address,
            server.local_addr().expect("it listens").to_string()
        );
        next(&theirs, added);
        server.end(&client.host().id());
        next(&ours, dropped);
    }
    next(&ours, added);
    client.remove_static(&server.host().id());
    let peer = client.peer(&server.host().id()).expect("the session");
    assert!(!peer.info().network.is_static);
}

/// Ends a session from outside, whatever its form.
trait End {
    fn end(&self, id: &NodeId);
}

impl<S: Service> End for Node<S> {
    fn end(&self, id: &NodeId) {
        let peer = self.peer(id);
        let peer = peer.as_ref().map(|peer| peer as &dyn std::any::Any);
        let Some(peer) = peer else { return };
        if let Some(peer) = peer.downcast_ref::<devp2p_std::peer::PeerHandle>() {
            peer.disconnect(R::REQUESTED);
        } else if let Some(peer) = peer.downcast_ref::<devp2p_std::event_loop::Handle>() {
            peer.disconnect(R::REQUESTED);
        }
    }
}

fn a_connection_that_others_made_becomes_a_session<S: Service>(make: Make<S>) {
    let (one, two) = (start(make(1, LONG)), start(make(2, LONG)));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let stream = TcpStream::connect(address).expect("a connection");
    two.accept(listener.accept().expect("a connection").0)
        .expect("a session");
    let id = two.host().id();
    let dialling = one.dial_over(stream, id).expect("a dial");
    let peer = outcome(&dialling).expect("a session");
    assert_eq!(peer.info().network.remote_address, address.to_string());
    // There is one already: that is the answer.
    let again = one.dial_over(connect(&two), id).expect("a dial");
    let again = outcome(&again).expect("the session").info();
    assert_eq!(
        again.network.local_address,
        peer.info().network.local_address
    );
    assert_eq!(one.peer_count(), 1);
}

fn the_node_and_its_peers_tell_of_themselves<S: Service>(make: Make<S>) {
    let ip = "192.0.2.1".parse().expect("an address");
    let (node, other) = (start(make(1, LONG).external_ip(ip)), start(make(2, LONG)));
    let port = node.local_addr().expect("it listens").port();
    let id = node.host().id();
    let enode = format!("enode://{id}@192.0.2.1:{port}?discport=0");
    assert_eq!(node.enode().to_string(), enode);
    let info = serde_json::to_value(node.info()).expect("JSON");
    assert_eq!(info["enode"], json!(enode));
    assert_eq!(info["protocols"], json!({"test": "of the node"}));

    node.add_trusted(other.host().id());
    dial(&node, &other.enode());
    let infos = serde_json::to_value(node.peer_infos()).expect("JSON");
    assert_eq!(infos.as_array().map(Vec::len), Some(1));
    let peer = &infos[0];
    assert_eq!(
        peer["enode"],
        json!(other.enode().to_string().replace("?discport=0", ""))
    );
    assert_eq!(peer["caps"], json!(["test/1"]));
    assert_eq!(peer["protocols"], json!({"test": "of the peer"}));
    let network = &peer["network"];
    let facts = ["inbound", "trusted", "static"].map(|name| network[name].clone());
    assert_eq!(facts, [json!(false), json!(true), json!(false)]);
}

fn shutting_down_ends_sessions_and_dials<S: Service>(make: Make<S>) {
    let nowhere = nowhere(*key(3).id());
    let (node, other) = (start(make(1, LONG)), start(make(2, LONG)));
    dial(&node, &other.enode());
    let dialling = node.begin_dial(&nowhere.0).expect("a dial");
    let end = node.shutdown();
    assert_eq!(
        (end.reports.len(), end.stuck.len(), end.unfinished),
        (1, 0, 0)
    );
    let report = &end.reports[0];
    assert_eq!(report.reason, CloseReason::Local(R::CLIENT_QUITTING));
    assert_eq!(report.id, Some(other.host().id()));
    for outcome in [
        outcome(&dialling).err(),
        node.begin_dial(&other.enode()).err(),
    ] {
        assert!(matches!(outcome, Some(DialError::ShutDown)), "{outcome:?}");
    }
}
