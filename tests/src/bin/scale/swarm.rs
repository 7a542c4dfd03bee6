//! The remote ends: thousands of the core's sessions, each with an identity of its own, driven by one thread. They echo.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::{mem, thread};

use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::{Entropy, NodeKey};
use devp2p_core::session::{Event, MIN_INBOX_MEMORY, Session, Storage};
use devp2p_core::time::{Instant, PollAt};
use devp2p_std::time::Clock;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::{Failure, config, server_key};

const INBOX: usize = 2 * MIN_INBOX_MEMORY;
const RING: usize = 4096;
/// Handshakes at once, so that none waits too long for its turn.
const OPENING: usize = 128;
const WOKEN: Token = Token(usize::MAX);

struct End {
    session: Session<'static, 1>,
    socket: TcpStream,
    readable: bool,
    writable: bool,
    unread: Vec<u8>,
    /// When it is looked at next: perhaps too early.
    queued: Option<Instant>,
    active: bool,
}

struct Swarm {
    address: SocketAddr,
    server: NodeId,
    config: Config,
    protocols: &'static [Protocol],
    clock: Clock,
    poll: Poll,
    ends: Vec<Option<End>>,
    /// Of those that are queued.
    deadlines: BTreeSet<(Instant, usize)>,
    /// Whom the poller named.
    ready: Vec<usize>,
    buffer: Vec<u8>,
    active: usize,
    /// Sessions that ended otherwise than by the other side's orderly end.
    failed: usize,
    ended: usize,
}

/// Dials as many sessions as the lines of the standard input say, and says when they are active; ends when they have ended.
pub(crate) fn run(address: SocketAddr, ping_interval: u64) -> Result<(), Failure> {
    let protocol = Protocol::new("bench", 1, 2, INBOX).map_err(|_| "the name is not valid")?;
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WOKEN)?);
    // A waker that is dropped takes its last wake-up with it.
    let _kept = Arc::clone(&waker);
    let mut swarm = Swarm {
        address,
        server: *server_key()?.id(),
        config: config(ping_interval),
        protocols: Vec::leak(vec![protocol]),
        clock: Clock::new(),
        poll,
        ends: Vec::new(),
        deadlines: BTreeSet::new(),
        ready: Vec::new(),
        buffer: vec![0; 64 * 1024],
        active: 0,
        failed: 0,
        ended: 0,
    };
    let (sender, wishes) = channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = sender.send(line);
            let _ = waker.wake();
        }
        // The other process is gone, or wants no more.
        drop(sender);
        let _ = waker.wake();
    });
    swarm.drive(&wishes)
}

impl Swarm {
    fn drive(&mut self, wishes: &Receiver<String>) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        let (mut wanted, mut told, mut over) = (0, 0, false);
        loop {
            match wishes.try_recv() {
                Ok(line) => wanted = line.parse()?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) if self.ended == self.ends.len() => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err("the node went away".into()),
            }
            while self.ends.len() < wanted && self.ends.len() - self.active < OPENING {
                self.dial()?;
            }
            if self.active == wanted && told != wanted {
                told = wanted;
                println!("active {wanted}");
            }
            if self.failed > 0 {
                println!("{} of {} sessions failed", self.failed, self.ends.len());
                return Err("a session failed".into());
            }
            if wanted > 0
                && self.ended == wanted
                && told == wanted
                && !mem::replace(&mut over, true)
            {
                println!("ended well");
            }
            let timeout = match self.ready.is_empty() {
                true => (self.deadlines.first()).and_then(|(at, _)| self.clock.until(*at)),
                false => Some(std::time::Duration::ZERO),
            };
            self.poll.poll(&mut events, timeout)?;
            for event in &events {
                let Token(index) = event.token();
                if let Some(Some(end)) = self.ends.get_mut(index) {
                    end.readable |= event.is_readable() || event.is_read_closed();
                    end.writable |= event.is_writable();
                    self.ready.push(index);
                }
            }
            let now = self.clock.now();
            while let Some(&(at, index)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
                self.deadlines.remove(&(at, index));
                if let Some(Some(end)) = self.ends.get_mut(index) {
                    end.queued = None;
                    self.ready.push(index);
                }
            }
            for index in mem::take(&mut self.ready) {
                self.turn(index);
            }
        }
    }

    /// One more session. What it borrows is leaked: it lives as long as the process.
    fn dial(&mut self) -> Result<(), Failure> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let key = NodeKey::new(&secret).map_err(|_| "an unlikely key")?;
        let key: &'static NodeKey = Box::leak(Box::new(key));
        let mut random = [0; Entropy::LENGTH];
        getrandom::fill(&mut random)?;
        let local = Local {
            id: *key.id(),
            client_name: "swarm",
            version: 5,
            listen_port: 0,
            protocols: self.protocols,
        };
        let storage = Storage {
            inboxes: Vec::leak(vec![0; INBOX]),
            ring: Vec::leak(vec![0; RING]),
            table: &mut [],
        };
        let now = self.clock.now();
        let entropy = Entropy::new(&random);
        let session = Session::dial(self.server, key, local, self.config, storage, entropy, now)?;
        // Connected at once: it is the loopback, and the node listens.
        let stream = std::net::TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(self.ends.len());
        self.poll
            .registry()
            .register(&mut socket, token, interest)?;
        self.ready.push(self.ends.len());
        self.ends.push(Some(End {
            session,
            socket,
            readable: true,
            writable: true,
            unread: Vec::new(),
            queued: None,
            active: false,
        }));
        Ok(())
    }

    fn turn(&mut self, index: usize) {
        let Some(end) = self.ends.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let closed = end.turn(&self.clock, &mut self.buffer, &mut self.active);
        if let Some(reason) = closed {
            let quit = DisconnectReason::CLIENT_QUITTING;
            if reason != CloseReason::RemoteRequested(Some(quit)) {
                eprintln!("scale: a remote end closed: {reason}");
                self.failed += 1;
            }
            self.ended += 1;
            if let Some(at) = end.queued {
                self.deadlines.remove(&(at, index));
            }
            if let Some(end) = self.ends.get_mut(index) {
                *end = None;
            }
            return;
        }
        // Its control messages are sealed, and it took what there was: what is left is time.
        if let PollAt::At(at) = end.session.poll_at()
            && end.queued.is_none_or(|queued| at < queued)
        {
            if let Some(queued) = end.queued.replace(at) {
                self.deadlines.remove(&(queued, index));
            }
            self.deadlines.insert((at, index));
        }
    }
}

