//! Two peers joined by a queue of whole messages: no RLPx, no compression, only a virtual clock.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use devp2p_core::MAX_MESSAGE_LENGTH;
use devp2p_core::arena::Arena;
use devp2p_core::capability::{Overflow, Protocol};
use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::config::{Config, Local};
use devp2p_core::control::Control;
use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::{CloseReason, TransportError, Violation, WriteError};
use devp2p_core::hello::{MAX_HELLO_LENGTH, NodeId};
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{Expected, Held, Peer, Remote};
use devp2p_core::time::{Duration, Instant, PollAt};
use devp2p_tests::fixture::protocol;
use devp2p_tests::random::Random;
use devp2p_tests::wake::Counter;

const HELLO_BY: Instant = Instant::from_micros(5_000_000);

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn secs(n: u64) -> Instant {
    Instant::from_micros(n * 1_000_000)
}

fn id(n: u8) -> NodeId {
    NodeId([n; 64])
}

fn local(n: u8, version: u8, protocols: &[Protocol]) -> Local<'_> {
    Local {
        id: id(n),
        client_name: "message level",
        version,
        listen_port: 0,
        protocols,
    }
}

/// `a` owns 16 and 17, `b` owns 18.
fn two() -> [Protocol; 2] {
    [protocol("a", 2, 200), protocol("b", 1, 200)]
}

type Message = (u64, Vec<u8>);

/// One side: a peer, its inboxes, and what waits on the way to it.
struct Side<'a> {
    peer: Peer<2>,
    local: Local<'a>,
    arena: Arena<'a, 2>,
    incoming: VecDeque<Message>,
    /// Every control message that it said.
    said: Vec<Control>,
}

impl<'a> Side<'a> {
    fn new(local: Local<'a>, config: Config, expected: Expected) -> Self {
        let memory: usize = local.protocols.iter().map(|one| one.inbox).sum();
        let bytes = Vec::leak(vec![0; memory]);
        Self {
            peer: Peer::new(config, &local, expected, HELLO_BY),
            arena: Arena::new(bytes, local.protocols).unwrap(),
            local,
            incoming: VecDeque::new(),
            said: Vec::new(),
        }
    }

    fn simple(n: u8, protocols: &'a [Protocol]) -> Self {
        Self::new(local(n, 5, protocols), Config::new(), Expected::Anyone)
    }

    /// What it says now, to be put on the way.
    fn say(&mut self, now: Instant) -> Vec<Message> {
        let mut said = Vec::new();
        while let Some(control) = self.peer.poll_control(now) {
            let mut payload = vec![0; MAX_HELLO_LENGTH];
            let length = control.encode(&self.local, false, &mut payload).unwrap();
            payload.truncate(length);
            self.said.push(control);
            said.push((control.code().0.into(), payload));
        }
        assert!(!self.peer.wants_to_send());
        said
    }

    fn take(&mut self, now: Instant, code: u64, payload: &[u8]) -> Result<(), Held> {
        self.peer
            .handle_message(now, &self.local, code, payload, &mut self.arena)
    }

    /// Takes what waits, until it is held back.
    fn take_all(&mut self, now: Instant) -> Result<(), Held> {
        while let Some((code, payload)) = self.incoming.pop_front() {
            if let Err(held) = self.take(now, code, &payload) {
                self.incoming.push_front((code, payload));
                return Err(held);
            }
        }
        Ok(())
    }

    /// Writes a message whole, which must be possible at once.
    fn write(&mut self, subprotocol: usize, code: u32, payload: &[u8]) -> Message {
        let granted = self.peer.poll_acquire(subprotocol, LocalCode(code), None);
        let Poll::Ready(Ok(wire)) = granted else {
            panic!("{granted:?}");
        };
        self.peer.begin_write(subprotocol);
        self.peer.complete_write(subprotocol);
        (wire.0.into(), payload.to_vec())
    }

