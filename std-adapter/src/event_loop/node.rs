//! The node: its loops, its listener, and what they share.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use devp2p_core::error::CloseReason;
use devp2p_core::hello::NodeId;

use super::admission::Admission;
use super::builder::{Builder, Settings};
use super::connecting::bounded;
use super::dialling::{Dialling, Reply};
use super::handle::Handle;
use super::handler::Factory;
use super::lane::{Command, Lane};
use super::lateness::Punctuality;
use super::worker::Worker;
use crate::enode::Enode;
use crate::host::Host;
use crate::node::listener::{Acceptor, Listener};
use crate::node::{DialError, StartError};
use crate::throttle::InboundThrottle;
use crate::time::to_std_duration;

/// Time beyond two closing deadlines that shutting down allows the loops.
const MARGIN: Duration = Duration::from_secs(1);

/// What the loops of one node share.
pub(super) struct Common {
    pub(super) host: Arc<Host>,
    pub(super) factory: Factory,
    pub(super) admission: Admission,
    pub(super) dial_timeout: Duration,
    pub(super) output_limit: usize,
    lanes: OnceLock<Box<[Arc<Lane>]>>,
    throttle: Mutex<InboundThrottle>,
    listener: OnceLock<Arc<mio::Waker>>,
    is_closing: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Loops that have ended.
    ended: usize,
    /// Sessions that ended while shutting down.
    reports: Vec<Ended>,
}

/// How a session ended while its node was shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// With whom.
    pub peer: NodeId,
    /// Why.
    pub reason: CloseReason,
}

/// How a node was shut down.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// The sessions that were ended.
    pub sessions: Vec<Ended>,
    /// Loops that did not end in time, because a callback blocks: their threads go on. Zero, unless one does.
    pub stuck: usize,
}

impl Common {
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    fn lanes(&self) -> &[Arc<Lane>] {
        self.lanes.get().map_or(&[], |lanes| lanes)
    }

    /// Gives a connection to the loop that has the fewest.
    fn assign(&self, command: Command) {
        if let Some(lane) = self.lanes().iter().min_by_key(|lane| lane.load()) {
            lane.load.fetch_add(1, Ordering::Relaxed);
            lane.push(command);
        }
    }

    /// A connection less that is pending: the listener may go on, if it waited.
    pub(super) fn wake_listener(&self) {
        if self.admission.take_refused() || self.is_closing() {
            self.always_wake_listener();
        }
    }

    fn always_wake_listener(&self) {
        if let Some(waker) = self.listener.get()
            && let Err(error) = waker.wake()
        {
            log::error!("the listener could not be woken: {error}");
        }
    }

    /// A session ended.
    pub(super) fn report(&self, peer: NodeId, reason: CloseReason) {
        if self.is_closing() {
            self.lock().reports.push(Ended { peer, reason });
        }
    }

    /// No code of the user runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acceptor for Arc<Common> {
    fn is_open(&self) -> bool {
        !self.is_closing()
    }

    fn has_room(&self) -> bool {
        self.admission.has_room_inbound()
    }

    fn accept(&self, stream: TcpStream, remote: SocketAddr) {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = throttle.admit(remote.ip(), self.host.clock.now());
        drop(throttle);
        if !admitted {
            log::debug!("refusing {remote}: too many attempts from its address");
            return;
        }
        if let Err(error) = stream.set_nonblocking(true) {
            log::debug!("the connection from {remote} is lost: {error}");
            return;
        }
        self.admission.opens(None);
        self.assign(Command::Open(stream, None));
    }
}

/// Listens and dials for one [`Host`], and drives all sessions from a few threads. Usable from several threads at once;
/// dropping it is [`shutdown`](Self::shutdown).
///
/// Its threads are the loops, one for the listener, and the host's timer. A remote is checked before Hello, when the
/// Disconnect is sent in its place, and again after:
/// * TooManyPeers, if there are as many sessions as there may be and it is not trusted;
/// * AlreadyConnected, if there is a session with it. While both nodes dial each other, the session stays that the node with
///   the smaller identity dials;
/// * Self, if it is this node;
/// * and with the reason that the maker of handlers gives.
///
/// A session that is ending counts no more: `on_closed` of its handler may be called after its successor began.
pub struct EventNode {
    common: Arc<Common>,
    local_addr: Option<SocketAddr>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl EventNode {
    /// Begins a node for this host. `handlers` makes the handler of each session, once its Hello was accepted, or turns the
    /// remote away with a reason.
    pub fn builder<H: super::Handler + 'static>(
        host: Arc<Host>,
        handlers: impl Fn(&Handle) -> Result<H, devp2p_core::disconnect::DisconnectReason>
        + Send
        + Sync
        + 'static,
    ) -> Builder {
        let factory: Factory = Arc::new(move |handle: &Handle| {
            let handler: Box<dyn super::Handler> = Box::new(handlers(handle)?);
            Ok(handler)
        });
        Builder::new(host, factory)
    }

