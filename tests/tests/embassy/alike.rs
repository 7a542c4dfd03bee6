//! Both adapters play the shared scenarios: one blocking semantics, not two.

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_embassy::{Guard, NotShared, Peer, ReadError};
use devp2p_std::handle;
use devp2p_std::host::Host;
use devp2p_std::protocol::{Failure, Protocol};
use devp2p_std::session::Session;
use devp2p_tests::embassy_node::{Handles, PROTOCOLS, Spec, Two};
use devp2p_tests::embassy_pipe::Shape;
use devp2p_tests::embassy_sim::{Sim, Task, millis};
use devp2p_tests::fixture;
use devp2p_tests::suite::{
    Finish, INBOX, LIMIT, NoMessage, Part, Played, Role, Scenario, Seen, Side, Stage, play,
    play_all, scenarios, waiting,
};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;

use crate::again::Handle;

// ---- Embassy ----

struct OnEmbassy(Shape);

struct EmbassySide {
    guard: Guard<'static, NoopRawMutex, PROTOCOLS>,
    peer: Peer<'static, NoopRawMutex, PROTOCOLS>,
    met: Rc<Cell<u32>>,
}

fn no_message(error: ReadError) -> NoMessage {
    match error {
        ReadError::Closed(reason) => NoMessage::Closed(reason),
        ReadError::Oversize { code, length } => NoMessage::Oversize(code, length),
    }
}

impl Side for EmbassySide {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<(u32, usize), NoMessage> {
        let read = self.guard.read(buffer).await;
        read.map(|m| (m.code, m.length)).map_err(no_message)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<(u32, usize)>, NoMessage> {
        let read = self.guard.try_read(buffer).map_err(no_message);
        read.map(|m| m.map(|m| (m.code, m.length)))
    }

    async fn write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.guard.write(code, payload).await
    }

    fn try_write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.guard.try_write(code, payload)
    }

    async fn flush(&mut self) -> Result<(), CloseReason> {
        self.guard.flush().await
    }

    fn disconnect(&self, reason: DisconnectReason) {
        self.peer.disconnect(reason);
    }

    async fn closed(&self) -> CloseReason {
        self.peer.closed().await
    }

    async fn meet(&self) {
        self.met.set(self.met.get() + 1);
        while self.met.get() < 2 {
            millis(1).await;
        }
    }
}

fn perform(
    sim: &mut Sim,
    part: &Part,
    handles: [Handle; PROTOCOLS],
    peer: Peer<'static, NoopRawMutex, PROTOCOLS>,
) -> Vec<Task<Vec<Seen>>> {
    let roles = part.roles.iter().cloned().zip(handles);
    let met = Rc::new(Cell::new(0));
    let tasks = roles.map(|(role, mut handle)| {
        let met = Rc::clone(&met);
        sim.spawn(role.name, async move {
            let Role { steps, finish, .. } = role;
            // A session that never becomes active is not waited for.
            let session = embassy_futures::select::select(handle.session(), peer.closed());
            match session.await {
                embassy_futures::select::Either::First(Ok(guard)) => {
                    let mut side = EmbassySide { guard, peer, met };
                    let seen = play(&mut side, &steps).await;
                    if let Finish::Fail(reason) = finish {
                        side.guard.fail(reason);
                    }
                    seen
                }
                embassy_futures::select::Either::First(Err(NotShared)) => vec![Seen::NotShared],
                embassy_futures::select::Either::Second(_) => vec![Seen::NotShared],
            }
        })
    });
    tasks.collect()
}

impl Stage for OnEmbassy {
    fn play(&self, scenario: &Scenario) -> [Played; 2] {
        let mut seed = 0;
        let [a, b] = scenario.parts.each_ref().map(|part| {
            seed += 1;
            let protocols: Vec<_> = part.roles.iter().map(Role::protocol).collect();
            Spec::new(seed).protocols(&protocols)
        });
        let Two { mut sim, a, b, .. } = Two::new(&a, &b, self.0);
        // The runners begin before anybody asks whether there is a session.
        sim.poll_once(&a.run);
        sim.poll_once(&b.run);
        let mut runs = Vec::new();
        let mut tasks = Vec::new();
        for (part, handles) in scenario.parts.iter().zip([a, b]) {
            let Handles {
                peer,
                echo,
                sense,
                run,
            } = handles;
            runs.push(run);
            tasks.push(perform(&mut sim, part, [echo, sense], peer));
        }
        let mut ends = runs.into_iter().map(|run| sim.join(run).reason);
        let ends = [ends.next(), ends.next()].map(|end| end.expect("two"));
        let mut seen = tasks
            .into_iter()
            .map(|tasks| tasks.into_iter().map(|task| sim.join(task)).collect());
        ends.map(|end| Played {
            end,
            seen: seen.next().expect("two"),
        })
    }
}

