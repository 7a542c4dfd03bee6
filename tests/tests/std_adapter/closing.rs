//! Local ends: the reason arrives, whatever else goes on, and the end comes in bounded time.
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use devp2p_core::capability::Protocol as CoreProtocol;
use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::{CloseReason, TransportError, Violation, WriteError};
use devp2p_std::handle::ReadError;
use devp2p_std::host::Host;
use devp2p_std::session::Session;

use crate::session_raw::Raw;
use crate::session_rig::*;

#[test]
fn every_reason_arrives_as_it_was_given() {
    for reason in (0..=0x11).chain([0x7f, 0x80, 0xff]).map(R) {
        let two = two();
        if reason.0 % 2 == 0 {
            two.controls[1].run(move |s| s.disconnect(reason));
        } else {
            let peer = two.controls[1].run(|s| s.peer().clone());
            peer.disconnect(reason);
            // The first cause counts.
            peer.disconnect(R(reason.0 ^ 1));
        }
        let [dialled, accepted] = two.running;
        assert_eq!(accepted.report().reason, CloseReason::Local(reason));
        assert_eq!(dialled.report().reason, remote_requested(reason));
    }
}

#[test]
fn both_ends_may_close_at_once() {
    for _ in 0..50 {
        let two = two();
        let peers = [0, 1].map(|i| two.controls[i].run(|s| s.peer().clone()));
        let reasons = [R::TOO_MANY_PEERS, R::USELESS_PEER];
        std::thread::scope(|scope| {
            for (peer, reason) in peers.iter().zip(reasons) {
                scope.spawn(move || peer.disconnect(reason));
            }
        });
        for (i, running) in two.running.into_iter().enumerate() {
            let report = running.report();
            let possible = [
                CloseReason::Local(reasons[i]),
                remote_requested(reasons[1 - i]),
            ];
            assert!(possible.contains(&report.reason), "{report:?}");
            assert!(report.stuck.is_empty());
        }
    }
}

#[test]
fn a_disconnect_follows_the_big_message_that_is_being_written() {
    for _ in 0..5 {
        let two = two();
        let writing = two.controls[0].start(|s| s.write(0, &noise(8_000_000)));
        let reason = remote_requested(R::ALREADY_CONNECTED);
        let reading = two.controls[1].start(move |s| {
            assert_eq!(s.peer().closed(), reason);
            s.read().map(|message| message.payload.len())
        });
        two.running[0].stopper.stop(R::ALREADY_CONNECTED);
        let written = writing.recv_timeout(HANG).expect("no hang");
        let local = CloseReason::Local(R::ALREADY_CONNECTED);
        assert!([Ok(()), Err(WriteError::Closed(local))].contains(&written));
        // What was sealed before the Disconnect arrived before it.
        let read = reading.recv_timeout(HANG).expect("no hang");
        match written {
            Ok(()) => assert_eq!(read, Ok(8_000_000)),
            Err(_) => assert!(read.is_err()),
        }
        let [dialled, accepted] = two.running;
        assert_eq!(dialled.report().reason, local);
        assert_eq!(accepted.report().reason, reason);
    }
}

#[test]
fn a_wire_that_stands_still_delays_the_end_no_longer_than_the_deadline() {
    let config = config(|c| c.closing_timeout = millis(100));
    let (two, gate) = two_gated(|b| b.config(config));
    let writer = two.controls[0].run(|s| s.writer());
    gate.shut();
    let writing = two.controls[0].start(|s| s.write(0, &noise(5_000_000)));
    gate.wait_until_stopped();
    two.running[0].stopper.stop(R::REQUESTED);
    let [dialled, accepted] = two.running;
    let report = dialled.report();
    assert_eq!(report.reason, CloseReason::Local(R::REQUESTED));
    assert!(report.stuck.is_empty());
    // It is too large to wait in the output whole.
    assert_eq!(
        writing.recv_timeout(HANG).expect("no hang"),
        Err(WriteError::Closed(report.reason))
    );
    assert_eq!(writer.flush(), Err(report.reason));
    let theirs = accepted.report().reason;
    assert_eq!(theirs, CloseReason::Transport(TransportError::EndOfStream));
}

