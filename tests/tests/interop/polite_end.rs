//! How sessions end when nobody calls for a Disconnect.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_std::handle::Subprotocol;
use devp2p_std::protocol::{Failure, Protocol};
use devp2p_tests::geth::Geth;
use serde_json::json;

use crate::local::{Dialler, both_ways, connect, dial, echo, host_with, idle, is_broken};

type Run = fn(&mut Subprotocol) -> Result<(), Failure>;

both_ways!(
    the_end_of_our_run_closure_is_told,
    the_end_of_their_run_closure_is_told,
    their_node_quits,
    their_process_dies,
);

fn the_end_of_our_run_closure_is_told(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let cases: [(Run, DisconnectReason); 6] = [
        (|_| Ok(()), DisconnectReason::CLIENT_QUITTING),
        (
            |_| Err(std::io::Error::other("on purpose").into()),
            DisconnectReason::SUBPROTOCOL_ERROR,
        ),
        (
            |_| panic!("on purpose"),
            DisconnectReason::SUBPROTOCOL_ERROR,
        ),
        (
            |_| Err(Failure::new(DisconnectReason::USELESS_PEER, "on purpose")),
            DisconnectReason::USELESS_PEER,
        ),
        (
            |_| rlp::decode::<u64>(&[0xc0]).map(drop).map_err(Into::into),
            DisconnectReason::PROTOCOL_ERROR,
        ),
        (
            |subprotocol| {
                subprotocol
                    .write(2, b"beyond its codes")
                    .map_err(Into::into)
            },
            DisconnectReason::PROTOCOL_ERROR,
        ),
    ];
    for (run, reason) in cases {
        // Not before the session is active on both sides.
        let ends = Protocol::new("echo", 1, 2, move |subprotocol| {
            subprotocol.read()?;
            run(subprotocol)
        });
        let ends = ends.expect("a valid name");
        let host = host_with([idle("bench", 1, 8), ends]);
        let session = connect(dialler, &host, &geth);
        geth.ok(json!({"cmd": "send", "protocol": "echo", "code": 0}));
        let dropped = geth.event("peer_dropped");
        assert_eq!(dropped["reason"], reason.0, "{dropped}");
        assert_eq!(dropped["requested"], true);
        let expected = match reason {
            DisconnectReason::CLIENT_QUITTING => CloseReason::ProtocolReturned { subprotocol: 1 },
            reason => CloseReason::ProtocolError {
                subprotocol: 1,
                reason,
            },
        };
        let report = session.report();
        assert_eq!(report.reason, expected);
        assert!(report.was_active && report.stuck.is_empty());
    }
}

fn the_end_of_their_run_closure_is_told(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    for (how, reason) in [
        (json!({"how": "return"}), 0x08),
        (json!({"how": "error", "text": "on purpose"}), 0x10),
        (json!({"how": "reason", "reason": 0x05}), 0x05),
        (json!({"how": "invalid_code"}), 0x02),
        (json!({"how": "invalid_message"}), 0x02),
    ] {
        let host = host_with([idle("bench", 1, 8), echo()]);
        let session = connect(dialler, &host, &geth);
        session.peer();
        let mut finish = json!({"cmd": "finish", "protocol": "echo"});
        for (key, value) in how.as_object().expect("an object") {
            finish[key] = value.clone();
        }
        geth.ok(finish);
        let report = session.report();
        let expected = CloseReason::RemoteRequested(Some(DisconnectReason(reason)));
        assert_eq!(report.reason, expected, "{how}");
        geth.event("peer_dropped");
    }
}

fn their_node_quits(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let session = connect(dialler, &host_with([echo()]), &geth);
    geth.event("peer_added");
    geth.quit();
    let report = session.report();
    let expected = CloseReason::RemoteRequested(Some(DisconnectReason::CLIENT_QUITTING));
    assert_eq!(report.reason, expected);
}

fn their_process_dies(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let session = connect(dialler, &host_with([echo()]), &geth);
    session.peer();
    drop(geth);
    let report = session.report();
    assert!(is_broken(report.reason), "{}", report.reason);
    assert!(report.was_active && !report.remote_requested && report.stuck.is_empty());
}

#[test]
fn they_close_the_connection() {
    let geth = Geth::raw(&json!({}));
    let host = host_with([echo()]);
    for (how, error) in [
        ("fin", TransportError::EndOfStream),
        ("half", TransportError::EndOfStream),
        ("rst", TransportError::Io),
    ] {
        geth.begin(json!({"cmd": "accept"}));
        let session = dial(&host, &geth);
        geth.ok(json!({"cmd": "session"}));
        session.peer();
        geth.ok(json!({"cmd": "close", "how": how}));
        let report = session.report();
        assert_eq!(report.reason, CloseReason::Transport(error), "{how}");
        assert!(report.was_active && !report.remote_requested);
    }
}
