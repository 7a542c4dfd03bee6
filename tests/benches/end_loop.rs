//! Our listening end in its other form: an event loop, with the protocol as callbacks.

use devp2p_core::disconnect::DisconnectReason;
use devp2p_std::event_loop::{EventNode, Handler, Message, Session};
use devp2p_std::host::Host;
use devp2p_std::protocol::{Failure, Protocol};
use serde_json::{Value, json};

use crate::console::{self, Answer};
use crate::end::{MAX_SESSIONS, fresh_key, lane_name, text};
use crate::jobs;

/// The process: until its input ends.
pub(crate) fn run(lanes: usize) -> Answer {
    let mut host = Host::builder(fresh_key()?).client_name("devp2p-bench");
    for lane in 0..lanes {
        let protocol = Protocol::for_handlers(&lane_name(lane), 1, 8);
        host = host.protocol(protocol.map_err(text)?);
    }
    let host = host.build().map_err(text)?;
    let node = EventNode::with_handlers(host, move |_| {
        Ok::<_, DisconnectReason>(Serve(vec![[0; 2]; lanes]))
    })
    .listen("127.0.0.1:0")
    .max_peers(MAX_SESSIONS)
    .start()
    .map_err(text)?;
    console::ready(json!({"enode": node.enode().to_string(), "pid": std::process::id()}));
    console::run(|name, _| match name {
        "settle" => Ok(Value::Null),
        "sessions" => Ok(json!({"live": node.peer_count()})),
        _ => Err(format!("an event loop has no command {name:?} here")),
    })
}

/// Serves as `jobs::serve` does, each subprotocol apart: messages and bytes dropped. It does not send in bulk.
struct Serve(Vec<[u64; 2]>);

impl Handler for Serve {
    fn on_message(
        &mut self,
        session: &mut Session<'_>,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let lane = message.subprotocol;
        let Some(taken) = self.0.get_mut(lane) else {
            return Err(breach("there is no such subprotocol"));
        };
        match message.code {
            jobs::DROP => {
                taken[0] += 1;
                taken[1] += message.payload.len() as u64;
            }
            jobs::ECHO => session.try_write(lane, jobs::ECHO, message.payload)?,
            jobs::SYNC => {
                let answer = std::mem::take(taken).map(u64::to_be_bytes);
                session.try_write(lane, jobs::SYNC, answer.as_flattened())?;
            }
            _ => return Err(breach("an event loop serves codes 0 to 2 here")),
        }
        Ok(())
    }
}

fn breach(text: &str) -> Failure {
    Failure::new(DisconnectReason::PROTOCOL_ERROR, text)
}
