//! Remotes that are not who they were thought to be.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::rlpx::NodeKey;
use devp2p_std::enode::Enode;
use devp2p_std::host::Host;
use devp2p_tests::geth::Geth;
use serde_json::json;

use crate::local::{
    Dialler, Listening, both_ways, connect_raw, dial, dial_as, echo, host_with, is_broken, refusal,
};

/// Who does not have the key to our auth cannot read it, and hangs up.
#[test]
fn we_dial_another_identity() {
    let geth = Geth::peer(&json!({}));
    let host = host_with([echo()]);
    let report = dial_as(&host, &geth, host_with([]).id()).report();
    assert!(is_broken(report.reason), "{}", report.reason);
    assert!(!report.was_active && report.id.is_none());
    let failed = geth.event("setup_failed");
    assert_eq!(failed["stage"], "rlpx", "{failed}");
    // It is there for who knows it.
    let session = dial(&host, &geth);
    session.peer();
    geth.quit();
    session.report();
}

#[test]
fn they_dial_another_identity() {
    let geth = Geth::peer(&json!({}));
    let host = host_with([echo()]);
    let listening = Listening::new();
    let other = Enode::new(host_with([]).id(), listening.address()).to_string();
    let tag = geth.begin(json!({"cmd": "dial", "enode": other}));
    let session = listening.accept(&host);
    let report = session.report();
    let expected = CloseReason::Transport(TransportError::Handshake);
    assert_eq!(report.reason, expected);
    assert_eq!(geth.done(tag)["ok"], false);
}

both_ways!(the_identity_in_hello_is_not_that_of_the_handshake);

fn the_identity_in_hello_is_not_that_of_the_handshake(dialler: Dialler) {
    let geth = Geth::raw(&json!({}));
    let host = host_with([echo()]);
    let session = connect_raw(dialler, &host, &geth);
    geth.ok(json!({"cmd": "handshake"}));
    geth.ok(json!({"cmd": "hello", "id": host_with([]).id().to_string()}));
    let reason = DisconnectReason::UNEXPECTED_IDENTITY;
    assert_eq!(refusal(&geth), reason.0);
    geth.ok(json!({"cmd": "close"}));
    let report = session.report();
    assert_eq!(report.reason, CloseReason::IdentityMismatch);
    assert!(!report.was_active);
    assert_eq!(report.id, Some(geth.id()));
}

/// Both sides notice; whose Disconnect is first is chance.
#[test]
fn a_node_with_our_own_identity() {
    let secret = [0x5a; 32];
    let geth = Geth::peer(&json!({"key": "5a".repeat(32)}));
    let key = NodeKey::new(&secret).expect("a valid secret");
    let host = Host::builder(key).protocol(echo()).build().expect("a host");
    assert_eq!(host.id(), geth.id());
    let report = dial(&host, &geth).report();
    let theirs = CloseReason::RemoteRequested(Some(DisconnectReason::SELF));
    assert!(
        [CloseReason::SelfConnection, theirs].contains(&report.reason),
        "{}",
        report.reason
    );
    assert!(!report.was_active);
    let failed = geth.event("setup_failed");
    assert_eq!(failed["reason"], DisconnectReason::SELF.0, "{failed}");
}
