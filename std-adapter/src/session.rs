//! One session over one transport: handshake, Hello, a thread for each shared subprotocol, and an orderly end.

pub(crate) mod machine;

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{self, Waker};
use std::thread::{self, JoinHandle, ScopedJoinHandle};
use std::time::{Duration, Instant};

use devp2p_core::capability::Capability;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::hello::{Hello, NodeId};
use devp2p_core::rlpx::Entropy;
use devp2p_core::time::PollAt;
use zeroize::Zeroizing;

use crate::blocking::{Blocking, Env, Machine as _, ReadHalf};
use crate::counters::Counters;
use crate::events::PeerEvent;
use crate::host::Host;
use crate::offer::Offer;
use crate::peer::{HelloText, Inner, PeerHandle};
use crate::protocol::Protocol;
use crate::tasks::Tasks;
use crate::time::to_std_duration;
use crate::timer::{Target, TimerId};
use crate::transport::{Closer, Half, Transport};
use machine::{Machine, Traffic};

/// Stack of a thread in which a session opens, in bytes: several times what the handshake takes. Other than the size of other
/// threads, so that the system gives its pages, once used, to the next handshake instead of to a thread that stays.
pub(crate) const OPENING_STACK: usize = 512 * 1024;

/// Who wants to be admitted.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The identity that it claims. Anyone can claim any: only a frame whose MAC holds proves it, so it is proved once
    /// [`peer`](Self::peer) is there. Before, refuse this candidate by it, and change nothing else.
    pub id: NodeId,
    /// Whether it dialled us.
    pub inbound: bool,
    /// Where it is, if the transport has addresses.
    pub remote: Option<SocketAddr>,
    /// The session itself, once its Hello was accepted: the second time that admission is asked.
    pub peer: Option<PeerHandle>,
}

/// How a session ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// Why.
    pub reason: CloseReason,
    /// Whether the remote asked for it.
    pub remote_requested: bool,
    /// The remote's identity, if a frame whose MAC holds proved it.
    pub id: Option<NodeId>,
    /// Whether the session was ever active.
    pub was_active: bool,
    /// Subprotocols whose run closure did not return within the closing deadline: their threads go on without a session.
    pub stuck: Vec<Capability>,
}

/// A session that is about to begin.
pub struct Session {
    host: Arc<Host>,
    dialled: Option<NodeId>,
    half: Option<Box<ReadHalf>>,
    inner: Arc<SessionInner>,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    learn: Option<Box<Learn>>,
}

