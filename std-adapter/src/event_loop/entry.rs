//! One session on its socket: what a loop does for it in one turn.

mod calls;

use std::io::{self, Read};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::time::{Instant, PollAt};
use mio::net::TcpStream;

use super::Tools;
use super::deadlines::Place;
use super::handle::{Begun, Handle};
use super::handler::Handler;
use super::lane::{Command, Lane, Ticket, Waiting};
use super::loops::Loops;
use super::open::{Open, Told};
use crate::connection::{Connection, Event, Untold};
use crate::counters::Counters;
use crate::events::PeerEvent;
use crate::node::shared::Shared;
use crate::peer::HelloText;
use crate::session::Report;
use crate::transport::canonical;

/// Reads of one turn, so that a remote that sends much does not keep the loop from others.
const READS: usize = 4;
/// Messages of handles that are sealed in one turn.
const SENDS: usize = 256;
/// A read that did not fill its buffer took all there was. Elsewhere only a read that would block says so.
const SHORT_READ_IS_ALL: bool = cfg!(unix);

/// A session in its loop.
pub(super) struct Entry {
    open: Open,
    handler: Option<Box<dyn Handler>>,
    /// Once the session is active.
    handle: Option<Handle>,
    /// Bytes that were read and not consumed.
    unread: Vec<u8>,
    /// Its number in the node, and its place in the loop.
    pub(super) number: u64,
    ticket: Ticket,
    dialled: Option<NodeId>,
    addresses: (Option<SocketAddr>, Option<SocketAddr>),
    /// Handles have queued messages.
    sends: bool,
    /// A handle waits for the wire.
    flushes: bool,
    told_end: bool,
    waits_for_memory: bool,
    over: bool,
    pub(super) place: Place,
    /// Whether it is in the list of those whose turn comes.
    pub(super) queued: bool,
}

/// What follows a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is more to do: another turn, after the others' ones.
    Again,
    /// Nothing, until then or until something happens.
    Until(PollAt),
    /// The session is over.
    Over,
}

impl Entry {
    pub(super) fn new(
        connection: Connection,
        socket: TcpStream,
        (number, ticket): (u64, Ticket),
        dialled: Option<NodeId>,
    ) -> Self {
        let address = |addr: io::Result<SocketAddr>| addr.ok().map(canonical);
        let addresses = (address(socket.local_addr()), address(socket.peer_addr()));
        Self {
            open: Open {
                connection,
                socket,
                readable: true,
                hung_up: false,
                writable: true,
                cut: false,
                wants_room: false,
                timer: None,
            },
            handler: None,
            handle: None,
            unread: Vec::new(),
            number,
            ticket,
            dialled,
            addresses,
            sends: false,
            flushes: false,
            told_end: false,
            waits_for_memory: false,
            over: false,
            place: Place::default(),
            queued: false,
        }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.open.socket
    }

    /// Whether it is no session yet.
    pub(super) fn opens(&self) -> bool {
        self.handle.is_none() && !self.over
    }

    pub(super) fn is(&self, ticket: Ticket) -> bool {
        self.ticket == ticket
    }

    /// The poller says so.
    pub(super) fn on_ready(&mut self, readable: bool, hung_up: bool, writable: bool) {
        self.open.readable |= readable || hung_up;
        self.open.hung_up |= hung_up;
        self.open.writable |= writable;
    }

    /// Ends the session because the node shuts down.
    pub(super) fn quit(&mut self, now: Instant) {
        let reason = CloseReason::Local(DisconnectReason::CLIENT_QUITTING);
        self.open.close(now, reason);
    }

    /// Ends the session because it holds more memory than any other, and others wait for it.
    pub(super) fn evict(&mut self, now: Instant) {
        self.open.close(now, CloseReason::MemoryFull);
    }

    /// After a turn: has the session resumed when there is memory for what it receives, if it waits for that. False if there
    /// is some already.
    pub(super) fn wait_for_memory(&mut self, lane: &Arc<Lane>) -> bool {
        if let Some(account) = self.open.connection.waits_for_memory() {
            let (lane, ticket) = (Arc::clone(lane), self.ticket);
            self.waits_for_memory = account.wait(&Waker::from(Arc::new(Waiting { lane, ticket })));
            return self.waits_for_memory;
        }
        if mem::take(&mut self.waits_for_memory)
            && let Some(account) = self.open.connection.account()
        {
            account.stop_waiting();
        }
        true
    }

