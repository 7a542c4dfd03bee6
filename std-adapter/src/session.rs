//! One session over one transport: handshake, Hello, a thread for each shared subprotocol, and an orderly end.

use std::io::Read;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use devp2p_core::capability::Capability;
use devp2p_core::code::WireCode;
use devp2p_core::disconnect::{self, DisconnectReason};
use devp2p_core::error::{CloseReason, TransportError, Violation};
use devp2p_core::hello::{Hello, NodeId};
use devp2p_core::inbox::Meta;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{BaseMessage, Expected, Peer};
use devp2p_core::rlpx::handshake::{MAX_RECEIVED, MAX_SENT};
use devp2p_core::rlpx::receive::{FIRST_FRAME_BUFFER, First, ReceiveHalf, Status};
use devp2p_core::rlpx::transmit::TransmitHalf;
use devp2p_core::rlpx::{Entropy, Established, FrameKeys, Handshake, Step};

use crate::block::block_on;
use crate::counters::Counters;
use crate::events::PeerEvent;
use crate::handle::Subprotocol;
use crate::host::Host;
use crate::link::{Link, Sealer};
use crate::peer::{HelloText, Inner, PeerHandle};
use crate::protocol::{Failure, Protocol};
use crate::queue::{Observer, OpenSlot, Queues};
use crate::time::to_std_duration;
use crate::transport::Transport;

/// Bytes read from the transport at a time.
const READ_BUFFER: usize = 64 * 1024;

/// Who wants to be admitted.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The identity that its handshake proved.
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
    /// The remote's identity, if its handshake proved one.
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
    reader: Box<dyn Read + Send>,
    link: Arc<Link>,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    learn: Option<Box<Learn>>,
}

