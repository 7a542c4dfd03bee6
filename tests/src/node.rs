//! A session with scripted writers and readers, driven exactly as its documentation says and not one call more.

mod machine;

pub use machine::Machine;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::NodeKey;
use devp2p_core::session::{Event, Session};
use devp2p_core::time::{Duration, Instant, PollAt};

use crate::endpoint::{Ending, Endpoint};
use crate::fixture;
use crate::wake::Counter;

/// More protocols are never registered in these tests.
pub const SLOTS: usize = 4;

/// What to do with a remote whose identity is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Let it in.
    Admit,
    /// Turn it away in place of Hello.
    Reject(DisconnectReason),
    /// Let it in, and turn it away once Hello is done.
    RejectAfterHello(DisconnectReason),
    /// Never decide.
    Undecided,
}

/// When a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Whenever it is woken, everything.
    Eager,
    /// Never.
    Stalled,
    /// From this instant on, everything.
    From(Instant),
    /// One message at a time, with this pause after each.
    Every(Duration),
}

/// How a node is made.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Chooses key and entropy.
    pub seed: u64,
    /// The protocols registered.
    pub protocols: Vec<Protocol>,
    /// Deadlines.
    pub config: Config,
    /// Base protocol version.
    pub version: u8,
    /// Bytes of transmit ring.
    pub ring: usize,
    /// Entries of Snappy's table; 0 sends the literal form.
    pub table: usize,
    /// What it does with the remote.
    pub admission: Admission,
    /// When the session is made.
    pub start: Instant,
}

impl Spec {
    /// A node with these protocols, everything else at its default.
    pub fn new(seed: u64, protocols: &[Protocol]) -> Self {
        Self {
            seed,
            protocols: protocols.to_vec(),
            config: Config::new(),
            version: 5,
            ring: 1024,
            table: 512,
            admission: Admission::Admit,
            start: Instant::ZERO,
        }
    }

    /// Its identity.
    pub fn id(&self) -> NodeId {
        *fixture::key(self.seed).id()
    }

    /// Bytes that its inboxes hold together.
    fn inboxes(&self) -> usize {
        self.protocols.iter().map(|protocol| protocol.inbox).sum()
    }

    fn leak(&self) -> (&'static NodeKey, Local<'static>) {
        let key: &'static NodeKey = Box::leak(Box::new(fixture::key(self.seed)));
        let protocols: &'static [Protocol] = leak(self.protocols.clone());
        (key, fixture::local(key, self.version, protocols))
    }
}

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// Its code.
    pub code: u32,
    /// Its length as stated.
    pub length: u32,
    /// Its payload; `None` if it was oversize.
    pub payload: Option<Vec<u8>>,
    /// When it arrived.
    pub at: Instant,
}

#[derive(Debug)]
struct Reader {
    reading: Reading,
    next: Option<Instant>,
    woken: bool,
    counter: Arc<Counter>,
    got: Vec<Got>,
    end: Option<CloseReason>,
}

/// Messages that one task writes, one after the other.
#[derive(Debug)]
struct Writer<W> {
    subprotocol: usize,
    queue: VecDeque<(LocalCode, Vec<Vec<u8>>)>,
    write: Option<W>,
    woken: bool,
    counter: Arc<Counter>,
    results: Vec<Result<(), WriteError>>,
    /// It stops to poll, but does not go away.
    frozen: bool,
}

/// A session and its tasks.
pub struct Node<M: Machine = Session<'static, SLOTS>> {
    /// The session.
    pub session: M,
    admission: Admission,
    readers: Vec<Reader>,
    writers: Vec<Writer<M::Write>>,
    /// Every event, with its time.
    pub events: Vec<(Instant, Event)>,
    endings: VecDeque<Ending>,
    now: Instant,
    /// Wakes after which a writer could do nothing at all.
    pub idle_wakes: u32,
    /// Who completed a write, in order.
    pub served: Vec<usize>,
}

fn leak<T>(values: Vec<T>) -> &'static mut [T] {
    Box::leak(values.into_boxed_slice())
}

impl<M: Machine> Node<M> {
    /// The side that dials `remote`.
    ///
    /// # Panics
    /// If the storage of `spec` does not do.
    pub fn dial(spec: &Spec, remote: NodeId) -> Self {
        Self::new(spec, M::start(spec, Some(remote)))
    }

    /// The side that is dialled.
    ///
    /// # Panics
    /// If the storage of `spec` does not do.
    pub fn accept(spec: &Spec) -> Self {
        Self::new(spec, M::start(spec, None))
    }

    fn new(spec: &Spec, session: M) -> Self {
        let readers = spec.protocols.iter().map(|_| Reader {
            reading: Reading::Eager,
            next: None,
            woken: true,
            counter: Counter::new(),
            got: Vec::new(),
            end: None,
        });
        Self {
            session,
            admission: spec.admission,
            readers: readers.collect(),
            writers: Vec::new(),
            events: Vec::new(),
            endings: VecDeque::new(),
            now: spec.start,
            idle_wakes: 0,
            served: Vec::new(),
        }
    }

