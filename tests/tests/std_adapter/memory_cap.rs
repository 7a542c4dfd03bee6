//! Inboxes that are full: of one subprotocol, and of all sessions of a host together.
use devp2p_core::capability::Overflow;
use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::CloseReason;
use devp2p_std::handle::ReadError;

use crate::session_rig::*;

/// Sends numbered messages of 1000 bytes and waits for the wire.
fn send_numbered(control: &Control, count: u32) {
    let sent = control.start(move |s| {
        for number in 0..count {
            let mut payload = noise(1000);
            payload[..4].copy_from_slice(&number.to_be_bytes());
            s.write(0, &payload).expect("a write");
        }
        s.flush().expect("the session lives");
    });
    sent.recv_timeout(HANG).expect("no hang");
}

/// Reads `count` messages and checks their numbers.
fn read_numbered(control: &Control, count: u32) {
    let read = control.start(move |s| {
        for number in 0..count {
            let message = s.read().expect("a message");
            assert_eq!(message.payload[..4], number.to_be_bytes());
        }
    });
    read.recv_timeout(HANG).expect("nothing is lost");
}

#[test]
fn a_reader_that_stalls_holds_back_and_then_loses_nothing() {
    let two = two_with(|p| p.inbox(10_000), |b| b);
    // More than the inbox and the socket hold, so that the sender is held up too.
    let sent = two.controls[0].start(|s| {
        for number in 0..2000_u32 {
            let mut payload = noise(1000);
            payload[..4].copy_from_slice(&number.to_be_bytes());
            s.write(0, &payload).expect("a write");
        }
    });
    // The other direction goes on meanwhile.
    let writer = two.controls[1].run(|s| s.writer());
    for _ in 0..200 {
        writer.write(1, &noise(500)).expect("a write");
    }
    writer.flush().expect("the session lives");
    let limit = 10_000 + 1_064;
    let stalled = two.hosts[1].memory().used();
    assert!(stalled <= limit, "{stalled}");
    assert!(two.hosts[1].traffic(0).messages_in <= 10);
    read_numbered(&two.controls[1], 2000);
    sent.recv_timeout(HANG).expect("no hang");
    two.controls[0].run(|s| (0..200).for_each(|_| drop(s.read().expect("a message"))));
    assert_eq!(two.hosts[1].memory().used(), 0);
    two.finish();
}

#[test]
fn a_message_larger_than_the_inbox_passes_when_it_is_empty() {
    let two = two_with(|p| p.inbox(100), |b| b);
    let sent = two.controls[0].start(|s| {
        (0..5).for_each(|_| s.write(0, &noise(500_000)).expect("a write"));
    });
    for _ in 0..5 {
        let message = two.controls[1].run(|s| s.read()).expect("a message");
        assert_eq!(message.payload, noise(500_000));
    }
    sent.recv_timeout(HANG).expect("no hang");
    two.finish();
}

#[test]
fn empty_messages_fill_an_inbox_too() {
    let two = two_with(|p| p.inbox(10_000), |b| b);
    let sent = two.controls[0].start(|s| {
        (0..100_000).for_each(|_| s.write(0, b"").expect("a write"));
    });
    assert!(two.hosts[1].memory().used() <= 10_064);
    let read = two.controls[1].start(|s| {
        (0..100_000).for_each(|_| drop(s.read().expect("a message")));
    });
    read.recv_timeout(HANG).expect("nothing is lost");
    sent.recv_timeout(HANG).expect("no hang");
    two.finish();
}

#[test]
fn a_reader_that_stalls_too_long_ends_the_session() {
    let config = config(|c| c.hold_back_limit = millis(100));
    let two = two_with(|p| p.inbox(10_000), |b| b.config(config));
    two.controls[0].run(|s| {
        (0..50).for_each(|_| {
            let _ = s.write(0, &noise(1000));
        })
    });
    let reason = CloseReason::Stalled { subprotocol: 0 };
    let read = two.controls[1].run(move |s| {
        assert_eq!(s.peer().closed(), reason);
        // What had room can still be read.
        let read = std::iter::from_fn(|| s.read().ok()).count();
        (read, s.read())
    });
    assert_eq!(read, (9, Err(ReadError::Closed(reason))));
    let [dialled, accepted] = two.running;
    assert_eq!(accepted.report().reason, reason);
    assert_eq!(
        dialled.report().reason,
        remote_requested(R::SUBPROTOCOL_ERROR)
    );
}

#[test]
fn an_inbox_that_drops_counts_what_it_drops() {
    let two = two_with(|p| p.inbox(10_000).overflow(Overflow::Drop), |b| b);
    send_numbered(&two.controls[0], 100);
    // A message to the other end that comes back says that all before it has arrived.
    let peer = two.controls[0].run(|s| s.peer().clone());
    let before = peer.pongs();
    peer.ping();
    while peer.pongs() == before {
        std::thread::yield_now();
    }
    read_numbered(&two.controls[1], 9);
    let traffic = two.controls[1].run(|s| {
        assert_eq!(s.try_read(), Ok(None));
        s.writer().traffic()
    });
    assert_eq!((traffic.messages_in, traffic.dropped), (9, 91));
    two.finish();
}

