//! Sessions of the event loop with go-ethereum.
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_std::enode::Enode;
use devp2p_std::event_loop::{EventNode, Handle, Handler, Loops, Message, Session};
use devp2p_std::host::Host;
use devp2p_std::protocol::{Failure, Protocol};
use devp2p_tests::geth::{BOUND, Geth, fnv, random};
use serde_json::json;

use crate::local::{Dialler, both_ways, host};

/// Sizes of payloads: around frames, blocks and buffers, and the largest that a frame holds when it does not compress.
const SIZES: [usize; 8] = [0, 1, 55, 1024, 65_535, 65_536, 1 << 20, 16_776_442];

/// Answers code 0 by code 1, and tells of answers and of the end.
struct Echo {
    answers: Sender<Vec<u8>>,
    ends: Sender<CloseReason>,
}

impl Handler for Echo {
    fn on_message(
        &mut self,
        session: &mut Session<'_>,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        match message.code {
            0 => session.try_write(message.subprotocol, 1, message.payload)?,
            _ => self.answers.send(message.payload.to_vec())?,
        }
        Ok(())
    }

    fn on_closed(&mut self, _handle: &Handle, reason: CloseReason) {
        // The test may have ended.
        let _ = self.ends.send(reason);
    }
}

struct Ours {
    host: Arc<Host<Loops>>,
    node: EventNode,
    answers: Receiver<Vec<u8>>,
    ends: Receiver<CloseReason>,
}

fn ours() -> Ours {
    let echo = Protocol::for_handlers("echo", 1, 2).expect("a valid name");
    let host = host().protocol(echo).build().expect("a host");
    let (answers, answered) = channel();
    let (ends, ended) = channel();
    let node = EventNode::with_handlers(Arc::clone(&host), move |_| {
        Ok::<_, DisconnectReason>(Echo {
            answers: answers.clone(),
            ends: ends.clone(),
        })
    });
    let node = node.listen("127.0.0.1:0").loops(1);
    Ours {
        node: node.start().expect("a node"),
        answers: answered,
        ends: ended,
        host,
    }
}

impl Ours {
    fn connect(&self, dialler: Dialler, geth: &Geth) -> Handle {
        match dialler {
            Dialler::Us => {
                let dial = self.node.begin_dial(&geth.enode()).expect("a dial");
                let outcome = dial.wait_timeout(BOUND).expect("the dial hangs");
                outcome.expect("a session")
            }
            Dialler::Them => {
                let address = self.node.local_addr().expect("it listens");
                let enode = Enode::new(self.host.id(), address).to_string();
                geth.ok(json!({"cmd": "dial", "enode": enode}));
                // It is active there a moment before it is here.
                let until = Instant::now() + BOUND;
                loop {
                    if let Some(handle) = self.node.peer(&geth.id()) {
                        return handle;
                    }
                    assert!(Instant::now() < until, "no session");
                    thread::yield_now();
                }
            }
        }
    }
}

both_ways!(
    payloads_of_every_size_go_both_ways,
    each_side_hears_why_the_other_one_ended
);

fn payloads_of_every_size_go_both_ways(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let ours = ours();
    let handle = ours.connect(dialler, &geth);
    assert_eq!(handle.is_inbound(), dialler == Dialler::Them);
    for size in SIZES {
        let sent = random(size as u64, size);
        let queued = handle.send(0, 0, &sent, BOUND);
        queued.expect("room in time");
        let received = ours.answers.recv_timeout(BOUND).expect("an answer");
        // Not assert_eq, which would print both.
        assert!(received == sent, "{size} bytes");

        let sent = geth.ok(json!({
            "cmd": "send", "protocol": "echo", "code": 0,
            "size": size, "pattern": "random", "seed": size as u64
        }));
        let answer = geth.event("message");
        assert_eq!(
            (&answer["code"], &answer["size"]),
            (&json!(1), &json!(size))
        );
        assert_eq!(answer["fnv"], sent["fnv"], "{size} bytes");
        assert_eq!(answer["fnv"], fnv(&random(size as u64, size)));
    }
    assert_eq!(handle.close_reason(), None);
}

fn each_side_hears_why_the_other_one_ended(dialler: Dialler) {
    let geth = Geth::peer(&json!({}));
    let one = ours();
    let handle = one.connect(dialler, &geth);
    handle.disconnect(DisconnectReason::REQUESTED);
    let dropped = geth.event("peer_dropped");
    assert_eq!(dropped["reason"], 0);
    assert_eq!(dropped["requested"], true);
    let reason = CloseReason::Local(DisconnectReason::REQUESTED);
    assert_eq!(one.ends.recv_timeout(BOUND), Ok(reason));

    let two = ours();
    let handle = two.connect(dialler, &geth);
    geth.ok(json!({"cmd": "disconnect", "reason": 4}));
    let reason = CloseReason::RemoteRequested(Some(DisconnectReason::TOO_MANY_PEERS));
    assert_eq!(handle.closed(), reason);
    assert_eq!(two.ends.recv_timeout(BOUND), Ok(reason));
}
