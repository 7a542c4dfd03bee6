//! A peer at message level, without the encrypted transport: what any framing drives.
use std::collections::VecDeque;
use std::task::Poll;

use devp2p_core::arena::Arena;
use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::disconnect::{self, DisconnectReason};
use devp2p_core::error::{CloseReason, TransportError, Violation};
use devp2p_core::hello::NodeId;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{Expected, Peer};
use devp2p_core::time::Instant;
use devp2p_tests::fixture::{at_secs, protocol, secs};

type Wire = VecDeque<(u64, Vec<u8>)>;

const IDS: [NodeId; 2] = [NodeId([1; 64]), NodeId([2; 64])];
/// A code that the base protocol reserves.
const RESERVED: u64 = 9;

fn protocols() -> Vec<Protocol> {
    vec![protocol("chat", 4, 256), protocol("echo", 2, 256)]
}

/// One peer, what it registers and its inboxes.
struct Side<'a> {
    local: Local<'a>,
    peer: Peer<2>,
    inboxes: Arena<'a, 2>,
    /// Codes and payloads of the base protocol that it said.
    said: Vec<(u32, Vec<u8>)>,
}

impl<'a> Side<'a> {
    fn new(i: usize, expected: Expected, protocols: &'a [Protocol], memory: &'a mut [u8]) -> Self {
        let local = Local {
            id: IDS[i],
            client_name: "test",
            // Without Snappy, which belongs to the framing.
            version: 4,
            listen_port: 0,
            protocols,
        };
        Self {
            peer: Peer::new(Config::new(), &local, expected, at_secs(5)),
            inboxes: Arena::new(memory, protocols).expect("memory enough"),
            said: Vec::new(),
            local,
        }
    }

    /// Passes what came until a message is held, and puts what it says on the wire.
    fn drive(&mut self, now: Instant, from: &mut Wire, to: &mut Wire) {
        while let Some((code, payload)) = from.front() {
            let held =
                self.peer
                    .handle_message(now, &self.local, *code, payload, &mut self.inboxes);
            if held.is_err() {
                break;
            }
            from.pop_front();
        }
        self.peer.handle_timeout(now);
        while let Some(control) = self.peer.poll_control(now) {
            let mut payload = vec![0; 4096];
            let length = control.encode(&self.local, self.peer.compresses(), &mut payload);
            payload.truncate(length.expect("room enough"));
            self.said.push((control.code().0, payload.clone()));
            to.push_back((u64::from(control.code().0), payload));
        }
        while let Some(waker) = self.peer.next_wake() {
            waker.wake();
        }
    }

    fn write(&mut self, subprotocol: usize, code: u32, payload: &[u8], to: &mut Wire) {
        let granted = self.peer.poll_acquire(subprotocol, LocalCode(code), None);
        let Poll::Ready(Ok(wire)) = granted else {
            panic!("nobody else writes: {granted:?}");
        };
        self.peer.begin_write(subprotocol);
        self.peer.complete_write(subprotocol);
        to.push_back((u64::from(wire.0), payload.to_vec()));
    }

    fn read(&mut self, subprotocol: usize) -> Option<(u32, Vec<u8>)> {
        let message = self.inboxes.peek(subprotocol)?;
        let payload = message.payload.expect("not oversize").to_vec();
        let read = (message.meta.code.0, payload);
        self.inboxes.pop(subprotocol);
        Some(read)
    }

    /// The reason of the one Disconnect that it said, if it did.
    fn disconnect(&self) -> Option<DisconnectReason> {
        let mut said = self.said.iter().filter(|(code, _)| *code == 1);
        let (_, payload) = said.next()?;
        assert!(said.next().is_none(), "only one");
        disconnect::decode(payload)
    }
}

/// Two peers, each having taken the other's Hello.
struct Two<'a> {
    sides: [Side<'a>; 2],
    wires: [Wire; 2],
}

impl<'a> Two<'a> {
    fn new(protocols: &'a [Protocol], memory: &'a mut [[u8; 512]; 2]) -> Self {
        let [left, right] = memory;
        let mut two = Self {
            sides: [
                Side::new(0, Expected::Dialled(IDS[1]), protocols, left),
                Side::new(1, Expected::Anyone, protocols, right),
            ],
            wires: [Wire::new(), Wire::new()],
        };
        two.settle(Instant::ZERO);
        for side in &two.sides {
            assert_eq!(side.peer.state(), State::Active);
        }
        two
    }