/// Makes protocols of a remote's Hello.
type Learn = dyn FnOnce(&Hello<'_>) -> Vec<Protocol> + Send;

/// A session, as its threads and handles share it.
pub(crate) type SessionInner = Blocking<Machine, HostEnv>;

/// What a session needs of its host.
pub(crate) struct HostEnv {
    pub(crate) host: Arc<Host>,
    /// What the session offers, once that is decided.
    offer: Arc<OnceLock<Arc<Offer>>>,
    timer: OnceLock<TimerId>,
}

impl HostEnv {
    /// What the session offers; nothing while that is not decided.
    pub(crate) fn protocols(&self) -> &[Protocol] {
        self.offer.get().map_or(&[], |offer| &offer.protocols)
    }
}

impl Env for HostEnv {
    fn now(&self) -> devp2p_core::time::Instant {
        self.host.clock.now()
    }

    fn set_timer(&self, at: devp2p_core::time::Instant) {
        if let Some(timer) = self.timer.get() {
            self.host.timekeeper.set_if_earlier(timer, PollAt::At(at));
        }
    }
}

/// Has a session look again once there is memory for it, or since it holds too much. Takes no lock of a session: the one that
/// calls may hold another's.
struct MemoryChange {
    host: Arc<Host>,
    timer: TimerId,
}

impl task::Wake for MemoryChange {
    fn wake(self: Arc<Self>) {
        self.host.timekeeper.set(&self.timer, PollAt::Now);
    }
}

impl Target for SessionInner {
    fn on_timer(&self, now: devp2p_core::time::Instant) -> PollAt {
        // It sets the timer itself.
        SessionInner::on_timer(self, now);
        PollAt::Idle
    }
}

impl Session {
    /// A session over `transport` with the node that was dialled. Its deadline for handshake and Hello counts from here.
    ///
    /// # Errors
    /// If the transport cannot be split, or the system has no randomness.
    pub fn dial<T: Transport>(host: &Arc<Host>, transport: T, remote: NodeId) -> io::Result<Self> {
        Self::new(host, transport, Some(remote))
    }

    /// A session over `transport` with whoever dialled us. Its deadline for handshake and Hello counts from here.
    ///
    /// # Errors
    /// If the transport cannot be split, or the system has no randomness.
    pub fn accept<T: Transport>(host: &Arc<Host>, transport: T) -> io::Result<Self> {
        Self::new(host, transport, None)
    }

    fn new<T: Transport>(
        host: &Arc<Host>,
        transport: T,
        dialled: Option<NodeId>,
    ) -> io::Result<Self> {
        let (local, remote) = (transport.local_addr(), transport.peer_addr());
        let mut entropy = Zeroizing::new([0; Entropy::LENGTH]);
        getrandom::fill(&mut *entropy).map_err(|error| io::Error::other(error.to_string()))?;
        let offer = Arc::new(OnceLock::new());
        let now = host.clock.now();
        let machine = Machine::new(
            host,
            Arc::clone(&offer),
            dialled,
            Entropy::new(&entropy),
            now,
        );
        let (reader, writer, closer) = transport.split()?;
        let closer: Arc<dyn Closer> = Arc::new(closer);
        let env = HostEnv {
            host: Arc::clone(host),
            offer,
            timer: OnceLock::new(),
        };
        let half = ReadHalf::new(Box::new(Half::new::<T>(reader)), Arc::clone(&closer));
        Ok(Self {
            host: Arc::clone(host),
            dialled,
            half: Some(Box::new(half)),
            inner: Blocking::new(env, machine, Box::new(writer), closer),
            local,
            remote,
            learn: None,
        })
    }

    /// Lets our Hello wait for the remote's, and offers what `choose` makes of that, after what the host registers. So one
    /// can talk to a node whose capabilities are not known beforehand.
    ///
    /// Protocols beyond [`MAX_PROTOCOLS`](crate::host::MAX_PROTOCOLS) or the size of a Hello are left out. Peers usually send
    /// their Hello without waiting; with one that waits too, ours goes out after 2 s, and offers what the host registers.
    #[must_use]
    pub fn learn(
        mut self,
        choose: impl FnOnce(&Hello<'_>) -> Vec<Protocol> + Send + 'static,
    ) -> Self {
        self.learn = Some(Box::new(choose));
        self
    }

    /// A way to end the session from elsewhere, also while it opens.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.inner))
    }

    /// Runs the session to its end, admitting anyone. The calling thread reads while no subprotocol waits for a message.
    pub fn run(self) -> Report {
        self.run_with(|_| Ok(()))
    }

    /// Runs the session to its end. `admit` is asked twice: after the handshake, when the remote only claims to be somebody and
    /// the reason is sent in place of Hello, and after Hello, which proves it, when it also gets the [`PeerHandle`].
    ///
    /// # Panics
    /// As `admit` does, once the session has ended and its threads are joined.
    pub fn run_with(
        mut self,
        admit: impl Fn(&Candidate) -> Result<(), DisconnectReason>,
    ) -> Report {
        let mut live = Live::default();
        let over = catch_unwind(AssertUnwindSafe(|| {
            if self.open(&admit, &mut live, Self::handshake_apart) {
                self.begin(&mut live);
                self.inner.read_to_end();
            }
        }));
        let ended = self.wind_up(live, over);
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// As [`run_with`](Self::run_with), but returns as soon as no thread beside those of the subprotocols is needed: one comes
    /// when there is work for it. The last one tells `ended`: of itself too, unless that is the caller.
    pub(crate) fn run_detached(
        mut self,
        admit: impl Fn(&Candidate) -> Result<(), DisconnectReason>,
        ended: impl FnOnce(thread::Result<Report>, Option<JoinHandle<()>>) + Send + 'static,
    ) {
        let mut live = Live::default();
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let opened = self.open(&admit, &mut live, Self::handshake);
            if opened {
                self.begin(&mut live);
            }
            opened
        }));
        if !matches!(opened, Ok(true)) {
            return ended(self.wind_up(live, opened.map(drop)), None);
        }
        let inner = Arc::clone(&self.inner);
        inner.at_end(Box::new(move |over, thread| {
            ended(self.wind_up(live, over), thread);
        }));
        inner.read_in_background(Duration::ZERO);
    }

    /// From the first byte to Hello, with blocking reads and writes. Whether the session is active; else it is closed.
    fn open(
        &mut self,
        admit: &impl Fn(&Candidate) -> Result<(), DisconnectReason>,
        live: &mut Live,
        handshake: impl FnOnce(&mut Self, &mut ReadHalf) -> Option<NodeId>,
    ) -> bool {
        let Some(mut half) = self.half.take() else {
            return false;
        };
        if self.learn.is_some() {
            self.inner.change(|machine, now| machine.hold_hello(now));
        } else {
            self.offer(Vec::new());
        }
        self.start_timer();
        let Some(id) = handshake(self, &mut half) else {
            return false;
        };
        let admitted = admit(&self.candidate(id, None));
        self.inner
            .change(|machine, now| machine.admit(now, admitted));
        loop {
            let closed = self.inner.open(&mut half);
            let (held, active) = self.inner.change(|machine, _| {
                live.id = machine.is_authentic().then_some(id);
                (machine.held_hello(), machine.take_active())
            });
            if closed.is_some() {
                return false;
            }
            if let Some(hello) = held
                && let Some(learn) = self.learn.take()
            {
                self.offer(Hello::decode(&hello).map_or_else(|_| vec![], |hello| learn(&hello)));
            }
            if let Some(hello) = active {
                let peer = self.peer(id, hello);
                match admit(&self.candidate(id, Some(peer.clone()))) {
                    Ok(()) => {
                        live.peer = Some(peer);
                        self.half = Some(half);
                        return true;
                    }
                    Err(reason) => self
                        .inner
                        .change(|machine, now| machine.reject(now, reason)),
                }
            }
        }
    }

    /// The handshake: the identity that it claims, or `None` once the session is closed.
    fn handshake(&mut self, half: &mut ReadHalf) -> Option<NodeId> {
        loop {
            let id = self.inner.change(|machine, _| machine.take_authenticated());
            if id.is_some() || self.inner.open(half).is_some() {
                return id;
            }
        }
    }

    /// The same in a thread of its own, whose deep stack goes with it, for a caller that stays as long as the session.
    fn handshake_apart(&mut self, half: &mut ReadHalf) -> Option<NodeId> {
        let inner = Arc::clone(&self.inner);
        let ended = thread::scope(|scope| {
            let handshake = thread::Builder::new()
                .name("devp2p-handshake".to_owned())
                .stack_size(OPENING_STACK)
                .spawn_scoped(scope, || self.handshake(half));
            handshake.map(ScopedJoinHandle::join)
        });
        match ended {
            Ok(Ok(id)) => id,
            // A transport panicked.
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => {
                log::error!("no thread for a session: {error}");
                inner.change(|machine, now| machine.handle_end(now, TransportError::Io));
                None
            }
        }
    }

    fn candidate(&self, id: NodeId, peer: Option<PeerHandle>) -> Candidate {
        Candidate {
            id,
            inbound: self.dialled.is_none(),
            remote: self.remote,
            peer,
        }
    }

    /// The remote, once its Hello was accepted.
    fn peer(&self, id: NodeId, hello: HelloText) -> PeerHandle {
        let protocols = self.inner.env.protocols();
        let counters: Arc<[Counters]> = protocols.iter().map(|_| Counters::default()).collect();
        let traffic = Traffic {
            peer: id,
            capabilities: protocols.iter().map(Protocol::capability).collect(),
            counters: Arc::clone(&counters),
        };
        let compresses = self.inner.change(|machine, _| {
            machine.set_traffic(traffic);
            machine.compresses()
        });
        PeerHandle {
            inner: Arc::new(Inner {
                session: Arc::clone(&self.inner),
                compresses,
                id,
                client_name: hello.client_name,
                capabilities: hello.capabilities,
                version: hello.version,
                inbound: self.dialled.is_none(),
                local: self.local,
                remote: self.remote,
                began: Instant::now(),
                counters,
                trusted: AtomicBool::new(false),
                is_static: AtomicBool::new(false),
            }),
        }
    }

    /// The session is active: its subprotocols run.
    fn begin(&mut self, live: &mut Live) {
        let (Some(peer), Some(half)) = (&live.peer, self.half.take()) else {
            return;
        };
        self.host.events.send(|| PeerEvent::Added {
            peer: peer.id(),
            client_name: peer.client_name().to_owned(),
            capabilities: peer.capabilities().to_vec(),
            remote: self.remote,
            inbound: peer.is_inbound(),
        });
        // Quoted: a name may hold line ends.
        let name = peer.client_name();
        log::debug!("session with {} ({name:?}) is active", peer.id());
        self.open_account();
        live.tasks.start(peer);
        self.inner.begin_reading(half);
    }

    /// From here on the session takes messages, in memory that the host's sessions share.
    fn open_account(&self) {
        let Some(timer) = self.inner.env.timer.get() else {
            return;
        };
        let waker = Waker::from(Arc::new(MemoryChange {
            host: Arc::clone(&self.host),
            timer: timer.clone(),
        }));
        let evicted = Arc::new(AtomicBool::new(false));
        let (flag, look) = (Arc::clone(&evicted), waker.clone());
        let account = self.host.memory.account(move || {
            flag.store(true, Ordering::SeqCst);
            look.wake_by_ref();
        });
        self.inner
            .change(|machine, _| machine.set_account(account, waker, evicted));
    }

    /// Decides what this session offers: the host's protocols and `more`. From here on our Hello can go out.
    fn offer(&self, more: Vec<Protocol>) {
        let offer = Offer::new(&self.host, more);
        self.inner.change(|machine, now| machine.offer(now, offer));
    }

    /// Registers with the timekeeper; paired with [`stop_timer`](Self::stop_timer).
    fn start_timer(&self) {
        let target = Arc::clone(&self.inner) as Arc<dyn Target>;
        let timer = self.host.timekeeper.register(target);
        let _ = self.inner.env.timer.set(timer);
        self.inner.rearm();
    }

    fn stop_timer(&self) {
        if let Some(timer) = self.inner.env.timer.get() {
            self.host.timekeeper.unregister(timer);
        }
    }

    /// The end of the session, after that of what arrives, or after a panic.
    fn wind_up(self, live: Live, over: thread::Result<()>) -> thread::Result<Report> {
        let inner = &self.inner;
        if over.is_err() {
            inner.change(|machine, now| machine.handle_end(now, TransportError::Io));
        }
        let reason = inner.wait_closed();
        inner.join_writer();
        self.stop_timer();
        let stuck = live
            .tasks
            .join(to_std_duration(self.host.config.closing_timeout));
        for capability in &stuck {
            log::error!(
                "the run closure of {capability} did not return within the closing deadline"
            );
        }
        if let Some(peer) = &live.peer {
            log::debug!("session with {} ended: {reason}", peer.id());
            self.host.events.send(|| PeerEvent::Dropped {
                peer: peer.id(),
                reason,
                lasted: peer.lifetime(),
                traffic: Counters::total(&peer.inner.counters),
            });
        }
        over.map(|()| Report {
            reason,
            remote_requested: reason.is_remote_requested(),
            id: live.id,
            was_active: live.peer.is_some(),
            stuck,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Perhaps it never ran. Handles that outlive it must not keep the transport open.
        self.inner
            .change(|machine, now| machine.handle_end(now, TransportError::Io));
        self.inner.release();
    }
}

/// What a running session has brought forth, to be wound up at its end.
#[derive(Default)]
struct Live {
    /// The remote's identity, once a frame proved it.
    id: Option<NodeId>,
    /// The remote, once it is admitted and active.
    peer: Option<PeerHandle>,
    tasks: Tasks,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("dialled", &self.dialled)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// Ends one session, also while it opens.
#[derive(Clone)]
pub struct Stopper(Arc<SessionInner>);

impl Stopper {
    /// Ends the session with this reason, unless it is ending already.
    pub fn stop(&self, reason: DisconnectReason) {
        self.0.close(CloseReason::Local(reason));
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stopper")
    }
}
