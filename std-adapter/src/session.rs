//! One session over one transport: handshake, Hello, a thread for each shared subprotocol, and an orderly end.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle, ScopedJoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use devp2p_core::capability::Capability;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::hello::{Hello, NodeId};
use devp2p_core::peer::{Expected, Peer};
use devp2p_core::rlpx::handshake::{MAX_RECEIVED, MAX_SENT};
use devp2p_core::rlpx::{Entropy, Step};
use zeroize::Zeroizing;

use crate::counters::Counters;
use crate::events::PeerEvent;
use crate::host::Host;
use crate::keccak::{Established, Handshake, ReceiveHalf, TransmitHalf};
use crate::link::{Link, Sealer};
use crate::peer::{Inner, PeerHandle};
use crate::protocol::Protocol;
use crate::receive::{Frames, Learn};
use crate::tasks::Tasks;
use crate::time::to_std_duration;
use crate::transport::{Half, Source, Transport};

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
    reader: Box<dyn Source>,
    link: Arc<Link>,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    learn: Option<Box<Learn>>,
}

impl Session {
    /// A session over `transport` with the node that was dialled. Its deadline for handshake and Hello counts from here.
    ///
    /// # Errors
    /// If the transport cannot be split.
    pub fn dial<T: Transport>(host: &Arc<Host>, transport: T, remote: NodeId) -> io::Result<Self> {
        Self::new(host, transport, Some(remote))
    }

    /// A session over `transport` with whoever dialled us. Its deadline for handshake and Hello counts from here.
    ///
    /// # Errors
    /// If the transport cannot be split.
    pub fn accept<T: Transport>(host: &Arc<Host>, transport: T) -> io::Result<Self> {
        Self::new(host, transport, None)
    }

