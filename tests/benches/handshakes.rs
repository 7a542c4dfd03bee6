//! RLPx handshakes over loopback TCP, both sides in this process, one after the other.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::{Entropy, Handshake, MAX_RECEIVED, MAX_SENT, NodeKey, Step};
use serde_json::json;

use crate::console::Answer;
use crate::end::fresh_key;
use crate::fast::{Curve, Sponge};

pub(crate) fn measure(count: u64) -> Answer {
    let (ours, theirs) = (fresh_key()?, fresh_key()?);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    let remote = *theirs.id();
    thread::scope(|scope| {
        let accepting = scope.spawn(move || {
            for _ in 0..count {
                let (stream, _) = listener.accept().map_err(text)?;
                shake(stream, &theirs, None)?;
            }
            Ok::<_, String>(())
        });
        let started = Instant::now();
        for _ in 0..count {
            let stream = TcpStream::connect(address).map_err(text)?;
            shake(stream, &ours, Some(remote))?;
        }
        accepting.join().map_err(|_| "the listener panicked")??;
        let seconds = started.elapsed().as_secs_f64();
        let rate = count as f64 / seconds;
        Ok(json!({"count": count, "seconds": seconds, "handshakes_per_second": rate}))
    })
}

/// One side, up to the keys of the session.
fn shake(mut stream: TcpStream, key: &NodeKey, remote: Option<NodeId>) -> Result<(), String> {
    stream.set_nodelay(true).map_err(text)?;
    let mut entropy = [0; Entropy::LENGTH];
    getrandom::fill(&mut entropy).map_err(text)?;
    let entropy = Entropy::new(&entropy);
    let mut handshake: Handshake<Curve, Sponge> = match remote {
        Some(remote) => Handshake::initiator_with(remote, entropy),
        None => Handshake::recipient_with(entropy),
    };
    let mut sent = [0; MAX_SENT];
    let mut received = Vec::with_capacity(MAX_RECEIVED);
    loop {
        match handshake.poll(key, &mut sent, &received).map_err(text)? {
            Step::Working => {}
            Step::Send(length) => stream.write_all(&sent[..length]).map_err(text)?,
            Step::Receive(total) => {
                let from = received.len();
                received.resize(total, 0);
                stream.read_exact(&mut received[from..]).map_err(text)?;
            }
            Step::Done(_) => return Ok(()),
        }
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
