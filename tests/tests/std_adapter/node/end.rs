//! A node is shut down in bounded time.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;

use super::*;

#[test]
fn every_session_is_told_that_the_client_quits() {
    let server = start(listening(10));
    let clients: Vec<_> = (11..15).map(dialler).collect();
    let peers: Vec<_> = clients
        .iter()
        .map(|client| client.dial(&server.enode()).expect("a session"))
        .collect();
    let events = server.host().subscribe(100);
    while server.peers().len() < peers.len() {
        added(&events);
    }
    let end = server.shutdown();
    assert_eq!(end.unfinished, 0);
    assert!(end.stuck.is_empty());
    assert_eq!(end.reports.len(), peers.len());
    for report in end.reports {
        assert_eq!(
            report.reason,
            CloseReason::Local(DisconnectReason::CLIENT_QUITTING)
        );
        assert!(report.was_active);
    }
    for peer in peers {
        assert_eq!(
            peer.closed(),
            remote_says(DisconnectReason::CLIENT_QUITTING)
        );
    }
    assert!(server.peers().is_empty());
}
