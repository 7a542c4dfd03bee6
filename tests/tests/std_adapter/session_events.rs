//! What subscribers are told, and what is counted.
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::CloseReason;
use devp2p_core::hello::NodeId;
use devp2p_std::enode::Enode;
use devp2p_std::events::{PeerEvent, Subscription};
use devp2p_std::host::Host;
use devp2p_std::node::{Node, Service};
use devp2p_std::protocol::Protocol;

use crate::event_rig::{Script, node_with};
use crate::session_rig::*;

fn all(subscription: &Subscription, until_dropped: bool) -> Vec<PeerEvent> {
    let mut events = Vec::new();
    loop {
        let event = subscription
            .receiver()
            .recv_timeout(HANG)
            .expect("an event");
        let dropped = matches!(event, PeerEvent::Dropped { .. });
        events.push(event);
        if dropped || !until_dropped {
            return events;
        }
    }
}

#[test]
fn subscribers_see_a_session_come_talk_and_go() {
    let (ours, our_control) = controlled("test", 3, 8);
    let (theirs, their_control) = controlled("test", 3, 8);
    let client = host_with(1, vec![ours], |b| b.client_name("one"));
    let server = host_with(2, vec![theirs], |b| b.client_name("two"));
    let subscriptions = [client.subscribe(16), server.subscribe(16)];
    let sessions = [client.subscribe_sessions(2), server.subscribe_sessions(2)];
    let (dialled, accepted) = connect(&client, &server);
    our_control.run(|s| s.write(5, &[1; 300])).expect("a write");
    their_control.run(|s| s.read()).expect("a message");
    their_control.run(|s| s.disconnect(R::USELESS_PEER));
    dialled.report();
    accepted.report();

    let capability = client.protocols()[0].capability();
    let added = |inbound| PeerEvent::Added {
        peer: if inbound { client.id() } else { server.id() },
        client_name: if inbound { "one" } else { "two" }.to_owned(),
        capabilities: vec!["test/3".to_owned()],
        remote: None,
        inbound,
    };
    let sent = PeerEvent::MessageSent {
        peer: server.id(),
        capability,
        code: LocalCode(5),
        length: 300,
    };
    let received = PeerEvent::MessageReceived {
        peer: client.id(),
        capability,
        code: LocalCode(5),
        length: 300,
    };
    let [first, second] = subscriptions.map(|subscription| all(&subscription, true));
    assert_eq!(first[..2], [added(false), sent]);
    assert_eq!(second[..2], [added(true), received]);
    let [first_end, second_end] = [first, second].map(|events| events[2].clone());
    let PeerEvent::Dropped {
        peer,
        reason,
        lasted,
        traffic,
    } = first_end
    else {
        panic!("{first_end:?}");
    };
    assert_eq!(peer, server.id());
    assert_eq!(reason, remote_requested(R::USELESS_PEER));
    assert!(lasted > Duration::ZERO);
    assert_eq!(traffic, client.traffic(0));
    assert_eq!((traffic.messages_out, traffic.bytes_out), (1, 300));
    let is_ours = |reason: &CloseReason| *reason == CloseReason::Local(R::USELESS_PEER);
    assert!(
        matches!(&second_end, PeerEvent::Dropped { peer, reason, traffic, .. }
            if *peer == client.id() && is_ours(reason) && *traffic == server.traffic(0)),
        "{second_end:?}"
    );
    let [first, second] = sessions.map(|subscription| all(&subscription, true));
    assert_eq!(first, [added(false), first_end]);
    assert_eq!(second, [added(true), second_end]);
}

#[test]
fn who_watches_sessions_is_told_before_their_protocols_run_and_after() {
    let (sender, told) = channel();
    let runs = sender.clone();
    let watched = Protocol::new("test", 3, 8, move |subprotocol| {
        let _ = runs.send("runs");
        let ended = subprotocol.read();
        let _ = runs.send("returns");
        ended.map(drop).or(Ok(()))
    });
    let host = host(1, vec![watched.expect("a valid name")]);
    let (their, control) = controlled("test", 3, 8);
    let server = self::host(2, vec![their]);
    host.watch_sessions(|_| panic!("on purpose"));
    host.watch_sessions(move |event| {
        let _ = sender.send(match event {
            PeerEvent::Added { .. } => "added",
            PeerEvent::Dropped { .. } => "dropped",
            _ => "a message",
        });
    });
    let (dialled, accepted) = connect(&host, &server);
    control.run(|s| s.disconnect(R::USELESS_PEER));
    dialled.report();
    accepted.report();
    let told: Vec<_> = told.try_iter().collect();
    assert_eq!(told, ["added", "runs", "returns", "dropped"]);
}

