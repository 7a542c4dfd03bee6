//! What subscribers are told, and what is counted.
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::CloseReason;
use devp2p_std::events::{PeerEvent, Subscription};

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
    let dropped = [
        PeerEvent::Dropped {
            peer: server.id(),
            reason: remote_requested(R::USELESS_PEER),
        },
        PeerEvent::Dropped {
            peer: client.id(),
            reason: CloseReason::Local(R::USELESS_PEER),
        },
    ];
    let [first, second] = subscriptions.map(|subscription| all(&subscription, true));
    assert_eq!(first, [added(false), sent, dropped[0].clone()]);
    assert_eq!(second, [added(true), received, dropped[1].clone()]);
    let [first, second] = sessions.map(|subscription| all(&subscription, true));
    assert_eq!(first, [added(false), dropped[0].clone()]);
    assert_eq!(second, [added(true), dropped[1].clone()]);
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
