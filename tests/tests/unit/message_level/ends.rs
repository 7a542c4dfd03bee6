//! How a session ends: violations, deadlines, Disconnect, the end of the stream.

use std::task::{Context, Poll};

use devp2p_core::MAX_MESSAGE_LENGTH;
use devp2p_core::config::Config;
use devp2p_core::control::Control;
use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::{CloseReason, TransportError, Violation};
use devp2p_core::hello::MAX_HELLO_LENGTH;
use devp2p_core::lifecycle::State;
use devp2p_core::time::{Duration, PollAt};
use devp2p_tests::wake::Counter;

use super::{active, at, one_active, secs, settle, two, violation};

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
