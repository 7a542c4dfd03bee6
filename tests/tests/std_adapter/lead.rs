//! The thread that waits for a message reads from the transport for all: nothing waits for a thread that is elsewhere.
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::CloseReason;
use devp2p_std::handle::{ReadError, Subprotocol};
use devp2p_std::peer::PeerHandle;
use devp2p_std::protocol::Failure;

use crate::session_rig::*;

/// Two ends that share two protocols, `a` and `b`, over TCP.
struct Four {
    ours: [Control; 2],
    theirs: [Control; 2],
    running: [Running; 2],
}

fn four() -> Four {
    let [(a, our_a), (b, our_b), (c, their_a), (d, their_b)] =
        ["a", "b", "a", "b"].map(|name| controlled(name, 1, 8));
    let (client, server) = (host(1, vec![a, b]), host(2, vec![c, d]));
    let (ours, theirs) = tcp();
    let four = Four {
        running: [dial(&client, ours, &server), accept(&server, theirs)],
        ours: [our_a, our_b],
        theirs: [their_a, their_b],
    };
    for control in four.ours.iter().chain(&four.theirs) {
        control.run(|_| ());
    }
    four
}

impl Four {
    fn finish(self) {
        let [dialled, accepted] = self.running;
        dialled.stopper.stop(R::CLIENT_QUITTING);
        let (ours, theirs) = (dialled.report(), accepted.report());
        assert_eq!(ours.reason, CloseReason::Local(R::CLIENT_QUITTING));
        assert_eq!(theirs.reason, remote_requested(R::CLIENT_QUITTING));
        assert!(ours.stuck.is_empty() && theirs.stuck.is_empty());
    }
}

/// Sends this payload with code 0.
fn say(control: &Control, payload: &[u8]) {
    let payload = payload.to_vec();
    let written = control.run(move |s| s.write(0, &payload));
    written.expect("a live session");
}

fn hear(s: &mut Subprotocol) -> Vec<u8> {
    s.read().expect("a message").payload
}

