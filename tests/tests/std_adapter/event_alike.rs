//! The event loop plays the shared scenarios: what a subprotocol sees is what it sees with a thread of its own. Each role has
//! a thread here, which talks to its session by a handle and gets its messages from the handler.
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_std::enode::Enode;
use devp2p_std::event_loop::{EventNode, Handle, Handler, Message, Oversize, Session};
use devp2p_std::host::Host;
use devp2p_std::protocol::{Failure, Protocol};
use devp2p_tests::fixture;
use devp2p_tests::suite::{
    Finish, INBOX, LIMIT, NoMessage, Part, Played, Role, Scenario, Seen, Side, Stage, play,
    play_all, scenarios, waiting,
};

use crate::session_rig::HANG;

/// What a handler hands to the thread of a role.
enum Came {
    Active(Handle),
    Message(u32, Vec<u8>),
    Oversize(u32, u32),
    Closed(CloseReason),
}

/// One for each role.
struct Hands(Vec<Sender<Came>>);

impl Hands {
    /// To a thread that may have ended.
    fn hand(&self, subprotocol: usize, came: Came) {
        let _ = self.0[subprotocol].send(came);
    }
}

impl Handler for Hands {
    fn on_active(&mut self, session: &mut Session<'_>) {
        for subprotocol in 0..self.0.len() {
            self.hand(subprotocol, Came::Active(session.handle().clone()));
        }
    }

    fn on_message(
        &mut self,
        _session: &mut Session<'_>,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let came = Came::Message(message.code, message.payload.to_vec());
        self.hand(message.subprotocol, came);
        Ok(())
    }

    fn on_oversize(
        &mut self,
        _session: &mut Session<'_>,
        oversize: Oversize,
    ) -> Result<(), Failure> {
        let came = Came::Oversize(oversize.code, oversize.length);
        self.hand(oversize.subprotocol, came);
        Ok(())
    }

    fn on_closed(&mut self, _handle: &Handle, reason: CloseReason) {
        for subprotocol in 0..self.0.len() {
            self.hand(subprotocol, Came::Closed(reason));
        }
    }
}

struct LoopSide {
    handle: Handle,
    subprotocol: usize,
    came: Receiver<Came>,
    barrier: Arc<Barrier>,
    /// The end, once it was read.
    ended: Option<CloseReason>,
}

impl LoopSide {
    fn message(&mut self, came: Came, buffer: &mut [u8]) -> Result<(u32, usize), NoMessage> {
        match came {
            Came::Message(code, payload) if payload.len() > buffer.len() => {
                Err(NoMessage::Oversize(code, payload.len() as u32))
            }
            Came::Message(code, payload) => {
                buffer[..payload.len()].copy_from_slice(&payload);
                Ok((code, payload.len()))
            }
            Came::Oversize(code, length) => Err(NoMessage::Oversize(code, length)),
            Came::Closed(reason) => {
                self.ended = Some(reason);
                Err(NoMessage::Closed(reason))
            }
            Came::Active(_) => unreachable!("once"),
        }
    }
}

impl Side for LoopSide {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<(u32, usize), NoMessage> {
        let came = match self.ended {
            Some(reason) => Came::Closed(reason),
            None => self.came.recv().expect("the handler tells the end"),
        };
        self.message(came, buffer)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<(u32, usize)>, NoMessage> {
        let came = self.ended.map(Came::Closed);
        match came.or_else(|| self.came.try_recv().ok()) {
            Some(came) => self.message(came, buffer).map(Some),
            None => Ok(None),
        }
    }

    async fn write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.handle.send(self.subprotocol, code, payload, HANG)
    }

    fn try_write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.handle.try_send(self.subprotocol, code, payload)
    }

    async fn flush(&mut self) -> Result<(), CloseReason> {
        self.handle.flush()
    }

    fn disconnect(&self, reason: DisconnectReason) {
        self.handle.disconnect(reason);
    }

    async fn closed(&self) -> CloseReason {
        self.handle.closed()
    }

    async fn meet(&self) {
        self.barrier.wait();
    }
}

/// Runs what never waits as a future: here the thread itself does.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a blocking call waited as a future"),
    }
}

