//! The service of a node whose sessions a few threads drive.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::NodeId;
use mio::Poll;

use super::Host;
use super::handle::Handle;
use super::handler::{Factory, Handler};
use super::lane::{Command, Lane};
use super::lateness::Punctuality;
use super::worker::Worker;
use crate::info::PeerInfo;
use crate::node::service::{Remote, Serve, Service};
use crate::node::shared::Shared;
use crate::node::{Builder, Node};

/// A [`Node`] whose sessions are served by callbacks.
///
/// Its threads are the loops, one that connects, and the host's timer. A remote that passes the checks of a node may still be
/// turned away by the maker of handlers.
pub type EventNode = Node<Loops>;

/// Serves sessions by callbacks, from a few threads.
#[derive(Debug)]
pub struct Loops {
    pub(super) settings: Settings,
    lanes: Box<[Arc<Lane>]>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the loops of a node are set to.
pub struct Settings {
    pub(super) factory: Factory,
    loops: usize,
    pub(super) output_limit: usize,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("loops", &self.loops)
            .field("output_limit", &self.output_limit)
            .finish_non_exhaustive()
    }
}

impl Node<Loops> {
    /// Begins a node for this host. `handlers` makes the handler of each session, once its Hello was accepted, or turns the
    /// remote away with a reason.
    pub fn with_handlers<H: Handler + 'static>(
        host: Arc<Host>,
        handlers: impl Fn(&Handle) -> Result<H, DisconnectReason> + Send + Sync + 'static,
    ) -> Builder<Loops> {
        let factory: Factory = Arc::new(move |handle: &Handle| {
            let handler: Box<dyn Handler> = Box::new(handlers(handle)?);
            Ok(handler)
        });
        let settings = Settings {
            factory,
            loops: thread::available_parallelism().map_or(1, usize::from),
            output_limit: 1024 * 1024,
        };
        Builder::new(host, settings)
    }

    /// How late the loops look at deadlines: whether they keep up.
    pub fn punctuality(&self) -> Punctuality {
        Punctuality::of(self.service().lanes.iter().map(|lane| &lane.lateness))
    }
}

impl Builder<Loops> {
    /// How many threads drive sessions, each its share of them. Default: as many as the system runs at once; at least 1.
    pub fn loops(mut self, threads: usize) -> Self {
        self.service.loops = threads.max(1);
        self
    }

    /// Bytes that may wait for the wire in each session, and as many that handles have queued, before writers are told to
    /// wait. An empty output takes any message. Default: 1 MiB.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.service.output_limit = bytes;
        self
    }
}

impl Service for Loops {}

impl Serve for Loops {
    /// Of the session's handler.
    type Run = ();
    type Peer = Handle;
    type Settings = Settings;
    type Parts = Vec<Poll>;
    type Abort = ();

    fn new(settings: Settings) -> io::Result<(Self, Vec<Poll>)> {
        let pollers = (0..settings.loops).map(|_| Worker::poller());
        let (polls, lanes): (Vec<_>, Vec<_>) =
            pollers.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        let loops = Self {
            settings,
            lanes: lanes.into(),
            threads: Mutex::default(),
        };
        Ok((loops, polls))
    }

    fn start(shared: &Arc<Shared<Self>>, polls: Vec<Poll>) -> io::Result<()> {
        let service = &shared.service;
        for (index, (poll, lane)) in polls.into_iter().zip(&service.lanes).enumerate() {
            let (lane, of_thread) = (Arc::clone(lane), Arc::clone(shared));
            let thread = thread::Builder::new()
                .name(format!("devp2p-loop-{index}"))
                .spawn(move || Worker::new(poll, lane, of_thread).run())?;
            service.threads().push(thread);
        }
        Ok(())
    }

    /// Gives the connection to the loop that has the fewest.
    fn open(
        shared: &Arc<Shared<Self>>,
        ticket: u64,
        stream: TcpStream,
        dialled: Option<NodeId>,
    ) -> io::Result<((), Option<JoinHandle<()>>)> {
        stream.set_nonblocking(true)?;
        let lanes = shared.service.lanes.iter();
        if let Some(lane) = lanes.min_by_key(|lane| lane.load()) {
            lane.load.fetch_add(1, Ordering::Relaxed);
            lane.push(Command::Open(ticket, stream, dialled));
        }
        Ok(((), None))
    }

    fn abort(&self, ticket: u64, (): (), _: DisconnectReason) {
        // The loop that has it finds it.
        for lane in &self.lanes {
            lane.push(Command::Abort(ticket));
        }
    }

    fn shut_down(&self, _: Vec<(u64, ())>) {
        self.lanes.iter().for_each(|lane| lane.wake());
    }

    fn join(&self) {
        for thread in self.threads().drain(..) {
            let _ = thread.join();
        }
    }
}

impl Loops {
    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote for Handle {
    fn id(&self) -> NodeId {
        Handle::id(self)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Handle::remote_addr(self)
    }

    fn is_ending(&self) -> bool {
        // The node is told at once.
        false
    }

    fn mark(&self, trusted: Option<bool>, is_static: Option<bool>) {
        if let Some(trusted) = trusted {
            self.0.trusted.store(trusted, Ordering::Relaxed);
        }
        if let Some(is_static) = is_static {
            self.0.is_static.store(is_static, Ordering::Relaxed);
        }
    }

    fn info(&self) -> PeerInfo {
        Handle::info(self)
    }
}
