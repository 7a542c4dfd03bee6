//! `devp2p light` and nodes of our own over real connections, honest and not.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use devp2p_core::rlpx::NodeKey;
use devp2p_light::client::{Outgoing, Protocol};
use devp2p_light::eth::{self, Status};
use devp2p_light::fork_id::MAINNET;
use devp2p_light::snap;
use devp2p_std::handle::Subprotocol;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::protocol::{self, Failure};
use devp2p_tests::command::{devp2p, output_within};
use serde_json::{Value, json};

use crate::made_node::{MadeNode, RICH, slot};

/// What a node does with an answer before it sends it: the code and the payload. More than one may come of it.
type Lie = fn(&MadeNode, u32, Vec<u8>) -> Vec<(u32, Vec<u8>)>;

fn honest(_: &MadeNode, code: u32, payload: Vec<u8>) -> Vec<(u32, Vec<u8>)> {
    vec![(code, payload)]
}

/// Serves a made-up chain that says it is mainnet, over this version of `eth`, and `snap/1`.
fn serve(version: u32, last: u64, lie: Lie) -> Node {
    let made = Arc::new(MadeNode::new(last));
    let answer = move |made: &MadeNode, protocol, subprotocol: &mut Subprotocol| {
        loop {
            let Ok(message) = subprotocol.read() else {
                return Ok::<(), Failure>(());
            };
            let asked = Outgoing {
                protocol,
                code: message.code,
                length: message.payload.len(),
            };
            let Some((_, code, payload)) = made.answer(asked, &message.payload) else {
                continue;
            };
            for (code, payload) in lie(made, code, payload) {
                subprotocol.write(code, &payload)?;
            }
        }
    };
    let (eth_made, snap_made) = (Arc::clone(&made), made);
    let length = eth::length(version).expect("a version");
    let eth = protocol::Protocol::new(eth::NAME, version, length, move |subprotocol| {
        let status = Status {
            network_id: MAINNET.id,
            genesis: MAINNET.genesis,
            fork_id: MAINNET.fork_id(0, 0),
            ..eth_made.status(version)
        };
        let mut out = [0; 256];
        let length = status.encode(&mut out)?;
        subprotocol.write(eth::code::STATUS, &out[..length])?;
        answer(&eth_made, Protocol::Eth, subprotocol)
    });
    let snap = protocol::Protocol::new(snap::NAME, 1, 8, move |subprotocol| {
        answer(&snap_made, Protocol::Snap, subprotocol)
    });
    let key = NodeKey::new(&[9; 32]).expect("a key");
    let host = Host::builder(key)
        .protocol(eth.expect("a name"))
        .protocol(snap.expect("a name"))
        .build()
        .expect("a host");
    let node = Node::builder(host).listen("127.0.0.1:0");
    node.start().expect("a node")
}

/// Runs `devp2p light` beside these nodes, trusting block 30 of the chain; returns its status and events.
fn light(nodes: &[&Node]) -> (Option<i32>, Vec<Value>) {
    let enodes: Vec<_> = nodes.iter().map(|node| node.enode().to_string()).collect();
    light_with(&enodes.iter().map(String::as_str).collect::<Vec<_>>())
}

fn light_with(arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = Command::new(devp2p());
    command.args(["--json", "light", "--back", "5"]);
    let trusted = MadeNode::new(30).chain.hash(30).to_string();
    command.args(["--checkpoint", &trusted, "--account", &RICH.to_string()]);
    command.args(["--slot", "3"]);
    command.args(arguments);
    let output = output_within(&mut command, Duration::from_secs(300));
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    let events = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    (output.status.code(), events.collect())
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .collect()
}

fn assert_proved(events: &[Value]) {
    let against = json!({"evidence": "trusted", "number": 30, "hash": MadeNode::new(30).chain.hash(30).to_string()});
    let account = of(events, "account");
    assert_eq!(account.len(), 1, "{events:#?}");
    assert_eq!(
        (&account[0]["nonce"], &account[0]["against"]),
        (&json!(7), &against)
    );
    let value: String = slot(3).1.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(of(events, "slot")[0]["value"], format!("0x{value}"));
}

/// Also over version 68, which go-ethereum does not speak any more.
#[test]
fn an_honest_node_serves_headers_and_proofs() {
    for version in [68, 72] {
        let node = serve(version, 40, honest);
        let (code, events) = light(&[&node]);
        assert_eq!(code, Some(0), "{events:#?}");
        assert_eq!(of(&events, "status")[0]["eth"], version);
        assert_proved(&events);
        let result = of(&events, "result")[0];
        assert_eq!(
            (&result["verified"], &result["claimed"]["number"]),
            (&json!(16), &json!(40))
        );
        node.shutdown();
    }
}