    // ---- Script ----

    /// The reader of `subprotocol` reads so from now on. Every reader is eager at first.
    pub fn read(&mut self, subprotocol: usize, reading: Reading) {
        let reader = &mut self.readers[subprotocol];
        reader.reading = reading;
        reader.woken = true;
        reader.next = match reading {
            Reading::From(at) => Some(at),
            _ => None,
        };
    }

    /// A task writes this message, after those that its subprotocol is still writing. Returns the task's number.
    pub fn write(&mut self, subprotocol: usize, code: u32, payload: &[u8]) -> usize {
        self.write_all(subprotocol, vec![(code, vec![payload.to_vec()])])
    }

    /// A task writes these messages, each of several slices, after those that its subprotocol is still writing. Returns the
    /// task's number.
    pub fn write_all(&mut self, subprotocol: usize, messages: Vec<(u32, Vec<Vec<u8>>)>) -> usize {
        let queue = messages
            .into_iter()
            .map(|(code, slices)| (LocalCode(code), slices));
        // A subprotocol has one place to wait in, so one task at a time.
        let busy =
            |writer: &Writer<_>| writer.subprotocol == subprotocol && !writer.queue.is_empty();
        if let Some(index) = self.writers.iter().position(busy) {
            self.writers[index].queue.extend(queue);
            return index;
        }
        self.writers.push(Writer {
            subprotocol,
            queue: queue.collect(),
            write: None,
            woken: true,
            counter: Counter::new(),
            results: Vec::new(),
            frozen: false,
        });
        self.writers.len() - 1
    }

    /// The task goes away, wherever its write stands.
    pub fn abandon(&mut self, writer: usize) {
        let writer = &mut self.writers[writer];
        if let Some(write) = writer.write.take() {
            self.session.abandon(self.now, &write);
        }
        writer.queue.clear();
    }

    /// The task polls no more, or again.
    pub fn freeze(&mut self, writer: usize, frozen: bool) {
        self.writers[writer].frozen = frozen;
        self.writers[writer].woken = true;
    }

    // ---- What happened ----

    /// The results of a writer's messages so far.
    pub fn results(&self, writer: usize) -> &[Result<(), WriteError>] {
        &self.writers[writer].results
    }

    /// How many messages are still to be written.
    pub fn unwritten(&self) -> usize {
        self.writers.iter().map(|writer| writer.queue.len()).sum()
    }

    /// How often a writer was woken.
    pub fn writer_wakes(&self, writer: usize) -> u32 {
        self.writers[writer].counter.total()
    }

    /// How often the reader of `subprotocol` was woken.
    pub fn reader_wakes(&self, subprotocol: usize) -> u32 {
        self.readers[subprotocol].counter.total()
    }

    /// What the reader of `subprotocol` got.
    pub fn got(&self, subprotocol: usize) -> &[Got] {
        &self.readers[subprotocol].got
    }

    /// The payloads that the reader of `subprotocol` got.
    pub fn payloads(&self, subprotocol: usize) -> Vec<&[u8]> {
        let got = self.got(subprotocol).iter();
        got.filter_map(|got| got.payload.as_deref()).collect()
    }

    /// Why the reader of `subprotocol` ended.
    pub fn read_end(&self, subprotocol: usize) -> Option<CloseReason> {
        self.readers[subprotocol].end
    }

    /// When it became active.
    pub fn active(&self) -> Option<Instant> {
        let mut events = self.events.iter();
        events.find_map(|(at, event)| (*event == Event::Active).then_some(*at))
    }

    /// When and why it closed.
    pub fn closed(&self) -> Option<(Instant, CloseReason)> {
        self.events.iter().find_map(|(at, event)| match event {
            Event::Closed(reason) => Some((*at, *reason)),
            _ => None,
        })
    }

