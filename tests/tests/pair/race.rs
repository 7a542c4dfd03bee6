//! The first cause wins, however many come at once.
use devp2p_core::disconnect::{self, DisconnectReason};
use devp2p_core::error::{CloseReason, TransportError, Violation};
use devp2p_core::session::Event;
use devp2p_tests::endpoint::Endpoint;
use devp2p_tests::fixture::protocol;
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::Kind;
use devp2p_tests::node::{Machine, Node, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::random::Random;
use devp2p_tests::rogue::{Remote, Say, body};

for_each_kind! {
    the_first_of_many_causes_wins,
}

#[derive(Debug, Clone, Copy)]
enum Cause {
    Local(u8),
    Returned,
    Failed,
    Io,
    End,
    Frame(Arriving),
}

#[derive(Debug, Clone, Copy)]
enum Arriving {
    Disconnect(u8),
    Violation,
    BadMac,
}

impl Cause {
    fn random(random: &mut Random) -> Self {
        let reason = random.below(17) as u8;
        match random.below(8) {
            0 => Self::Local(reason),
            1 => Self::Returned,
            2 => Self::Failed,
            3 => Self::Io,
            4 => Self::End,
            5 => Self::Frame(Arriving::Disconnect(reason)),
            6 => Self::Frame(Arriving::Violation),
            _ => Self::Frame(Arriving::BadMac),
        }
    }

    fn reason(self) -> CloseReason {
        match self {
            Self::Local(reason) => CloseReason::Local(DisconnectReason(reason)),
            Self::Returned => CloseReason::ProtocolReturned { subprotocol: 0 },
            Self::Failed => CloseReason::ProtocolError {
                subprotocol: 1,
                reason: DisconnectReason::SUBPROTOCOL_ERROR,
            },
            Self::Io => CloseReason::Transport(TransportError::Io),
            Self::End => CloseReason::Transport(TransportError::EndOfStream),
            Self::Frame(Arriving::Disconnect(reason)) => {
                CloseReason::RemoteRequested(Some(DisconnectReason(reason)))
            }
            Self::Frame(Arriving::Violation) => CloseReason::Violation(Violation::CodeOutOfRange),
            Self::Frame(Arriving::BadMac) => CloseReason::Transport(TransportError::BadMac),
        }
    }

    fn apply<R: Remote, M: Machine>(self, pair: &mut Pair<R, Node<M>>) {
        let now = pair.now;
        match self {
            Self::Local(_) | Self::Returned | Self::Failed => {
                pair.b.session.close(now, self.reason());
            }
            Self::Io => pair.b.session.handle_end(now, TransportError::Io),
            Self::End => pair.b.session.handle_end(now, TransportError::EndOfStream),
            Self::Frame(arriving) => {
                pair.a.say(match arriving {
                    Arriving::Disconnect(reason) => Say::Frame(body(1, &[0xc1, reason])),
                    Arriving::Violation => Say::Frame(body(77, &[])),
                    Arriving::BadMac => Say::BadMac(body(2, &[])),
                });
                pair.a.advance(now, &mut |_| {});
                let mut bytes = pair.a.output().to_vec();
                let n = pair.b.handle_input(now, &mut bytes);
                pair.a.consume_output(now, n);
            }
        }
    }
}

fn the_first_of_many_causes_wins<K: Kind>() {
    let protocols = [protocol("a", 2, 1024), protocol("b", 2, 1024)];
    for seed in 0..1000 {
        let mut random = Random::new(seed);
        let spec = Spec::new(2, &protocols);
        let mut pair = K::active(&spec);
        let mut first = None;
        let mut broken = false;
        for _ in 0..1 + random.index(6) {
            let cause = Cause::random(&mut random);
            cause.apply(&mut pair);
            first.get_or_insert(cause);
            broken |= matches!(cause, Cause::Io);
            if random.one_in(4) {
                pair.step();
            }
        }
        let first = first.expect("one at least").reason();
        pair.check(
            pair.b.session.peer().close_reason() == Some(first),
            "the first cause is the one that is recorded",
        );
        pair.run_out();
        pair.check(pair.b.close_reason() == Some(first), "and told");
        let told = pair.b.event_kinds();
        let told = told.iter().filter(|e| matches!(e, Event::Closed(_)));
        pair.check(told.count() == 1, "once");
        let said: Vec<_> = pair.a.messages().into_iter().filter(|m| m.0 == 1).collect();
        match first.disconnect() {
            Some(reason) if !broken => {
                let (payload, length) = disconnect::encode(reason);
                let payload = K::payload(&payload[..length]);
                pair.check(said == [(1, &payload[..])], "its Disconnect is said once");
            }
            Some(_) => pair.check(said.len() <= 1, "its Disconnect is said at most once"),
            None => pair.check(said.is_empty(), "nothing is said"),
        }
    }
}
