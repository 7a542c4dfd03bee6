//! Hello: what is offered, what is shared of it, and that both sides count codes from the same offsets.
use std::sync::Mutex;
use std::sync::mpsc::channel;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_std::host::Builder;
use devp2p_std::protocol::Protocol;
use devp2p_tests::geth::{BOUND, Geth, fnv, random};
use serde_json::{Value, json};

use crate::local::{Dialler, both_ways, connect, host, idle};

both_ways!(the_highest_common_version_of_each_name_is_shared);

/// Sorted by name, the highest version that both have, each after the codes of the one before: RLPx, "Capability Messaging".
fn the_highest_common_version_of_each_name_is_shared(dialler: Dialler) {
    let geth = Geth::peer(&json!({"name": "a name of its own", "protocols": [
        {"name": "wide", "version": 1, "length": 200},
        {"name": "dup", "version": 3, "length": 9},
        {"name": "dup", "version": 2, "length": 7},
        {"name": "theirs", "version": 1, "length": 4},
        {"name": "dup", "version": 1, "length": 5},
        {"name": "other", "version": 7, "length": 3},
        {"name": "Zulu", "version": 4_000_000_000_u32, "length": 3},
        {"name": "zz", "version": 65, "length": 2},
    ]}));

    // One sends with the lowest and the highest code, and tells what it receives.
    let (sender, received) = channel();
    let sender = Mutex::new(sender);
    let talks = Protocol::new("zz", 65, 2, move |subprotocol| {
        subprotocol.write(0, b"the lowest")?;
        subprotocol.write(1, b"the highest")?;
        loop {
            let message = subprotocol.read()?;
            let sender = sender.lock().expect("no panic under the lock");
            sender.send((message.code, message.payload))?;
        }
    });
    let local = [
        idle("dup", 1, 5),
        talks.expect("a valid name"),
        idle("other", 8, 3),
        idle("dup", 2, 7),
        idle("Zulu", 4_000_000_000, 3),
        idle("ours", 1, 11),
        idle("wide", 1, 200),
    ];
    let local = local.into_iter().fold(host(), Builder::protocol);
    let local = local.client_name("our name").listen_port(30_303);
    let local = local.build().expect("a host");
    let session = connect(dialler, &local, &geth);
    let peer = session.peer();

    // "Zulu" sorts before "dup": names compare by their bytes.
    let offsets = [
        ("Zulu/4000000000", 4, 16, 3),
        ("dup/2", 3, 19, 7),
        ("wide/1", 6, 26, 200),
        ("zz/65", 1, 226, 2),
    ];
    let shared: Vec<_> = peer.shared().iter().map(ToString::to_string).collect();
    assert_eq!(shared, offsets.map(|(name, ..)| name));
    for (name, index, offset, length) in offsets {
        assert_eq!(peer.offset(index), Some(offset), "{name}");
        let started = geth.wait_for(
            |event| event["event"] == "protocol_started" && event["protocol"] == name,
            BOUND,
        );
        assert_eq!(started["offset"], offset, "{name}");
        assert_eq!(started["length"], length, "{name}");
    }
    for unshared in [0, 2, 5] {
        assert_eq!(peer.offset(unshared), None);
    }

    assert_eq!(peer.is_inbound(), dialler == Dialler::Them);
    assert_eq!(peer.version(), 5);
    assert!(peer.client_name().contains("a name of its own"));
    let mut offered = peer.capabilities().to_vec();
    offered.sort();
    let theirs = [
        "Zulu/4000000000",
        "dup/1",
        "dup/2",
        "dup/3",
        "other/7",
        "theirs/1",
        "wide/1",
        "zz/65",
    ];
    assert_eq!(offered, theirs);

    let added = geth.event("peer_added");
    assert_eq!(added["name"], "our name");
    assert_eq!(added["inbound"], dialler == Dialler::Us);
    assert_eq!(added["peer"], Geth::name_of(&local.id()));
    let mut caps: Vec<_> = added["caps"].as_array().expect("a list").clone();
    caps.sort_by_key(Value::to_string);
    let ours = [
        "Zulu/4000000000",
        "dup/1",
        "dup/2",
        "other/8",
        "ours/1",
        "wide/1",
        "zz/65",
    ];
    assert_eq!(caps, ours);

    for (code, text) in [(0, "the lowest"), (1, "the highest")] {
        let message = geth.event("message");
        assert_eq!(message["protocol"], "zz/65");
        assert_eq!(message["code"], code);
        assert_eq!(message["fnv"], fnv(text.as_bytes()));
        geth.ok(json!({
            "cmd": "send", "protocol": "zz", "code": code, "size": 90, "pattern": "random", "seed": 5
        }));
        let (received_code, payload) = received.recv_timeout(BOUND).expect("a message");
        assert_eq!((received_code, payload), (code, random(5, 90)));
    }
    peer.disconnect(DisconnectReason::REQUESTED);
    assert!(session.report().was_active);
}
