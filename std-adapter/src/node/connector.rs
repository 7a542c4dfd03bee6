//! The thread that makes connections: it accepts, waits for the first byte of what it accepted, and dials.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use devp2p_core::hello::NodeId;
use devp2p_core::time::{Instant, PollAt};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::error::DialError;
use super::service::Service;
use super::shared::Shared;
use crate::enode::{Enode, Host};
use crate::time::to_core_duration;

const LISTENER: Token = Token(0);
const WOKEN: Token = Token(1);
/// What tickets are offset by in tokens.
const FIRST: u64 = 2;

/// How long to wait before accepting again after the system refused, as it does when it has no descriptors left.
const RETRY: Duration = Duration::from_millis(200);
/// A dial timeout beyond this is as good as none, and far from where the clock ends.
const LONGEST_DIAL: Duration = Duration::from_secs(24 * 60 * 60);

/// What the connector is asked to do for a dial, named by its ticket.
pub(super) enum Command {
    Connect(u64, Enode),
    /// Its name was looked up.
    Found(u64, io::Result<Vec<SocketAddr>>),
    CallOff(u64),
}

/// A dial that has no connection yet: its name is looked up, or an address is tried.
struct Attempt {
    id: NodeId,
    socket: Option<(TcpStream, SocketAddr)>,
    /// Those to try after this one.
    addresses: VecDeque<SocketAddr>,
    /// For this address, and for all of them.
    until: Instant,
    deadline: Instant,
    /// Why the address before failed.
    failed: Option<DialError>,
}

/// The sockets of a connector before it runs.
pub(super) struct Bound {
    poll: Poll,
    listener: Option<TcpListener>,
}

pub(super) struct Connector<S: Service> {
    shared: Arc<Shared<S>>,
    poll: Poll,
    listener: Option<TcpListener>,
    /// There may be connections to accept.
    readable: bool,
    /// When to accept again after the system refused.
    retry: Option<Instant>,
    /// Accepted and not opened yet.
    accepted: BTreeMap<u64, TcpStream>,
    attempts: BTreeMap<u64, Attempt>,
}

impl Bound {
    /// Listens on `address`, if any; also returns what wakes the connector.
    pub(super) fn new(address: Option<&str>) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WOKEN)?;
        let mut listener = match address {
            // Through std, which takes names, and allows a port that was in use a moment ago.
            Some(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Some(TcpListener::from_std(listener))
            }
            None => None,
        };
        if let Some(listener) = &mut listener {
            (poll.registry()).register(listener, LISTENER, Interest::READABLE)?;
        }
        Ok((Self { poll, listener }, waker))
    }

    pub(super) fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        let listener = self.listener.as_ref();
        listener.map(TcpListener::local_addr).transpose()
    }
}

