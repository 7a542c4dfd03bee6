//! A session over memory that grows: the core's machine, the std adapter's output, and inboxes without a fixed place.
//!
//! It has the methods of the core's `Session`, so that the same scenarios are played with both.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use devp2p_core::arena::{InboxCounters, Message, RECORD_OVERHEAD};
use devp2p_core::capability::{Overflow, Protocol};
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::inbox::{Admit, FIRST_ROOM, Inboxes, Meta, Window};
use devp2p_core::output::Output as _;
use devp2p_core::peer::Peer;
use devp2p_core::rlp;
use devp2p_core::rlpx::message::Compression;
use devp2p_core::rlpx::transmit::HEADER_LENGTH;
use devp2p_core::rlpx::{Handshake, MAX_SENT, NodeKey};
use devp2p_core::session::{
    Buffers, Connection, Event, MIN_INBOX_MEMORY, PendingWrite, Progress, Written,
};
use devp2p_core::time::{Instant, PollAt};
use devp2p_core::waiter::{Waiter, poll_take};
use devp2p_std::testing::{Lent, Limited, Output};

use crate::node::SLOTS;

/// Bytes that one call seals of a frame: small, so that frames are sealed in pieces.
const BUDGET: usize = 100;

/// A message that is arriving.
#[derive(Debug)]
pub struct Slot {
    subprotocol: usize,
    length: usize,
    bytes: Vec<u8>,
    filled: usize,
    oversize: bool,
}

#[derive(Debug)]
struct Inbox {
    protocol: Protocol,
    waiting: VecDeque<(Meta, Option<Vec<u8>>)>,
    /// Bytes that wait, counted as the arena counts them.
    size: usize,
    counters: InboxCounters,
    reader: Waiter,
    arrived: bool,
}

/// Inboxes that admit what the arena admits, in buffers that grow as bytes arrive.
#[derive(Debug)]
struct Growing(Vec<Inbox>);

impl Inboxes for Growing {
    type Slot = Slot;

    fn open(&mut self, subprotocol: usize, length: u32) -> Admit<Slot> {
        let Some(inbox) = self.0.get(subprotocol) else {
            return Admit::Drop;
        };
        let most = inbox.protocol.inbox;
        let whole = RECORD_OVERHEAD + length as usize;
        let oversize = length > inbox.protocol.message_limit || whole > most;
        let room = if oversize { RECORD_OVERHEAD } else { whole };
        if inbox.size + room > most {
            return match inbox.protocol.overflow {
                _ if room > most => Admit::Drop,
                Overflow::Drop => Admit::Drop,
                Overflow::Disconnect => Admit::Refuse,
                _ => Admit::Hold,
            };
        }
        let slot = Slot {
            subprotocol,
            length: room - RECORD_OVERHEAD,
            bytes: vec![0; (room - RECORD_OVERHEAD).min(FIRST_ROOM)],
            filled: 0,
            oversize,
        };
        match oversize {
            true => Admit::Oversize(slot),
            false => Admit::Open(slot),
        }
    }

    fn reserve(&mut self, slot: &mut Slot, room: usize) -> bool {
        let room = slot.length.min(slot.filled + room);
        if room > slot.bytes.len() {
            slot.bytes.resize(room, 0);
        }
        true
    }

    fn with<R>(&mut self, slot: &mut Slot, f: impl FnOnce(&mut Window<'_>) -> R) -> R {
        let mut window = Window::new(&mut slot.bytes, slot.filled);
        let result = f(&mut window);
        slot.filled = window.len();
        result
    }

    fn commit(&mut self, slot: Slot, meta: Meta) {
        let inbox = &mut self.0[slot.subprotocol];
        inbox.size += RECORD_OVERHEAD + slot.length;
        inbox.counters.messages += 1;
        inbox.counters.oversize += u32::from(slot.oversize);
        inbox.counters.bytes += if slot.oversize { 0 } else { meta.length.into() };
        let mut bytes = slot.bytes;
        bytes.truncate(slot.filled);
        let payload = (!slot.oversize).then_some(bytes);
        inbox.waiting.push_back((meta, payload));
        inbox.arrived = true;
    }

    fn abort(&mut self, _slot: Slot) {}

    fn dropped(&mut self, subprotocol: usize, _meta: Meta) {
        self.0[subprotocol].counters.dropped += 1;
    }
}

/// The memory that the machine is lent.
struct Memory<'a> {
    inboxes: &'a mut Growing,
    output: Lent<'a>,
    opening: &'a mut [Vec<u8>; 2],
}

impl<'a> Buffers for Memory<'a> {
    type Slot = Slot;
    type Inboxes = Growing;
    type Output = Lent<'a>;

    const KEEPS_HELLO: bool = true;

    fn inboxes(&mut self) -> &mut Growing {
        self.inboxes
    }

