//! The other end of the session: a listening node of this program.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::hello::NodeId;
use devp2p_std::counters::Traffic;
use devp2p_std::enode::Enode;
use devp2p_std::events::{PeerEvent, Subscription};
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::peer::PeerHandle;

use super::work::lock;
use crate::failure::Failure;
use crate::key;
use crate::services::{Room, serve_bench, serve_echo};

/// What one end counted of a protocol.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) offset: u32,
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Bytes too, where they are counted alike.
    pub(super) traffic: Option<Traffic>,
}

/// What the far end saw of the session, from its beginning to its end.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The dialler's public key in hex, as its handshake proved it.
    pub(super) dialler: String,
    /// By name of the protocol.
    pub(super) counts: BTreeMap<String, Count>,
    /// Lines of `chat`, in order.
    pub(super) lines: Vec<String>,
    /// The reason in the dialler's Disconnect, if there was one.
    pub(super) reason: Option<DisconnectReason>,
    /// How the session ended, in its own words.
    pub(super) end: String,
}

/// Whoever is at the other end.
pub(super) trait Far {
    /// What it is, in a word or two.
    fn name(&self) -> &'static str;
    /// Where it is reached.
    fn enode(&self) -> Enode;
    /// Sends a line of `chat` to the dialler; false if the session is not ready for it yet.
    fn say(&mut self, line: &str) -> Result<bool, Failure>;
    /// Waits until its session has ended, ends it all, and tells what it saw.
    fn finish(&mut self) -> Result<Seen, Failure>;
}

/// How long the far end may take to notice the end.
pub(super) const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A listening node of this program.
pub(super) struct Listener {
    node: Node,
    room: Arc<Room>,
    sessions: Subscription,
    lines: Arc<Mutex<Vec<String>>>,
    peer: Option<PeerHandle>,
}

impl Listener {
    pub(super) fn start() -> Result<Self, Failure> {
        let room = Arc::new(Room::default());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        let chat = room.serve(move |_, line| lock(&heard).push(line));
        let host = Host::builder(key::load(None)?)
            .protocol(serve_echo())
            .protocol(serve_bench())
            .protocol(chat)
            .build()
            .map_err(|error| Failure::system("no host", error))?;
        let sessions = host.subscribe_sessions(16);
        let node = Node::builder(host)
            .listen("127.0.0.1:0")
            .start()
            .map_err(|error| Failure::system("no listener", error))?;
        Ok(Self {
            node,
            room,
            sessions,
            lines,
            peer: None,
        })
    }

    fn wait_for_end(&self) -> Option<(NodeId, CloseReason)> {
        let until = Instant::now() + END_TIMEOUT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let PeerEvent::Dropped { peer, reason, .. } =
                self.sessions.receiver().recv_timeout(left).ok()?
            {
                return Some((peer, reason));
            }
        }
    }
}

impl Far for Listener {
    fn name(&self) -> &'static str {
        "listener"
    }

    fn enode(&self) -> Enode {
        self.node.enode()
    }

    fn say(&mut self, line: &str) -> Result<bool, Failure> {
        if self.peer.is_none() {
            self.peer = self.node.peers().pop();
        }
        Ok(self.peer.is_some() && self.room.say(line) > 0)
    }

    fn finish(&mut self) -> Result<Seen, Failure> {
        let ended = self.wait_for_end();
        self.node.shutdown();
        let mut seen = Seen {
            lines: lock(&self.lines).clone(),
            end: "nothing".to_owned(),
            ..Seen::default()
        };
        if let Some((peer, reason)) = ended {
            seen.dialler = peer.to_string();
            seen.end = reason.to_string();
            if let CloseReason::RemoteRequested(reason) = reason {
                seen.reason = reason;
            }
        }
        for (index, protocol) in self.node.host().protocols().iter().enumerate() {
            let Some(peer) = &self.peer else { break };
            let traffic = peer.traffic(index);
            let count = Count {
                offset: peer.offset(index).unwrap_or_default(),
                sent: traffic.messages_out,
                received: traffic.messages_in,
                traffic: Some(traffic),
            };
            seen.counts
                .insert(protocol.capability().name.to_string(), count);
        }
        Ok(seen)
    }
}