impl End {
    /// Does all that can be done now; why it closed, if it did.
    fn turn(
        &mut self,
        clock: &Clock,
        buffer: &mut [u8],
        active: &mut usize,
    ) -> Option<CloseReason> {
        loop {
            let now = clock.now();
            while let Some(event) = self.session.poll(now) {
                match event {
                    Event::Authenticated(_) => self.session.admit(),
                    Event::Active => {
                        *active += usize::from(!mem::replace(&mut self.active, true));
                    }
                    Event::HalfClose => drop(self.socket.shutdown(std::net::Shutdown::Write)),
                    Event::Closed(reason) => return Some(reason),
                }
            }
            self.echo(clock);
            self.write(clock);
            let took = self.read(clock, buffer);
            if !took && self.session.poll_at() != PollAt::Now {
                break;
            }
        }
        None
    }

    fn echo(&mut self, clock: &Clock) {
        while let Some(message) = self.session.peek(0) {
            // Larger than the limit never comes: the node sends what fits.
            let payload = message.payload.unwrap_or_default().to_vec();
            let now = clock.now();
            let written = self.session.try_write(now, 0, LocalCode(1), &[&payload]);
            if written.is_err() {
                // When the wire took some of what waits.
                return;
            }
            self.session.pop(0);
        }
    }

    fn write(&mut self, clock: &Clock) {
        while self.writable && !self.session.output().is_empty() {
            match self.socket.write(self.session.output()) {
                Ok(n) => self.session.consume_output(clock.now(), n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => {
                    self.writable = false;
                    self.session.handle_end(clock.now(), TransportError::Io);
                }
            }
        }
    }

    /// Reads and passes bytes; whether any were consumed.
    fn read(&mut self, clock: &Clock, buffer: &mut [u8]) -> bool {
        if !self.session.wants_input() {
            return false;
        }
        let now = clock.now();
        if !self.unread.is_empty() {
            let n = self.session.handle_input(now, &mut self.unread);
            self.unread.drain(..n);
            return n > 0;
        }
        if !self.readable {
            return false;
        }
        match self.socket.read(buffer) {
            Ok(0) => {
                self.readable = false;
                let error = TransportError::EndOfStream;
                self.session.handle_end(now, error);
                true
            }
            Ok(n) => {
                let bytes = buffer.get_mut(..n).unwrap_or_default();
                let taken = self.session.handle_input(now, bytes);
                self.unread.extend_from_slice(&bytes[taken..]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                false
            }
            Err(_) => {
                self.readable = false;
                self.session.handle_end(now, TransportError::Io);
                true
            }
        }
    }
}