    fn output(&mut self) -> &mut Lent<'a> {
        &mut self.output
    }

    fn handshake(&mut self) -> (&mut [u8], &mut [u8]) {
        let [sent, gathered] = &mut *self.opening;
        (sent, gathered)
    }

    fn send_packet(&mut self, length: usize) {
        assert!(self.output.push(&self.opening[0][..length]));
    }
}

/// The session.
#[derive(Debug)]
pub struct Growable {
    key: &'static NodeKey,
    local: Local<'static>,
    machine: Connection<Slot, SLOTS>,
    inboxes: Growing,
    output: Output,
    /// An output buffer that is not in use.
    spare: Option<Vec<u8>>,
    limit: usize,
    opening: [Vec<u8>; 2],
    table: Vec<u16>,
    /// Whether the last message was compressed to where it was sealed.
    in_place: bool,
}

impl Growable {
    /// A session that begins with `handshake`. `limit` bytes may wait for the wire; `table` is the number of entries that
    /// Snappy has.
    pub fn new(
        handshake: Handshake,
        key: &'static NodeKey,
        local: Local<'static>,
        config: Config,
        (limit, table): (usize, usize),
        now: Instant,
    ) -> Self {
        let inboxes = local.protocols.iter().map(|protocol| Inbox {
            protocol: *protocol,
            waiting: VecDeque::new(),
            size: 0,
            counters: InboxCounters::default(),
            reader: Waiter::new(),
            arrived: false,
        });
        Self {
            key,
            local,
            machine: Connection::new(handshake, &local, config, now),
            inboxes: Growing(inboxes.collect()),
            output: Output::default(),
            spare: None,
            limit,
            opening: [vec![0x5a; MAX_SENT], vec![0xa5; MIN_INBOX_MEMORY]],
            table: vec![0xdead; table],
            in_place: false,
        }
    }

    fn lend(&mut self) -> (&mut Connection<Slot, SLOTS>, Memory<'_>, &mut [u16]) {
        let memory = Memory {
            inboxes: &mut self.inboxes,
            output: Lent {
                output: &mut self.output,
                spare: &mut self.spare,
                limit: self.limit,
                expected: 0,
            },
            opening: &mut self.opening,
        };
        (&mut self.machine, memory, &mut self.table)
    }

    /// Our Hello waits until [`offer`](Self::offer).
    pub fn defer_hello(&mut self) {
        self.machine.defer_hello(true);
    }

    /// Our Hello goes out, with these protocols.
    pub fn offer(&mut self, protocols: &'static [Protocol]) {
        self.local.protocols = protocols;
        self.machine.defer_hello(false);
    }