// ---- A remote made by hand ----

fn test_protocol() -> CoreProtocol {
    CoreProtocol::new("test", 1, 8, 0).expect("a name")
}

/// A host with a controlled protocol, its session, and a remote whose Hello was accepted.
fn with_raw(
    set: impl FnOnce(&mut devp2p_core::config::Config),
) -> (Control, Running, Raw<UnixStream>) {
    let (protocol, control) = controlled("test", 1, 8);
    let host = host_with(2, vec![protocol], |b| b.config(config(set)));
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let running = accept(&host, theirs);
    let mut raw = Raw::dial(ours, 1, host.id());
    raw.greet(&[test_protocol()]);
    (control, running, raw)
}

#[test]
fn after_disconnect_comes_the_end_of_the_stream_and_what_the_remote_still_says_is_read() {
    let (control, running, mut raw) = with_raw(|_| ());
    control.run(|s| s.disconnect(R::USELESS_PEER));
    assert_eq!(raw.receive_disconnect(), Some(R::USELESS_PEER));
    assert_eq!(raw.receive_base(), None);
    // The session reads on: else this write would fail once its buffers were full.
    let frame = raw.frame(16, &[1, 0]);
    for _ in 0..20_000 {
        if raw.stream.write_all(&frame).is_err() {
            // Only after the closing deadline.
            break;
        }
    }
    drop(raw);
    assert_eq!(running.report().reason, CloseReason::Local(R::USELESS_PEER));
}

#[test]
fn a_remote_that_never_closes_is_waited_for_until_the_deadline() {
    let (control, running, mut raw) = with_raw(|c| c.closing_timeout = millis(100));
    control.run(|s| s.disconnect(R::USELESS_PEER));
    assert_eq!(running.report().reason, CloseReason::Local(R::USELESS_PEER));
    assert_eq!(raw.receive_disconnect(), Some(R::USELESS_PEER));
}

#[test]
fn who_waits_for_a_message_hears_of_the_end_by_the_deadline_though_the_remote_says_nothing() {
    let (control, running, raw) = with_raw(|c| c.closing_timeout = millis(100));
    let peer = control.run(|s| s.peer().clone());
    let heard = control.start(|s| s.read().map(|message| message.code));
    peer.disconnect(R::USELESS_PEER);
    let end = heard.recv_timeout(HANG).expect("no hang");
    let reason = CloseReason::Local(R::USELESS_PEER);
    assert_eq!(end, Err(ReadError::Closed(reason)));
    assert_eq!(running.report().reason, reason);
    drop(raw);
}

#[test]
fn a_remote_that_closed_its_sending_direction_still_hears_why() {
    for _ in 0..50 {
        let (_control, running, mut raw) = with_raw(|_| ());
        raw.send(4711, &[1, 0]);
        raw.stream.shutdown(Shutdown::Write).expect("a half-close");
        assert_eq!(raw.receive_disconnect(), Some(R::PROTOCOL_ERROR));
        let violation = Violation::CodeOutOfRange;
        assert_eq!(running.report().reason, CloseReason::Violation(violation));
    }
}

/// The remote says why and is gone, while we write to it as fast as we can.
#[test]
fn the_reason_of_a_remote_that_is_gone_at_once_is_not_lost_to_a_failed_write() {
    for _ in 0..50 {
        let (control, running, mut raw) = with_raw(|_| ());
        let writer = control.run(|s| s.writer());
        let writing = std::thread::spawn(move || while writer.write(0, &noise(1000)).is_ok() {});
        raw.disconnect(R::TOO_MANY_PEERS);
        drop(raw);
        let reason = remote_requested(R::TOO_MANY_PEERS);
        assert_eq!(running.report().reason, reason);
        writing.join().expect("no panic");
    }
}

// ---- While the session opens ----

fn opening(set: impl FnOnce(&mut devp2p_core::config::Config)) -> (Arc<Host>, Session, UnixStream) {
    let host = host_with(2, vec![], |b| b.config(config(set)));
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let session = Session::accept(&host, theirs).expect("a session");
    (host, session, ours)
}

