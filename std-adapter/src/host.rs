//! A host: identity, protocols and limits that all its sessions share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use devp2p_core::capability;
use devp2p_core::config::{Config, Local};
use devp2p_core::hello::{MAX_SENT_LENGTH, NodeId};
use devp2p_core::rlpx::NodeKey;

use crate::counters::{Counters, Traffic};
use crate::events::{Events, PeerEvent, Subscription};
use crate::memory::MemoryCap;
use crate::node::{Service, Threads};
use crate::protocol::Protocol;
use crate::time::Clock;
use crate::timer::Timekeeper;

/// The most protocols that one host can register.
pub const MAX_PROTOCOLS: usize = 16;

/// Bytes that all inboxes of a host may hold by default.
pub const DEFAULT_MEMORY_LIMIT: usize = 256 * 1024 * 1024;

/// How long a thread that waits for a reply polls by default.
pub const DEFAULT_BUSY_POLL: Duration = Duration::from_micros(50);

/// What all sessions of a program share, which [`Threads`] serve, or [`Loops`](crate::event_loop::Loops): its protocols say
/// which. Cheap to clone by its `Arc`.
#[derive(Debug)]
pub struct Host<S: Service = Threads> {
    pub(crate) key: NodeKey,
    client_name: String,
    version: u8,
    listen_port: AtomicU16,
    pub(crate) protocols: Vec<Protocol<S>>,
    /// The same protocols as the core has them.
    registered: Vec<capability::Protocol>,
    pub(crate) config: Config,
    /// How long a thread that waits for a reply polls.
    pub(crate) busy_poll: Duration,
    pub(crate) clock: Clock,
    pub(crate) timekeeper: Timekeeper,
    pub(crate) memory: Arc<MemoryCap>,
    pub(crate) events: Events,
    pub(crate) counters: Vec<Counters>,
}

/// Why a host cannot be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostError {
    /// More than [`MAX_PROTOCOLS`] protocols.
    TooManyProtocols(usize),
    /// The same capability was registered twice.
    Duplicate(capability::Capability),
    /// Hello would be larger than any peer takes.
    HelloTooLong,
    /// The system has no thread for timers.
    Io(io::Error),
}

impl std::fmt::Display for HostError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManyProtocols(n) => write!(
                f,
                "{n} protocols are registered, at most {MAX_PROTOCOLS} can be"
            ),
            Self::Duplicate(capability) => write!(
                f,
                "{capability} is registered twice: register each version once"
            ),
            Self::HelloTooLong => f.write_str(
                "Hello is too long: shorten the client name or register fewer protocols",
            ),
            Self::Io(error) => write!(f, "no thread for timers: {error}"),
        }
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Collects what a [`Host`] is made of.
#[derive(Debug)]
pub struct Builder<S: Service = Threads> {
    key: NodeKey,
    client_name: String,
    version: u8,
    listen_port: u16,
    protocols: Vec<Protocol<S>>,
    config: Config,
    memory_limit: usize,
    busy_poll: Duration,
}

impl<S: Service> Builder<S> {
    /// What Hello calls this client. Default: the crate's name and version.
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
        self
    }

    /// The base protocol version: 5, or 4 for sessions without Snappy. Default: 5.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    /// The TCP port that Hello states. Default: 0, none.
    #[must_use]
    pub fn listen_port(mut self, port: u16) -> Self {
        self.listen_port = port;
        self
    }

    /// Registers a protocol.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol<S>) -> Self {
        self.protocols.push(protocol);
        self
    }

    /// Deadlines and policies of every session.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Bytes that the inboxes of all sessions may hold together, at each moment: payloads that arrive or wait for their reader,
    /// and 64 bytes for each message. Default: [`DEFAULT_MEMORY_LIMIT`].
    ///
    /// A node keeps a share of it for each of the sessions that it may have: 64 KiB, or less where half of the limit is less for
    /// each. So what others hold is no reason for a session to wait for its share. What a session holds beyond that comes from
    /// the rest, for which it waits, without reading from its transport, while others hold all of it; a wait of
    /// [`hold_back_limit`](Config::hold_back_limit) ends the session that holds most, as
    /// [`MemoryFull`](devp2p_core::error::CloseReason::MemoryFull). A message larger than the share and the rest together is
    /// skipped, and reported as oversize.
    ///
    /// Not in this limit is what each session has on its way out and in between: sealed bytes that wait for the wire, up to
    /// 1 MiB, or as the event loop's [`output_limit`](crate::node::Builder::output_limit) says, or one message if that is
    /// larger; in the event loop as much again that handles have queued, with 64 bytes for each message; the spare room of
    /// these buffers, at most as large as they are; and at most 64 KiB that were read and not handled yet. What a transport of
    /// the program's own, or a [`Framing`](crate::framed::Framing), holds is its own too. While a buffer grows, its old form
    /// can be there beside the new one for the time of a copy.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// How long a thread that waits for a message polls the transport before it sleeps; zero: never. Default:
    /// [`DEFAULT_BUSY_POLL`], 50 us.
    ///
    /// A round trip through threads that sleep takes 20 to 40 us more on each side whose core has gone idle. Only a thread that
    /// has written since it last waited polls, and only while most replies come in time: each miss doubles how many waits go
    /// without, up to 1023. So a lively conversation keeps a core of each side busy, though other threads that could run there
    /// go first; one that is slow polls for 0.1 % of its replies, and neither one-way traffic nor an idle session at all. Never
    /// with one core, nor over a transport without [`try_read`](crate::transport::Transport::try_read) (sockets have it on Unix),
    /// nor by the [event loop](crate::event_loop), nor, if it is above 20 ms, where the wait itself is limited.
    #[must_use]
    pub fn busy_poll(mut self, limit: Duration) -> Self {
        self.busy_poll = limit;
        self
    }

    /// Makes the host and starts its timer thread.
    ///
    /// # Errors
    /// [`HostError`] if the protocols cannot be registered together, or there is no thread.
    pub fn build(self) -> Result<Arc<Host<S>>, HostError> {
        let registered: Vec<_> = self
            .protocols
            .iter()
            .map(|protocol| protocol.core)
            .collect();
        let clock = Clock::new();
        let host = Host {
            counters: registered.iter().map(|_| Counters::default()).collect(),
            timekeeper: Timekeeper::start(clock).map_err(HostError::Io)?,
            key: self.key,
            client_name: self.client_name,
            version: self.version,
            listen_port: AtomicU16::new(self.listen_port),
            protocols: self.protocols,
            registered,
            config: self.config,
            // With one core, whoever polls is in the way of whom it waits for.
            busy_poll: match thread::available_parallelism() {
                Ok(cores) if cores.get() > 1 => self.busy_poll,
                _ => Duration::ZERO,
            },
            clock,
            memory: Arc::new(MemoryCap::new(self.memory_limit)),
            events: Events::default(),
        };
        check(&host.local())?;
        Ok(Arc::new(host))
    }
}