    fn read(&mut self, subprotocol: usize) -> Option<(u32, Vec<u8>)> {
        let message = self.arena.peek(subprotocol)?;
        let read = (
            message.meta.code.0,
            message.payload.expect("it fits").to_vec(),
        );
        self.arena.pop(subprotocol);
        Some(read)
    }

    /// Calls at the instant that it asks for, having seen that a call a microsecond before would have changed nothing.
    fn timeout(&mut self, expected: Instant) {
        assert_eq!(self.peer.poll_at(), PollAt::At(expected));
        let before = format!("{:?}", self.peer);
        self.peer
            .handle_timeout(at(expected.as_micros().saturating_sub(1)));
        assert_eq!(
            format!("{:?}", self.peer),
            before,
            "nothing before its time"
        );
        self.peer.handle_timeout(expected);
        assert_ne!(format!("{:?}", self.peer), before, "something at its time");
    }

    /// How it ends if `code` comes: the cause, and the Disconnect that it says.
    fn ends_by(mut self, code: u64, payload: &[u8]) -> (Option<CloseReason>, Vec<Control>) {
        let before = self.said.len();
        assert_eq!(self.take(at(9), code, payload), Ok(()));
        self.say(at(9));
        (self.peer.close_reason(), self.said.split_off(before))
    }
}

/// Lets both say and take what there is, until nothing moves.
fn settle(a: &mut Side<'_>, b: &mut Side<'_>, now: Instant) {
    loop {
        let (from_a, from_b) = (a.say(now), b.say(now));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        b.incoming.extend(from_a);
        a.incoming.extend(from_b);
        a.take_all(now).unwrap();
        b.take_all(now).unwrap();
    }
}

fn active<'a>(protocols: &'a [Protocol], config: Config) -> [Side<'a>; 2] {
    let mut a = Side::new(local(1, 5, protocols), config, Expected::Dialled(id(2)));
    let mut b = Side::new(local(2, 5, protocols), config, Expected::Anyone);
    settle(&mut a, &mut b, at(0));
    assert_eq!(a.peer.state(), State::Active);
    assert_eq!(b.peer.state(), State::Active);
    [a, b]
}

/// A side whose remote has said Hello.
fn one_active(protocols: &[Protocol]) -> Side<'_> {
    let [side, _] = active(protocols, Config::new());
    side
}

/// A Hello as this node says it.
fn hello(local: &Local<'_>) -> Vec<u8> {
    let mut payload = vec![0; MAX_HELLO_LENGTH];
    let length = local.encode_hello(&mut payload).unwrap();
    payload.truncate(length);
    payload
}

fn violation(violation: Violation) -> (Option<CloseReason>, Vec<Control>) {
    (
        Some(CloseReason::Violation(violation)),
        vec![Control::Disconnect(Reason::PROTOCOL_ERROR)],
    )
}

#[test]
fn hello_goes_both_ways_and_snappy_is_on_only_between_two_of_version_5() {
    let protocols = two();
    for (ours, theirs) in [(4, 4), (4, 5), (5, 4), (5, 5), (5, 6)] {
        let mut a = Side::new(
            local(1, ours, &protocols),
            Config::new(),
            Expected::Dialled(id(2)),
        );
        let mut b = Side::new(
            local(2, theirs, &protocols),
            Config::new(),
            Expected::Authenticated(id(1)),
        );
        assert!(a.peer.wants_to_send() && !a.peer.has_said_hello());
        settle(&mut a, &mut b, at(3));
        for (side, remote, version) in [(&a, 2, theirs), (&b, 1, ours)] {
            assert_eq!(side.said, [Control::Hello]);
            assert_eq!(side.peer.state(), State::Active);
            let remote = Remote {
                id: id(remote),
                version,
            };
            assert_eq!(side.peer.remote(), Some(remote));
            let snappy = ours >= 5 && theirs >= 5;
            assert_eq!(side.peer.compresses(), snappy, "{ours} and {theirs}");
            assert_eq!(side.peer.decompresses(), snappy);
            assert_eq!(side.peer.shared().offset(0), Some(16));
            assert_eq!(side.peer.shared().offset(1), Some(18));
            assert_eq!(side.peer.poll_at(), PollAt::At(at(15_000_003)));
        }
    }
}