/// Waits until the remote has answered `count` Pings more.
fn wait_for_pongs(peer: &PeerHandle, count: u32) {
    let (before, until) = (peer.pongs(), Instant::now() + HANG);
    for answered in 1..=count {
        peer.ping();
        while peer.pongs() < before + answered {
            assert!(Instant::now() < until, "no Pong");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_ping_is_answered_while_no_subprotocol_reads() {
    let four = four();
    let peer = four.theirs[0].run(|s| s.peer().clone());
    wait_for_pongs(&peer, 2);
    // Also after subprotocols did read, and went elsewhere.
    for round in 0..5 {
        let heard = four.ours[0].start(hear);
        say(&four.theirs[0], &[round]);
        assert_eq!(heard.recv_timeout(HANG).expect("a message"), [round]);
        let (go_on, elsewhere) = channel::<()>();
        let there = four.ours[0].start(move |_| elsewhere.recv_timeout(HANG).is_ok());
        wait_for_pongs(&peer, 1);
        go_on.send(()).expect("it waits");
        assert!(there.recv_timeout(HANG).expect("it comes back"));
    }
    four.finish();
}

#[test]
fn a_ping_is_answered_while_a_subprotocol_waits() {
    let four = four();
    let heard = four.ours[0].start(hear);
    let peer = four.theirs[0].run(|s| s.peer().clone());
    wait_for_pongs(&peer, 3);
    say(&four.theirs[0], b"at last");
    assert_eq!(heard.recv_timeout(HANG).expect("a message"), b"at last");
    four.finish();
}

#[test]
fn who_reads_for_others_leaves_and_they_go_on() {
    let four = four();
    for round in 0..50 {
        let (first, second) = (round % 2, (round + 1) % 2);
        // Both wait; one gets its message and goes elsewhere.
        let heard = [0, 1].map(|i| four.ours[i].start(hear));
        say(&four.theirs[first], &[first as u8, round as u8]);
        let got = heard[first].recv_timeout(HANG).expect("a message");
        assert_eq!(got, [first as u8, round as u8]);
        say(&four.theirs[second], &[second as u8, round as u8]);
        let got = heard[second].recv_timeout(HANG).expect("a message");
        assert_eq!(got, [second as u8, round as u8]);
    }
    four.finish();
}

#[test]
fn two_that_wait_get_each_its_messages_in_order() {
    let four = four();
    const COUNT: u32 = 3000;
    let read = |s: &mut Subprotocol| (0..COUNT).all(|n| hear(s) == n.to_be_bytes());
    let write = |s: &mut Subprotocol| (0..COUNT).all(|n| s.write(n % 8, &n.to_be_bytes()).is_ok());
    let reads = [0, 1].map(|i| four.ours[i].start(read));
    let writes = [0, 1].map(|i| four.theirs[i].start(write));
    for done in writes.iter().chain(&reads) {
        assert!(done.recv_timeout(HANG).expect("no hang"));
    }
    four.finish();
}

#[test]
fn questions_and_answers_go_both_ways_at_once() {
    let four = four();
    let ask = |s: &mut Subprotocol| {
        for n in 0..500_u32 {
            s.write(0, &n.to_be_bytes()).expect("a live session");
            assert_eq!(hear(s), n.to_be_bytes());
        }
    };
    let answer = |s: &mut Subprotocol| {
        for _ in 0..500 {
            let message = hear(s);
            s.write(0, &message).expect("a live session");
        }
    };
    let all = [
        four.ours[0].start(ask),
        four.theirs[0].start(answer),
        four.ours[1].start(answer),
        four.theirs[1].start(ask),
    ];
    for done in all {
        done.recv_timeout(HANG).expect("no hang");
    }
    four.finish();
}

#[test]
fn messages_behind_a_full_inbox_wait_for_its_reader_only() {
    let four = four();
    // More than an inbox takes, so that the message of `b` waits behind it, also while `b` itself reads.
    let heard = four.ours[1].start(hear);
    let flood = four.theirs[0].start(|s| (0..64).all(|_| s.write(0, &noise(64 * 1024)).is_ok()));
    let drained = four.ours[0].start(|s| (0..64).all(|_| hear(s).len() == 64 * 1024));
    assert!(flood.recv_timeout(HANG).expect("no hang"));
    let said = four.theirs[1].start(|s| s.write(0, b"behind").is_ok());
    assert!(said.recv_timeout(HANG).expect("no hang"));
    assert!(drained.recv_timeout(HANG).expect("no hang"));
    assert_eq!(heard.recv_timeout(HANG).expect("a message"), b"behind");
    four.finish();
}

#[test]
fn the_end_of_the_session_reaches_who_waits() {
    for by_us in [true, false] {
        let four = four();
        let heard = [0, 1].map(|i| four.ours[i].start(|s| s.read().map(|message| message.code)));
        let [dialled, accepted] = four.running;
        let reason = match by_us {
            true => {
                dialled.stopper.stop(R::TOO_MANY_PEERS);
                CloseReason::Local(R::TOO_MANY_PEERS)
            }
            false => {
                accepted.stopper.stop(R::TOO_MANY_PEERS);
                remote_requested(R::TOO_MANY_PEERS)
            }
        };
        for end in heard {
            let end = end.recv_timeout(HANG).expect("no hang");
            assert_eq!(end, Err(ReadError::Closed(reason)));
        }
        assert_eq!(dialled.report().reason, reason);
        drop(accepted.report());
    }
}

#[test]
fn a_closing_session_whose_remote_says_nothing_lets_its_readers_go() {
    let (protocol, control) = controlled("test", 1, 8);
    let (theirs, their_control) = controlled("test", 1, 8);
    let (client, server) = (host(1, vec![protocol]), host(2, vec![theirs]));
    let (our_end, their_end) = tcp();
    let running = [dial(&client, our_end, &server), accept(&server, their_end)];
    their_control.run(|_| ());
    control.run(|_| ());
    let heard = control.start(|s| s.read().map(|message| message.code));
    // The remote's threads all stand: its only reader is elsewhere, and its writer has nothing to say.
    let (go_on, elsewhere) = channel::<()>();
    let there = their_control.start(move |_| elsewhere.recv_timeout(HANG).is_ok());
    running[0].stopper.stop(R::REQUESTED);
    let end = heard.recv_timeout(HANG).expect("no hang");
    assert_eq!(
        end,
        Err(ReadError::Closed(CloseReason::Local(R::REQUESTED)))
    );
    go_on.send(()).expect("it waits");
    assert!(there.recv_timeout(HANG).expect("no hang"));
    for running in running {
        drop(running.report());
    }
}

#[test]
fn a_wait_with_a_limit_ends_in_time_and_loses_nothing() {
    let four = four();
    for limit in [0, 1, 10, 50, 120] {
        let limit = Duration::from_millis(limit);
        let before = Instant::now();
        let nothing = four.ours[0].run(move |s| s.read_timeout(limit));
        assert_eq!(nothing, Ok(None));
        assert!(before.elapsed() >= limit);
    }
    let heard = four.ours[0].start(|s| {
        loop {
            match s.read_timeout(Duration::from_millis(3)) {
                Ok(Some(message)) => return message.payload,
                Ok(None) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    say(&four.theirs[0], b"in the end");
    assert_eq!(heard.recv_timeout(HANG).expect("a message"), b"in the end");
    let heard = four.ours[1].start(|s| {
        loop {
            if let Some(message) = s.try_read().expect("a live session") {
                return message.payload;
            }
            std::thread::yield_now();
        }
    });
    say(&four.theirs[1], b"asked often");
    assert_eq!(heard.recv_timeout(HANG).expect("a message"), b"asked often");
    four.finish();
}

#[test]
fn a_run_closure_that_panics_after_it_read_ends_the_session_for_all() {
    let four = four();
    let other = four.ours[1].start(|s| s.read().map(|message| message.code));
    let (sender, panicked) = channel();
    four.ours[0].end(move |s| {
        let message = hear(s);
        let _ = sender.send(message);
        panic!("as this test wants");
    });
    say(&four.theirs[0], b"go");
    assert_eq!(panicked.recv_timeout(HANG).expect("a message"), b"go");
    let reason = CloseReason::ProtocolError {
        subprotocol: 0,
        reason: R::SUBPROTOCOL_ERROR,
    };
    let other = other.recv_timeout(HANG).expect("no hang");
    assert_eq!(other, Err(ReadError::Closed(reason)));
    let [dialled, accepted] = four.running;
    assert_eq!(dialled.report().reason, reason);
    assert_eq!(
        accepted.report().reason,
        remote_requested(R::SUBPROTOCOL_ERROR)
    );
}

#[test]
fn a_run_closure_that_returns_while_another_waits_ends_the_session() {
    let four = four();
    let other = four.ours[1].start(|s| s.read().map(|message| message.code));
    four.ours[0].end(|s| {
        hear(s);
        Ok::<(), Failure>(())
    });
    say(&four.theirs[0], b"go");
    let reason = CloseReason::ProtocolReturned { subprotocol: 0 };
    let other = other.recv_timeout(HANG).expect("no hang");
    assert_eq!(other, Err(ReadError::Closed(reason)));
    let [dialled, accepted] = four.running;
    assert_eq!(dialled.report().reason, reason);
    drop(accepted.report());
}

#[test]
fn the_last_messages_of_a_burst_arrive_though_nothing_follows() {
    let four = four();
    for (round, count) in [1_usize, 2, 3, 10, 100, 1000].into_iter().enumerate() {
        let heard = four.ours[0].start(move |s| (0..count).all(|_| hear(s).len() == 10));
        let (go_on, elsewhere) = channel::<()>();
        // After the burst its writer neither reads nor writes nor flushes.
        let there = four.theirs[0].start(move |s| {
            let written = (0..count).all(|_| s.write(0, &[round as u8; 10]).is_ok());
            written && elsewhere.recv_timeout(HANG).is_ok()
        });
        assert!(heard.recv_timeout(HANG).expect("all of the burst"));
        go_on.send(()).expect("it waits");
        assert!(there.recv_timeout(HANG).expect("it comes back"));
    }
    four.finish();
}
