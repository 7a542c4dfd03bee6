//! Payloads of every size, echoed in both directions.
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use devp2p_core::error::WriteError;
use devp2p_std::handle::Writer;
use devp2p_std::protocol::Protocol;
use devp2p_tests::geth::{BOUND, Geth, fnv, random};
use serde_json::json;

use crate::local::{Dialler, both_ways, connect, host_with};

/// The largest payload of the protocol: what the length of a frame can say.
const LARGEST: usize = 16_777_215;

/// The largest random payload whose compressed form still fits a frame. Each started 64 KiB is one literal with a tag of 3
/// bytes; the frame also holds the length in 4 bytes and the code in one.
const LARGEST_RANDOM: usize = LARGEST - 1 - 4 - 3 * 256;

/// The payloads by seed (none: zeros) and size.
fn payloads() -> Vec<(Option<u64>, usize)> {
    let sizes = [0, 1, 55, 56, 1023, 1024, 1025, 65_535, 1 << 20];
    let small = sizes
        .into_iter()
        .flat_map(|size| [(None, size), (Some(size as u64), size)]);
    let large = [(None, LARGEST), (Some(1), LARGEST_RANDOM)];
    small.chain(large).collect()
}

fn payload(seed: Option<u64>, size: usize) -> Vec<u8> {
    seed.map_or_else(|| vec![0; size], |seed| random(seed, size))
}

type Answer = (u32, Vec<u8>);

/// `echo/1` that also lends its writer and tells of the answers.
fn echo(writers: Sender<Writer>, answers: Sender<Answer>) -> Protocol {
    let both = Mutex::new((writers, answers));
    let run = Protocol::new("echo", 1, 2, move |subprotocol| {
        let (writers, answers) = both.lock().expect("no panic under the lock").clone();
        writers.send(subprotocol.writer())?;
        loop {
            let message = subprotocol.read()?;
            match message.code {
                0 => subprotocol.write(1, &message.payload)?,
                code => answers.send((code, message.payload))?,
            }
        }
    });
    run.expect("a valid name")
}

both_ways!(what_we_send_comes_back, what_they_send_goes_back);

fn what_we_send_comes_back(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let (writers, writer) = channel();
    let (answers, answer) = channel();
    let host = host_with([echo(writers, answers)]);
    let session = connect(dialler, &host, &geth);
    let writer = writer.recv_timeout(BOUND).expect("the subprotocol runs");
    for (seed, size) in payloads() {
        let sent = payload(seed, size);
        writer.write(0, &sent).expect("it is sent");
        let (code, received) = answer.recv_timeout(BOUND).expect("an answer");
        assert_eq!(code, 1);
        // Not assert_eq, which would print both.
        assert!(received == sent, "{size} bytes with seed {seed:?}");
    }
    // One byte more does not fit, is not sent, and harms nothing.
    let refused = writer.write(0, &random(1, LARGEST_RANDOM + 1));
    assert_eq!(refused, Err(WriteError::TooLarge));
    let refused = writer.write(0, &vec![0; LARGEST + 1]);
    assert_eq!(refused, Err(WriteError::TooLarge));
    writer.write(0, b"next").expect("the session goes on");
    let (_, received) = answer.recv_timeout(BOUND).expect("an answer");
    assert_eq!(received, b"next");
    geth.quit();
    assert!(session.report().was_active);
}

fn what_they_send_goes_back(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let (writers, writer) = channel();
    let (answers, _answer) = channel();
    let host = host_with([echo(writers, answers)]);
    let session = connect(dialler, &host, &geth);
    writer.recv_timeout(BOUND).expect("the subprotocol runs");
    for (seed, size) in payloads() {
        let pattern = seed.map_or("zero", |_| "random");
        let sent = geth.ok(json!({
            "cmd": "send", "protocol": "echo", "code": 0,
            "size": size, "pattern": pattern, "seed": seed.unwrap_or(0)
        }));
        let answer = geth.event("message");
        assert_eq!(answer["code"], 1);
        assert_eq!(answer["size"], size);
        assert_eq!(
            answer["fnv"], sent["fnv"],
            "{size} bytes with seed {seed:?}"
        );
        assert_eq!(answer["fnv"], fnv(&payload(seed, size)));
    }
    assert_eq!(host.traffic(0).messages_in, payloads().len() as u64);
    geth.quit();
    assert!(session.report().was_active);
}
