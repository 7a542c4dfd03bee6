use std::collections::BTreeMap;

use devp2p_std::info::{IdHash, NetworkInfo, NodeInfo, PeerInfo, Ports, ProtocolInfo};
use serde_json::json;

fn id() -> IdHash {
    IdHash(std::array::from_fn(|byte| byte as u8))
}

fn protocols() -> BTreeMap<String, ProtocolInfo> {
    BTreeMap::from([
        (
            "eth".to_owned(),
            ProtocolInfo::Known(json!({"version": 68})),
        ),
        ("snap".to_owned(), ProtocolInfo::Handshake),
        ("echo".to_owned(), ProtocolInfo::Unknown),
    ])
}

#[test]
fn a_peer_prints_as_in_admin_peers() {
    let mut peer = PeerInfo {
        enr: None,
        enode: "enode://00@127.0.0.1:30303".to_owned(),
        id: id(),
        name: "Geth/v1.17.10".to_owned(),
        caps: vec!["echo/1".to_owned(), "eth/68".to_owned()],
        network: NetworkInfo {
            local_address: "127.0.0.1:1".to_owned(),
            remote_address: "127.0.0.1:2".to_owned(),
            inbound: false,
            trusted: false,
            is_static: true,
        },
        protocols: protocols(),
    };
    let text = concat!(
        r#"{"enode":"enode://00@127.0.0.1:30303","#,
        r#""id":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","#,
        r#""name":"Geth/v1.17.10","caps":["echo/1","eth/68"],"#,
        r#""network":{"localAddress":"127.0.0.1:1","remoteAddress":"127.0.0.1:2","#,
        r#""inbound":false,"trusted":false,"static":true},"#,
        r#""protocols":{"echo":"unknown","eth":{"version":68},"snap":"handshake"}}"#,
    );
    assert_eq!(serde_json::to_string(&peer).unwrap(), text);

    peer.enr = Some("enr:-abc".to_owned());
    let with_record = text.replacen('{', r#"{"enr":"enr:-abc","#, 1);
    assert_eq!(serde_json::to_string(&peer).unwrap(), with_record);
}

#[test]
fn the_node_prints_as_in_admin_node_info() {
    let node = NodeInfo {
        id: id(),
        name: "devp2p/0.1.0".to_owned(),
        enode: "enode://00@10.0.0.1:30303?discport=0".to_owned(),
        enr: String::new(),
        ip: "10.0.0.1".to_owned(),
        ports: Ports {
            discovery: 0,
            listener: 30303,
        },
        listen_addr: "0.0.0.0:30303".to_owned(),
        protocols: protocols(),
    };
    let text = concat!(
        r#"{"id":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","#,
        r#""name":"devp2p/0.1.0","enode":"enode://00@10.0.0.1:30303?discport=0","enr":"","ip":"10.0.0.1","#,
        r#""ports":{"discovery":0,"listener":30303},"listenAddr":"0.0.0.0:30303","#,
        r#""protocols":{"echo":"unknown","eth":{"version":68},"snap":"handshake"}}"#,
    );
    assert_eq!(serde_json::to_string(&node).unwrap(), text);
}
