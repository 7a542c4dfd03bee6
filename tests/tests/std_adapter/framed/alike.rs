//! Both ends of a private link play the shared scenarios: what a subprotocol sees is what it sees over RLPx.

use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::thread;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_std::framed::{Endpoint, Framing, SessionError, Settings, Subprotocol};
use devp2p_std::handle::{Message, ReadError};
use devp2p_tests::suite::{
    Finish, NoMessage, Part, Played, Role, Scenario, Seen, Side, Stage, play, play_all, scenarios,
    waiting,
};

use super::Prefixed;
use super::line::Delimited;
use crate::session_rig::HANG;

struct FramedSide<'a>(Subprotocol, &'a Barrier);

fn message(read: Result<Message, ReadError>, buffer: &mut [u8]) -> Result<(u32, usize), NoMessage> {
    match read {
        Ok(Message { code, payload, .. }) if payload.len() > buffer.len() => {
            Err(NoMessage::Oversize(code, payload.len() as u32))
        }
        Ok(Message { code, payload, .. }) => {
            buffer[..payload.len()].copy_from_slice(&payload);
            Ok((code, payload.len()))
        }
        Err(ReadError::Closed(reason)) => Err(NoMessage::Closed(reason)),
        Err(ReadError::Oversize { code, length }) => Err(NoMessage::Oversize(code, length)),
        Err(other) => panic!("{other:?}"),
    }
}

impl Side for FramedSide<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<(u32, usize), NoMessage> {
        message(self.0.read(), buffer)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<(u32, usize)>, NoMessage> {
        let read = self.0.try_read().transpose();
        read.map(|read| message(read, buffer)).transpose()
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
        self.0.peer().disconnect(reason);
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

/// The thread of a role; what it saw.
fn perform(role: &Role, subprotocol: Option<Subprotocol>, met: &Barrier) -> Vec<Seen> {
    let Some(subprotocol) = subprotocol else {
        return vec![Seen::NotShared];
    };
    let mut side = FramedSide(subprotocol, met);
    let seen = at_once(play(&mut side, &role.steps));
    match role.finish {
        Finish::Return => drop(side),
        Finish::Fail(reason) => side.0.fail(reason),
    }
    seen
}

/// One side of a scenario, over its end of the stream.
fn side(id: u8, part: &Part, stream: UnixStream, framing: impl Framing + Send + 'static) -> Played {
    let protocols = part.roles.iter().map(Role::protocol).collect();
    let settings = Settings::new(NodeId([id; 64]), protocols);
    let mut endpoint = Endpoint::start(settings, stream, framing).expect("it starts");
    let mut session = match endpoint.session(HANG) {
        Ok(session) => session,
        Err(SessionError::Closed(end)) => {
            let seen = part.roles.iter().map(|_| vec![Seen::NotShared]);
            let seen = seen.collect();
            return Played { end, seen };
        }
        Err(error) => panic!("{error}"),
    };
    let peer = session.peer().clone();
    let met = Barrier::new(2);
    let seen = thread::scope(|scope| {
        let roles = part.roles.iter().enumerate();
        let threads: Vec<_> = roles
            .map(|(index, role)| {
                let (taken, met) = (session.take(index), &met);
                scope.spawn(move || perform(role, taken, met))
            })
            .collect();
        let seen = threads.into_iter().map(|thread| thread.join());
        seen.map(|seen| seen.expect("no panic")).collect()
    });
    let end = peer.closed();
    Played { end, seen }
}

/// Ends of this framing.
struct OnFramed<F>(fn() -> F);

impl<F: Framing + Send + 'static> Stage for OnFramed<F> {
    fn play(&self, scenario: &Scenario) -> [Played; 2] {
        let [a, b] = &scenario.parts;
        let (near, far) = UnixStream::pair().expect("a pair");
        thread::scope(|scope| {
            let theirs = scope.spawn(|| side(2, b, far, self.0()));
            let ours = side(1, a, near, self.0());
            [ours, theirs.join().expect("no panic")]
        })
    }
}

#[test]
fn a_private_link_plays_the_shared_scenarios() {
    play_all(&OnFramed(Prefixed::default), scenarios());
    play_all(&OnFramed(Prefixed::default), vec![waiting()]);
}

#[test]
fn a_line_of_many_sessions_plays_the_shared_scenarios() {
    // Without a shared protocol, one session that fails follows the other.
    let shares = |scenario: &Scenario| {
        let [a, b] = scenario.parts.each_ref().map(|part| &part.roles);
        let mut names = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
        names.any(|(a, b)| a.name == b.name)
    };
    let all = scenarios().into_iter().filter(shares).collect();
    play_all(&OnFramed(Delimited::default), all);
    play_all(&OnFramed(Delimited::default), vec![waiting()]);
}