/// The thread of a role; what it saw.
fn perform(role: &Role, subprotocol: usize, came: Receiver<Came>, met: Arc<Barrier>) -> Vec<Seen> {
    let Ok(Came::Active(handle)) = came.recv() else {
        // The session was never active.
        return vec![Seen::NotShared];
    };
    if !handle.is_shared(subprotocol) {
        return vec![Seen::NotShared];
    }
    let mut side = LoopSide {
        handle,
        subprotocol,
        came,
        barrier: met,
        ended: None,
    };
    let seen = at_once(play(&mut side, &role.steps));
    match role.finish {
        Finish::Return => side.handle.finish(subprotocol),
        Finish::Fail(reason) => {
            let failure = Failure::new(reason, "as the scenario says");
            side.handle.fail(subprotocol, &failure);
        }
    }
    seen
}

/// One side: its node, the threads of its roles, and how its session ended.
struct Cast {
    node: EventNode,
    roles: Vec<thread::JoinHandle<Vec<Seen>>>,
    end: Receiver<CloseReason>,
}

fn cast(seed: u64, part: &Part) -> Cast {
    let mut builder = Host::builder(fixture::key(seed));
    let barrier = Arc::new(Barrier::new(2));
    let (mut hands, mut roles) = (Vec::new(), Vec::new());
    for (index, role) in part.roles.iter().enumerate() {
        let protocol = Protocol::for_handlers(role.name, 1, role.length).expect("a valid name");
        builder = builder.protocol(protocol.message_limit(LIMIT).inbox(INBOX));
        let (hand, came) = channel();
        hands.push(hand);
        let (role, barrier) = (role.clone(), Arc::clone(&barrier));
        roles.push(thread::spawn(move || perform(&role, index, came, barrier)));
    }
    let (ends, end) = channel();
    let host = builder.build().expect("a host");
    // Taken by the one session; or dropped with the node if there never is one.
    let hands = Mutex::new(Some((hands, ends)));
    let node = EventNode::with_handlers(host, move |_| {
        let taken = hands.lock().expect("no panic").take();
        let (hands, ends) = taken.expect("one session");
        Ok::<_, DisconnectReason>(Ending(Hands(hands), ends))
    });
    let node = node.listen("127.0.0.1:0").loops(1).start();
    Cast {
        node: node.expect("a node"),
        roles,
        end,
    }
}

/// Hands on, and tells the end of the session.
struct Ending(Hands, Sender<CloseReason>);

impl Handler for Ending {
    fn on_active(&mut self, session: &mut Session<'_>) {
        self.0.on_active(session);
    }

    fn on_message(
        &mut self,
        session: &mut Session<'_>,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        self.0.on_message(session, message)
    }

    fn on_oversize(
        &mut self,
        session: &mut Session<'_>,
        oversize: Oversize,
    ) -> Result<(), Failure> {
        self.0.on_oversize(session, oversize)
    }

    fn on_closed(&mut self, handle: &Handle, reason: CloseReason) {
        self.0.on_closed(handle, reason);
        let _ = self.1.send(reason);
    }
}

struct OnLoops;

impl Stage for OnLoops {
    fn play(&self, scenario: &Scenario) -> [Played; 2] {
        let [a, b] = &scenario.parts;
        let (a, b) = (cast(1, a), cast(2, b));
        let address = b.node.local_addr().expect("it listens");
        let enode = Enode::new(b.node.host().id(), address);
        let dial = a.node.begin_dial(&enode).expect("a dial");
        // A session that ends as soon as it is active may have ended before this is told.
        let _ = dial.wait_timeout(HANG).expect("the dial hangs");
        [a, b].map(|cast| {
            let end = cast.end.recv_timeout(HANG).expect("the session ends");
            drop(cast.node);
            let seen = cast.roles.into_iter();
            Played {
                end,
                seen: seen.map(|role| role.join().expect("no panic")).collect(),
            }
        })
    }
}

#[test]
fn the_event_loop_plays_the_shared_scenarios() {
    // A session that is never active tells its handlers nothing, and there are none.
    let shares = |scenario: &Scenario| {
        let [a, b] = scenario.parts.each_ref().map(|part| &part.roles);
        a.iter()
            .any(|one| b.iter().any(|other| one.name == other.name))
    };
    let all = scenarios().into_iter().filter(shares).collect();
    play_all(&OnLoops, all);
    play_all(&OnLoops, vec![waiting()]);
}