#[test]
fn an_inbox_may_prefer_the_end_to_waiting() {
    let two = two_with(|p| p.inbox(10_000).overflow(Overflow::Disconnect), |b| b);
    two.controls[0].run(|s| {
        (0..20).for_each(|_| {
            let _ = s.write(0, &noise(1000));
        })
    });
    let [dialled, accepted] = two.running;
    assert_eq!(
        accepted.report().reason,
        CloseReason::Stalled { subprotocol: 0 }
    );
    assert_eq!(
        dialled.report().reason,
        remote_requested(R::SUBPROTOCOL_ERROR)
    );
}

#[test]
fn a_session_that_is_held_back_ends_when_it_is_told_to() {
    for _ in 0..20 {
        let two = two_with(|p| p.inbox(2_000), |b| b);
        send_numbered(&two.controls[0], 20);
        two.running[1].stopper.stop(R::REQUESTED);
        let [dialled, accepted] = two.running;
        let report = accepted.report();
        assert_eq!(report.reason, CloseReason::Local(R::REQUESTED));
        assert!(report.stuck.is_empty(), "{report:?}");
        assert_eq!(dialled.report().reason, remote_requested(R::REQUESTED));
        assert_eq!(two.hosts[1].memory().used(), 0);
    }
}

/// A host with two protocols, and one session for each with a client of its own.
struct Shared {
    server: std::sync::Arc<devp2p_std::host::Host>,
    readers: [Control; 2],
    senders: [Control; 2],
    sessions: Vec<(Running, Running)>,
}

/// For two sessions: 5 000 bytes for each, and a pool of 10 000.
const LIMIT: usize = 20_000;
const SHARE: usize = 5_000;

fn shared() -> Shared {
    let (first, first_reader) = controlled("first", 1, 1);
    let (second, second_reader) = controlled("second", 1, 1);
    let server = host_with(9, vec![first, second], |b| b.memory_limit(LIMIT));
    server.memory().guarantee(2);
    let mut sessions = Vec::new();
    let senders = [(1, "first"), (2, "second")].map(|(seed, name)| {
        let (protocol, control) = controlled(name, 1, 1);
        sessions.push(connect(&host(seed, vec![protocol]), &server));
        control
    });
    Shared {
        server,
        readers: [first_reader, second_reader],
        senders,
        sessions,
    }
}

impl Shared {
    fn finish(self) {
        assert_eq!(self.server.memory().used(), 0);
        for (dialled, accepted) in self.sessions {
            accepted.stopper.stop(R::REQUESTED);
            assert_eq!(accepted.report().reason, CloseReason::Local(R::REQUESTED));
            assert_eq!(dialled.report().reason, remote_requested(R::REQUESTED));
        }
    }
}

impl Shared {
    /// The first session takes all that it can have, and nobody reads from it.
    fn fill(&self) {
        send_numbered(&self.senders[0], 30);
        let began = std::time::Instant::now();
        // Less than another message is left.
        while self.server.memory().used() <= LIMIT - SHARE - 1_064 {
            assert!(began.elapsed() < HANG, "the first session fills the pool");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_session_has_its_share_whatever_others_hold() {
    let shared = shared();
    shared.fill();
    send_numbered(&shared.senders[1], 100);
    read_numbered(&shared.readers[1], 100);
    assert!(shared.server.memory().used() > LIMIT - SHARE - 1_064);
    read_numbered(&shared.readers[0], 30);
    shared.finish();
}

#[test]
fn a_message_above_the_share_waits_until_another_session_s_messages_are_read() {
    let shared = shared();
    shared.fill();
    let large = noise(2 * SHARE);
    let sent = large.clone();
    let sending = shared.senders[1].start(move |s| {
        s.write(0, &sent).expect("a write");
        s.flush().expect("the session lives");
    });
    let began = std::time::Instant::now();
    // Its share is all that it can have.
    while shared.server.memory().used() <= LIMIT - 1_064 {
        assert!(began.elapsed() < HANG, "the message begins");
        std::thread::yield_now();
    }
    assert_eq!(shared.readers[1].run(|s| s.try_read()), Ok(None));
    read_numbered(&shared.readers[0], 30);
    let read = shared.readers[1].start(|s| s.read().map(|message| message.payload));
    let payload = read.recv_timeout(HANG).expect("it goes on");
    assert_eq!(payload, Ok(large));
    sending.recv_timeout(HANG).expect("no hang");
    shared.finish();
}

#[test]
fn sessions_that_share_the_memory_of_their_host_lose_nothing() {
    let shared = shared();
    let count = 1_000;
    let ends = [(&shared.senders, true), (&shared.readers, false)];
    std::thread::scope(|scope| {
        for (controls, sends) in ends {
            for control in controls {
                scope.spawn(move || match sends {
                    true => send_numbered(control, count),
                    false => read_numbered(control, count),
                });
            }
        }
        for _ in 0..1_000 {
            assert!(shared.server.memory().used() <= LIMIT);
            std::thread::yield_now();
        }
    });
    shared.finish();
}
