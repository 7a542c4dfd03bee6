//! Hello: versions, identities, what may come before it, and remotes turned away.

use std::task::Poll;

use devp2p_core::code::LocalCode;
use devp2p_core::config::Config;
use devp2p_core::control::Control;
use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::{CloseReason, Violation, WriteError};
use devp2p_core::hello::MAX_HELLO_LENGTH;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{Expected, Remote};
use devp2p_core::time::PollAt;
use devp2p_tests::fixture::protocol;

use super::{HELLO_BY, Side, at, hello, id, local, one_active, secs, settle, two, violation};

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
fn a_second_hello_changes_nothing() {
    let protocols = two();
    let mut side = one_active(&protocols);
    let other = hello(&local(9, 3, &[]));
    assert_eq!(side.take(at(1), 0, &other), Ok(()));
    assert_eq!(side.peer.state(), State::Active);
    assert_eq!(side.peer.remote().map(|remote| remote.id), Some(id(2)));
    assert_eq!(side.peer.shared().len(), 2);
}