    /// Handles ask for something.
    pub(super) fn look(&mut self, tools: &mut Tools) {
        let Some(handle) = &self.handle else { return };
        let asks = handle.0.take_asks();
        let connection = &mut self.open.connection;
        self.flushes |= asks.flush;
        if asks.ping {
            connection.request_ping();
        }
        for subprotocol in (0..32).filter(|bit| asks.resume & (1 << bit) != 0) {
            connection.inbox.set_paused(subprotocol, false);
        }
        self.sends = true;
        if let Some(reason) = asks.end {
            // What was queued before goes out before, as far as there is room.
            while self.send(tools) {}
            self.open.close(Open::now(tools), reason);
        }
    }

    // ---- A turn ----

    /// Does what can be done now, within bounds.
    pub(super) fn turn(&mut self, tools: &mut Tools, shared: &Shared<Loops>) -> Turn {
        let mut again = false;
        let mut reads = READS;
        self.progress(tools, shared);
        while !self.over && self.open.connection.wants_input(tools) {
            if !self.unread.is_empty() {
                let mut bytes = mem::take(&mut self.unread);
                let n = self.take(&mut bytes, tools, shared);
                bytes.drain(..n);
                if !bytes.is_empty() {
                    self.unread = bytes;
                }
            } else if !self.open.readable {
                break;
            } else if reads == 0 {
                again = true;
                break;
            } else {
                reads -= 1;
                self.read(tools, shared);
            }
        }
        let now = Open::now(tools);
        if self.open.connection.close_reason().is_some() {
            // What follows is only the end.
            (self.open.timer, self.open.wants_room) = (None, false);
        }
        if self.open.timer.is_some_and(|at| at <= now) {
            self.open.timer = None;
            self.call(tools, None, |handler, session| handler.on_timer(session));
        }
        again |= self.send(tools);
        self.open.flush(tools);
        if self.open.wants_room && self.open.has_room(tools) {
            self.open.wants_room = false;
            self.call(tools, None, |handler, session| handler.on_writable(session));
            self.open.flush(tools);
            again |= self.open.wants_room && self.open.has_room(tools);
        }
        if self.open.cut && !again && self.open.connection.close_reason().is_none() {
            let now = Open::now(tools);
            self.open.connection.handle_end(now, TransportError::Io);
        }
        self.progress(tools, shared);
        // What progress sealed: a Disconnect, say, and then perhaps the end.
        if !self.over && !self.open.connection.output.is_empty() && self.open.writable {
            self.open.flush(tools);
            self.progress(tools, shared);
        }
        self.note();
        if self.over {
            return Turn::Over;
        }
        again |= self.open.connection.inbox.has_next() && self.handler.is_some();
        // The last steps may have sealed something.
        again |= self.open.writable && !self.open.connection.output.is_empty();
        // The last steps may have made room for what was read already, or is there to be read: the poller tells of it once.
        let wants_input = self.open.connection.wants_input(tools);
        again |= wants_input && (self.open.readable || !self.unread.is_empty());
        match self
            .open
            .connection
            .poll_at(tools)
            .min(self.open.timer.into())
        {
            _ if again => Turn::Again,
            PollAt::Now => Turn::Again,
            at => Turn::Until(at),
        }
    }