    /// As `Session`'s.
    pub fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        let local = self.local;
        let (machine, mut memory, _) = self.lend();
        let n = machine.handle_input(now, &local, &mut memory, bytes);
        if machine.kept_hello(&mut memory).is_some() {
            assert!(!machine.wants_input(&mut memory), "Hello is judged first");
            machine.handle_hello(now, &local, &mut memory);
        }
        self.release();
        n
    }

    /// The opening's memory goes when it is not needed, and so does that of an empty output.
    fn release(&mut self) {
        if !self.machine.is_opening() {
            self.opening = Default::default();
        }
        self.output.release(&mut self.spare);
    }

    /// As `Session`'s.
    pub fn wants_input(&mut self) -> bool {
        let (machine, mut memory, _) = self.lend();
        machine.wants_input(&mut memory)
    }

    /// As `Session`'s.
    pub fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.machine.handle_end(now, error);
    }

    /// As `Session`'s.
    pub fn output(&self) -> &[u8] {
        self.output.readable()
    }

    /// As `Session`'s.
    pub fn output_length(&self) -> usize {
        self.output.len()
    }

    /// As `Session`'s.
    pub fn consume_output(&mut self, now: Instant, n: usize) {
        self.output.consume(n);
        self.machine.on_taken(now, n);
        self.release();
    }

    /// As `Session`'s.
    pub fn peek(&self, subprotocol: usize) -> Option<Message<'_>> {
        let (meta, payload) = self.inboxes.0.get(subprotocol)?.waiting.front()?;
        Some(Message {
            meta: *meta,
            payload: payload.as_deref(),
        })
    }

    /// As `Session`'s.
    pub fn pop(&mut self, subprotocol: usize) {
        let inbox = &mut self.inboxes.0[subprotocol];
        if let Some((_, payload)) = inbox.waiting.pop_front() {
            inbox.size -= RECORD_OVERHEAD + payload.map_or(0, |payload| payload.len());
        }
        self.machine.on_read();
    }

    /// As `Session`'s.
    pub fn poll_readable(
        &mut self,
        subprotocol: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>> {
        let closed = self.machine.peer().close_reason();
        let inbox = &mut self.inboxes.0[subprotocol];
        let waits = (!inbox.waiting.is_empty()).then_some(());
        poll_take(waits, closed, &mut inbox.reader, cx)
    }

    /// As `Session`'s.
    pub fn counters(&self, subprotocol: usize) -> InboxCounters {
        self.inboxes.0[subprotocol].counters
    }

    /// As `Session`'s, in pieces of some hundred bytes.
    pub fn poll_write(
        &mut self,
        now: Instant,
        write: &mut PendingWrite,
        payload: &[&[u8]],
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), WriteError>> {
        let (machine, mut memory, table) = self.lend();
        let mut compression = compression(machine, table);
        loop {
            let written = machine.write(
                now,
                memory.output(),
                write,
                payload,
                compression.reborrow(),
                BUDGET,
                cx.as_deref_mut(),
            );
            match written {
                Ok(Progress::Sealed(written)) => {
                    assert_lengths(written, payload);
                    return Poll::Ready(Ok(()));
                }
                Ok(Progress::Budget) => assert!(write.has_begun(), "a budget is for a frame"),
                Ok(Progress::Waits) => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// As `Session`'s, with a payload that was compressed before.
    pub fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
    ) -> Result<(), WriteError> {
        let local = self.local;
        let mut in_place = self.in_place;
        let (machine, mut memory, _) = self.lend();
        let plain = payload.concat();
        let wire = machine.check_write(now, &local, &mut memory, subprotocol, code, plain.len())?;
        let output = memory.output();
        let length = plain.len() as u32;
        let written = if machine.compresses() {
            let compressed = snap::raw::Encoder::new().compress_vec(&plain);
            let compressed = compressed.expect("a payload of a frame");
            // One after the other, in both ways.
            in_place = !in_place;
            let (payload, form) = if in_place {
                let wire_length = compressed.len() as u32;
                let at = HEADER_LENGTH + rlp::encode_code(wire.0).1;
                let room = output.compose(at, compressed.len());
                room.copy_from_slice(&compressed);
                let form = Compression::InPlace {
                    length,
                    wire_length,
                };
                (&[][..], form)
            } else {
                (&[&compressed[..]][..], Compression::Done { length })
            };
            let written = machine.try_write(now, output, subprotocol, code, payload, form);
            self.in_place = in_place;
            let written = written?;
            assert_eq!(written.wire_length as usize, compressed.len());
            written
        } else {
            let payload = &[&plain[..]];
            machine.try_write(now, output, subprotocol, code, payload, Compression::None)?
        };
        assert_lengths(written, payload);
        Ok(())
    }

    /// As `Session`'s.
    pub fn abandon(&mut self, now: Instant, write: &PendingWrite) {
        self.machine.abandon(now, write);
    }

    /// As `Session`'s.
    pub fn poll_flush(
        &mut self,
        subprotocol: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>> {
        self.machine.poll_flush(subprotocol, cx)
    }

    /// As `Session`'s.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        let (key, local) = (self.key, self.local);
        let (machine, mut memory, _) = self.lend();
        let event = machine.poll(now, key, &local, &mut memory);
        self.release();
        event
    }

    /// As `Session`'s.
    pub fn poll_at(&self) -> PollAt {
        self.machine.poll_at(&self.local, &self.limited())
    }

    fn limited(&self) -> Limited<'_> {
        Limited {
            output: &self.output,
            limit: self.limit,
        }
    }

    /// As `Session`'s.
    pub fn next_wake(&mut self) -> Option<Waker> {
        let limited = Limited {
            output: &self.output,
            limit: self.limit,
        };
        let wake = self.machine.next_wake(&limited);
        let closing = self.machine.peer().is_closing();
        let mut inboxes = self.inboxes.0.iter_mut();
        wake.or_else(|| {
            inboxes.find_map(|inbox| {
                let wakes = std::mem::take(&mut inbox.arrived) || closing;
                wakes.then(|| inbox.reader.take()).flatten()
            })
        })
    }

    /// As `Session`'s.
    pub fn admit(&mut self) {
        self.machine.admit();
    }

    /// As `Session`'s.
    pub fn reject(&mut self, now: Instant, reason: DisconnectReason) {
        self.machine.reject(now, reason);
    }

    /// As `Session`'s.
    pub fn close(&mut self, now: Instant, cause: CloseReason) {
        self.machine.close(now, cause);
    }

    /// The transport takes no more bytes.
    pub fn cut_output(&mut self) {
        self.machine.cut_output();
        self.output.clear();
    }

    /// Bytes of memory that opening and output have.
    pub fn memory(&self) -> [usize; 2] {
        let opening = self.opening.iter().map(Vec::capacity).sum();
        [opening, self.output.memory()]
    }

    /// As `Session`'s.
    pub fn request_ping(&mut self) {
        self.machine.request_ping();
    }

    /// As `Session`'s.
    pub fn peer(&self) -> &Peer<SLOTS> {
        self.machine.peer()
    }
}

fn assert_lengths(written: Written, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|slice| slice.len()).sum();
    assert_eq!(written.length as usize, length);
}

fn compression<'t>(machine: &Connection<Slot, SLOTS>, table: &'t mut [u16]) -> Compression<'t> {
    match machine.compresses() {
        true if table.is_empty() => Compression::Literal,
        true => Compression::Snappy(table),
        false => Compression::None,
    }
}