#[test]
fn a_hello_of_a_version_below_the_lowest_is_answered_by_incompatible_version() {
    let protocols = two();
    for (lowest, version, accepted) in [(4, 3, false), (4, 4, true), (5, 4, false), (3, 3, true)] {
        let mut config = Config::new();
        config.lowest_version = lowest;
        let mut side = Side::new(local(1, 5, &protocols), config, Expected::Anyone);
        side.say(at(0));
        let payload = hello(&local(2, version, &protocols));
        let (cause, said) = side.ends_by(0, &payload);
        if accepted {
            assert_eq!((cause, said), (None, vec![]));
        } else {
            assert_eq!(cause, Some(CloseReason::IncompatibleVersion));
            assert_eq!(said, [Control::Disconnect(Reason(0x06))]);
        }
    }
}

#[test]
fn hello_is_awaited_until_its_deadline_exactly() {
    let protocols = two();
    let mut side = Side::simple(1, &protocols);
    side.say(at(0));
    side.timeout(HELLO_BY);
    assert_eq!(
        side.peer.close_reason(),
        Some(CloseReason::HandshakeTimeout)
    );
    side.say(HELLO_BY);
    assert_eq!(
        side.said,
        [Control::Hello, Control::Disconnect(Reason(0x0b))]
    );
    side.timeout(secs(7));
    assert_eq!(side.peer.state(), State::Closed);
    assert_eq!(side.peer.poll_at(), PollAt::Idle);
}

#[test]
fn messages_of_all_subprotocols_arrive_in_order_and_unaltered() {
    let protocols = two();
    let mut sides = active(&protocols, Config::new());
    let mut random = Random::new(7);
    let mut sent: [[VecDeque<(u32, Vec<u8>)>; 2]; 2] = Default::default();
    for step in 0..4_000 {
        let from = random.index(2);
        let subprotocol = random.index(2);
        if random.one_in(2) {
            let code = random.below(2) as u32 * u32::from(subprotocol == 0);
            let length = random.index(180);
            let payload = random.bytes(length);
            let message = sides[from].write(subprotocol, code, &payload);
            assert_eq!(message.0, 16 + 2 * subprotocol as u64 + u64::from(code));
            sides[1 - from].incoming.push_back(message);
            sent[1 - from][subprotocol].push_back((code, payload));
        } else if let Some(message) = sides[from].read(subprotocol) {
            assert_eq!(Some(message), sent[from][subprotocol].pop_front());
        }
        let _ = sides[from].take_all(at(step));
    }
    for (side, sent) in sides.iter_mut().zip(&mut sent) {
        while sent.iter().any(|queue| !queue.is_empty()) {
            for (subprotocol, queue) in sent.iter_mut().enumerate() {
                while let Some(message) = side.read(subprotocol) {
                    assert_eq!(Some(message), queue.pop_front());
                }
            }
            let _ = side.take_all(at(4_000));
        }
        assert_eq!(side.peer.close_reason(), None);
    }
}

#[test]
fn a_message_that_is_held_back_is_passed_again_and_nothing_is_lost() {
    let protocols = two();
    let mut side = one_active(&protocols);
    assert_eq!(side.take(at(1), 16, &[1; 179]), Ok(()));
    let held = Err(Held { subprotocol: 0 });
    assert_eq!(side.take(secs(2), 17, b"second"), held);
    assert_eq!(side.take(secs(14), 17, b"second"), held);
    assert_eq!(
        side.peer.poll_at(),
        PollAt::At(secs(15)),
        "its own Ping is due while it holds back"
    );
    side.peer.handle_timeout(secs(15));
    assert!(side.peer.wants_to_send());
    assert_eq!(side.read(0), Some((0, vec![1; 179])));
    assert_eq!(side.take(at(16_500_000), 17, b"second"), Ok(()));
    assert_eq!(side.read(0), Some((1, b"second".to_vec())));
    assert_eq!(side.arena.counters(0).messages, 2);
}