impl<S: Service> Connector<S> {
    pub(super) fn new(bound: Bound, shared: Arc<Shared<S>>) -> Self {
        Self {
            shared,
            poll: bound.poll,
            readable: bound.listener.is_some(),
            listener: bound.listener,
            retry: None,
            accepted: BTreeMap::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// Connects until the node shuts down. Dropping what is left closes it.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            self.act();
            if self.shared.is_closing() {
                return;
            }
            let timeout = match self.poll_at() {
                PollAt::Now => Some(Duration::ZERO),
                PollAt::At(at) => self.shared.host.clock.until(at),
                PollAt::Idle => None,
            };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("the thread that connects ends: {error}");
                return;
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.readable = true,
                    WOKEN => {}
                    Token(token) => self.on_ready(token as u64 - FIRST),
                }
            }
        }
    }

    /// Does what can be done now.
    fn act(&mut self) {
        for command in self.shared.take_commands() {
            match command {
                Command::Connect(ticket, enode) => self.dial(ticket, enode),
                Command::Found(ticket, found) => self.on_found(ticket, found),
                Command::CallOff(ticket) => drop(self.attempts.remove(&ticket)),
            }
        }
        let now = self.shared.now();
        let is_late =
            |(ticket, attempt): (&u64, &Attempt)| (attempt.until <= now).then_some(*ticket);
        let late: Vec<_> = self.attempts.iter().filter_map(is_late).collect();
        for ticket in late {
            self.next_address(ticket);
        }
        while let Some(ticket) = self.shared.lock().pending.take_late(now) {
            log::debug!("a connection is closed that stayed silent");
            self.accepted.remove(&ticket);
        }
        // Places first, so that those who came before come first.
        self.open_all();
        self.accept_all();
        self.open_all();
    }

    fn poll_at(&self) -> PollAt {
        let dials = self.shared.poll_dials();
        let attempts = self.attempts.values().map(|attempt| attempt.until).min();
        let pending = self.shared.lock().pending.poll_at(self.shared.now());
        let own = [attempts, pending, self.retry].into_iter().flatten().min();
        dials.min(own.map_or(PollAt::Idle, PollAt::At))
    }

    fn on_ready(&mut self, ticket: u64) {
        if let Some(stream) = self.accepted.get(&ticket) {
            match stream.peek(&mut [0]) {
                Ok(n) if n > 0 => {
                    let now = self.shared.now();
                    self.shared.lock().pending.on_first_byte(ticket, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It went without a word.
                Ok(_) | Err(_) => {
                    self.accepted.remove(&ticket);
                    self.shared.lock().pending.leave(ticket);
                }
            }
        } else if self.attempts.contains_key(&ticket) {
            self.on_progress(ticket);
        }
    }

    fn token(ticket: u64) -> Token {
        // On 32 bits they come again after four thousand million connections.
        Token((ticket + FIRST) as usize)
    }

    // ---- Inbound ----

    /// Accepts what waits, as far as there is room.
    fn accept_all(&mut self) {
        let now = self.shared.now();
        if self.retry.is_some_and(|at| at > now) {
            return;
        }
        self.retry = None;
        while let Some(listener) = self.listener.as_ref().filter(|_| self.readable)
            && self.shared.has_room(now)
        {
            match listener.accept() {
                Ok((stream, remote)) => self.arrive(stream, remote),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.readable = false,
                    // Of a connection that is gone before it was accepted: the next one may be fine.
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset => {}
                    _ => {
                        log::warn!("accepting a connection failed: {error}");
                        self.retry = Some(now.saturating_add(to_core_duration(RETRY)));
                        return;
                    }
                },
            }
        }
    }

    fn arrive(&mut self, mut stream: TcpStream, remote: SocketAddr) {
        let Some((ticket, evicted)) = self.shared.arrive(remote) else {
            return;
        };
        if let Some(evicted) = evicted {
            log::debug!("a silent connection gives way");
            self.accepted.remove(&evicted);
        }
        let registry = self.poll.registry();
        match registry.register(&mut stream, Self::token(ticket), Interest::READABLE) {
            Ok(()) => {
                self.accepted.insert(ticket, stream);
                self.on_ready(ticket);
            }
            Err(error) => {
                log::error!("the connection from {remote} is lost: {error}");
                self.shared.lock().pending.leave(ticket);
            }
        }
    }

    /// Opens those that wait, as far as there are places.
    fn open_all(&mut self) {
        loop {
            let next = self.shared.lock().pending.next(self.shared.now());
            let Some(next) = next else { return };
            if let Some(evicted) = next.evicted {
                self.shared.give_way(evicted);
            }
            let Some(mut stream) = self.accepted.remove(&next.ticket) else {
                self.shared.lock().pending.leave(next.ticket);
                continue;
            };
            let opened = self.poll.registry().deregister(&mut stream);
            let opened = opened.and_then(|()| self.shared.open_inbound(next.ticket, stream.into()));
            if let Err(error) = opened {
                log::error!("a connection could not be opened: {error}");
                self.shared.lock().pending.leave(next.ticket);
            }
        }
    }

    // ---- Dials ----

    fn dial(&mut self, ticket: u64, enode: Enode) {
        log::debug!("dialling {enode}");
        let limit = to_core_duration(self.shared.dial_timeout.min(LONGEST_DIAL));
        let deadline = self.shared.now().saturating_add(limit);
        let attempt = Attempt {
            id: enode.id,
            socket: None,
            addresses: VecDeque::new(),
            until: deadline,
            deadline,
            failed: None,
        };
        self.attempts.insert(ticket, attempt);
        if matches!(enode.host, Host::Ip(_)) {
            let found = enode.to_socket_addrs().map(Iterator::collect);
            return self.on_found(ticket, found);
        }
        // Nothing interrupts the system's look-up, so it has a thread of its own, which nobody waits for.
        let of_thread = Arc::downgrade(&self.shared);
        let started = thread::Builder::new()
            .name("devp2p-lookup".to_owned())
            .spawn(move || {
                let found = enode.to_socket_addrs().map(Iterator::collect);
                if let Some(shared) = of_thread.upgrade() {
                    shared.command(Command::Found(ticket, found));
                }
            });
        if let Err(error) = started {
            self.fail(ticket, DialError::System(Arc::new(error)));
        }
    }

    fn on_found(&mut self, ticket: u64, found: io::Result<Vec<SocketAddr>>) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else {
            return;
        };
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                attempt.addresses = addresses.into();
                self.next_address(ticket);
            }
            found => {
                let error = found.err().unwrap_or(io::ErrorKind::NotFound.into());
                self.fail(ticket, DialError::Lookup(Arc::new(error)));
            }
        }
    }

    fn fail(&mut self, ticket: u64, error: DialError) {
        if let Some(attempt) = self.attempts.remove(&ticket) {
            let mut state = self.shared.lock();
            self.shared
                .dial_ended(&mut state, ticket, &attempt.id, error);
        }
    }

    /// Begins to connect to the next address that can be tried, if there is one.
    fn next_address(&mut self, ticket: u64) {
        let now = self.shared.now();
        while let Some(attempt) = self.attempts.get_mut(&ticket) {
            attempt.socket = None;
            let share = attempt.addresses.len() as u64;
            let Some(address) = attempt
                .addresses
                .pop_front()
                .filter(|_| now < attempt.deadline)
            else {
                let error = attempt.failed.take();
                let error = error.unwrap_or(DialError::TimedOut(self.shared.dial_timeout));
                return self.fail(ticket, error);
            };
            // Each address has its share of the time that is left, so that a dead one leaves some to the others.
            let left = attempt.deadline.saturating_since(now).as_micros() / share;
            attempt.until = Instant::from_micros(now.as_micros().saturating_add(left));
            let connected = TcpStream::connect(address).and_then(|mut socket| {
                let interest = Interest::WRITABLE;
                let registry = self.poll.registry();
                registry.register(&mut socket, Self::token(ticket), interest)?;
                Ok(socket)
            });
            match connected {
                Ok(socket) => {
                    attempt.socket = Some((socket, address));
                    return;
                }
                Err(error) => attempt.failed = Some(connect_error(address, error)),
            }
        }
    }

    /// The poller says that something happened to the socket.
    fn on_progress(&mut self, ticket: u64) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else {
            return;
        };
        let Some((socket, address)) = &mut attempt.socket else {
            return;
        };
        if let Some(error) = socket.take_error().unwrap_or_else(Some) {
            attempt.failed = Some(connect_error(*address, error));
            return self.next_address(ticket);
        }
        // As mio advises: writable alone does not say that the connection is made.
        if socket.peer_addr().is_err() {
            return;
        }
        if let Err(error) = self.poll.registry().deregister(socket) {
            return self.fail(ticket, DialError::System(Arc::new(error)));
        }
        if let Some(Attempt {
            id,
            socket: Some((socket, _)),
            ..
        }) = self.attempts.remove(&ticket)
        {
            let mut state = self.shared.lock();
            self.shared
                .open_dialled(&mut state, ticket, id, socket.into());
        }
    }
}

fn connect_error(address: SocketAddr, error: io::Error) -> DialError {
    let error = Arc::new(error);
    DialError::Connect { address, error }
}
