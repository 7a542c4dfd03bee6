//! What tests of sessions share: hosts, run closures driven from the test, sessions over sockets, transports that misbehave.
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use devp2p_core::config::Config;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::handle::Subprotocol;
use devp2p_std::host::{Builder, Host};
use devp2p_std::node::Service;
use devp2p_std::protocol::{Failure, Protocol};
use devp2p_std::session::{Candidate, Report, Session, Stopper};
use devp2p_std::transport::{Closer, Transport};

/// Longer than anything here takes: only what would hang for ever reaches it.
pub(crate) const HANG: Duration = Duration::from_secs(60);

pub(crate) fn key(seed: u8) -> NodeKey {
    NodeKey::new(&[seed; 32]).expect("a valid secret")
}

pub(crate) fn host<S: Service>(seed: u8, protocols: Vec<Protocol<S>>) -> Arc<Host<S>> {
    host_with(seed, protocols, |builder| builder)
}

pub(crate) fn host_with<S: Service>(
    seed: u8,
    protocols: Vec<Protocol<S>>,
    set: impl FnOnce(Builder<S>) -> Builder<S>,
) -> Arc<Host<S>> {
    let builder = Host::builder(key(seed)).config(config(|_| ()));
    let builder = protocols.into_iter().fold(builder, Builder::protocol);
    set(builder).build().expect("a host")
}

pub(crate) fn config(set: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::new();
    // What is not meant to pass here must not on the busiest machine.
    config.handshake_timeout = millis(30_000);
    config.closing_timeout = millis(30_000);
    set(&mut config);
    config
}

pub(crate) fn millis(n: u64) -> devp2p_core::time::Duration {
    devp2p_core::time::Duration::from_millis(n)
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

// ---- Run closures driven from the test ----

type Job = Box<dyn FnOnce(&mut Subprotocol) -> Option<Result<(), Failure>> + Send>;

/// Drives the run closure of one subprotocol. When dropped, the closure returns.
pub(crate) struct Control(Sender<Job>);

/// A protocol whose run closure does what its [`Control`] says, until that or the session ends. For one session.
pub(crate) fn controlled(name: &str, version: u32, length: u32) -> (Protocol, Control) {
    let (jobs, receiver) = channel::<Job>();
    let receiver = Mutex::new(receiver);
    let protocol = Protocol::new(name, version, length, move |subprotocol| {
        let receiver = receiver.lock().expect("one session");
        loop {
            match receiver.recv_timeout(Duration::from_millis(5)) {
                Ok(job) => {
                    if let Some(result) = job(subprotocol) {
                        return result;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    if subprotocol.peer().close_reason().is_some() {
                        // What was asked for before the end is done.
                        let last = receiver.try_iter().find_map(|job| job(subprotocol));
                        return last.unwrap_or(Ok(()));
                    }
                }
            }
        }
    })
    .expect("a valid name");
    (protocol, Control(jobs))
}

impl Control {
    /// Runs `f` in the run closure and waits for what it gives.
    pub(crate) fn run<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Subprotocol) -> R + Send + 'static,
    ) -> R {
        self.start(f)
            .recv_timeout(HANG)
            .expect("the run closure hangs, or is gone")
    }

    /// Runs `f` in the run closure.
    pub(crate) fn start<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Subprotocol) -> R + Send + 'static,
    ) -> Receiver<R> {
        let (sender, result) = channel();
        let job: Job = Box::new(move |subprotocol| {
            let _ = sender.send(f(subprotocol));
            None
        });
        self.0.send(job).expect("a run closure");
        result
    }

    /// Has the run closure give this result.
    pub(crate) fn end(
        &self,
        f: impl FnOnce(&mut Subprotocol) -> Result<(), Failure> + Send + 'static,
    ) {
        let job: Job = Box::new(move |subprotocol| Some(f(subprotocol)));
        self.0.send(job).expect("a run closure");
    }
}

// ---- Sessions in threads ----

/// A session that runs in a thread.
pub(crate) struct Running {
    report: Receiver<Report>,
    pub(crate) stopper: Stopper,
}

impl Running {
    pub(crate) fn new(session: Session) -> Self {
        Self::admitting(session, |_| Ok(()))
    }

    pub(crate) fn admitting(
        session: Session,
        admit: impl Fn(&Candidate) -> Result<(), DisconnectReason> + Send + 'static,
    ) -> Self {
        let stopper = session.stopper();
        let (sender, report) = channel();
        thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || {
                let _ = sender.send(session.run_with(admit));
            })
            .expect("a thread");
        Self { report, stopper }
    }

    /// Waits for the end.
    pub(crate) fn report(self) -> Report {
        self.report.recv_timeout(HANG).expect("the session hangs")
    }
}

pub(crate) fn dial<T: Transport>(host: &Arc<Host>, transport: T, remote: &Arc<Host>) -> Running {
    Running::new(Session::dial(host, transport, remote.id()).expect("a session"))
}

pub(crate) fn accept<T: Transport>(host: &Arc<Host>, transport: T) -> Running {
    Running::new(Session::accept(host, transport).expect("a session"))
}

/// A session between two hosts over a Unix stream; the first dials.
pub(crate) fn connect(client: &Arc<Host>, server: &Arc<Host>) -> (Running, Running) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (dial(client, ours, server), accept(server, theirs))
}

pub(crate) fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dialled = TcpStream::connect(listener.local_addr().expect("its address"));
    let accepted = listener.accept().expect("a connection").0;
    (dialled.expect("a connection"), accepted)
}

pub(crate) fn remote_requested(reason: DisconnectReason) -> CloseReason {
    CloseReason::RemoteRequested(Some(reason))
}