    /// Reads once, and takes what came.
    fn read(&mut self, tools: &mut Tools, shared: &Shared<Loops>) {
        let mut buffer = mem::take(&mut tools.read);
        match self.open.socket.read(&mut buffer) {
            Ok(0) => {
                self.open.readable = false;
                self.end(tools, TransportError::EndOfStream);
            }
            Ok(n) => {
                if n < buffer.len() && SHORT_READ_IS_ALL && !self.open.hung_up && !self.open.cut {
                    self.open.readable = false;
                }
                let bytes = buffer.get_mut(..n).unwrap_or_default();
                let taken = self.take(bytes, tools, shared);
                self.unread.extend_from_slice(&bytes[taken..]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.open.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::debug!("reading failed: {error}");
                self.open.readable = false;
                self.end(tools, TransportError::Io);
            }
        }
        tools.read = buffer;
    }

    fn end(&mut self, tools: &Tools, error: TransportError) {
        self.open.connection.handle_end(Open::now(tools), error);
    }

    /// Passes bytes as long as they are wanted; returns how many were consumed.
    fn take(&mut self, bytes: &mut [u8], tools: &mut Tools, shared: &Shared<Loops>) -> usize {
        let mut consumed = 0;
        loop {
            let now = Open::now(tools);
            let rest = bytes.get_mut(consumed..).unwrap_or_default();
            let connection = &mut self.open.connection;
            let n = match &self.handle {
                Some(handle) => {
                    let host = Arc::clone(&tools.host);
                    connection.handle_input(now, rest, tools, Told::new(&host, handle))
                }
                None => connection.handle_input(now, rest, tools, Untold),
            };
            consumed += n;
            self.progress(tools, shared);
            let all = consumed >= bytes.len();
            if all || self.over || n == 0 || !self.open.connection.wants_input(tools) {
                return consumed;
            }
        }
    }

    /// Polls the connection, acts on what it tells, and delivers messages.
    fn progress(&mut self, tools: &mut Tools, shared: &Shared<Loops>) {
        loop {
            let now = Open::now(tools);
            while let Some(event) = self.open.connection.poll(now, tools) {
                self.on_event(event, tools, shared);
            }
            self.tell_end(shared);
            if self.over || !self.deliver(tools) {
                return;
            }
        }
    }

    fn on_event(&mut self, event: Event, tools: &mut Tools, shared: &Shared<Loops>) {
        let now = Open::now(tools);
        match event {
            Event::Authenticated(id) => {
                let admitted = shared.claims(self.number, id);
                self.open.connection.admit(now, admitted);
            }
            Event::Active(hello) => {
                if let Err(reason) = self.begin(hello, tools, shared) {
                    self.open.connection.reject(now, reason);
                }
            }
            Event::HalfClose => {
                // The wire took everything.
                if let Some(handle) = &self.handle {
                    handle.0.on_flushed();
                }
                // A failure means that the remote closed already.
                let _ = self.open.socket.shutdown(Shutdown::Write);
            }
            Event::Closed(reason) => self.finish(reason, tools, shared),
        }
    }

    /// Hello was accepted: the last check, and the handler.
    fn begin(
        &mut self,
        hello: HelloText,
        tools: &mut Tools,
        shared: &Shared<Loops>,
    ) -> Result<(), DisconnectReason> {
        let peer = self.open.connection.peer();
        let (Some(remote), Some(lane)) = (peer.remote(), tools.lane.clone()) else {
            return Err(DisconnectReason::PROTOCOL_ERROR);
        };
        let begun = Begun {
            lane: Arc::clone(&lane),
            ticket: self.ticket,
            id: remote.id,
            hello,
            shared: peer.shared().iter().copied().collect(),
            inbound: self.dialled.is_none(),
            local: self.addresses.0,
            remote: self.addresses.1,
            outbox_limit: tools.output_limit,
        };
        let handle = Handle::new(Arc::clone(&tools.host), begun);
        shared.activate(self.number, &handle)?;
        let factory = &shared.service.settings.factory;
        let made = catch_unwind(AssertUnwindSafe(|| factory(&handle)));
        let refused = match made {
            Ok(Ok(handler)) => {
                self.handler = Some(handler);
                None
            }
            Ok(Err(reason)) => Some(reason),
            Err(_) => {
                log::error!("making the handler of a session panicked");
                Some(DisconnectReason::SUBPROTOCOL_ERROR)
            }
        };
        if let Some(reason) = refused {
            shared.ends(self.number, &handle.id());
            return Err(reason);
        }
        tools.host.events.send(|| PeerEvent::Added {
            peer: handle.id(),
            client_name: handle.client_name().to_owned(),
            capabilities: handle.capabilities().to_vec(),
            remote: handle.remote_addr(),
            inbound: handle.is_inbound(),
        });
        // Quoted: a name may hold line ends.
        let name = handle.client_name();
        log::debug!("session with {} ({name:?}) is active", handle.id());
        let (lane, ticket) = (Arc::clone(&lane), self.ticket);
        let account = (tools.host.memory).account(move || lane.push(Command::Evict(ticket)));
        self.open.connection.set_account(account);
        self.handle = Some(handle.clone());
        self.call(tools, None, |handler, session| handler.on_active(session));
        shared.begun(self.number, &handle);
        Ok(())
    }

    /// The end is decided: it counts no more, and handles refuse what comes.
    fn tell_end(&mut self, shared: &Shared<Loops>) {
        let Some(reason) = self.open.connection.close_reason() else {
            return;
        };
        if self.told_end {
            return;
        }
        self.told_end = true;
        if let Some(handle) = &self.handle {
            handle.0.set_reason(reason, false);
            shared.ends(self.number, &handle.id());
        }
    }

    fn finish(&mut self, reason: CloseReason, tools: &mut Tools, shared: &Shared<Loops>) {
        // What arrived before the end is delivered before it is told.
        while self.deliver(tools) {}
        self.tell_end(shared);
        self.over = true;
        let Some(handle) = &self.handle else {
            return self.close(reason, shared);
        };
        log::debug!("session with {} ended: {reason}", handle.id());
        if let Some(mut handler) = self.handler.take() {
            let told = catch_unwind(AssertUnwindSafe(|| {
                handler.on_closed(handle, reason);
                drop(handler);
            }));
            if told.is_err() {
                log::error!("a handler panicked at the end of its session");
            }
        }
        tools.host.events.send(|| PeerEvent::Dropped {
            peer: handle.id(),
            reason,
            lasted: handle.lifetime(),
            traffic: Counters::total(&handle.0.counters),
        });
        handle.0.set_reason(reason, true);
        self.close(reason, shared);
    }

    /// Tells the node that the connection is over.
    fn close(&self, reason: CloseReason, shared: &Shared<Loops>) {
        let report = Report {
            reason,
            remote_requested: reason.is_remote_requested(),
            id: self.handle.as_ref().map(Handle::id),
            was_active: self.handle.is_some(),
            stuck: Vec::new(),
        };
        shared.close(self.number, Ok(report), None);
    }

    /// Its loop ends without it.
    pub(super) fn lose(&mut self, shared: &Shared<Loops>) {
        if !self.over {
            self.close(CloseReason::Transport(TransportError::Io), shared);
        }
    }

    /// Seals what handles have queued; whether there is more that could be sealed.
    fn send(&mut self, tools: &mut Tools) -> bool {
        let Some(handle) = self.handle.as_ref().filter(|_| self.sends) else {
            return false;
        };
        for _ in 0..SENDS {
            let Some(message) = handle.0.next_outgoing() else {
                self.sends = false;
                return false;
            };
            let (length, now) = (message.payload.len(), Open::now(tools));
            let (subprotocol, code) = (message.subprotocol, LocalCode(message.code));
            let payload = [&message.payload[..]];
            let written = self
                .open
                .write_or_flush(tools, handle, now, subprotocol, code, &payload);
            if matches!(written, Err(WriteError::WouldBlock { .. })) {
                handle.0.put_back(message);
                return false;
            }
            let closed = matches!(written, Err(WriteError::Closed(_)));
            if let Err(error) = written
                && !closed
            {
                log::warn!("a queued message of {length} bytes was not sent: {error}");
            }
            handle.0.on_sealed(length, !closed);
        }
        true
    }

    /// Tells handles what changed.
    fn note(&mut self) {
        let Some(handle) = &self.handle else { return };
        let peer = self.open.connection.peer();
        if handle.0.pongs.load(Ordering::Relaxed) != peer.pongs() {
            let micros = peer.round_trip().map_or(u64::MAX, |span| span.as_micros());
            handle.0.round_trip.store(micros, Ordering::Relaxed);
            handle.0.pongs.store(peer.pongs(), Ordering::Relaxed);
        }
        if self.flushes && self.open.connection.output.is_empty() {
            self.flushes = !handle.0.on_flushed();
        }
    }
}

impl Drop for Entry {
    /// Only a loop that panics drops a session that is not over: nobody must wait for its end for ever.
    fn drop(&mut self) {
        if let Some(handle) = self.handle.as_ref().filter(|_| !self.over) {
            let reason = CloseReason::Transport(TransportError::Io);
            handle.0.set_reason(reason, true);
        }
    }
}

/// Whether the end was decided by this side's program.
fn is_ours(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Local(_)
            | CloseReason::Rejected(_)
            | CloseReason::ProtocolReturned { .. }
            | CloseReason::ProtocolError { .. }
    )
}
