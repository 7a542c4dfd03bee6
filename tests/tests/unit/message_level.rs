//! Two peers joined by a queue of whole messages: no RLPx, no compression, only a virtual clock.

mod ends;
mod hello;
mod traffic;

use std::collections::VecDeque;
use std::task::Poll;

use devp2p_core::arena::Arena;
use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::control::Control;
use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::{CloseReason, Violation};
use devp2p_core::hello::{MAX_HELLO_LENGTH, NodeId};
use devp2p_core::inbox::Hold;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{Expected, Peer};
use devp2p_core::time::{Instant, PollAt};
use devp2p_tests::fixture::protocol;

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

    fn take(&mut self, now: Instant, code: u64, payload: &[u8]) -> Result<(), Hold> {
        self.peer
            .handle_message(now, &self.local, code, payload, &mut self.arena)
    }

    /// Takes what waits, until it is held back.
    fn take_all(&mut self, now: Instant) -> Result<(), Hold> {
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