#[test]
fn an_inbox_that_holds_back_for_too_long_ends_the_session_as_stalled() {
    let protocols = two();
    let mut config = Config::new();
    config.hold_back_limit = Duration::from_secs(4);
    let [mut side, _] = active(&protocols, config);
    assert_eq!(side.take(at(1), 18, &[1; 179]), Ok(()));
    assert!(side.take(at(2), 18, b"").is_err());
    assert!(side.take(secs(4), 18, b"").is_err());
    side.timeout(at(4_000_002));
    let cause = CloseReason::Stalled { subprotocol: 1 };
    assert_eq!(side.peer.close_reason(), Some(cause));
    side.say(at(4_000_002));
    assert_eq!(
        side.said.last(),
        Some(&Control::Disconnect(Reason::SUBPROTOCOL_ERROR))
    );
    assert_eq!(
        side.read(1),
        Some((0, vec![1; 179])),
        "what was delivered can be read"
    );
}

#[test]
fn the_pong_deadline_stands_still_while_a_message_is_held_back() {
    let protocols = two();
    let mut side = one_active(&protocols);
    side.timeout(secs(15));
    side.say(secs(15));
    assert_eq!(side.take(secs(16), 16, &[1; 179]), Ok(()), "this is life");
    assert_eq!(side.peer.poll_at(), PollAt::At(secs(31)));
    side.timeout(secs(31));
    side.say(secs(31));
    assert_eq!(side.peer.poll_at(), PollAt::At(secs(46)));
    assert!(side.take(secs(40), 16, b"x").is_err());
    assert_eq!(
        side.peer.poll_at(),
        PollAt::At(secs(55)),
        "only the inbox is timed"
    );
    side.peer.handle_timeout(secs(49));
    assert_eq!(side.peer.close_reason(), None);
    side.read(0);
    assert_eq!(side.take(secs(50), 16, b"x"), Ok(()));
    assert_eq!(side.peer.poll_at(), PollAt::At(secs(65)));
}

#[test]
fn full_inboxes_that_prefer_it_drop_or_end() {
    let mut protocols = two();
    protocols[0].overflow = Overflow::Drop;
    protocols[1].overflow = Overflow::Disconnect;
    let mut side = one_active(&protocols);
    for code in [16, 17, 18] {
        assert_eq!(side.take(at(1), code, &[1; 179]), Ok(()));
    }
    assert_eq!(side.arena.counters(0).dropped, 1);
    assert_eq!(side.peer.close_reason(), None);
    let (cause, said) = side.ends_by(18, b"");
    assert_eq!(cause, Some(CloseReason::Stalled { subprotocol: 1 }));
    assert_eq!(said, [Control::Disconnect(Reason::SUBPROTOCOL_ERROR)]);
}

#[test]
fn pings_are_answered_and_their_round_trip_is_measured() {
    let protocols = two();
    let [mut a, mut b] = active(&protocols, Config::new());
    a.timeout(secs(15));
    let pings = a.say(secs(15));
    assert_eq!(a.said.last(), Some(&Control::Ping));
    assert_eq!(a.peer.poll_at(), PollAt::At(secs(30)));
    b.incoming.extend(pings);
    b.take_all(at(15_000_100)).unwrap();
    let pongs = b.say(at(15_000_100));
    assert_eq!(pongs, [(3, vec![0xc0])]);
    a.incoming.extend(pongs);
    a.take_all(at(15_000_250)).unwrap();
    assert_eq!(a.peer.pongs(), 1);
    assert_eq!(a.peer.round_trip(), Some(Duration::from_micros(250)));
    assert_eq!(a.peer.poll_at(), PollAt::At(at(30_000_250)));
}

