//! What tests of the event loop share: nodes whose handlers tell the test what they see and do what it says.
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_std::enode::Enode;
use devp2p_std::event_loop::{EventNode, Handle, Handler, Loops, Message, Oversize, Session};
use devp2p_std::host::Host;
use devp2p_std::node::Builder;
use devp2p_std::protocol::{Failure, Protocol};

use crate::session_rig::HANG;

/// A protocol for handlers.
pub(crate) fn protocol(name: &str, length: u32) -> Protocol<Loops> {
    Protocol::for_handlers(name, 1, length).expect("a valid name")
}

/// What a handler was called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Active,
    /// Subprotocol, code, payload.
    Message(usize, u32, Vec<u8>),
    /// Subprotocol, code, length.
    Oversize(usize, u32, u32),
    Writable,
    Timer,
    Closed(CloseReason),
}

/// What a handler does with a message, besides telling of it.
pub(crate) type OnMessage =
    dyn Fn(&mut Session<'_>, &Message<'_>) -> Result<(), Failure> + Send + Sync;
type OnCall = dyn Fn(&mut Session<'_>) + Send + Sync;

/// What the handlers of a node do.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) on_active: Arc<OnCall>,
    pub(crate) on_message: Arc<OnMessage>,
    pub(crate) on_writable: Arc<OnCall>,
    pub(crate) on_timer: Arc<OnCall>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            on_active: Arc::new(|_| ()),
            on_message: Arc::new(|_, _| Ok(())),
            on_writable: Arc::new(|_| ()),
            on_timer: Arc::new(|_| ()),
        }
    }
}

/// Answers code 0 by code 1 with the same payload.
pub(crate) fn echo() -> Script {
    Script {
        on_message: Arc::new(|session, message| {
            if message.code == 0 {
                session.try_write(message.subprotocol, 1, message.payload)?;
            }
            Ok(())
        }),
        ..Script::default()
    }
}

struct Told {
    seen: Sender<Seen>,
    script: Script,
}

impl Told {
    fn tell(&self, seen: Seen) {
        // The test may have seen enough.
        let _ = self.seen.send(seen);
    }
}

impl Handler for Told {
    fn on_active(&mut self, session: &mut Session<'_>) {
        self.tell(Seen::Active);
        (self.script.on_active)(session);
    }

    fn on_message(
        &mut self,
        session: &mut Session<'_>,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let payload = message.payload.to_vec();
        self.tell(Seen::Message(message.subprotocol, message.code, payload));
        (self.script.on_message)(session, &message)
    }

    fn on_oversize(
        &mut self,
        _session: &mut Session<'_>,
        oversize: Oversize,
    ) -> Result<(), Failure> {
        let Oversize {
            subprotocol,
            code,
            length,
            ..
        } = oversize;
        self.tell(Seen::Oversize(subprotocol, code, length));
        Ok(())
    }

    fn on_writable(&mut self, session: &mut Session<'_>) {
        self.tell(Seen::Writable);
        (self.script.on_writable)(session);
    }

    fn on_timer(&mut self, session: &mut Session<'_>) {
        self.tell(Seen::Timer);
        (self.script.on_timer)(session);
    }

    fn on_closed(&mut self, _handle: &Handle, reason: CloseReason) {
        self.tell(Seen::Closed(reason));
    }
}

/// A node of event loops, and what its handlers saw, in order for each session.
pub(crate) struct Node {
    pub(crate) node: EventNode,
    seen: Receiver<Seen>,
}

/// One that listens.
pub(crate) fn node(host: &Arc<Host<Loops>>, script: Script) -> Node {
    node_with(host, script, |builder| {
        builder.listen("127.0.0.1:0").loops(2)
    })
}

pub(crate) fn node_with(
    host: &Arc<Host<Loops>>,
    script: Script,
    set: impl FnOnce(Builder<Loops>) -> Builder<Loops>,
) -> Node {
    let (sender, seen) = channel();
    let builder = EventNode::with_handlers(Arc::clone(host), move |_| {
        Ok::<_, DisconnectReason>(Told {
            seen: sender.clone(),
            script: script.clone(),
        })
    });
    let node = set(builder).start().expect("a node");
    Node { node, seen }
}

impl Node {
    /// What others dial.
    pub(crate) fn enode(&self) -> Enode {
        self.node.enode()
    }

    /// A session with this node.
    pub(crate) fn dial(&self, enode: &Enode) -> Handle {
        let dialling = self.node.begin_dial(enode).expect("a dial");
        let outcome = dialling.wait_timeout(HANG).expect("the dial hangs");
        outcome.expect("a session")
    }

    /// What is seen next.
    pub(crate) fn next(&self) -> Seen {
        self.seen.recv_timeout(HANG).expect("nothing happens")
    }

    /// What is seen next but beginnings.
    pub(crate) fn next_but_active(&self) -> Seen {
        loop {
            match self.next() {
                Seen::Active => {}
                seen => return seen,
            }
        }
    }

    /// Waits for the end of a session.
    pub(crate) fn closed(&self) -> CloseReason {
        loop {
            if let Seen::Closed(reason) = self.next() {
                return reason;
            }
        }
    }
}

/// Waits until so many sessions live at this node. That a dial succeeded says that its own side has the remote's Hello: the other
/// side's session is active once ours has arrived there.
#[track_caller]
pub(crate) fn wait_for_peers(node: &EventNode, count: usize) {
    let until = Instant::now() + HANG;
    while node.peer_count() != count {
        let found = node.peer_count();
        assert!(Instant::now() < until, "{found} sessions, not {count}");
        thread::yield_now();
    }
}

/// Sends, waiting for room as long as it takes.
pub(crate) fn send(handle: &Handle, subprotocol: usize, code: u32, payload: &[u8]) {
    let sent: Result<(), WriteError> = handle.send(subprotocol, code, payload, HANG);
    sent.expect("room in time");
}