#[test]
fn a_subscriber_that_never_reads_stalls_nobody_and_learns_how_much_it_lost() {
    let two = two();
    let lazy = two.hosts[1].subscribe(3);
    let none = two.hosts[1].subscribe(0);
    let gone = two.hosts[1].subscribe(3);
    drop(gone);
    two.controls[0].run(|s| {
        (0..100).for_each(|_| s.write(0, b"event").expect("a write"));
    });
    two.controls[1].run(|s| (0..100).for_each(|_| drop(s.read().expect("a message"))));
    // The session may have been added before or after they subscribed.
    let lost = lazy.lost();
    assert!((97..=98).contains(&lost), "{lost}");
    assert!((100..=101).contains(&none.lost()));
    assert_eq!(lazy.receiver().try_iter().count(), 3);
    two.finish();
}

#[test]
fn traffic_is_counted_for_the_session_and_the_host() {
    let two = two();
    let sizes = [0_usize, 10, 5_000];
    two.controls[0].run(move |s| sizes.map(|n| s.write(1, &vec![0; n]).expect("a write")));
    two.controls[1].run(move |s| sizes.map(|_| s.read().expect("a message")));
    let sent = two.controls[0].run(|s| s.writer().traffic());
    let received = two.controls[1].run(|s| s.writer().traffic());
    assert_eq!((sent.messages_out, sent.bytes_out), (3, 5_010));
    assert_eq!((received.messages_in, received.bytes_in), (3, 5_010));
    assert_eq!(sent.wire_bytes_out, received.wire_bytes_in);
    assert!(sent.wire_bytes_out < 1_000, "zeroes compress");
    assert_eq!((sent.messages_in, received.messages_out), (0, 0));
    assert_eq!(two.hosts[0].traffic(0), sent);
    assert_eq!(two.hosts[1].traffic(0), received);
    two.finish();
}

/// Where the remote of the first session is, as its events and its handle tell it.
fn remote_of<S: Service>(host: &Arc<Host<S>>, listening: &Enode) -> (Option<SocketAddr>, String) {
    let events = host.subscribe_sessions(4);
    let client = self::host(2, vec![controlled("test", 3, 8).0]);
    let client = Node::builder(client).start().expect("a node");
    let peer = client.dial(listening).expect("a session");
    let [PeerEvent::Added { remote, .. }] = &all(&events, false)[..] else {
        panic!("not the beginning");
    };
    (*remote, peer.info().network.local_address)
}

#[test]
fn a_listener_for_both_families_tells_ipv4_addresses_as_such() {
    // Its sockets have them mapped into IPv6.
    const BOTH: &str = "[::]:0";
    let enode_of = |id: NodeId, listens: Option<SocketAddr>| {
        let port = listens.expect("it listens").port();
        Enode::new(id, (Ipv4Addr::LOCALHOST, port).into())
    };
    let own = host(1, vec![controlled("test", 3, 8).0]);
    let node = Node::builder(Arc::clone(&own)).listen(BOTH).start();
    let node = node.expect("a node");
    let (remote, stated) = remote_of(&own, &enode_of(own.id(), node.local_addr()));
    assert_eq!(remote.map(|addr| addr.to_string()), Some(stated));
    assert!(is_ipv4(remote), "{remote:?}");

    let test = Protocol::for_handlers("test", 3, 8);
    let own = host(3, vec![test.expect("a valid name")]);
    let node = node_with(&own, Script::default(), |b| b.listen(BOTH).loops(1));
    let (remote, _) = remote_of(&own, &enode_of(own.id(), node.node.local_addr()));
    assert!(is_ipv4(remote), "{remote:?}");
}

fn is_ipv4(remote: Option<SocketAddr>) -> bool {
    remote.is_some_and(|addr| addr.ip() == Ipv4Addr::LOCALHOST)
}