    /// Why it closed.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.closed().map(|(_, reason)| reason)
    }

    /// The events without their times.
    pub fn event_kinds(&self) -> Vec<Event> {
        self.events.iter().map(|(_, event)| *event).collect()
    }

    // ---- Driving ----

    fn poll_session(&mut self, now: Instant, trace: &mut dyn FnMut(String)) -> bool {
        let mut polls = 0;
        while self.session.poll_at().is_due(now) {
            polls += 1;
            if polls > 64 {
                panic!(
                    "livelock: poll_at is {:?} at {now:?} after {polls} polls, {:?}",
                    self.session.poll_at(),
                    self.session.peer().state()
                );
            }
            let Some(event) = self.session.poll(now) else {
                continue;
            };
            trace(format!("{event:?}"));
            self.events.push((now, event));
            match event {
                Event::Authenticated(_) => match self.admission {
                    Admission::Admit | Admission::RejectAfterHello(_) => self.session.admit(),
                    Admission::Reject(reason) => self.session.reject(now, reason),
                    Admission::Undecided => {}
                },
                Event::Active => {
                    if let Admission::RejectAfterHello(reason) = self.admission {
                        self.session.reject(now, reason);
                    }
                    self.wake_all();
                }
                Event::HalfClose => self.endings.push_back(Ending::HalfClose),
                Event::Closed(_) => self.endings.push_back(Ending::Drop),
            }
        }
        polls > 0
    }

    /// Tasks begin when the session is active.
    fn wake_all(&mut self) {
        self.readers
            .iter_mut()
            .for_each(|reader| reader.woken = true);
        self.writers
            .iter_mut()
            .for_each(|writer| writer.woken = true);
    }

    fn run_wakes(&mut self) -> bool {
        let mut any = false;
        for _ in 0..1000 {
            match self.session.next_wake() {
                Some(waker) => {
                    waker.wake();
                    any = true;
                }
                None => return any,
            }
        }
        panic!("livelock: next_wake never ends");
    }

    fn run_reader(&mut self, now: Instant, subprotocol: usize) -> bool {
        let reader = &mut self.readers[subprotocol];
        reader.woken |= reader.counter.take();
        match reader.reading {
            Reading::Stalled => return false,
            Reading::From(at) if now < at => return false,
            Reading::Every(_) if reader.next.is_some_and(|next| now < next) => return false,
            _ => {}
        }
        if !reader.woken && reader.next.is_none_or(|next| next > now) || reader.end.is_some() {
            return false;
        }
        (reader.woken, reader.next) = (false, None);
        let waker = reader.counter.waker();
        let mut any = false;
        loop {
            let mut cx = Context::from_waker(&waker);
            match self.session.poll_readable(subprotocol, Some(&mut cx)) {
                Poll::Pending => return any,
                Poll::Ready(Err(reason)) => {
                    reader.end = Some(reason);
                    return true;
                }
                Poll::Ready(Ok(())) => {}
            }
            let message = self.session.peek(subprotocol);
            let message = message.expect("poll_readable said that there is a message");
            reader.got.push(Got {
                code: message.meta.code.0,
                length: message.meta.length,
                payload: message.payload.map(<[u8]>::to_vec),
                at: message.meta.at,
            });
            self.session.pop(subprotocol);
            any = true;
            if let Reading::Every(pause) = reader.reading {
                reader.next = Some(now.saturating_add(pause));
                return true;
            }
        }
    }

    fn run_writer(&mut self, now: Instant, index: usize) -> bool {
        let writer = &mut self.writers[index];
        let woken = writer.counter.take();
        if !(writer.woken || woken) || writer.frozen {
            writer.woken |= woken;
            return false;
        }
        writer.woken = false;
        let waker = writer.counter.waker();
        let mut any = false;
        while let Some((code, slices)) = writer.queue.front() {
            let slices: Vec<&[u8]> = slices.iter().map(Vec::as_slice).collect();
            let mut write = writer
                .write
                .take()
                .unwrap_or_else(|| M::write(writer.subprotocol, *code));
            let mut cx = Context::from_waker(&waker);
            let before = self.session.output_length();
            match self
                .session
                .poll_write(now, &mut write, &slices, Some(&mut cx))
            {
                Poll::Pending => {
                    writer.write = Some(write);
                    let moved = self.session.output_length() != before;
                    self.idle_wakes += u32::from(woken && !any && !moved);
                    return any || moved;
                }
                Poll::Ready(result) => {
                    self.served.push(index);
                    writer.results.push(result);
                    writer.queue.pop_front();
                    any = true;
                }
            }
        }
        any
    }
}

impl<M: Machine> Endpoint for Node<M> {
    fn advance(&mut self, now: Instant, trace: &mut dyn FnMut(String)) -> bool {
        self.now = now;
        let mut any = self.poll_session(now, trace);
        any |= self.run_wakes();
        if self.active().is_some() || self.closed().is_some() {
            for subprotocol in 0..self.readers.len() {
                any |= self.run_reader(now, subprotocol);
            }
            for writer in 0..self.writers.len() {
                any |= self.run_writer(now, writer);
                any |= self.run_wakes();
            }
        }
        any
    }

    fn output(&self) -> &[u8] {
        self.session.output()
    }

    fn consume_output(&mut self, now: Instant, n: usize) {
        self.session.consume_output(now, n);
    }

    fn wants_input(&mut self) -> bool {
        self.session.wants_input()
    }

    fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        self.session.handle_input(now, bytes)
    }

    fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.session.handle_end(now, error);
    }

    fn take_ending(&mut self) -> Option<Ending> {
        self.endings.pop_front()
    }

    fn poll_at(&self) -> PollAt {
        let tasks = self.readers.iter().filter_map(|reader| reader.next);
        let tasks = tasks.filter(|next| *next > self.now).min();
        self.session.poll_at().min(tasks.into())
    }
}