/// Two hosts that share one protocol, each end driven from the test.
pub(crate) struct Two {
    pub(crate) hosts: [Arc<Host>; 2],
    pub(crate) controls: [Control; 2],
    pub(crate) running: [Running; 2],
}

pub(crate) fn two() -> Two {
    two_with(|protocol| protocol, |builder| builder)
}

/// As [`two`], where the second end has this protocol and host.
pub(crate) fn two_with(
    protocol: impl FnOnce(Protocol) -> Protocol,
    builder: impl FnOnce(Builder) -> Builder,
) -> Two {
    let (ours, our_control) = controlled("test", 1, 8);
    let (theirs, their_control) = controlled("test", 1, 8);
    let client = host(1, vec![ours]);
    let server = host_with(2, vec![protocol(theirs)], builder);
    let (dialled, accepted) = connect(&client, &server);
    Two {
        hosts: [client, server],
        controls: [our_control, their_control],
        running: [dialled, accepted],
    }
    .active()
}

impl Two {
    /// Waits until both run closures run: then both have said Hello.
    fn active(self) -> Self {
        self.controls.iter().for_each(|control| control.run(|_| ()));
        self
    }

    /// Ends the session from the first end and checks that both ends saw an orderly end.
    pub(crate) fn finish(self) {
        let [dialled, accepted] = self.running;
        dialled.stopper.stop(DisconnectReason::CLIENT_QUITTING);
        let ours = dialled.report();
        assert_eq!(
            ours.reason,
            CloseReason::Local(DisconnectReason::CLIENT_QUITTING)
        );
        let theirs = accepted.report();
        assert_eq!(
            theirs.reason,
            remote_requested(DisconnectReason::CLIENT_QUITTING)
        );
        assert!(ours.stuck.is_empty() && theirs.stuck.is_empty());
    }
}

// ---- Transports that misbehave ----

#[derive(Default)]
struct GateState {
    shut: bool,
    closed: bool,
    waiting: bool,
    /// Bytes that passed, and how many more may before the stream is cut.
    passed: usize,
    cut_at: Option<usize>,
}

/// Decides what the writer of a [`Gated`] transport does.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

impl Gate {
    fn update(&self, f: impl FnOnce(&mut GateState)) {
        f(&mut self.0.0.lock().expect("no panic under it"));
        self.0.1.notify_all();
    }

    /// From here on no byte passes.
    pub(crate) fn shut(&self) {
        self.update(|state| state.shut = true);
    }

    pub(crate) fn open(&self) {
        self.update(|state| state.shut = false);
    }

    /// After so many bytes in both directions the stream breaks.
    pub(crate) fn cut_at(&self, bytes: usize) {
        self.update(|state| state.cut_at = Some(bytes));
    }

    /// Waits until a write is stopped by the shut gate.
    pub(crate) fn wait_until_stopped(&self) {
        let state = self.0.0.lock().expect("no panic under it");
        let (state, _) = (self.0.1)
            .wait_timeout_while(state, HANG, |state| !state.waiting)
            .expect("no panic under it");
        assert!(state.waiting, "nobody writes");
    }

    /// How many of `wanted` bytes may pass: waits while the gate is shut. `None` if the stream is broken.
    fn pass(&self, wanted: usize) -> Option<usize> {
        let mut state = self.0.0.lock().expect("no panic under it");
        while state.shut && !state.closed {
            state.waiting = true;
            self.0.1.notify_all();
            state = self.0.1.wait(state).expect("no panic under it");
        }
        state.waiting = false;
        let left = state
            .cut_at
            .map_or(wanted, |at| at.saturating_sub(state.passed));
        let n = wanted.min(left);
        state.passed += n;
        (n > 0 && !state.closed).then_some(n)
    }
}

/// A Unix stream whose writes pass a gate.
pub(crate) struct Gated(pub(crate) UnixStream, pub(crate) Gate);

pub(crate) struct GatedHalf(UnixStream, Gate);

impl Read for GatedHalf {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buf)?;
        let mut left = n;
        // A reader does not wait at the gate, but its bytes count.
        self.1.update(|state| {
            if let Some(at) = state.cut_at {
                left = n.min(at.saturating_sub(state.passed));
                state.passed += n;
            }
        });
        if left < n {
            let _ = self.0.shutdown(Shutdown::Both);
        }
        Ok(left)
    }
}

impl Write for GatedHalf {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.1.pass(buf.len()) {
            Some(n) => self.0.write(&buf[..n]),
            None => {
                let _ = self.0.shutdown(Shutdown::Both);
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Closer for GatedHalf {
    fn close_write(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
    fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
        self.1.update(|state| state.closed = true);
    }
}

impl Transport for Gated {
    type Reader = GatedHalf;
    type Writer = GatedHalf;
    type Closer = GatedHalf;

    fn split(self) -> io::Result<(GatedHalf, GatedHalf, GatedHalf)> {
        let half = || Ok::<_, io::Error>(GatedHalf(self.0.try_clone()?, self.1.clone()));
        Ok((half()?, half()?, half()?))
    }
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}

/// As [`two`], with a gate behind the first end.
pub(crate) fn two_gated(set: impl FnOnce(Builder) -> Builder) -> (Two, Gate) {
    let (ours, our_control) = controlled("test", 1, 8);
    let (theirs, their_control) = controlled("test", 1, 8);
    let client = host_with(1, vec![ours], set);
    let server = host(2, vec![theirs]);
    let (our_end, their_end) = UnixStream::pair().expect("a pair");
    let gate = Gate::default();
    let two = Two {
        running: [
            dial(&client, Gated(our_end, gate.clone()), &server),
            accept(&server, their_end),
        ],
        hosts: [client, server],
        controls: [our_control, their_control],
    };
    (two.active(), gate)
}