#[test]
fn silence_after_a_ping_ends_the_session_at_the_pong_deadline() {
    let protocols = two();
    let mut side = one_active(&protocols);
    side.timeout(secs(15));
    side.say(at(15_000_007));
    side.timeout(at(30_000_007));
    assert_eq!(side.peer.close_reason(), Some(CloseReason::PingTimeout));
    side.say(at(30_000_007));
    assert_eq!(
        side.said.last(),
        Some(&Control::Disconnect(Reason::READ_TIMEOUT))
    );
    side.timeout(at(32_000_007));
    assert_eq!(side.peer.state(), State::Closed);
}

#[test]
fn a_flood_of_pings_is_answered_by_sixteen_pongs() {
    let protocols = two();
    let mut side = one_active(&protocols);
    for _ in 0..10_000 {
        assert_eq!(side.take(at(1), 2, &[0xc0]), Ok(()));
    }
    assert_eq!(side.say(at(1)), vec![(3, vec![0xc0]); 16]);
}

#[test]
fn a_disconnect_ends_both_sides_with_its_reason() {
    let protocols = two();
    let [mut a, mut b] = active(&protocols, Config::new());
    let task = Counter::new();
    let waker = task.waker();
    let mut cx = Context::from_waker(&waker);
    assert!(b.peer.poll_closed(Some(&mut cx)).is_pending());
    a.peer.disconnect(secs(1), Reason::TOO_MANY_PEERS);
    assert!(!a.peer.wants_half_close(), "the Disconnect is not said");
    settle(&mut a, &mut b, secs(1));
    assert_eq!(b.said, [Control::Hello], "a Disconnect is not answered");
    let remote = CloseReason::RemoteRequested(Some(Reason::TOO_MANY_PEERS));
    assert_eq!(b.peer.state(), State::Closed);
    std::iter::from_fn(|| b.peer.next_wake()).for_each(|waker| waker.wake());
    assert_eq!(task.total(), 1);
    assert_eq!(b.peer.poll_closed(None), Poll::Ready(remote));

    let cause = CloseReason::Local(Reason::TOO_MANY_PEERS);
    assert_eq!(a.peer.state(), State::Closing);
    assert!(a.peer.wants_half_close());
    assert!(!a.peer.wants_half_close(), "once");
    assert_eq!(a.peer.poll_at(), PollAt::At(secs(3)));
    assert_eq!(a.take(secs(2), 999, b"whatever"), Ok(()), "it is discarded");
    a.peer.handle_end(secs(2), TransportError::EndOfStream);
    assert_eq!(a.peer.poll_closed(None), Poll::Ready(cause));
    assert_eq!(a.peer.poll_at(), PollAt::Idle);
}

#[test]
fn a_disconnect_that_the_wire_does_not_take_is_given_up_at_the_closing_deadline() {
    let protocols = two();
    let mut side = one_active(&protocols);
    side.peer.disconnect(secs(1), Reason::REQUESTED);
    side.say(secs(1));
    side.peer.on_sealed(secs(1), 64);
    assert!(!side.peer.wants_half_close());
    side.timeout(secs(3));
    assert_eq!(side.peer.state(), State::Closed);
}

#[test]
fn a_wire_that_takes_nothing_ends_the_session_without_a_word() {
    let protocols = two();
    let mut config = Config::new();
    config.write_timeout = Duration::from_secs(3);
    let [mut side, _] = active(&protocols, config);
    side.peer.on_sealed(secs(2), 64);
    side.peer.on_taken(secs(3), 63);
    side.timeout(secs(5));
    assert_eq!(side.peer.close_reason(), Some(CloseReason::WriteTimeout));
    assert_eq!(side.peer.state(), State::Closed);
    assert_eq!(side.peer.poll_control(secs(5)), None);
}

