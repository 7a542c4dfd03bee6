//! One peer: a session that shares `eth` and perhaps `snap`, and the light client that it drives.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use devp2p_core::error::CloseReason;
use devp2p_core::rlpx::NodeKey;
use devp2p_core::time::{self, PollAt};
use devp2p_light::client::{Client, Event, Fault, MAX_SENT, Protocol};
use devp2p_light::{eth, snap};
use devp2p_std::enode::Enode;
use devp2p_std::handle::{ReadError, Writer};
use devp2p_std::host::Host;
use devp2p_std::protocol;
use devp2p_std::session::Session;

use crate::dial;
use crate::failure::Failure;

/// Bytes of the largest message that is taken: about 180 headers at a time, or code of any size that a chain allows.
pub(super) const INBOX: u32 = 128 * 1024;
/// Messages between the session and the client. Beyond them the session holds back.
const QUEUE: usize = 4;

/// Why a peer is done with.
#[derive(Debug)]
pub(super) enum Left {
    /// It did what no peer should, or is of no use.
    Fault(Fault),
    /// Its session ended by itself.
    Ended(CloseReason),
    /// There was no session with it.
    Unreachable(Failure),
    /// The caller wanted no more.
    Done,
}

enum Incoming {
    Writer(Protocol, Writer),
    Message(Protocol, u32, Vec<u8>),
    Oversize(Protocol, u32, u32),
    Closed,
}

/// What the caller says after each event and when nothing happens.
pub(super) enum Next {
    GoOn,
    Stop,
}

/// What is offered to a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    /// This version of `eth` alone.
    pub(super) eth: Option<u32>,
    pub(super) has_snappy: bool,
}

/// Dials `enode` and drives `client` until `on_event` wants no more, or the peer is to be left. `on_event` is called with
/// `None` once every `idle`.
pub(super) fn drive<const N: usize>(
    enode: &Enode,
    offer: Offer,
    key: NodeKey,
    client: &mut Client<'_, N>,
    idle: Duration,
    mut on_event: impl FnMut(&mut Client<'_, N>, Option<Event<'_>>) -> Next,
) -> Left {
    let (sender, incoming) = sync_channel(QUEUE);
    let session = match open(enode, offer, key, &sender) {
        Ok(session) => session,
        Err(failure) => return Left::Unreachable(failure),
    };
    let shared = session.peer.shared();
    let version = |name| {
        let mut of_name = shared
            .iter()
            .filter(|capability| capability.name.as_str() == name);
        of_name.next().map(|capability| capability.version)
    };
    let Some(eth) = version(eth::NAME) else {
        drop(incoming);
        return Left::Ended(session.close());
    };
    let has_snap = version(snap::NAME).is_some();
    let mut writers = Writers::default();
    while writers.eth.is_none() || (has_snap && writers.snap.is_none()) {
        match incoming.recv() {
            Ok(Incoming::Writer(protocol, writer)) => writers.add(protocol, writer),
            Ok(Incoming::Closed) | Err(_) => {
                drop(incoming);
                return Left::Ended(session.close());
            }
            // No protocol reads before its writer was told; messages of one may come before the other's writer.
            Ok(message) => writers.early.push(message),
        }
    }
    let clock = Instant::now();
    client.begin(time::Instant::ZERO, eth, has_snap);
    let mut run = Run {
        clock,
        open: 1 + usize::from(has_snap),
        is_writable: true,
        incoming,
        writers,
        idle,
    };
    let over = run.until_over(client, &mut on_event);
    // Protocols that wait to hand over a message end with it, and the session can.
    drop(run);
    match over {
        Over::Fault(fault) => {
            session.peer.disconnect(fault.reason());
            session.close();
            Left::Fault(fault)
        }
        Over::Closed => Left::Ended(session.close()),
        Over::Done => {
            session.close();
            Left::Done
        }
    }
}

/// How the work in a session ended.
enum Over {
    Fault(Fault),
    Closed,
    Done,
}

#[derive(Default)]
struct Writers {
    eth: Option<Writer>,
    snap: Option<Writer>,
    early: Vec<Incoming>,
}

impl Writers {
    fn add(&mut self, protocol: Protocol, writer: Writer) {
        match protocol {
            Protocol::Eth => self.eth = Some(writer),
            Protocol::Snap => self.snap = Some(writer),
        }
    }
}

struct Run {
    clock: Instant,
    /// Protocols whose messages may still come.
    open: usize,
    is_writable: bool,
    incoming: Receiver<Incoming>,
    writers: Writers,
    idle: Duration,
}

impl Run {
    fn now(&self) -> time::Instant {
        time::Instant::from_micros(self.clock.elapsed().as_micros() as u64)
    }