/// Makes protocols of a remote's Hello.
type Learn = dyn FnOnce(&Hello<'_>) -> Vec<Protocol> + Send;

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
            reader: Box::new(reader),
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

    /// Runs the session to its end, admitting anyone.
    pub fn run(self) -> Report {
        self.run_with(|_| Ok(()))
    }

    /// Runs the session to its end. `admit` is asked twice: after the handshake, when its reason is sent in place of Hello,
    /// and after Hello, when it also gets the [`PeerHandle`].
    pub fn run_with(
        mut self,
        admit: impl Fn(&Candidate) -> Result<(), DisconnectReason>,
    ) -> Report {
        let link = Arc::clone(&self.link);
        link.start_timer();
        if self.learn.is_none() {
            link.offer(Vec::new());
        }
        let established = self.handshake();
        let id = established.as_ref().map(|established| established.remote);
        let mut tasks = Tasks::default();
        let mut peer = None;
        if let Some(established) = established {
            let writer = {
                let link = Arc::clone(&link);
                thread::Builder::new()
                    .name("devp2p-write".to_owned())
                    .spawn(move || link.run_writer())
            };
            match writer {
                Ok(writer) => {
                    peer = self.run_frames(established, &admit, &mut tasks);
                    link.kick();
                    // It ends with the transport, and panics nowhere.
                    let _ = writer.join();
                }
                Err(error) => {
                    log::error!("no thread for a session: {error}");
                    link.change(|peer, now| peer.handle_end(now, TransportError::Io));
                }
            }
        }
        let reason = link.wait_closed();
        link.stop_timer();
        let stuck = tasks.join(to_std_duration(self.host.config.closing_timeout));
        for capability in &stuck {
            log::error!(
                "the run closure of {capability} did not return within the closing deadline"
            );
        }
        if let Some(peer) = &peer {
            log::debug!("session with {} ended: {reason}", peer.id());
            self.host.events.send(|| PeerEvent::Dropped {
                peer: peer.id(),
                reason,
            });
        }
        Report {
            reason,
            remote_requested: reason.is_remote_requested(),
            id,
            was_active: peer.is_some(),
            stuck,
        }
    }

    /// The encrypted handshake, with blocking reads; the timer closes the transport when it is too late.
    fn handshake(&mut self) -> Option<Established> {
        let link = Arc::clone(&self.link);
        let broken = |error| link.change(|peer, now| peer.handle_end(now, error));
        let mut entropy = [0; Entropy::LENGTH];
        if let Err(error) = getrandom::fill(&mut entropy) {
            log::error!("no randomness from the system: {error}");
            broken(TransportError::Io);
            return None;
        }
        let entropy = Entropy::new(&entropy);
        let mut handshake = match self.dialled {
            Some(remote) => Handshake::initiator(remote, entropy),
            None => Handshake::recipient(entropy),
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
                Ok(Step::Done(established)) => return Some(established),
                Err(_) => {
                    broken(TransportError::Handshake);
                    return None;
                }
            }
        }
    }

    /// Admission, Hello, and then frames until the end of the stream. Returns the peer if it became active.
    fn run_frames(
        &mut self,
        established: Established,
        admit: &impl Fn(&Candidate) -> Result<(), DisconnectReason>,
        tasks: &mut Tasks,
    ) -> Option<PeerHandle> {
        let link = Arc::clone(&self.link);
        let id = established.remote;
        let secrets = established.secrets;
        let keys = Arc::new(secrets.keys);
        let mut candidate = Candidate {
            id,
            inbound: self.dialled.is_none(),
            remote: self.remote,
            peer: None,
        };
        link.change(|peer, _| peer.expect(Expected::Authenticated(id)));
        let admitted = admit(&candidate);
        // With the keys there, a refusal is a Disconnect in place of Hello.
        link.prepare(Sealer::new(
            Arc::clone(&keys),
            TransmitHalf::new(secrets.egress),
        ));
        if let Err(reason) = admitted {
            link.change(|peer, now| peer.reject(now, reason));
        }
        link.kick();

        let mut frames = Frames::new(&link, keys, ReceiveHalf::new(secrets.ingress));
        let Some(hello) = frames.receive_hello(&mut *self.reader, self.learn.take()) else {
            frames.discard(&mut *self.reader);
            return None;
        };
        let peer = PeerHandle {
            inner: Arc::new(Inner {
                link: Arc::clone(&link),
                id,
                client_name: hello.client_name,
                capabilities: hello.capabilities,
                version: hello.version,
                inbound: candidate.inbound,
                local: self.local,
                remote: self.remote,
                began: Instant::now(),
                counters: link
                    .protocols()
                    .iter()
                    .map(|_| Counters::default())
                    .collect(),
                trusted: AtomicBool::new(false),
                is_static: AtomicBool::new(false),
            }),
        };
        candidate.peer = Some(peer.clone());
        if let Err(reason) = admit(&candidate) {
            link.change(|peer, now| peer.reject(now, reason));
            frames.discard(&mut *self.reader);
            return None;
        }
        self.host.events.send(|| PeerEvent::Added {
            peer: id,
            client_name: peer.client_name().to_owned(),
            remote: self.remote,
            inbound: candidate.inbound,
        });
        log::debug!("session with {id} ({}) is active", peer.client_name());
        tasks.start(&peer);
        frames.run(&mut *self.reader, &peer);
        Some(peer)
    }
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

/// The receiving direction of a live session.
struct Frames<'l> {
    link: &'l Arc<Link>,
    keys: Arc<FrameKeys>,
    receive: ReceiveHalf<OpenSlot>,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that are read and not yet consumed.
    unread: std::ops::Range<usize>,
}

impl<'l> Frames<'l> {
    fn new(link: &'l Arc<Link>, keys: Arc<FrameKeys>, receive: ReceiveHalf<OpenSlot>) -> Self {
        Self {
            link,
            keys,
            receive,
            buffer: vec![0; READ_BUFFER],
            unread: 0..0,
        }
    }