#[test]
fn remotes_without_a_common_capability_part_as_useless() {
    let ours = [protocol("a", 2, 100)];
    let theirs = [protocol("b", 2, 100)];
    let mut a = Side::simple(1, &ours);
    let mut b = Side::simple(2, &theirs);
    settle(&mut a, &mut b, at(0));
    for side in [&a, &b] {
        assert_eq!(side.peer.close_reason(), Some(CloseReason::UselessPeer));
        assert_eq!(
            side.said,
            [Control::Hello, Control::Disconnect(Reason::USELESS_PEER)]
        );
    }

    let mut config = Config::new();
    config.require_shared = false;
    let mut a = Side::new(local(1, 5, &ours), config, Expected::Anyone);
    let mut b = Side::new(local(2, 5, &theirs), config, Expected::Anyone);
    settle(&mut a, &mut b, at(0));
    assert_eq!(a.peer.state(), State::Active);
    assert!(a.peer.shared().is_empty());
    assert_eq!(
        a.peer.poll_acquire(0, LocalCode(0), None),
        Poll::Ready(Err(WriteError::NotShared))
    );
    assert_eq!(a.ends_by(16, b""), violation(Violation::CodeOutOfRange));
}

#[test]
fn a_code_that_the_subprotocol_does_not_own_is_not_written() {
    let protocols = two();
    let mut side = one_active(&protocols);
    for code in [2, 3, u32::MAX] {
        assert_eq!(
            side.peer.poll_acquire(0, LocalCode(code), None),
            Poll::Ready(Err(WriteError::InvalidCode))
        );
    }
    assert_eq!(
        side.peer.poll_acquire(0, LocalCode(1), None),
        Poll::Ready(Ok(WireCode(17)))
    );
}

#[test]
fn nothing_is_written_before_hello_was_taken_and_said() {
    let protocols = two();
    let mut side = Side::simple(1, &protocols);
    let write = |side: &mut Side<'_>| side.peer.poll_acquire(0, LocalCode(0), None);
    assert_eq!(write(&mut side), Poll::Ready(Err(WriteError::NotShared)));
    assert_eq!(
        side.take(at(0), 0, &hello(&local(2, 5, &protocols))),
        Ok(())
    );
    assert!(write(&mut side).is_pending(), "our Hello goes first");
    assert!(!side.peer.can_acquire());
    side.say(at(0));
    assert!(write(&mut side).is_ready());
}

#[test]
fn whom_hello_names_must_be_whom_we_expect() {
    let protocols = two();
    let ourselves = Some(CloseReason::SelfConnection);
    for (expected, remote, cause, reason) in [
        (Expected::Anyone, 2, None, 0),
        (Expected::Anyone, 1, ourselves, 0x0a),
        (Expected::Dialled(id(2)), 2, None, 0),
        (Expected::Dialled(id(1)), 1, ourselves, 0x0a),
        (
            Expected::Dialled(id(2)),
            3,
            Some(CloseReason::UnexpectedIdentity),
            0x09,
        ),
        (Expected::Authenticated(id(2)), 2, None, 0),
        (Expected::Authenticated(id(1)), 1, ourselves, 0x0a),
        (
            Expected::Authenticated(id(2)),
            3,
            Some(CloseReason::IdentityMismatch),
            0x09,
        ),
        (Expected::Anyone, 0, Some(CloseReason::InvalidIdentity), 7),
    ] {
        let mut side = Side::new(local(1, 5, &protocols), Config::new(), expected);
        side.say(at(0));
        let ends = side.ends_by(0, &hello(&local(remote, 5, &protocols)));
        let said = cause.map(|_| Control::Disconnect(Reason(reason)));
        assert_eq!(
            ends,
            (cause, Vec::from_iter(said)),
            "{expected:?}, {remote}"
        );
    }
}

#[test]
fn a_remote_turned_away_before_hello_gets_the_disconnect_in_place_of_it() {
    let protocols = two();
    let mut side = Side::simple(1, &protocols);
    side.peer.reject(at(0), Reason::ALREADY_CONNECTED);
    side.say(at(0));
    assert_eq!(side.said, [Control::Disconnect(Reason::ALREADY_CONNECTED)]);
    assert!(side.peer.wants_half_close());
}