    fn settle(&mut self, now: Instant) {
        for _ in 0..4 {
            let [left, right] = &mut self.sides;
            let [to_left, to_right] = &mut self.wires;
            left.drive(now, to_left, to_right);
            right.drive(now, to_right, to_left);
        }
    }
}

#[test]
fn two_peers_exchange_messages_and_part() {
    let protocols = protocols();
    let mut memory = [[0; 512]; 2];
    let mut two = Two::new(&protocols, &mut memory);
    two.sides[0].write(1, 1, b"to echo", &mut two.wires[1]);
    two.sides[0].write(0, 3, b"", &mut two.wires[1]);
    two.sides[1].write(0, 0, b"back", &mut two.wires[0]);
    two.settle(at_secs(1));
    assert_eq!(two.sides[1].read(1), Some((1, b"to echo".to_vec())));
    assert_eq!(two.sides[1].read(0), Some((3, Vec::new())));
    assert_eq!(two.sides[0].read(0), Some((0, b"back".to_vec())));

    two.sides[0].peer.request_ping();
    two.settle(at_secs(2));
    assert_eq!(two.sides[0].peer.pongs(), 1);

    let reason = DisconnectReason::CLIENT_QUITTING;
    two.sides[0].peer.disconnect(at_secs(3), reason);
    two.settle(at_secs(3));
    let [left, right] = &mut two.sides;
    assert!(left.peer.wants_half_close() && !left.peer.wants_half_close());
    let asked = CloseReason::RemoteRequested(Some(reason));
    assert_eq!(right.peer.close_reason(), Some(asked));
    assert_eq!(right.peer.state(), State::Closed);
    left.peer
        .handle_end(at_secs(3), TransportError::EndOfStream);
    assert_eq!(left.peer.state(), State::Closed);
    assert_eq!(left.peer.close_reason(), Some(CloseReason::Local(reason)));
}

#[test]
fn a_message_without_room_is_held_and_not_lost() {
    let protocols = protocols();
    let mut memory = [[0; 512]; 2];
    let mut two = Two::new(&protocols, &mut memory);
    let payloads = [[1; 200], [2; 200], [3; 200]];
    for payload in &payloads {
        two.sides[0].write(0, 0, payload, &mut two.wires[1]);
    }
    // Not for the subprotocol that holds back, but behind it.
    two.sides[0].write(1, 0, b"behind", &mut two.wires[1]);
    for (i, payload) in payloads.iter().enumerate() {
        two.settle(at_secs(10 * (i as u64 + 1)));
        if i < 2 {
            assert_eq!(two.sides[1].read(1), None);
        }
        assert_eq!(two.sides[1].read(0), Some((0, payload.to_vec())));
    }
    two.settle(at_secs(30));
    assert_eq!(two.sides[1].read(1), Some((0, b"behind".to_vec())));
    assert_eq!(two.sides[1].peer.close_reason(), None);
}

#[test]
fn a_message_held_for_too_long_ends_the_session_as_stalled() {
    let protocols = protocols();
    let mut memory = [[0; 512]; 2];
    let mut two = Two::new(&protocols, &mut memory);
    for _ in 0..2 {
        two.sides[0].write(1, 0, &[0; 200], &mut two.wires[1]);
    }
    let limit = Config::new().hold_back_limit;
    let [_, right] = &mut two.sides;
    let [to_left, to_right] = &mut two.wires;
    right.drive(at_secs(1), to_right, to_left);
    let end = at_secs(1).saturating_add(limit);
    right.drive(Instant::from_micros(end.as_micros() - 1), to_right, to_left);
    assert_eq!(right.peer.close_reason(), None);
    right.drive(end, to_right, to_left);
    let stalled = CloseReason::Stalled { subprotocol: 1 };
    assert_eq!(right.peer.close_reason(), Some(stalled));
    assert_eq!(
        right.disconnect(),
        Some(DisconnectReason::SUBPROTOCOL_ERROR)
    );
}