    pub(super) fn start(settings: Settings) -> Result<Self, StartError> {
        let Settings {
            host,
            factory,
            listen,
            loops,
            max_peers,
            max_pending,
            dial_timeout,
            inbound_interval,
            output_limit,
            trusted,
        } = settings;
        let listener = listen
            .map(|address| {
                Listener::bind(&address).map_err(|error| StartError::Listen { address, error })
            })
            .transpose()?;
        let local_addr = listener.as_ref().map(|(listener, _)| listener.local_addr());
        if let Some(address) = local_addr {
            host.set_listen_port(address.port());
        }
        host.memory.guarantee(max_peers);
        let admission = Admission::new(host.id(), max_peers, max_pending);
        trusted.into_iter().for_each(|id| admission.trust(id, true));
        let throttle = InboundThrottle::new(inbound_interval, InboundThrottle::DEFAULT_CAPACITY);
        let common = Arc::new(Common {
            admission,
            factory,
            dial_timeout: bounded(dial_timeout),
            output_limit,
            lanes: OnceLock::new(),
            throttle: Mutex::new(throttle),
            listener: OnceLock::new(),
            is_closing: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
            host,
        });
        let node = Self {
            common: Arc::clone(&common),
            local_addr,
            threads: Mutex::default(),
            listener: Mutex::default(),
        };
        // If one of the threads does not start, the node is dropped, which ends the others.
        node.start_loops(loops).map_err(StartError::Thread)?;
        if let Some((listener, waker)) = listener {
            let _ = common.listener.set(waker);
            let thread = thread::Builder::new()
                .name("devp2p-listen".to_owned())
                .spawn(move || listener.run(&common))
                .map_err(StartError::Thread)?;
            *lock(&node.listener) = Some(thread);
        }
        Ok(node)
    }

    fn start_loops(&self, loops: usize) -> io::Result<()> {
        let common = &self.common;
        let pollers = (0..loops).map(|_| Worker::poller());
        let pollers: Vec<_> = pollers.collect::<io::Result<_>>()?;
        let lanes = pollers.iter().map(|(_, lane)| Arc::clone(lane)).collect();
        let _ = common.lanes.set(lanes);
        for (index, (poll, lane)) in pollers.into_iter().enumerate() {
            let common = Arc::clone(common);
            let thread = thread::Builder::new()
                .name(format!("devp2p-loop-{index}"))
                .spawn(move || {
                    let _end = LoopEnd(Arc::clone(&common));
                    Worker::new(poll, lane, common).run();
                })?;
            lock(&self.threads).push(thread);
        }
        Ok(())
    }

    /// What all sessions share. Subscribe to their events there.
    pub fn host(&self) -> &Arc<Host> {
        &self.common.host
    }

    /// Where the node listens, if it does.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    // ---- Sessions ----

    /// Starts to dial this node, or finds the session that there is with it. Dials of one node at the same time are as many
    /// connections, of which one becomes the session. A name in the enode is looked up here, which may block.
    ///
    /// # Errors
    /// [`DialError`] says what happened and what to do.
    pub fn dial(&self, enode: &Enode) -> Result<Dialling, DialError> {
        self.check_dial(enode.id)?;
        let not_found = |error| DialError::Lookup(Arc::new(error));
        let addresses: Vec<_> = enode.to_socket_addrs().map_err(not_found)?.collect();
        if addresses.is_empty() {
            return Err(not_found(io::ErrorKind::NotFound.into()));
        }
        Ok(self.begin(enode.id, |reply| Command::Dial(enode.id, addresses, reply)))
    }