#[test]
fn before_hello_nothing_comes_but_hello_or_disconnect() {
    let protocols = two();
    let before_hello = || {
        let mut side = Side::simple(1, &protocols);
        side.say(at(0));
        side
    };
    for code in [2, 3, 4, 15, 16, 18, 19, 1 << 32, u64::MAX] {
        for payload in [&[0xc0][..], &[0; MAX_HELLO_LENGTH + 1][..]] {
            let ends = before_hello().ends_by(code, payload);
            assert_eq!(ends, violation(Violation::ExpectedHello), "code {code:#x}");
        }
    }
    let remote = CloseReason::RemoteRequested(Some(Reason::TOO_MANY_PEERS));
    assert_eq!(
        before_hello().ends_by(1, &[0xc1, 0x04]),
        (Some(remote), vec![])
    );
    let too_large = [0; MAX_HELLO_LENGTH + 1];
    let ends = before_hello().ends_by(0, &too_large);
    assert_eq!(ends, violation(Violation::HelloTooLarge));
    let malformed = &too_large[..MAX_HELLO_LENGTH];
    let ends = before_hello().ends_by(0, malformed);
    assert_eq!(ends, violation(Violation::MalformedHello));
}

#[test]
fn a_code_out_of_range_is_a_violation() {
    let protocols = two();
    for code in [19, 0x8000_0000, u32::MAX.into(), 1 << 32, u64::MAX] {
        let ends = one_active(&protocols).ends_by(code, b"");
        assert_eq!(ends, violation(Violation::CodeOutOfRange), "{code:#x}");
    }
}

#[test]
fn base_messages_have_two_kibibytes_and_a_disconnect_any_size() {
    let protocols = two();
    let payload = [0xc0; MAX_HELLO_LENGTH + 1];
    for code in (0..16).filter(|code| *code != 1) {
        let mut side = one_active(&protocols);
        assert_eq!(side.take(at(1), code, &payload[1..]), Ok(()));
        assert_eq!(side.peer.close_reason(), None, "code {code:#x}");
        side.say(at(1));
        let ends = side.ends_by(code, &payload);
        assert_eq!(
            ends,
            violation(Violation::BaseMessageTooLarge),
            "code {code:#x}"
        );
    }
    let ends = one_active(&protocols).ends_by(1, &payload);
    assert_eq!(ends, (Some(CloseReason::RemoteRequested(None)), vec![]));
}

#[test]
fn a_second_hello_changes_nothing() {
    let protocols = two();
    let mut side = one_active(&protocols);
    let other = hello(&local(9, 3, &[]));
    assert_eq!(side.take(at(1), 0, &other), Ok(()));
    assert_eq!(side.peer.state(), State::Active);
    assert_eq!(side.peer.remote().map(|remote| remote.id), Some(id(2)));
    assert_eq!(side.peer.shared().len(), 2);
}

#[test]
fn a_message_of_24_bits_of_length_is_the_largest() {
    let protocols = two();
    let mut payload = vec![0; MAX_MESSAGE_LENGTH as usize];
    let mut side = one_active(&protocols);
    assert_eq!(side.take(at(1), 16, &payload), Ok(()));
    let message = side.arena.peek(0).expect("it is reported");
    assert!(message.is_oversize());
    assert_eq!(message.meta.length, MAX_MESSAGE_LENGTH);
    payload.push(0);
    let ends = side.ends_by(16, &payload);
    assert_eq!(ends, violation(Violation::MessageTooLarge));
}

