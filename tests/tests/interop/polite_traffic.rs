//! Several subprotocols that write at once, from both sides.
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use devp2p_std::protocol::{Failure, Protocol};
use devp2p_tests::geth::{BOUND, Fnv, Geth, numbered, size_of};
use serde_json::{Value, json};

use crate::local::{Dialler, both_ways, connect, host_with};

/// What one side sends in one subprotocol.
#[derive(Debug, Clone, Copy)]
struct Stream {
    name: &'static str,
    code: u32,
    count: u64,
    min: usize,
    max: usize,
}

/// Many small messages, fewer large ones, and a size beyond what an inbox holds.
const STREAMS: [Stream; 4] = [
    Stream {
        name: "many",
        code: 0,
        count: 12_000,
        min: 0,
        max: 200,
    },
    Stream {
        name: "mixed",
        code: 3,
        count: 3_000,
        min: 0,
        max: 20_000,
    },
    Stream {
        name: "large",
        code: 1,
        count: 300,
        min: 8,
        max: 200_000,
    },
    Stream {
        name: "huge",
        code: 2,
        count: 12,
        min: 1,
        max: 3_000_000,
    },
];

impl Stream {
    fn seed(self, who: Dialler) -> u64 {
        u64::from(self.code) * 1_000_000 + u64::from(who == Dialler::Us) * 1_000_000_000
    }

    fn json(self) -> Value {
        json!({
            "protocol": self.name, "code": self.code, "count": self.count,
            "min_size": self.min, "max_size": self.max, "seed": self.seed(Dialler::Them)
        })
    }
}

/// What went through one subprotocol.
#[derive(Debug)]
struct Sums {
    name: &'static str,
    sent: String,
    received: String,
}

/// Sends its stream while it receives the remote's, sums up both, and then waits for the end.
fn talks(stream: Stream, sums: Sender<Sums>) -> Protocol {
    let sums = Mutex::new(sums);
    Protocol::new(stream.name, 1, 4, move |subprotocol| {
        let writer = subprotocol.writer();
        let sending = thread::spawn(move || -> Result<Fnv, Failure> {
            let mut sum = Fnv::new();
            let seed = stream.seed(Dialler::Us);
            for n in 0..stream.count {
                let payload = numbered(seed, n, size_of(seed, n, stream.min, stream.max));
                writer.write(stream.code, &payload)?;
                sum.message(stream.code, &payload);
            }
            Ok(sum)
        });
        let mut sum = Fnv::new();
        for _ in 0..stream.count {
            let message = subprotocol.read()?;
            sum.message(message.code, &message.payload);
        }
        let sent = sending.join().expect("no panic")?;
        let sums = sums.lock().expect("no panic under the lock").clone();
        sums.send(Sums {
            name: stream.name,
            sent: sent.hex(),
            received: sum.hex(),
        })?;
        subprotocol.read()?;
        Ok(())
    })
    .expect("a valid name")
}

both_ways!(four_subprotocols_write_at_once_from_both_sides);

fn four_subprotocols_write_at_once_from_both_sides(dialler: Dialler) {
    let protocols = STREAMS.map(|stream| {
        json!({"name": stream.name, "version": 1, "length": 4, "behaviour": "sink", "quiet": true})
    });
    let geth = Geth::peer(&json!({"protocols": protocols}));
    let (sender, sums) = channel();
    let host = host_with(STREAMS.map(|stream| talks(stream, sender.clone())));
    let session = connect(dialler, &host, &geth);
    let flood = geth.background(json!({"cmd": "flood", "streams": STREAMS.map(Stream::json)}));

    let ours: Vec<Sums> = (0..STREAMS.len())
        .map(|_| sums.recv_timeout(BOUND).expect("each stream ends"))
        .collect();
    let flood = geth.done(flood);
    assert_eq!(flood["ok"], true, "{flood}");
    for stream in STREAMS {
        let ours = ours.iter().find(|sums| sums.name == stream.name);
        let ours = ours.expect("each subprotocol told its sums");
        let received = geth.ok(json!({
            "cmd": "wait", "protocol": stream.name, "count": stream.count, "timeout_ms": 60_000
        }));
        let received = &received["received"];
        assert_eq!(received["digest"], ours.sent, "{stream:?}: {received}");
        assert_eq!(received["misordered"], 0, "{stream:?}");
        let sent = flood["streams"].as_array().expect("a list");
        let sent = sent
            .iter()
            .find(|sent| {
                sent["protocol"]
                    .as_str()
                    .is_some_and(|p| p.starts_with(stream.name))
            })
            .expect("each stream is told");
        assert_eq!(sent["count"], stream.count);
        assert_eq!(sent["digest"], ours.received, "{stream:?}: {sent}");
    }
    session.peer();
    geth.quit();
    assert!(session.report().was_active);
}
