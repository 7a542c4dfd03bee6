//! `devp2p bench`.
use devp2p_core::rlpx::NodeKey;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::protocol::Protocol;

use crate::run::{Listening, assert_explained, run};

#[test]
fn rates_and_round_trips_are_measured() {
    let listening = Listening::start(&[]);
    for (size, more) in [("0", None), ("1000", None), ("1000", Some("--zero"))] {
        let mut arguments = vec![
            "bench",
            &listening.first,
            "--json",
            "--count",
            "500",
            "--size",
            size,
        ];
        arguments.extend(more);
        let ended = run(&arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let json = ended.json();
        let number = |field: &str| json[field].as_f64().expect("a number");
        assert!(number("messages_per_second") > 0.0);
        let size: f64 = size.parse().expect("a number");
        let (bytes, expected) = (
            number("bytes_per_second"),
            number("messages_per_second") * size,
        );
        assert!((bytes - expected).abs() <= expected / 1e6, "{json}");
        assert!(number("rtt_p50_us") <= number("rtt_p99_us"));
        // Zeros shrink, random bytes do not.
        let wire = number("wire_bytes");
        match more {
            Some(_) => assert!(wire < 500.0 * size / 2.0, "{json}"),
            None => assert!(wire >= 500.0 * size, "{json}"),
        }
    }
    assert_eq!(listening.end("TERM").code, Some(0));
}

#[test]
fn a_size_that_fits_no_frame_is_an_error() {
    let listening = Listening::start(&[]);
    let ended = run(&[
        "bench",
        &listening.first,
        "--size",
        "16777215",
        "--count",
        "1",
    ]);
    assert_explained(&ended, "do not fit a frame");
    assert_eq!(listening.end("TERM").code, Some(0));
}

#[test]
fn a_node_without_bench_is_an_error_that_says_what_it_offers() {
    let idle = Protocol::new("other", 3, 1, |subprotocol| {
        while subprotocol.read().is_ok() {}
        Ok(())
    });
    let mut config = devp2p_core::config::Config::new();
    config.require_shared = false;
    let host = Host::builder(NodeKey::new(&[8; 32]).expect("a valid secret"))
        .config(config)
        .protocol(idle.expect("a valid name"))
        .build()
        .expect("a host");
    let node = Node::builder(host)
        .listen("127.0.0.1:0")
        .start()
        .expect("a node");
    let ended = run(&["bench", &node.enode().to_string()]);
    assert_explained(&ended, "does not serve bench/1");
    assert!(ended.err.contains("other/3"), "{ended:?}");
}

/// A node whose `bench/1` answers as `answer` makes of code and payload.
fn node_that_answers(answer: fn(u32, Vec<u8>) -> Vec<u8>) -> Node {
    let bench = Protocol::new("bench", 1, 8, move |subprotocol| {
        loop {
            let message = subprotocol.read()?;
            if message.code > 0 {
                let payload = answer(message.code, message.payload);
                subprotocol.write(message.code, &payload)?;
            }
        }
    });
    let host = Host::builder(NodeKey::new(&[8; 32]).expect("a valid secret"));
    let host = host.protocol(bench.expect("a valid name")).build();
    let node = Node::builder(host.expect("a host")).listen("127.0.0.1:0");
    node.start().expect("a node")
}

#[test]
fn an_answer_with_another_payload_is_none() {
    type Answer = fn(u32, Vec<u8>) -> Vec<u8>;
    let wrong: [(Answer, &str); 3] = [
        (
            |code, payload| if code == 2 { vec![1] } else { payload },
            "with code 2 and 1 bytes",
        ),
        (
            |_, mut payload| {
                payload.extend_from_slice(b"!");
                payload
            },
            "with code 2 and 1 bytes",
        ),
        (
            |_, mut payload| {
                payload.iter_mut().for_each(|byte| *byte ^= 1);
                payload
            },
            "with code 1 and 100 bytes, which are other ones",
        ),
    ];
    for (answer, told) in wrong {
        let node = node_that_answers(answer);
        let enode = node.enode().to_string();
        let ended = run(&["bench", &enode, "--count", "3", "--size", "100"]);
        assert_explained(&ended, told);
    }
}