#[test]
fn a_writer_that_waits_is_woken_when_it_is_its_turn_or_at_the_end() {
    let protocols = two();
    let mut side = one_active(&protocols);
    let tasks = [Counter::new(), Counter::new()];
    let ask = |side: &mut Side<'_>, subprotocol: usize| {
        let waker = tasks[subprotocol].waker();
        let mut cx = Context::from_waker(&waker);
        side.peer
            .poll_acquire(subprotocol, LocalCode(0), Some(&mut cx))
    };
    let wake = |side: &mut Side<'_>| {
        std::iter::from_fn(|| side.peer.next_wake()).for_each(|waker| waker.wake());
        [tasks[0].total(), tasks[1].total()]
    };
    assert!(ask(&mut side, 0).is_ready());
    side.peer.begin_write(0);
    assert!(ask(&mut side, 1).is_pending());
    assert_eq!(wake(&mut side), [0, 0]);
    side.peer.request_ping();
    assert_eq!(
        side.peer.poll_control(at(1)),
        None,
        "nothing goes out inside a frame"
    );
    side.peer.complete_write(0);
    assert_eq!(wake(&mut side), [0, 0], "the Ping goes first");
    assert_eq!(side.peer.poll_control(at(1)), Some(Control::Ping));
    assert_eq!(wake(&mut side), [0, 1]);
    assert_eq!(ask(&mut side, 1), Poll::Ready(Ok(WireCode(18))));
    side.peer.begin_write(1);
    assert!(ask(&mut side, 0).is_pending());
    side.peer.give_back(at(2), 1);
    let cause = CloseReason::WriteAbandoned;
    assert_eq!(side.peer.close_reason(), Some(cause));
    assert_eq!(side.peer.state(), State::Closed);
    assert_eq!(wake(&mut side), [1, 1]);
    assert_eq!(
        ask(&mut side, 0),
        Poll::Ready(Err(WriteError::Closed(cause)))
    );
}

#[test]
fn a_flush_is_ready_once_the_wire_took_everything() {
    let protocols = two();
    let mut side = one_active(&protocols);
    assert_eq!(side.peer.poll_flush(0, None), Poll::Ready(Ok(())));
    side.peer.on_sealed(at(1), 32);
    let tasks = [Counter::new(), Counter::new()];
    for (subprotocol, task) in tasks.iter().enumerate() {
        let waker = task.waker();
        let mut cx = Context::from_waker(&waker);
        assert!(
            side.peer
                .poll_flush(subprotocol, Some(&mut cx))
                .is_pending()
        );
    }
    let wake = |side: &mut Side<'_>| {
        std::iter::from_fn(|| side.peer.next_wake()).for_each(|waker| waker.wake());
        [tasks[0].total(), tasks[1].total()]
    };
    side.peer.on_taken(at(2), 31);
    assert_eq!(wake(&mut side), [0, 0]);
    side.peer.on_taken(at(3), 1);
    assert_eq!(wake(&mut side), [1, 1]);
    assert_eq!(side.peer.poll_flush(1, None), Poll::Ready(Ok(())));
}

#[test]
fn the_end_of_the_stream_ends_a_live_session_and_a_closing_one_after_its_last_word() {
    let protocols = two();
    for error in [
        TransportError::EndOfStream,
        TransportError::Io,
        TransportError::BadMac,
    ] {
        let mut side = one_active(&protocols);
        side.peer.handle_end(at(1), error);
        assert_eq!(side.peer.state(), State::Closed);
        let cause = CloseReason::Transport(error);
        assert_eq!(side.peer.close_reason(), Some(cause));
        assert_eq!(side.peer.poll_control(at(1)), None);

        let mut side = one_active(&protocols);
        side.peer.disconnect(at(1), Reason::REQUESTED);
        side.peer.handle_end(at(1), error);
        if error == TransportError::EndOfStream {
            side.say(at(1));
            assert_eq!(
                side.said.last(),
                Some(&Control::Disconnect(Reason::REQUESTED))
            );
            assert!(side.peer.wants_half_close());
        }
        assert_eq!(side.peer.state(), State::Closed);
        let cause = CloseReason::Local(Reason::REQUESTED);
        assert_eq!(side.peer.close_reason(), Some(cause));
    }
}
