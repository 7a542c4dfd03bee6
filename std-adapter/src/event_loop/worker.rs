//! One loop: the thread that drives its share of the sessions.

use std::collections::{HashMap, VecDeque};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{io, mem};

use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::Entropy;
use devp2p_core::time::Instant;
use mio::{Events, Interest, Poll, Token};
use zeroize::Zeroizing;

use super::Tools;
use super::deadlines::Deadlines;
use super::entry::{Entry, Turn};
use super::lane::{Command, Lane};
use super::loops::Loops;
use super::slots::{Slot, Slots};
use crate::connection::Connection;
use crate::node::DialError;
use crate::node::shared::Shared;

/// The waker's.
const WOKEN: Token = Token(usize::MAX);
/// Events taken from the poller at a time.
const EVENTS: usize = 1024;

pub(super) struct Worker {
    poll: Poll,
    shared: Arc<Shared<Loops>>,
    lane: Arc<Lane>,
    tools: Tools,
    slots: Slots,
    deadlines: Deadlines,
    /// The connections that open, by their numbers.
    opening: HashMap<u64, usize>,
    /// Whose turn comes, each once.
    queue: VecDeque<usize>,
    commands: Vec<Command>,
    quits: bool,
}

impl Worker {
    pub(super) fn poller() -> io::Result<(Poll, Arc<Lane>)> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WOKEN)?;
        Ok((poll, Arc::new(Lane::new(waker))))
    }

    pub(super) fn new(poll: Poll, lane: Arc<Lane>, shared: Arc<Shared<Loops>>) -> Self {
        let host = Arc::clone(&shared.host);
        let output_limit = shared.service.settings.output_limit;
        Self {
            poll,
            tools: Tools::new(host, Some(Arc::clone(&lane)), output_limit),
            shared,
            lane,
            slots: Slots::default(),
            deadlines: Deadlines::default(),
            opening: HashMap::new(),
            queue: VecDeque::new(),
            commands: Vec::new(),
            quits: false,
        }
    }

    fn now(&self) -> Instant {
        self.shared.host.clock.now()
    }

    /// Drives sessions until the node shuts down and they have ended.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let timeout = match self.queue.is_empty() {
                true => (self.deadlines.next()).and_then(|at| self.shared.host.clock.until(at)),
                false => Some(std::time::Duration::ZERO),
            };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("an event loop ends: {error}");
                return;
            }
            for event in &events {
                let Token(index) = event.token();
                if let Some(Slot::Open(entry)) = self.slots.get_mut(index) {
                    let hung_up = event.is_read_closed() || event.is_error();
                    entry.on_ready(event.is_readable(), hung_up, event.is_writable());
                }
                self.enqueue(index);
            }
            self.take_commands();
            self.take_deadlines();
            // One turn each: who wants another one waits for the others.
            for _ in 0..self.queue.len() {
                if let Some(index) = self.queue.pop_front() {
                    self.turn(index);
                }
            }
            if self.shared.is_closing() && self.quit() {
                return;
            }
        }
    }

    /// Its turn comes.
    fn enqueue(&mut self, index: usize) {
        let queued = match self.slots.get_mut(index) {
            Some(Slot::Open(entry)) => &mut entry.queued,
            _ => return,
        };
        if !mem::replace(queued, true) {
            self.queue.push_back(index);
        }
    }

    fn take_commands(&mut self) {
        let mut commands = mem::take(&mut self.commands);
        self.lane.take(&mut commands);
        for command in commands.drain(..) {
            match command {
                Command::Open(number, stream, dialled) => self.open(number, stream, dialled),
                Command::Abort(number) => {
                    let index = self.opening.remove(&number);
                    if let Some(index) = index
                        && let Some(Slot::Open(entry)) = self.slots.get_mut(index)
                    {
                        entry.quit(self.shared.host.clock.now());
                        self.enqueue(index);
                    }
                }
                Command::Look(ticket) => {
                    if let Some(entry) = self.slots.entry(ticket) {
                        entry.look(&mut self.tools);
                        self.enqueue(ticket.index);
                    }
                }
                Command::Resume(ticket) => {
                    if self.slots.entry(ticket).is_some() {
                        self.enqueue(ticket.index);
                    }
                }
                Command::Evict(ticket) => {
                    let now = self.now();
                    if let Some(entry) = self.slots.entry(ticket) {
                        entry.evict(now);
                        self.enqueue(ticket.index);
                    }
                }
            }
        }
        self.commands = commands;
    }

    fn take_deadlines(&mut self) {
        let now = self.now();
        while let Some(at) = self.deadlines.next()
            && let Some(index) = self.deadlines.take_due(now)
        {
            match self.slots.get_mut(index) {
                Some(Slot::Open(entry)) => entry.place.taken(),
                _ => continue,
            }
            self.lane
                .lateness
                .record(now.saturating_since(at).as_micros());
            self.enqueue(index);
        }
    }

    // ---- Connections begin ----

    /// The handshake begins over a connection that was made.
    fn open(&mut self, number: u64, stream: TcpStream, dialled: Option<NodeId>) {
        let ticket = self.slots.reserve();
        let mut socket = mio::net::TcpStream::from_std(stream);
        let registry = self.poll.registry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut socket, Token(ticket.index), interest) {
            log::error!("a connection could not be taken into an event loop: {error}");
            let error = DialError::System(Arc::new(error));
            self.shared.close(number, Err(error), None);
            return self.leave(ticket.index);
        }
        let now = self.now();
        let mut bytes = Zeroizing::new([0; Entropy::LENGTH]);
        let random = getrandom::fill(&mut *bytes);
        let entropy = Entropy::new(&bytes);
        let mut connection = Connection::new(&self.shared.host, dialled, entropy, now);
        if let Err(error) = random {
            log::error!("no randomness from the system: {error}");
            connection.handle_end(now, TransportError::Io);
        }
        if self.shared.is_closing() {
            let reason = devp2p_core::disconnect::DisconnectReason::CLIENT_QUITTING;
            connection.close(now, CloseReason::Local(reason));
        }
        if let Err(error) = socket.set_nodelay(true) {
            log::debug!("TCP_NODELAY was refused: {error}");
        }
        let entry = Entry::new(connection, socket, (number, ticket), dialled);
        self.slots.put(ticket.index, Slot::Open(Box::new(entry)));
        self.opening.insert(number, ticket.index);
        self.enqueue(ticket.index);
    }

    /// Its index is free again.
    fn leave(&mut self, index: usize) {
        self.slots.release(index);
        self.lane.load.fetch_sub(1, Ordering::Relaxed);
    }

    // ---- Turns ----

    fn turn(&mut self, index: usize) {
        match self.slots.take(index) {
            Slot::Free | Slot::Busy => {}
            Slot::Open(mut entry) => {
                entry.queued = false;
                let turn = entry.turn(&mut self.tools, &self.shared);
                if !self.opening.is_empty() && !entry.opens() {
                    self.opening.remove(&entry.number);
                }
                if turn == Turn::Over {
                    self.deadlines.remove(index, &mut entry.place);
                    // A closed descriptor leaves the poller by itself, but not on every system.
                    let _ = self.poll.registry().deregister(entry.socket());
                    drop(entry);
                    return self.leave(index);
                }
                if let Turn::Until(at) = turn {
                    self.deadlines.set(index, &mut entry.place, at);
                }
                let again = turn == Turn::Again || !entry.wait_for_memory(&self.lane);
                self.slots.put(index, Slot::Open(entry));
                if again {
                    self.enqueue(index);
                }
            }
        }
    }

    // ---- The end ----

    /// Ends every session, once; whether all have ended.
    fn quit(&mut self) -> bool {
        if !mem::replace(&mut self.quits, true) {
            let now = self.now();
            for index in self.slots.indices() {
                if let Some(Slot::Open(entry)) = self.slots.get_mut(index) {
                    entry.quit(now);
                }
                self.enqueue(index);
            }
        }
        // What came meanwhile finds the node closing.
        self.take_commands();
        self.slots.is_empty() && self.queue.is_empty()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.lane.close();
        if std::thread::panicking() {
            log::error!("an event loop panicked: its sessions are lost");
        }
        // None, unless the loop panics or its poller fails: nobody must wait for their ends for ever.
        for index in self.slots.indices() {
            if let Some(Slot::Open(entry)) = self.slots.get_mut(index) {
                entry.lose(&self.shared);
            }
        }
    }
}