#[test]
fn what_breaks_the_protocol_is_the_same_violation_as_over_frames() {
    let rows = [
        (16 + 6, vec![], Some(Violation::CodeOutOfRange)),
        (u64::MAX, vec![], Some(Violation::CodeOutOfRange)),
        (2, vec![0; 2049], Some(Violation::BaseMessageTooLarge)),
        (3, vec![0; 2049], Some(Violation::BaseMessageTooLarge)),
        (0, vec![0; 2049], Some(Violation::BaseMessageTooLarge)),
        (
            RESERVED,
            vec![0; 2049],
            Some(Violation::BaseMessageTooLarge),
        ),
        (16, vec![0; 1 << 24], Some(Violation::MessageTooLarge)),
        // A second Hello, a reserved code and an unasked Pong are ignored.
        (0, vec![0xff; 2048], None),
        (RESERVED, vec![0; 2048], None),
        (3, vec![], None),
    ];
    for (code, payload, violation) in rows {
        let protocols = protocols();
        let mut memory = [[0; 512]; 2];
        let mut two = Two::new(&protocols, &mut memory);
        two.wires[1].push_back((code, payload));
        two.settle(at_secs(1));
        let right = &two.sides[1];
        assert_eq!(
            right.peer.close_reason(),
            violation.map(CloseReason::Violation),
            "code {code}"
        );
        let told = violation.map(|_| DisconnectReason::PROTOCOL_ERROR);
        assert_eq!(right.disconnect(), told, "code {code}");
    }
}

#[test]
fn anything_but_hello_and_disconnect_is_no_beginning() {
    let protocols = protocols();
    for code in [2, 3, RESERVED, 16] {
        let mut memory = [0; 512];
        let mut side = Side::new(1, Expected::Anyone, &protocols, &mut memory);
        let mut to = Wire::new();
        side.drive(at_secs(1), &mut Wire::from([(code, vec![])]), &mut to);
        let cause = CloseReason::Violation(Violation::ExpectedHello);
        assert_eq!(side.peer.close_reason(), Some(cause), "code {code}");
    }
}

/// Over a transport that proves nothing, Hello is what says who the remote is.
#[test]
fn another_identity_than_the_one_dialled_is_told_so() {
    let protocols = protocols();
    let mut memory = [[0; 512]; 2];
    let [left, right] = &mut memory;
    let other = Expected::Dialled(NodeId([3; 64]));
    let mut dialler = Side::new(0, other, &protocols, left);
    let mut dialled = Side::new(1, Expected::Anyone, &protocols, right);
    let (mut to_dialler, mut to_dialled) = (Wire::new(), Wire::new());
    dialled.drive(at_secs(1), &mut to_dialled, &mut to_dialler);
    dialler.drive(at_secs(1), &mut to_dialler, &mut to_dialled);
    let cause = CloseReason::UnexpectedIdentity;
    assert_eq!(dialler.peer.close_reason(), Some(cause));
    assert_eq!(
        dialler.disconnect(),
        Some(DisconnectReason::UNEXPECTED_IDENTITY)
    );
    dialled.drive(at_secs(1), &mut to_dialled, &mut to_dialler);
    let told = CloseReason::RemoteRequested(Some(DisconnectReason::UNEXPECTED_IDENTITY));
    assert_eq!(dialled.peer.close_reason(), Some(told));
}

#[test]
fn a_hello_that_does_not_come_is_answered_at_the_deadline() {
    let protocols = protocols();
    let mut memory = [0; 512];
    let mut side = Side::new(1, Expected::Anyone, &protocols, &mut memory);
    let mut to = Wire::new();
    side.drive(at_secs(4), &mut Wire::new(), &mut to);
    assert_eq!(side.peer.close_reason(), None);
    side.drive(at_secs(5), &mut Wire::new(), &mut to);
    assert_eq!(
        side.peer.close_reason(),
        Some(CloseReason::HandshakeTimeout)
    );
    assert_eq!(side.disconnect(), Some(DisconnectReason::READ_TIMEOUT));
    side.peer.handle_timeout(at_secs(5).saturating_add(secs(2)));
    assert_eq!(side.peer.state(), State::Closed);
}