/// Whether one side can say this of itself.
pub(crate) fn check(local: &Local<'_>) -> Result<(), HostError> {
    let protocols = local.protocols;
    if protocols.len() > MAX_PROTOCOLS {
        return Err(HostError::TooManyProtocols(protocols.len()));
    }
    for (i, one) in protocols.iter().enumerate() {
        let mut others = protocols.iter().skip(i + 1);
        if others.any(|other| other.capability == one.capability) {
            return Err(HostError::Duplicate(one.capability));
        }
    }
    if local.hello_length() > MAX_SENT_LENGTH {
        return Err(HostError::HelloTooLong);
    }
    Ok(())
}

impl<S: Service> Host<S> {
    /// Begins a host with this identity. Which service its sessions have follows from the protocols that it registers, or from
    /// the node that it is given to.
    pub fn builder(key: NodeKey) -> Builder<S> {
        Builder {
            key,
            client_name: concat!("devp2p-rs/v", env!("CARGO_PKG_VERSION")).to_owned(),
            version: 5,
            listen_port: 0,
            protocols: Vec::new(),
            config: Config::new(),
            memory_limit: DEFAULT_MEMORY_LIMIT,
            busy_poll: DEFAULT_BUSY_POLL,
        }
    }

    /// Our identity.
    pub fn id(&self) -> NodeId {
        *self.key.id()
    }

    /// What Hello calls this client.
    pub fn client_name(&self) -> &str {
        &self.client_name
    }

    /// The registered protocols.
    pub fn protocols(&self) -> &[Protocol<S>] {
        &self.protocols
    }

    /// Subscribes to the beginnings and ends of sessions only, so that a flood of messages cannot crowd them out. As
    /// [`subscribe`](Self::subscribe) otherwise.
    pub fn subscribe_sessions(&self, capacity: usize) -> Subscription {
        self.events.subscribe(capacity, false)
    }

    /// Subscribes to events. Up to `capacity` wait for the subscriber; what comes while it is full is lost and counted.
    pub fn subscribe(&self, capacity: usize) -> Subscription {
        self.events.subscribe(capacity, true)
    }

    /// Calls `told` with the beginning of each session, before any of its protocols runs, and with its end, after the last of
    /// them has returned; none is lost. So a program can keep the order of these and of what its protocols tell.
    ///
    /// `told` runs in a thread of the session, which waits for it, or in the [event loop](crate::event_loop), all of whose
    /// sessions do: it must not block. If it panics, that is logged. It stays as long as the host.
    pub fn watch_sessions(&self, told: impl Fn(&PeerEvent) + Send + Sync + 'static) {
        self.events.watch(told);
    }

    /// Traffic of the protocol with this index over all sessions.
    pub fn traffic(&self, protocol: usize) -> Traffic {
        self.counters
            .get(protocol)
            .map(Counters::traffic)
            .unwrap_or_default()
    }

    /// The limit on all inboxes, and what they hold.
    pub fn memory(&self) -> &MemoryCap {
        &self.memory
    }

    /// The port that Hello states from now on.
    pub fn set_listen_port(&self, port: u16) {
        self.listen_port.store(port, Ordering::Relaxed);
    }

    pub(crate) fn local(&self) -> Local<'_> {
        Local {
            id: self.id(),
            client_name: &self.client_name,
            version: self.version,
            listen_port: self.listen_port.load(Ordering::Relaxed),
            protocols: &self.registered,
        }
    }
}
