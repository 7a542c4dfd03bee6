//! Who is admitted, and what is said to those who are not.
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;

use devp2p_core::disconnect::{self, DisconnectReason as R};
use devp2p_core::error::CloseReason;
use devp2p_std::session::Session;

use crate::session_raw::Raw;
use crate::session_rig::*;

#[test]
fn a_refusal_after_the_handshake_is_said_in_place_of_hello() {
    // Often, for a Hello that slips out before it would be a race.
    for reason in [R::TOO_MANY_PEERS, R::ALREADY_CONNECTED, R::SELF].repeat(20) {
        let server = host(2, vec![]);
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let session = Session::accept(&server, theirs).expect("a session");
        let (asked, candidates) = channel();
        let running = Running::admitting(session, move |candidate| {
            let _ = asked.send((candidate.id, candidate.inbound, candidate.peer.is_some()));
            Err(reason)
        });
        let mut raw = Raw::dial(ours, 1, server.id());
        let (code, payload) = raw.receive_first();
        assert_eq!((code, disconnect::decode(&payload)), (1, Some(reason)));
        assert_eq!(raw.receive_base(), None, "nothing follows");
        drop(raw);
        let report = running.report();
        assert_eq!(report.reason, CloseReason::Rejected(reason));
        assert_eq!(report.id, None, "no frame has proved it");
        assert!(!report.was_active);
        let asked: Vec<_> = candidates.iter().collect();
        assert_eq!(asked, [(*key(1).id(), true, false)]);
    }
}

#[test]
fn a_refusal_reaches_a_remote_of_our_own_kind() {
    for after_hello in [false, true] {
        let (ours, _ours) = controlled("test", 1, 1);
        let (theirs, _theirs) = controlled("test", 1, 1);
        let (client, server) = (host(1, vec![ours]), host(2, vec![theirs]));
        let events = server.subscribe(16);
        let (our_end, their_end) = tcp();
        let session = Session::accept(&server, their_end).expect("a session");
        let accepted = Running::admitting(session, move |candidate| match &candidate.peer {
            None if after_hello => Ok(()),
            Some(peer) => {
                assert_eq!(peer.capabilities(), ["test/1"]);
                Err(R::TOO_MANY_PEERS)
            }
            None => Err(R::TOO_MANY_PEERS),
        });
        let dialled = dial(&client, our_end, &server);
        assert_eq!(dialled.report().reason, remote_requested(R::TOO_MANY_PEERS));
        let report = accepted.report();
        assert_eq!(report.reason, CloseReason::Rejected(R::TOO_MANY_PEERS));
        assert!(!report.was_active);
        assert!(events.receiver().try_recv().is_err(), "it was never a peer");
    }
}

#[test]
fn a_panic_of_admission_ends_the_session_before_it_goes_on() {
    for after_hello in [false, true] {
        let (ours, _ours) = controlled("test", 1, 1);
        let (theirs, _theirs) = controlled("test", 1, 1);
        let (client, server) = (host(1, vec![ours]), host(2, vec![theirs]));
        let (our_end, their_end) = UnixStream::pair().expect("a pair");
        let dialled = dial(&client, our_end, &server);
        let session = Session::accept(&server, their_end).expect("a session");
        let panicked = thread::spawn(move || {
            catch_unwind(AssertUnwindSafe(|| {
                session.run_with(|candidate| {
                    assert!(candidate.peer.is_none() && after_hello, "on purpose");
                    Ok(())
                })
            }))
            .is_err()
        });
        assert!(panicked.join().expect("it is caught"));
        let reason = dialled.report().reason;
        assert!(matches!(reason, CloseReason::Transport(_)), "{reason}");
    }
}
