//! An active session: messages, inboxes that hold back, Pings, writers.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use devp2p_core::capability::Overflow;
use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::config::Config;
use devp2p_core::control::Control;
use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::inbox::Hold;
use devp2p_core::lifecycle::State;
use devp2p_core::time::{Duration, PollAt};
use devp2p_tests::random::Random;
use devp2p_tests::wake::Counter;

use super::{Side, active, at, one_active, secs, two};

#[test]
fn messages_of_all_subprotocols_arrive_in_order_and_unaltered() {
    let protocols = two();
    let mut sides = active(&protocols, Config::new());
    let mut random = Random::new(7);
    let mut sent = [(); 2].map(|()| [(); 2].map(|()| VecDeque::new()));
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
    let held = Err(Hold::Inbox(0));
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
fn a_reader_that_waits_for_the_wire_is_not_a_stalled_one() {
    let protocols = two();
    let stalled = || {
        let mut side = one_active(&protocols);
        assert_eq!(side.take(at(1), 16, &[1; 179]), Ok(()));
        side.peer.on_sealed(secs(1), 1000);
        assert!(side.take(secs(2), 17, b"second").is_err());
        side.peer.handle_timeout(secs(18));
        assert_eq!(side.peer.close_reason(), None);
        side
    };
    // The wire takes nothing of what was sealed: that is what is late.
    let mut side = stalled();
    side.peer.handle_timeout(secs(21));
    assert_eq!(side.peer.close_reason(), Some(CloseReason::WriteTimeout));

    // The wire has moved: from there on the reader has its time.
    let mut side = stalled();
    side.peer.on_taken(secs(19), 1000);
    side.peer.handle_timeout(at(33_999_999));
    assert_eq!(side.peer.close_reason(), None);
    side.peer.handle_timeout(secs(34));
    let cause = CloseReason::Stalled { subprotocol: 0 };
    assert_eq!(side.peer.close_reason(), Some(cause));

    // A Ping that the wire takes at once gives the reader no more time.
    let mut side = one_active(&protocols);
    assert_eq!(side.take(at(1), 16, &[1; 179]), Ok(()));
    assert!(side.take(secs(2), 17, b"second").is_err());
    side.peer.on_sealed(secs(15), 32);
    side.peer.on_taken(at(15_000_100), 32);
    side.peer.handle_timeout(secs(17));
    assert_eq!(side.peer.close_reason(), Some(cause));
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
fn a_flood_of_pings_is_answered_by_sixteen_pongs() {
    let protocols = two();
    let mut side = one_active(&protocols);
    for _ in 0..10_000 {
        assert_eq!(side.take(at(1), 2, &[0xc0]), Ok(()));
    }
    assert_eq!(side.say(at(1)), vec![(3, vec![0xc0]); 16]);
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