    /// Reads more bytes; false at the end of the stream or of the session.
    fn fill(&mut self, reader: &mut dyn Read) -> bool {
        loop {
            let error = match reader.read(&mut self.buffer) {
                Ok(0) => TransportError::EndOfStream,
                Ok(n) => {
                    self.unread = 0..n;
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => TransportError::Io,
            };
            self.link.change(|peer, now| peer.handle_end(now, error));
            return false;
        }
    }

    /// The remote's Hello, once it was accepted; `None` if the session is closing.
    fn receive_hello(
        &mut self,
        reader: &mut dyn Read,
        mut learn: Option<Box<Learn>>,
    ) -> Option<HelloText> {
        let mut gathered = vec![0; FIRST_FRAME_BUFFER];
        loop {
            if self.link.close_reason().is_some() {
                return None;
            }
            if self.unread.is_empty() && !self.fill(reader) {
                return None;
            }
            let bytes = &self.buffer[self.unread.clone()];
            let (n, first) = self.receive.handle_first(&self.keys, bytes, &mut gathered);
            self.unread.start += n;
            let text = match first {
                First::Message(code, payload) if code == u64::from(WireCode::HELLO.0) => {
                    Some(HelloText::read(payload))
                }
                _ => None,
            };
            if let First::Message(_, payload) = first
                && text.is_some()
                && let Some(learn) = learn.take()
            {
                let more =
                    Hello::decode(payload).map_or_else(|_| Vec::new(), |hello| learn(&hello));
                self.link.offer(more);
            }
            let local = self.link.local();
            let accepted = self.link.change(|peer, now| {
                match first {
                    First::NeedInput => {}
                    First::Message(_, payload) if text.is_some() => {
                        peer.handle_hello(now, &local, payload)
                    }
                    First::Message(code, payload) if code == u64::from(WireCode::DISCONNECT.0) => {
                        peer.handle_base(now, BaseMessage::Disconnect(disconnect::decode(payload)));
                    }
                    First::Message(..) => peer.handle_violation(now, Violation::ExpectedHello),
                    First::Violation(violation) => peer.handle_violation(now, violation),
                    First::Broken(error) => peer.handle_end(now, error),
                }
                (peer.state() == State::Active).then(|| peer.decompresses())
            });
            if let Some(compressed) = accepted {
                self.receive.set_compressed(compressed);
                return text;
            }
        }
    }

    /// Frames, until the session closes or the stream ends.
    fn run(&mut self, reader: &mut dyn Read, peer: &PeerHandle) {
        let link = Arc::clone(self.link);
        let shared = link.with_peer(|peer| peer.shared().clone());
        let mut inboxes = Queues {
            queues: link.queues(),
            memory: Arc::clone(&link.host.memory),
            observer: Told(peer.clone()),
        };
        while link.close_reason().is_none() {
            // A message that waited for room is opened even if nothing of it is unread yet.
            if self.unread.is_empty() && !self.receive.is_held() && !self.fill(reader) {
                break;
            }
            let bytes = &mut self.buffer[self.unread.clone()];
            let (n, status) =
                self.receive
                    .handle(&self.keys, link.now(), bytes, &shared, &mut inboxes);
            self.unread.start += n;
            let received = self.receive.take_received();
            link.change(|peer, now| {
                match status {
                    Status::NeedInput | Status::Held { .. } => {}
                    Status::Base(message) => peer.handle_base(now, message),
                    Status::Violation(violation) => peer.handle_violation(now, violation),
                    Status::Refused { subprotocol } => {
                        peer.close(now, CloseReason::Stalled { subprotocol })
                    }
                    Status::Broken(error) => peer.handle_end(now, error),
                }
                peer.on_receive(now, received);
            });
            if let Status::Held { subprotocol } = status {
                self.wait_for_room(&link, usize::from(subprotocol), &mut inboxes);
            }
        }
        self.receive.abort(&mut inboxes);
        self.discard(reader);
    }

    /// Waits until the inbox that holds back has room, or the session closes.
    fn wait_for_room(&self, link: &Link, subprotocol: usize, inboxes: &mut Queues<Told>) {
        block_on(|cx| {
            link.queue(subprotocol).wait_for_room(cx.waker());
            link.host.memory.register(cx.waker());
            match link.close_reason().is_some() || self.receive.could_open(inboxes) {
                true => {
                    link.host.memory.unregister(cx.waker());
                    Poll::Ready(())
                }
                false => Poll::Pending,
            }
        });
    }

    /// While closing: what still arrives is read and discarded, so that our Disconnect is not lost to a reset.
    fn discard(&mut self, reader: &mut dyn Read) {
        while self.link.with_peer(Peer::state) != State::Closed {
            if !self.fill(reader) {
                break;
            }
        }
    }
}

/// Counts messages and tells subscribers of them.
#[derive(Debug)]
struct Told(PeerHandle);

impl Told {
    fn counters(&self, subprotocol: usize) -> impl Iterator<Item = &Counters> {
        let inner = &self.0.inner;
        [&inner.counters, &inner.link.host.counters]
            .into_iter()
            .filter_map(move |all| all.get(subprotocol))
    }
}

impl Observer for Told {
    fn received(&self, subprotocol: usize, meta: &Meta) {
        self.counters(subprotocol)
            .for_each(|counters| counters.received(meta.length, meta.wire_length));
        let link = &self.0.inner.link;
        let protocol = link.protocols().get(subprotocol);
        let Some(capability) = protocol.map(Protocol::capability) else {
            return;
        };
        link.host
            .events
            .send_message(|| PeerEvent::MessageReceived {
                peer: self.0.id(),
                capability,
                code: meta.code,
                length: meta.length,
            });
    }