    fn until_over<const N: usize>(
        &mut self,
        client: &mut Client<'_, N>,
        on_event: &mut impl FnMut(&mut Client<'_, N>, Option<Event<'_>>) -> Next,
    ) -> Over {
        let mut next_idle = Instant::now() + self.idle;
        let mut early = std::mem::take(&mut self.writers.early).into_iter();
        loop {
            // What came before the end is still worth reading: it may say why.
            if self.is_writable {
                match self.send(client) {
                    Ok(is_writable) => self.is_writable = is_writable,
                    Err(fault) => return Over::Fault(fault),
                }
            }
            let message = match early.next() {
                Some(message) => Ok(message),
                None => self.incoming.recv_timeout(self.wait(client, next_idle)),
            };
            let now = self.now();
            let next = match message {
                Ok(Incoming::Message(protocol, code, payload)) => {
                    match client.handle(now, protocol, code, &payload) {
                        Ok(Event::Nothing) => Next::GoOn,
                        Ok(event) => on_event(client, Some(event)),
                        Err(fault) => return Over::Fault(fault),
                    }
                }
                Ok(Incoming::Oversize(protocol, code, length)) => {
                    match client.handle_oversize(protocol, code, length) {
                        Ok(()) => Next::GoOn,
                        Err(fault) => return Over::Fault(fault),
                    }
                }
                Ok(Incoming::Writer(protocol, writer)) => {
                    self.writers.add(protocol, writer);
                    Next::GoOn
                }
                Ok(Incoming::Closed) if self.open > 1 => {
                    self.open -= 1;
                    self.is_writable = false;
                    Next::GoOn
                }
                Ok(Incoming::Closed) | Err(RecvTimeoutError::Disconnected) => {
                    return Over::Closed;
                }
                Err(RecvTimeoutError::Timeout) => Next::GoOn,
            };
            if matches!(next, Next::Stop) {
                return Over::Done;
            }
            if Instant::now() >= next_idle {
                next_idle = Instant::now() + self.idle;
                if matches!(on_event(client, None), Next::Stop) {
                    return Over::Done;
                }
            }
        }
    }

    /// Sends what the client has to send; false if the session is closed.
    fn send<const N: usize>(&self, client: &mut Client<'_, N>) -> Result<bool, Fault> {
        let mut buffer = [0; MAX_SENT];
        while let Some(out) = client.poll(self.now(), &mut buffer)? {
            let writer = match out.protocol {
                Protocol::Eth => &self.writers.eth,
                Protocol::Snap => &self.writers.snap,
            };
            let payload = buffer.get(..out.length).unwrap_or_default();
            let written = writer
                .as_ref()
                .map(|writer| writer.write(out.code, payload));
            if !matches!(written, Some(Ok(()))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn wait<const N: usize>(&self, client: &Client<'_, N>, next_idle: Instant) -> Duration {
        let until_idle = next_idle.saturating_duration_since(Instant::now());
        match client.poll_at() {
            _ if !self.is_writable => until_idle,
            PollAt::Now => Duration::ZERO,
            PollAt::At(at) => {
                let wait = at.saturating_since(self.now());
                Duration::from_micros(wait.as_micros()).min(until_idle)
            }
            PollAt::Idle => until_idle,
        }
    }
}

fn open(
    enode: &Enode,
    offer: Offer,
    key: NodeKey,
    sender: &SyncSender<Incoming>,
) -> Result<dial::Active, Failure> {
    let mut builder = Host::builder(key);
    if !offer.has_snappy {
        builder = builder.version(4);
    }
    let eth = eth::VERSIONS.into_iter();
    let eth = eth.filter(|(version, _)| offer.eth.is_none_or(|only| only == *version));
    let offers = eth.map(|(version, length)| (Protocol::Eth, version, length));
    let offers_snap = snap::VERSIONS
        .into_iter()
        .map(|(version, length)| (Protocol::Snap, version, length));
    for (protocol, version, length) in offers.chain(offers_snap) {
        builder = builder.protocol(registered(protocol, version, length, sender.clone())?);
    }
    let host = builder
        .build()
        .map_err(|error| Failure::system("no host", error))?;
    let connected = dial::connect(enode)?;
    let session = Session::dial(&host, connected.stream, enode.id)
        .map_err(|error| Failure::system("no session over this connection", error))?;
    dial::open(session, &connected.seen)
}

/// A version of a protocol, whose messages go to the client.
fn registered(
    protocol: Protocol,
    version: u32,
    length: u32,
    sender: SyncSender<Incoming>,
) -> Result<protocol::Protocol, Failure> {
    let name = match protocol {
        Protocol::Eth => eth::NAME,
        Protocol::Snap => snap::NAME,
    };
    let offered = protocol::Protocol::new(name, version, length, move |subprotocol| {
        // Whoever does not take them any more ends the session.
        let mut is_taken = sender
            .send(Incoming::Writer(protocol, subprotocol.writer()))
            .is_ok();
        while is_taken {
            let incoming = match subprotocol.read() {
                Ok(message) => Incoming::Message(protocol, message.code, message.payload),
                Err(ReadError::Oversize { code, length }) => {
                    Incoming::Oversize(protocol, code, length)
                }
                Err(_) => break,
            };
            is_taken = sender.send(incoming).is_ok();
        }
        let _ = sender.send(Incoming::Closed);
        Ok(())
    });
    let offered = offered.map_err(|error| Failure::system("no protocol", error))?;
    Ok(offered.message_limit(INBOX))
}