#[test]
fn liars_are_named_and_left_and_the_next_node_serves() {
    let lies: [(&str, Lie); 6] = [
        ("cannot be read", |_, code, payload| {
            vec![(code, payload[1..].to_vec())]
        }),
        ("another hash", |node, code, mut payload| {
            let root = node.chain.0[9].state_root.0;
            if let Some(at) = payload.windows(32).position(|window| window == root) {
                payload[at] ^= 1;
            }
            vec![(code, payload)]
        }),
        ("answers no question", |_, code, payload| {
            vec![(code, payload.clone()), (code, payload)]
        }),
        ("lacks the node", |_, code, mut payload| {
            if code == snap::code::ACCOUNT_RANGE {
                *payload.last_mut().expect("a node") ^= 1;
            }
            vec![(code, payload)]
        }),
        // A header of nearly 16 MiB, in place of any.
        ("larger than the inbox", |_, code, payload| match code {
            eth::code::BLOCK_HEADERS => vec![(code, vec![0xff; 0xFF_FFFF])],
            _ => vec![(code, payload)],
        }),
        // The answer to each question about headers, after 20 000 messages that nobody asked for and nobody wants.
        ("", |_, code, payload| {
            let noise = (0..20_000)
                .map(|n: u32| (eth::code::BLOCK_RANGE_UPDATE - 9, n.to_be_bytes().to_vec()));
            match code {
                eth::code::BLOCK_HEADERS => noise.chain([(code, payload)]).collect(),
                _ => vec![(code, payload)],
            }
        }),
    ];
    let good = serve(69, 40, honest);
    for (named, lie) in lies {
        let bad = serve(69, 40, lie);
        let (code, events) = light(&[&bad]);
        match named {
            "" => {
                assert_eq!(code, Some(0), "{events:#?}");
                assert_proved(&events);
            }
            named => {
                assert_eq!(code, Some(1), "{events:#?}");
                let left = of(&events, "left");
                assert_eq!(left.len(), 1, "{events:#?}");
                assert!(left[0]["reason"].to_string().contains(named), "{}", left[0]);
                assert_eq!(left[0]["lie"], !named.contains("inbox"));
                assert_eq!(of(&events, "account").len(), 0);
                // Beside an honest node everything is proved all the same.
                let (code, events) = light(&[&bad, &good]);
                assert_eq!(code, Some(0), "{events:#?}");
                assert_eq!(of(&events, "left")[0]["peer"], 1);
                assert_proved(&events);
            }
        }
        bad.shutdown();
    }
    good.shutdown();
}

/// Passes one connection on to `target`, and what comes back a byte at a time.
fn in_pieces(target: SocketAddr) -> (SocketAddr, thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let passing = thread::spawn(move || {
        let (mut near, _) = listener.accept().expect("a connection");
        let mut far = TcpStream::connect(target).expect("the node");
        near.set_nodelay(true).expect("a socket");
        let (mut there, mut from) = (
            far.try_clone().expect("a socket"),
            near.try_clone().expect("a socket"),
        );
        thread::spawn(move || std::io::copy(&mut from, &mut there));
        let (mut buffer, mut pieces) = ([0; 4096], 0);
        while let Ok(length @ 1..) = far.read(&mut buffer) {
            for byte in &buffer[..length] {
                if near.write_all(&[*byte]).is_err() {
                    return pieces;
                }
                pieces += 1;
            }
        }
        pieces
    });
    (address, passing)
}

#[test]
fn an_answer_in_a_hundred_thousand_pieces_is_taken() {
    let node = serve(69, 220, honest);
    let mut enode = node.enode();
    let (address, passing) = in_pieces(([127, 0, 0, 1], enode.tcp).into());
    (enode.tcp, enode.udp) = (address.port(), address.port());
    // Uncompressed: the headers are much alike.
    let (code, events) = light_with(&[&enode.to_string(), "--no-snappy"]);
    assert_eq!(code, Some(0), "{events:#?}");
    assert_proved(&events);
    assert_eq!(of(&events, "result")[0]["claimed"]["number"], 220);
    node.shutdown();
    let pieces = passing.join().expect("no panic");
    assert!(pieces > 100_000, "{pieces}");
}