    /// Begins a session over a connection that was made to this node.
    ///
    /// # Errors
    /// [`DialError`] says what happened and what to do.
    pub fn dial_over(&self, stream: TcpStream, id: NodeId) -> Result<Dialling, DialError> {
        self.check_dial(id)?;
        let system = |error| DialError::System(Arc::new(error));
        stream.set_nonblocking(true).map_err(system)?;
        Ok(self.begin(id, |reply| Command::Open(stream, Some((id, reply)))))
    }

    /// Begins a session over a connection that the remote made, as if the node's listener had accepted it.
    ///
    /// # Errors
    /// If the socket refuses a setting.
    pub fn accept(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.common.admission.opens(None);
        self.common.assign(Command::Open(stream, None));
        Ok(())
    }

    fn check_dial(&self, id: NodeId) -> Result<(), DialError> {
        let admission = &self.common.admission;
        if self.common.is_closing() {
            return Err(DialError::ShutDown);
        }
        if id == self.common.host.id() {
            return Err(DialError::ToSelf);
        }
        if admission.peer(&id).is_some() {
            return Ok(());
        }
        if admission.is_full_for(&id) {
            return Err(DialError::TooManyPeers(admission.max_peers));
        }
        if !admission.has_room_to_dial() {
            return Err(DialError::TooManyPending(admission.max_pending));
        }
        Ok(())
    }

    fn begin(&self, id: NodeId, command: impl FnOnce(Reply) -> Command) -> Dialling {
        let (mut reply, dialling) = Reply::new();
        if let Some(handle) = self.common.admission.peer(&id) {
            reply.tell(Ok(handle));
            return dialling;
        }
        self.common.admission.opens(Some(id));
        self.common.assign(command(reply));
        dialling
    }

    /// The sessions that are active.
    pub fn peers(&self) -> Vec<Handle> {
        self.common.admission.peers()
    }

    /// How many sessions are active.
    pub fn peer_count(&self) -> usize {
        self.common.admission.live()
    }

    /// The active session with this node.
    pub fn peer(&self, id: &NodeId) -> Option<Handle> {
        self.common.admission.peer(id)
    }

    /// Lets this node pass the limit on sessions.
    pub fn add_trusted(&self, id: NodeId) {
        self.common.admission.trust(id, true);
    }

    /// This node no longer passes the limit. A session with it goes on.
    pub fn remove_trusted(&self, id: &NodeId) {
        self.common.admission.trust(*id, false);
    }

    /// How late the loops look at deadlines: whether they keep up.
    pub fn punctuality(&self) -> Punctuality {
        Punctuality::of(self.common.lanes().iter().map(|lane| &lane.lateness))
    }

    // ---- The end ----

    /// Ends every session with Disconnect 0x08 (client quitting), stops listening and dialling, and joins every thread. Takes
    /// at most two closing deadlines and a second. Not for callbacks, which it would wait for.
    pub fn shutdown(&self) -> Shutdown {
        let common = &self.common;
        common.is_closing.store(true, Ordering::Release);
        common.always_wake_listener();
        if let Some(listener) = lock(&self.listener).take() {
            // It panics nowhere.
            let _ = listener.join();
        }
        common.lanes().iter().for_each(|lane| lane.wake());
        let mut threads = lock(&self.threads);
        let closing = to_std_duration(common.host.config.closing_timeout);
        let deadline = Instant::now().checked_add(2 * closing + MARGIN);
        let mut state = common.lock();
        while state.ended < threads.len() {
            let left = deadline.map_or(MARGIN, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            let woken = common.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let stuck = threads.len() - state.ended.min(threads.len());
        let sessions = mem::take(&mut state.reports);
        state.ended = 0;
        drop(state);
        for thread in threads.drain(..) {
            if stuck == 0 {
                let _ = thread.join();
            }
        }
        if stuck > 0 {
            log::error!("{stuck} event loops did not end in time: a callback blocks");
        }
        Shutdown { sessions, stuck }
    }
}

/// Counts a loop as ended, also if it panics.
struct LoopEnd(Arc<Common>);

impl Drop for LoopEnd {
    fn drop(&mut self) {
        if thread::panicking() {
            log::error!("an event loop panicked: its sessions are lost");
        }
        self.0.lock().ended += 1;
        self.0.changed.notify_all();
    }
}

impl Drop for EventNode {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl std::fmt::Debug for EventNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventNode")
            .field("id", &self.common.host.id())
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
