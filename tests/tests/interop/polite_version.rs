//! Base protocol version 4: the same session without Snappy.
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_tests::geth::{Geth, fnv, random};
use serde_json::json;

use crate::local::{Dialler, both_ways, connect, connect_raw, echo, host, host_with};

both_ways!(we_speak_version_4, they_speak_version_4);

/// go-ethereum, which speaks 5, then sends without Snappy, and so do we.
fn we_speak_version_4(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let host = host().version(4).protocol(echo()).build().expect("a host");
    let session = connect(dialler, &host, &geth);
    assert_eq!(session.peer().version(), 5);
    let sizes = [0, 1, 1024, 1 << 20, 16_777_214];
    for size in sizes {
        let sent = geth.ok(json!({
            "cmd": "send", "protocol": "echo", "code": 0, "size": size
        }));
        let answer = geth.event("message");
        assert_eq!(answer["size"], size);
        assert_eq!(answer["fnv"], sent["fnv"]);
    }
    // Zeros, which Snappy would have made small.
    let traffic = host.traffic(0);
    assert_eq!(traffic.wire_bytes_in, sizes.iter().sum::<u64>());
    assert_eq!(traffic.wire_bytes_out, sizes.iter().sum::<u64>());
    session.peer().disconnect(DisconnectReason::READ_TIMEOUT);
    assert_eq!(geth.event("peer_dropped")["reason"], 0x0b);
    assert!(session.report().was_active);
}

fn they_speak_version_4(dialler: Dialler) {
    let geth = Geth::raw(&json!({}));
    let host = host_with([echo()]);
    let session = connect_raw(dialler, &host, &geth);
    let done = geth.ok(json!({"cmd": "session", "version": 4}));
    assert_eq!(done["snappy"], false);
    assert_eq!(done["hello"]["version"], 5);
    assert_eq!(session.peer().version(), 4);
    for size in [0, 1, 1024, 70_000] {
        geth.ok(json!({
            "cmd": "send", "code": 16, "size": size, "pattern": "random", "seed": 9
        }));
        let answer = geth.ok(json!({"cmd": "read"}));
        assert_eq!(answer["code"], 17);
        assert_eq!(answer["fnv"], fnv(&random(9, size)));
        assert_eq!(answer["wire_size"], size);
    }
    // Ping and Disconnect are not compressed either.
    geth.ok(json!({"cmd": "send", "code": 2, "hex": "c0"}));
    let pong = geth.ok(json!({"cmd": "read"}));
    assert_eq!((&pong["code"], &pong["hex"]), (&json!(3), &json!("c0")));
    session.peer().disconnect(DisconnectReason::USELESS_PEER);
    let disconnect = geth.ok(json!({"cmd": "read"}));
    assert_eq!(
        (&disconnect["code"], &disconnect["hex"]),
        (&json!(1), &json!("c103"))
    );
    geth.ok(json!({"cmd": "close"}));
    let reason = CloseReason::Local(DisconnectReason::USELESS_PEER);
    assert_eq!(session.report().reason, reason);
}