    fn new<T: Transport>(
        host: &Arc<Host>,
        transport: T,
        dialled: Option<NodeId>,
    ) -> io::Result<Self> {
        let (local, remote) = (transport.local_addr(), transport.peer_addr());
        let (reader, writer, closer) = transport.split()?;
        let deadline = host
            .clock
            .now()
            .saturating_add(host.config.handshake_timeout);
        let peer = Peer::new(host.config, &host.local(), Expected::Anyone, deadline);
        let link = Link::new(Arc::clone(host), peer, Box::new(writer), Box::new(closer));
        Ok(Self {
            host: Arc::clone(host),
            dialled,
            reader: Box::new(Half::new::<T>(reader)),
            link,
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
        Stopper(Arc::clone(&self.link))
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
            if self.begin(&admit, &mut live, Self::handshake_apart) {
                self.link.read_to_end();
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
        let begun = catch_unwind(AssertUnwindSafe(|| {
            self.begin(&admit, &mut live, Self::handshake)
        }));
        if !matches!(begun, Ok(true)) {
            return ended(self.wind_up(live, begun.map(drop)), None);
        }
        let link = Arc::clone(&self.link);
        link.at_end(Box::new(move |over, thread| {
            ended(self.wind_up(live, over), thread);
        }));
        link.read_in_background(Duration::ZERO);
    }

    /// From the first byte to where the subprotocols run: whether it came so far. If not, nothing more arrives.
    fn begin(
        &mut self,
        admit: &impl Fn(&Candidate) -> Result<(), DisconnectReason>,
        live: &mut Live,
        handshake: impl FnOnce(&mut Self) -> Option<Box<Established>>,
    ) -> bool {
        self.link.start_timer();
        if self.learn.is_none() {
            self.link.offer(Vec::new());
        }
        let Some(established) = handshake(self) else {
            return false;
        };
        let mut frames = self.open(established, admit, live);
        let Some(peer) = &live.peer else {
            frames.discard();
            return false;
        };
        live.tasks.start(peer);
        self.link.begin_reading(frames, peer);
        true
    }

    /// The end of the session, after that of what arrives, or after a panic.
    fn wind_up(self, live: Live, over: thread::Result<()>) -> thread::Result<Report> {
        let link = &self.link;
        if over.is_err() {
            link.change(|peer, now| peer.handle_end(now, TransportError::Io));
        }
        let reason = link.wait_closed();
        link.join_writer();
        link.stop_timer();
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

    /// The handshake in a thread of its own, whose deep stack goes with it, for a caller that stays as long as the session.
    #[inline(never)]
    fn handshake_apart(&mut self) -> Option<Box<Established>> {
        let ended = thread::scope(|scope| {
            let handshake = thread::Builder::new()
                .name("devp2p-handshake".to_owned())
                .stack_size(OPENING_STACK)
                .spawn_scoped(scope, || self.handshake());
            handshake.map(ScopedJoinHandle::join)
        });
        match ended {
            Ok(Ok(established)) => established,
            // A transport panicked.
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => {
                log::error!("no thread for a session: {error}");
                let end = TransportError::Io;
                self.link.change(|peer, now| peer.handle_end(now, end));
                None
            }
        }
    }

    /// The encrypted handshake, with blocking reads; the timer closes the transport when it is too late.
    fn handshake(&mut self) -> Option<Box<Established>> {
        let link = Arc::clone(&self.link);
        let broken = |error| link.change(|peer, now| peer.handle_end(now, error));
        let mut entropy = Zeroizing::new([0; Entropy::LENGTH]);
        if let Err(error) = getrandom::fill(&mut *entropy) {
            log::error!("no randomness from the system: {error}");
            broken(TransportError::Io);
            return None;
        }
        let entropy = Entropy::new(&entropy);
        let mut handshake = match self.dialled {
            Some(remote) => Handshake::initiator_with(remote, entropy),
            None => Handshake::recipient_with(entropy),
        };
        let mut sent = [0; MAX_SENT];
        let mut received = Vec::with_capacity(MAX_RECEIVED);
        loop {
            match handshake.poll(&self.host.key, &mut sent, &received) {
                Ok(Step::Working) => {}
                Ok(Step::Send(length)) => {
                    if link.write_raw(&sent[..length]).is_err() {
                        broken(TransportError::Io);
                        return None;
                    }
                }
                Ok(Step::Receive(total)) => {
                    let from = received.len();
                    received.resize(total, 0);
                    if let Err(error) = self.reader.read_exact(&mut received[from..]) {
                        broken(transport_error(&error));
                        return None;
                    }
                }
                Ok(Step::Done(established)) => return Some(Box::new(established)),
                Err(_) => {
                    broken(TransportError::Handshake);
                    return None;
                }
            }
        }
    }

    /// Admission and Hello: sets the peer if it is active then. Apart from its caller, which stays for the whole session.
    #[inline(never)]
    fn open(
        &mut self,
        established: Box<Established>,
        admit: &impl Fn(&Candidate) -> Result<(), DisconnectReason>,
        live: &mut Live,
    ) -> Box<Frames> {
        let link = &self.link;
        let id = established.remote;
        let secrets = established.secrets;
        let keys = Arc::new(secrets.keys);
        let mut candidate = Candidate {
            id,
            inbound: self.dialled.is_none(),
            remote: self.remote,
            peer: None,
        };
        link.change(|peer, _| peer.expect_identity(Expected::Authenticated(id)));
        let admitted = admit(&candidate);
        let transmit = TransmitHalf::new(secrets.egress);
        link.prepare(Sealer::new(Arc::clone(&keys), transmit), admitted);

        let reader = mem::replace(&mut self.reader, Box::new(io::empty()));
        let receive = ReceiveHalf::new(secrets.ingress);
        let mut frames = Box::new(Frames::new(Arc::clone(link), reader, keys, receive));
        let hello = frames.receive_hello(self.learn.take());
        live.id = frames.is_authentic().then_some(id);
        let Some(hello) = hello else {
            return frames;
        };
        let counters = link.protocols().iter().map(|_| Counters::default());
        let peer = PeerHandle {
            inner: Arc::new(Inner {
                link: Arc::clone(link),
                id,
                client_name: hello.client_name,
                capabilities: hello.capabilities,
                version: hello.version,
                inbound: candidate.inbound,
                local: self.local,
                remote: self.remote,
                began: Instant::now(),
                counters: counters.collect(),
                trusted: AtomicBool::new(false),
                is_static: AtomicBool::new(false),
            }),
        };
        candidate.peer = Some(peer.clone());
        if let Err(reason) = admit(&candidate) {
            link.change(|peer, now| peer.reject(now, reason));
            return frames;
        }
        self.host.events.send(|| PeerEvent::Added {
            peer: id,
            client_name: peer.client_name().to_owned(),
            remote: self.remote,
            inbound: candidate.inbound,
        });
        // Quoted: a name may hold line ends.
        log::debug!("session with {id} ({:?}) is active", peer.client_name());
        live.peer = Some(peer);
        frames
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Perhaps it never ran. Handles that outlive it must not keep the transport open.
        self.link
            .change(|peer, now| peer.handle_end(now, TransportError::Io));
        self.link.release_writer();
        drop(self.link.lead.clear());
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
pub struct Stopper(Arc<Link>);

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

fn transport_error(error: &io::Error) -> TransportError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => TransportError::EndOfStream,
        _ => TransportError::Io,
    }
}