#[test]
fn a_session_stopped_before_it_runs_or_while_its_remote_is_silent_is_over_at_once() {
    for before in [true, false] {
        let (_host, session, mut stream) = opening(|_| ());
        let stopper = session.stopper();
        if before {
            stopper.stop(R::REQUESTED);
        }
        let running = Running::new(session);
        stopper.stop(R::REQUESTED);
        let report = running.report();
        assert_eq!(report.reason, CloseReason::Local(R::REQUESTED));
        assert_eq!(report.id, None);
        // Nothing was said, and the stream is at its end although the stopper lives.
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    }
}

#[test]
fn a_session_that_never_runs_closes_its_stream_when_dropped() {
    let (_host, session, mut stream) = opening(|_| ());
    let stopper = session.stopper();
    drop(session);
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    stopper.stop(R::REQUESTED);
}

#[test]
fn a_session_stopped_before_the_remote_said_hello_tells_it() {
    let (host, session, stream) = opening(|_| ());
    let running = Running::new(session);
    let mut raw = Raw::dial(stream, 1, host.id());
    let (code, _) = raw.receive_first();
    assert_eq!(code, 0, "Hello");
    running.stopper.stop(R::TOO_MANY_PEERS);
    assert_eq!(raw.receive_disconnect(), Some(R::TOO_MANY_PEERS));
    drop(raw);
    let report = running.report();
    assert_eq!(report.reason, CloseReason::Local(R::TOO_MANY_PEERS));
    assert!(report.id.is_none() && !report.was_active);
}

#[test]
fn a_remote_that_says_nothing_or_too_little_is_given_the_handshake_deadline() {
    for bytes in [0, 1, 2, 100] {
        let (_host, session, mut stream) = opening(|c| c.handshake_timeout = millis(100));
        let running = Running::new(session);
        // The beginning of an auth packet of 400 bytes.
        stream
            .write_all(&[&[1, 0x90][..], &[4; 98]].concat()[..bytes])
            .expect("a write");
        let report = running.report();
        assert_eq!(report.reason, CloseReason::HandshakeTimeout);
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    }
}

#[test]
fn a_remote_that_trickles_bytes_gets_no_more_time() {
    let (_host, session, mut stream) = opening(|c| c.handshake_timeout = millis(100));
    let running = Running::new(session);
    // One byte whenever the system lets us run again, until the session has had enough.
    let trickle = std::thread::spawn(move || {
        let prefix = [0x08, 0x00];
        for byte in prefix.into_iter().chain(std::iter::repeat_n(4, 1024)) {
            std::thread::park_timeout(std::time::Duration::from_millis(1));
            if stream.write_all(&[byte]).is_err() {
                return true;
            }
        }
        false
    });
    assert_eq!(running.report().reason, CloseReason::HandshakeTimeout);
    assert!(trickle.join().expect("no panic"), "it was cut off");
}

#[test]
fn a_remote_without_hello_is_told_that_time_is_up() {
    // Long enough for the handshake on a busy machine.
    let (host, session, stream) = opening(|c| c.handshake_timeout = millis(1500));
    let running = Running::new(session);
    let mut raw = Raw::dial(stream, 1, host.id());
    assert_eq!(raw.receive_first().0, 0);
    assert_eq!(raw.receive_disconnect(), Some(R::READ_TIMEOUT));
    drop(raw);
    assert_eq!(running.report().reason, CloseReason::HandshakeTimeout);
}

#[test]
fn a_dialler_whose_remote_never_reads_is_given_the_handshake_deadline() {
    let host = host_with(1, vec![], |b| {
        b.config(config(|c| c.handshake_timeout = millis(100)))
    });
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let gate = Gate::default();
    gate.shut();
    let running = dial(
        &host,
        Gated(ours, gate),
        &crate::session_rig::host(2, vec![]),
    );
    assert_eq!(running.report().reason, CloseReason::HandshakeTimeout);
}