    fn dropped(&self, subprotocol: usize, _meta: &Meta) {
        self.counters(subprotocol).for_each(Counters::dropped);
    }
}

/// The threads of the subprotocols.
#[derive(Default)]
struct Tasks {
    running: Vec<(Capability, JoinHandle<()>)>,
    done: Arc<Done>,
}

#[derive(Default)]
struct Done {
    /// Whose run closures returned, in that order. Their threads end at once.
    returned: Mutex<Vec<Capability>>,
    changed: Condvar,
}

impl Tasks {
    /// Starts a thread for each shared subprotocol.
    fn start(&mut self, peer: &PeerHandle) {
        for (index, protocol) in peer.inner.link.protocols().iter().enumerate() {
            if peer.offset(index).is_none() {
                continue;
            }
            let capability = protocol.capability();
            let run = Arc::clone(&protocol.run);
            let link = Arc::clone(&peer.inner.link);
            let done = Arc::clone(&self.done);
            let mut subprotocol = Subprotocol::new(peer.clone(), index, capability);
            let thread = thread::Builder::new()
                .name(format!("devp2p {capability}"))
                .spawn(move || {
                    let result = catch_unwind(AssertUnwindSafe(|| run(&mut subprotocol)));
                    drop(subprotocol);
                    link.close(cause(index, capability, result));
                    let mut returned = done.returned.lock().unwrap_or_else(PoisonError::into_inner);
                    returned.push(capability);
                    drop(returned);
                    done.changed.notify_all();
                });
            match thread {
                Ok(thread) => self.running.push((capability, thread)),
                Err(error) => {
                    log::error!("no thread for {capability}: {error}");
                    let reason = DisconnectReason::SUBPROTOCOL_ERROR;
                    peer.inner.link.close(CloseReason::ProtocolError {
                        subprotocol: index as u8,
                        reason,
                    });
                }
            }
        }
    }

    /// Joins every thread that ends within `timeout`; returns the others' capabilities.
    fn join(&mut self, timeout: Duration) -> Vec<Capability> {
        let returned = self
            .done
            .returned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all = self.running.len();
        let waited = self
            .done
            .changed
            .wait_timeout_while(returned, timeout, |returned| returned.len() < all);
        let returned = waited.unwrap_or_else(PoisonError::into_inner).0.clone();
        let mut stuck = Vec::new();
        for (capability, thread) in mem::take(&mut self.running) {
            if returned.contains(&capability) {
                let _ = thread.join();
            } else {
                stuck.push(capability);
            }
        }
        stuck
    }
}

/// What the end of a run closure means for the session.
fn cause(
    index: usize,
    capability: Capability,
    result: thread::Result<Result<(), Failure>>,
) -> CloseReason {
    let subprotocol = index as u8;
    match result {
        Ok(Ok(())) => CloseReason::ProtocolReturned { subprotocol },
        Ok(Err(failure)) => {
            log::debug!("{capability} failed: {failure}");
            CloseReason::ProtocolError {
                subprotocol,
                reason: failure.reason(),
            }
        }
        Err(_) => {
            log::error!("the run closure of {capability} panicked");
            CloseReason::ProtocolError {
                subprotocol,
                reason: DisconnectReason::SUBPROTOCOL_ERROR,
            }
        }
    }
}