#[test]
fn the_embassy_adapter_plays_the_shared_scenarios() {
    play_all(&OnEmbassy(Shape::default()), scenarios());
    play_all(&OnEmbassy(Shape::default()), vec![waiting()]);
    let narrow = Shape {
        capacity: 32,
        chunk: 16,
    };
    play_all(&OnEmbassy(narrow), scenarios());
}

// ---- std ----

struct OnStd;

struct StdSide<'a>(&'a mut handle::Subprotocol, &'a Barrier);

fn no_std_message(error: handle::ReadError) -> NoMessage {
    match error {
        handle::ReadError::Closed(reason) => NoMessage::Closed(reason),
        handle::ReadError::Oversize { code, length } => NoMessage::Oversize(code, length),
        other => panic!("{other:?}"),
    }
}

impl Side for StdSide<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<(u32, usize), NoMessage> {
        let read = self.0.read_into(buffer).map_err(no_std_message)?;
        Ok((read.code, read.length))
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<(u32, usize)>, NoMessage> {
        let Some(message) = self.0.try_read().map_err(no_std_message)? else {
            return Ok(None);
        };
        buffer[..message.payload.len()].copy_from_slice(&message.payload);
        Ok(Some((message.code, message.payload.len())))
    }

    async fn write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.0.write(code, payload)
    }

    fn try_write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.0.try_write(code, payload)
    }

    async fn flush(&mut self) -> Result<(), CloseReason> {
        self.0.flush()
    }

    fn disconnect(&self, reason: DisconnectReason) {
        self.0.disconnect(reason);
    }

    async fn closed(&self) -> CloseReason {
        self.0.peer().closed()
    }

    async fn meet(&self) {
        self.1.wait();
    }
}

/// Runs what never waits as a future: here the thread itself does.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a blocking call waited as a future"),
    }
}

type Notes = Arc<Mutex<Vec<Vec<Seen>>>>;

fn host(seed: u64, part: &Part) -> (Arc<Host>, Notes) {
    let notes: Notes = Arc::new(Mutex::new(vec![vec![Seen::NotShared]; part.roles.len()]));
    let barrier = Arc::new(Barrier::new(2));
    let mut builder = Host::builder(fixture::key(seed));
    for (index, role) in part.roles.iter().enumerate() {
        let (notes, role) = (Arc::clone(&notes), role.clone());
        let barrier = Arc::clone(&barrier);
        let (name, length) = (role.name, role.length);
        let run = move |side: &mut handle::Subprotocol| {
            let seen = at_once(play(&mut StdSide(side, &barrier), &role.steps));
            notes.lock().expect("no panic")[index] = seen;
            match role.finish {
                Finish::Return => Ok(()),
                Finish::Fail(reason) => Err(Failure::new(reason, "as the scenario says")),
            }
        };
        let protocol = Protocol::new(name, 1, length, run).expect("a valid name");
        builder = builder.protocol(protocol.message_limit(LIMIT).inbox(INBOX));
    }
    (builder.build().expect("a host"), notes)
}

impl Stage for OnStd {
    fn play(&self, scenario: &Scenario) -> [Played; 2] {
        let [a, b] = &scenario.parts;
        let ((a, notes_a), (b, notes_b)) = (host(1, a), host(2, b));
        let (near, far) = UnixStream::pair().expect("a pair");
        let id = b.id();
        let serving = thread::spawn(move || Session::accept(&b, far).expect("a session").run());
        let ours = Session::dial(&a, near, id).expect("a session").run();
        let theirs = serving.join().expect("no panic");
        [(ours, notes_a), (theirs, notes_b)].map(|(report, notes)| Played {
            end: report.reason,
            seen: std::mem::take(&mut *notes.lock().expect("no panic")),
        })
    }
}

#[test]
fn the_std_adapter_plays_the_shared_scenarios() {
    play_all(&OnStd, scenarios());
    play_all(&OnStd, vec![waiting()]);
}
