//! Remotes that do not listen, and those that do not let go.
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, Violation, WriteError};
use devp2p_core::time::Duration;
use devp2p_std::protocol::Protocol;
use devp2p_tests::geth::{BOUND, Geth};
use serde_json::json;

use crate::hostile::{Hostile, SHORT, patient};
use crate::local::{Dialler, Listening, both_ways, host};

both_ways!(
    a_remote_that_ends_its_direction,
    a_remote_that_resets,
    a_remote_that_does_not_close,
    a_remote_that_goes_on_sending,
    a_flood_of_requests_by_a_remote_that_never_reads,
);

/// Half a connection is none: the protocol has no use for it.
fn a_remote_that_ends_its_direction(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    let session = remote.session();
    remote.geth.ok(json!({"cmd": "close", "how": "half"}));
    let cause = CloseReason::Transport(TransportError::EndOfStream);
    remote.ends(session, cause, None);
}

fn a_remote_that_resets(dialler: Dialler) {
    let remote = Hostile::new(dialler);
    let session = remote.session();
    remote.geth.ok(json!({"cmd": "close", "how": "rst"}));
    let report = session.report();
    assert_eq!(report.reason, CloseReason::Transport(TransportError::Io));
    remote.assert_well();
}

/// It has our Disconnect and the end of our stream, and the closing deadline to close its own.
fn a_remote_that_does_not_close(dialler: Dialler) {
    let mut config = patient();
    config.closing_timeout = SHORT;
    let remote = Hostile::with(dialler, config);
    let session = remote.session();
    remote
        .geth
        .ok(json!({"cmd": "send", "code": 0x12, "hex": "c0"}));
    // Nobody closes on the other side.
    let report = session.report();
    let cause = CloseReason::Violation(Violation::CodeOutOfRange);
    assert_eq!(report.reason, cause);
    assert!(report.stuck.is_empty());
    let seen = remote
        .geth
        .ok(json!({"cmd": "read_until_close", "quiet": true}));
    assert_eq!(seen["reason"], DisconnectReason::PROTOCOL_ERROR.0);
    remote.assert_well();
}

/// The same while it sends and sends.
fn a_remote_that_goes_on_sending(dialler: Dialler) {
    let mut config = patient();
    config.closing_timeout = SHORT;
    let remote = Hostile::with(dialler, config);
    let session = remote.session();
    remote
        .geth
        .ok(json!({"cmd": "send", "code": 0x12, "hex": "c0"}));
    let flood = json!({"cmd": "flood", "code": 0x10, "size": 10_000, "pattern": "random", "count": 100_000_000});
    let flood = remote.geth.background(flood);
    let seen = remote.geth.ok(json!({"cmd": "read"}));
    assert_eq!(seen["reason"], DisconnectReason::PROTOCOL_ERROR.0);
    let report = session.report();
    let cause = CloseReason::Violation(Violation::CodeOutOfRange);
    assert_eq!(report.reason, cause);
    assert_eq!(remote.geth.done(flood)["ending"], "reset");
    remote.assert_well();
}

/// Each request asks for an answer, and no answer is taken. `echo` waits for the wire, its inbox fills, and the write
/// deadline is the first to pass.
fn a_flood_of_requests_by_a_remote_that_never_reads(dialler: Dialler) {
    let mut config = patient();
    config.write_timeout = SHORT;
    let remote = Hostile::with(dialler, config);
    let session = remote.session();
    let flood = json!({"cmd": "flood", "code": 0x10, "size": 60_000, "pattern": "random", "count": 100_000_000});
    let flood = remote.geth.background(flood);
    let report = session.report();
    assert_eq!(report.reason, CloseReason::WriteTimeout);
    assert!(report.stuck.is_empty());
    assert_eq!(remote.geth.done(flood)["ending"], "reset");
    remote.assert_well();
}

/// A subprotocol that writes to a remote that never reads learns of the end, in the middle of its write.
#[test]
fn our_writer_learns_that_the_remote_never_reads() {
    let (sender, results) = channel();
    let sender = Mutex::new(sender);
    let writes = Protocol::new("echo", 1, 2, move |subprotocol| {
        let payload = devp2p_tests::geth::random(1, 100_000);
        loop {
            if let Err(error) = subprotocol.write(1, &payload) {
                let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = sender.send(error);
                return Ok(());
            }
        }
    });
    let mut config = patient();
    config.write_timeout = Duration::from_millis(300);
    let host = host().config(config).protocol(writes.expect("a name"));
    let host = host.build().expect("a host");
    let geth = Geth::raw(&json!({}));
    let listening = Listening::new();
    geth.begin(json!({"cmd": "connect", "enode": listening.enode(&host)}));
    let session = listening.accept(&host);
    geth.ok(json!({"cmd": "session"}));
    let error = results.recv_timeout(BOUND).expect("a write fails");
    assert_eq!(error, WriteError::Closed(CloseReason::WriteTimeout));
    let report = session.report();
    assert_eq!(report.reason, CloseReason::WriteTimeout);
    assert!(report.was_active && report.stuck.is_empty());
}
