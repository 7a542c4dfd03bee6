//! Awaiting Hello, active, closing, closed: one deadline at a time, and the first cause wins.

use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::{CloseReason, TransportError, Violation};
use devp2p_core::lifecycle::{Lifecycle, State};
use devp2p_core::time::{Duration, Instant};

const HELLO_BY: Instant = Instant::from_micros(5_000_000);
const TIMEOUT: Duration = Duration::from_secs(2);

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn active() -> Lifecycle {
    let mut lifecycle = Lifecycle::new(HELLO_BY);
    lifecycle.activate();
    lifecycle
}

/// Every cause, and the Disconnect that the design's table of causes has sent for it.
fn causes() -> Vec<(CloseReason, Option<u8>)> {
    let subprotocol = 1;
    vec![
        (CloseReason::RemoteRequested(Some(Reason(4))), None),
        (CloseReason::RemoteRequested(None), None),
        (CloseReason::Local(Reason(0x33)), Some(0x33)),
        (CloseReason::ProtocolReturned { subprotocol }, Some(0x08)),
        (
            CloseReason::ProtocolError {
                subprotocol,
                reason: Reason::SUBPROTOCOL_ERROR,
            },
            Some(0x10),
        ),
        (
            CloseReason::Violation(Violation::CodeOutOfRange),
            Some(0x02),
        ),
        (CloseReason::Transport(TransportError::BadMac), None),
        (CloseReason::WriteAbandoned, None),
        (CloseReason::PingTimeout, Some(0x0b)),
        (CloseReason::ReadTimeout, Some(0x0b)),
        (CloseReason::WriteTimeout, None),
        (CloseReason::Stalled { subprotocol }, Some(0x10)),
        (CloseReason::MemoryFull, Some(0x04)),
        (CloseReason::HandshakeTimeout, Some(0x0b)),
        (CloseReason::IncompatibleVersion, Some(0x06)),
        (CloseReason::UselessPeer, Some(0x03)),
        (CloseReason::InvalidIdentity, Some(0x07)),
        (CloseReason::UnexpectedIdentity, Some(0x09)),
        (CloseReason::IdentityMismatch, Some(0x09)),
        (CloseReason::SelfConnection, Some(0x0a)),
        (CloseReason::Rejected(Reason(0x05)), Some(0x05)),
    ]
}

#[test]
fn hello_is_late_at_its_deadline_and_not_a_microsecond_before() {
    let mut lifecycle = Lifecycle::new(HELLO_BY);
    assert_eq!(lifecycle.state(), State::AwaitingHello);
    assert_eq!(lifecycle.deadline(), HELLO_BY);
    assert!(!lifecycle.handle_timeout(at(4_999_999)));
    assert!(lifecycle.handle_timeout(HELLO_BY));
}

#[test]
fn an_active_session_has_no_deadline_of_its_own() {
    let mut lifecycle = active();
    assert_eq!(lifecycle.state(), State::Active);
    assert_eq!(lifecycle.deadline(), Instant::MAX);
    assert!(!lifecycle.handle_timeout(Instant::MAX));
    assert_eq!(lifecycle.state(), State::Active);
    assert_eq!(lifecycle.close_reason(), None);
}

#[test]
fn each_cause_says_its_disconnect_and_closes_at_once_if_it_has_none() {
    for (cause, disconnect) in causes() {
        for mut lifecycle in [Lifecycle::new(HELLO_BY), active()] {
            assert!(lifecycle.close(at(7), cause, TIMEOUT));
            assert_eq!(lifecycle.close_reason(), Some(cause));
            assert_eq!(lifecycle.wants_to_send(), disconnect.is_some());
            if disconnect.is_some() {
                assert_eq!(lifecycle.state(), State::Closing, "{cause}");
                assert_eq!(lifecycle.deadline(), at(2_000_007));
            } else {
                assert_eq!(lifecycle.state(), State::Closed, "{cause}");
                assert_eq!(lifecycle.deadline(), Instant::MAX);
            }
            assert_eq!(lifecycle.take_disconnect(), disconnect.map(Reason));
            assert_eq!(lifecycle.take_disconnect(), None, "it is said once");
            assert!(!lifecycle.wants_to_send());
        }
    }
}

#[test]
fn the_first_cause_wins_over_every_later_one() {
    for (first, disconnect) in causes() {
        let mut lifecycle = active();
        assert!(lifecycle.close(at(1), first, TIMEOUT));
        let deadline = lifecycle.deadline();
        for (later, _) in causes() {
            assert!(!lifecycle.close(at(2), later, TIMEOUT));
            assert_eq!(lifecycle.close_reason(), Some(first));
            assert_eq!(
                lifecycle.deadline(),
                deadline,
                "a later cause gives no more time"
            );
        }
        assert_eq!(lifecycle.take_disconnect(), disconnect.map(Reason));
    }
}

#[test]
fn closing_ends_at_its_deadline_with_the_cause_kept() {
    let mut lifecycle = active();
    let cause = CloseReason::Local(Reason::REQUESTED);
    lifecycle.close(at(10), cause, TIMEOUT);
    assert!(!lifecycle.handle_timeout(at(2_000_009)));
    assert_eq!(lifecycle.state(), State::Closing);
    assert!(
        !lifecycle.handle_timeout(at(2_000_010)),
        "it is no new cause"
    );
    assert_eq!(lifecycle.state(), State::Closed);
    assert_eq!(lifecycle.close_reason(), Some(cause));
    assert_eq!(
        lifecycle.take_disconnect(),
        None,
        "nothing is said after the end"
    );
    assert_eq!(lifecycle.deadline(), Instant::MAX);
}

#[test]
fn a_session_without_a_cause_cannot_be_finished() {
    let mut lifecycle = active();
    lifecycle.finish();
    assert_eq!(lifecycle.state(), State::Active);
}

#[test]
fn what_is_closing_or_closed_does_not_become_active() {
    let mut lifecycle = Lifecycle::new(HELLO_BY);
    lifecycle.close(at(0), CloseReason::UselessPeer, TIMEOUT);
    lifecycle.activate();
    assert_eq!(lifecycle.state(), State::Closing);
    lifecycle.finish();
    lifecycle.activate();
    assert_eq!(lifecycle.state(), State::Closed);
}

#[test]
fn a_closing_deadline_at_the_far_end_of_time_saturates() {
    let mut lifecycle = active();
    lifecycle.close(at(u64::MAX - 1), CloseReason::UselessPeer, TIMEOUT);
    assert_eq!(lifecycle.deadline(), Instant::MAX);
    assert!(!lifecycle.handle_timeout(at(u64::MAX - 1)));
    assert_eq!(lifecycle.state(), State::Closing);
}
