//! How a run closure ends a session, and what either end is told.
use std::sync::mpsc::channel;

use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::CloseReason;
use devp2p_std::protocol::{Failure, Protocol};

use crate::session_rig::*;

/// Ends the first end's run closure with `end`; both ends' reports must say so.
fn ends(
    end: impl FnOnce(&mut devp2p_std::handle::Subprotocol) -> Result<(), Failure> + Send + 'static,
    reason: CloseReason,
    said: R,
) {
    let two = two();
    let ids = [two.hosts[1].id(), two.hosts[0].id()];
    two.controls[0].end(end);
    let [dialled, accepted] = two.running;
    let (ours, theirs) = (dialled.report(), accepted.report());
    assert_eq!(ours.reason, reason);
    assert_eq!(theirs.reason, remote_requested(said));
    assert!(!ours.remote_requested && theirs.remote_requested);
    for (report, id) in [&ours, &theirs].into_iter().zip(ids) {
        assert_eq!(report.id, Some(id));
        assert!(report.was_active && report.stuck.is_empty(), "{report:?}");
    }
}

fn failed(reason: R) -> CloseReason {
    CloseReason::ProtocolError {
        subprotocol: 0,
        reason,
    }
}

#[test]
fn a_closure_that_returns_is_client_quitting() {
    let returned = CloseReason::ProtocolReturned { subprotocol: 0 };
    ends(|_| Ok(()), returned, R::CLIENT_QUITTING);
}

#[test]
fn a_closure_that_fails_gives_the_reason() {
    for reason in [R::USELESS_PEER, R::REQUESTED, R(0x42), R(0xff)] {
        let fails = move |_: &mut _| Err(Failure::new(reason, "on purpose"));
        ends(fails, failed(reason), reason);
    }
}

#[test]
fn any_other_error_is_a_subprotocol_error() {
    ends(
        |_| Ok("no number".parse::<u8>().map(drop)?),
        failed(R::SUBPROTOCOL_ERROR),
        R::SUBPROTOCOL_ERROR,
    );
}

#[test]
fn a_payload_that_cannot_be_decoded_is_a_breach_of_protocol() {
    let two = two();
    two.controls[1]
        .run(|s| s.write(3, &[0xc2, 0x01]))
        .expect("a write");
    two.controls[0].end(|s| {
        let _: u64 = s.read()?.decode()?;
        Ok(())
    });
    let [dialled, accepted] = two.running;
    assert_eq!(dialled.report().reason, failed(R::PROTOCOL_ERROR));
    assert_eq!(
        accepted.report().reason,
        remote_requested(R::PROTOCOL_ERROR)
    );
}

#[test]
fn a_code_out_of_range_is_a_breach_of_protocol() {
    ends(
        |s| Ok(s.write(8, b"the length is 8")?),
        failed(R::PROTOCOL_ERROR),
        R::PROTOCOL_ERROR,
    );
}

#[test]
fn a_panic_is_a_subprotocol_error() {
    ends(
        |_| panic!("on purpose"),
        failed(R::SUBPROTOCOL_ERROR),
        R::SUBPROTOCOL_ERROR,
    );
}

#[test]
fn one_closure_that_returns_ends_the_others() {
    let (quits, quit) = controlled("quits", 1, 1);
    let (ended, end) = channel();
    let reads = Protocol::new("reads", 1, 1, move |s| {
        let _ = ended.send(s.read().map(drop));
        Ok(())
    });
    let (one, _one) = controlled("quits", 1, 1);
    let (other, _other) = controlled("reads", 1, 1);
    let client = host(1, vec![reads.expect("a name"), quits]);
    let server = host(2, vec![one, other]);
    let (dialled, accepted) = connect(&client, &server);
    quit.end(|_| Ok(()));
    let returned = CloseReason::ProtocolReturned { subprotocol: 1 };
    let read = end.recv_timeout(HANG).expect("the other closure ends");
    assert_eq!(read, Err(devp2p_std::handle::ReadError::Closed(returned)));
    assert_eq!(dialled.report().reason, returned);
    assert_eq!(
        accepted.report().reason,
        remote_requested(R::CLIENT_QUITTING)
    );
}

#[test]
fn a_closure_that_does_not_return_is_named_and_holds_nobody_up() {
    let (hold, held) = channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (gone, is_gone) = channel();
    let holds = Protocol::new("holds", 7, 1, move |_| {
        let _ = held.lock().map(|held| held.recv_timeout(HANG));
        let _ = gone.send(());
        Ok(())
    });
    let (quick, quit) = controlled("quick", 1, 1);
    let config = config(|c| c.closing_timeout = millis(100));
    let client = host_with(1, vec![holds.expect("a name"), quick], |b| b.config(config));
    let (one, _one) = controlled("holds", 7, 1);
    let (other, _other) = controlled("quick", 1, 1);
    let server = host(2, vec![one, other]);
    let (dialled, accepted) = connect(&client, &server);
    quit.end(|_| Ok(()));
    let report = dialled.report();
    assert_eq!(report.stuck, [client.protocols()[0].capability()]);
    assert_eq!(
        report.reason,
        CloseReason::ProtocolReturned { subprotocol: 1 }
    );
    assert!(accepted.report().stuck.is_empty());
    // It finds its session ended, whenever it goes on.
    drop(hold);
    is_gone.recv_timeout(HANG).expect("it goes on");
}

#[test]
fn no_shared_capability_is_a_useless_peer() {
    let (ours, _ours) = controlled("ours", 1, 1);
    let (theirs, _theirs) = controlled("theirs", 1, 1);
    let (dialled, accepted) = connect(&host(1, vec![ours]), &host(2, vec![theirs]));
    // Whoever hears the other first says so; the other hears that, or finds out by itself.
    for report in [dialled.report(), accepted.report()] {
        assert!(!report.was_active);
        assert!(
            [CloseReason::UselessPeer, remote_requested(R::USELESS_PEER)].contains(&report.reason),
            "{report:?}"
        );
    }
}

#[test]
fn another_identity_than_dialled_fails_the_handshake() {
    let two = host(2, vec![]);
    let (ours, theirs) = tcp();
    let dialled = dial(&host(1, vec![]), ours, &host(3, vec![]));
    let accepted = accept(&two, theirs);
    for report in [dialled.report(), accepted.report()] {
        assert!(
            matches!(report.reason, CloseReason::Transport(_)),
            "{report:?}"
        );
        assert_eq!((report.id, report.was_active), (None, false));
    }
}

#[test]
fn version_4_on_either_side_is_a_session_without_compression() {
    for versions in [(4, 4), (4, 5), (5, 4), (5, 5)] {
        let (ours, our_control) = controlled("test", 1, 8);
        let (theirs, their_control) = controlled("test", 1, 8);
        let client = host_with(1, vec![ours], |b| b.version(versions.0));
        let server = host_with(2, vec![theirs], |b| b.version(versions.1));
        let (dialled, accepted) = connect(&client, &server);
        our_control
            .run(|s| s.write(5, &[0; 10_000]))
            .expect("a write");
        let message = their_control.run(|s| s.read()).expect("a message");
        assert_eq!((message.code, message.payload), (5, vec![0; 10_000]));
        let is_plain = message.wire_length == 10_000;
        assert_eq!(is_plain, versions != (5, 5), "{versions:?}");
        dialled.stopper.stop(R::REQUESTED);
        assert_eq!(dialled.report().reason, CloseReason::Local(R::REQUESTED));
        assert_eq!(accepted.report().reason, remote_requested(R::REQUESTED));
    }
}
