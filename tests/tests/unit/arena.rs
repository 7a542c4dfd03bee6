//! The arena against a queue per subprotocol: no message lost, doubled or altered, whatever the order of things.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use devp2p_core::arena::{Arena, ArenaTooSmall, InboxCounters, Message, RECORD_OVERHEAD, Slot};
use devp2p_core::capability::{Overflow, Protocol};
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::inbox::{Admit, Inboxes, Meta};
use devp2p_core::time::Instant;
use devp2p_tests::wake::Counter;
use proptest::prelude::*;

const MAX: u32 = devp2p_core::MAX_MESSAGE_LENGTH;

fn protocol(inbox: usize, message_limit: u32, overflow: Overflow) -> Protocol {
    Protocol {
        message_limit,
        overflow,
        ..Protocol::new("x", 1, 1, inbox).unwrap()
    }
}

fn held(inbox: usize) -> Protocol {
    protocol(inbox, MAX, Overflow::HoldBack)
}

/// A message that waits: what is known of it, its payload unless it was oversize, and the bytes of the inbox it stands in.
#[derive(Debug, Clone)]
struct Waits {
    meta: Meta,
    payload: Option<Vec<u8>>,
    place: (usize, usize),
}

/// One inbox as the specification has it: a queue of records, each contiguous, in a share of fixed size.
#[derive(Debug, Default)]
struct Queue {
    waits: VecDeque<Waits>,
    counters: InboxCounters,
}

impl Queue {
    /// Where `room` bytes can stand, after the last record or else at the beginning, without touching one that waits.
    fn place(&self, size: usize, room: usize) -> Option<usize> {
        let free = |at: usize| {
            at + room <= size
                && self
                    .waits
                    .iter()
                    .all(|one| at + room <= one.place.0 || one.place.1 <= at)
        };
        let after = self.waits.back().map_or(0, |last| last.place.1);
        [after, 0].into_iter().find(|at| free(*at))
    }
}

/// The slot that is open, and what it must become.
struct Opened {
    slot: Slot,
    subprotocol: usize,
    waits: Waits,
}

struct Model<'a> {
    arena: Arena<'a, 3>,
    protocols: Vec<Protocol>,
    queues: Vec<Queue>,
    open: Option<Opened>,
    /// Makes every message different.
    serial: u64,
}

impl<'a> Model<'a> {
    fn new(bytes: &'a mut [u8], protocols: &[Protocol]) -> Self {
        Self {
            arena: Arena::new(bytes, protocols).unwrap(),
            protocols: protocols.to_vec(),
            queues: protocols.iter().map(|_| Queue::default()).collect(),
            open: None,
            serial: 0,
        }
    }

    fn open(&mut self, subprotocol: usize, length: u32) {
        if self.open.is_some() {
            return;
        }
        self.serial += 1;
        let protocol = &self.protocols[subprotocol];
        let queue = &mut self.queues[subprotocol];
        let whole = RECORD_OVERHEAD + length as usize;
        let oversize = length > protocol.message_limit || whole > protocol.inbox;
        let room = if oversize { RECORD_OVERHEAD } else { whole };
        let place = queue.place(protocol.inbox, room);
        let meta = Meta {
            code: LocalCode(self.serial as u32 ^ 0xa5a5_0000),
            length,
            wire_length: length ^ 0xffff_ffff,
            at: Instant::from_micros(self.serial.wrapping_mul(0x0123_4567_89ab_cdef)),
        };
        let slot = match (self.arena.open(subprotocol, length), place) {
            (Admit::Open(slot), Some(_)) if !oversize => slot,
            (Admit::Oversize(slot), Some(_)) if oversize => slot,
            (Admit::Drop, None)
                if protocol.overflow == Overflow::Drop || protocol.inbox < RECORD_OVERHEAD =>
            {
                self.arena.dropped(subprotocol, meta);
                queue.counters.dropped += 1;
                return;
            }
            (Admit::Hold, None) if protocol.overflow == Overflow::HoldBack => return,
            (Admit::Refuse, None) if protocol.overflow == Overflow::Disconnect => return,
            (answer, place) => panic!("{answer:?} where the place is {place:?}"),
        };
        let at = place.unwrap_or_default();
        let payload = (!oversize).then(|| {
            (0..length)
                .map(|i| (i as u8).wrapping_mul(31) ^ self.serial as u8)
                .collect()
        });
        self.open = Some(Opened {
            slot,
            subprotocol,
            waits: Waits {
                meta,
                payload,
                place: (at, at + room),
            },
        });
    }

    /// Writes up to `n` bytes of the open message, and looks at those before them.
    fn fill(&mut self, n: usize) {
        let Some(open) = &mut self.open else { return };
        let payload = open.waits.payload.as_deref().unwrap_or_default();
        self.arena.with(&mut open.slot, |window| {
            let filled = window.len();
            assert_eq!(window.filled(), &payload[..filled]);
            assert_eq!(
                window.room(),
                payload.len() - filled,
                "the whole length is reserved"
            );
            let end = payload.len().min(filled + n);
            assert_eq!(window.push(&payload[filled..end]), end - filled);
            assert_eq!(window.filled(), &payload[..end]);
            if window.room() == 0 {
                assert_eq!(window.push(b"more"), 0);
            }
        });
    }

    fn commit(&mut self) {
        self.fill(usize::MAX / 2);
        let Some(open) = self.open.take() else { return };
        let counters = &mut self.queues[open.subprotocol].counters;
        counters.messages += 1;
        match &open.waits.payload {
            Some(payload) => counters.bytes += payload.len() as u64,
            None => counters.oversize += 1,
        }
        self.arena.commit(open.slot, open.waits.meta);
        self.queues[open.subprotocol].waits.push_back(open.waits);
    }

    fn abort(&mut self) {
        if let Some(open) = self.open.take() {
            self.arena.abort(open.slot);
        }
    }

    fn pop(&mut self, subprotocol: usize) {
        self.arena.pop(subprotocol);
        self.queues[subprotocol].waits.pop_front();
    }

    /// A slot never outlives its session.
    fn clear(&mut self) {
        self.abort();
        self.arena.clear();
        self.queues.iter_mut().for_each(|queue| queue.waits.clear());
    }

    fn check(&mut self) {
        for (subprotocol, queue) in self.queues.iter().enumerate() {
            let first = queue.waits.front().map(|first| Message {
                meta: first.meta,
                payload: first.payload.as_deref(),
            });
            assert_eq!(self.arena.peek(subprotocol), first);
            assert_eq!(self.arena.counters(subprotocol), queue.counters);
            let ready = self.arena.poll_readable(subprotocol, None, None).is_ready();
            assert_eq!(ready, first.is_some());
        }
    }

    /// Reads what is left: everything is there, in order, and then everything is free.
    fn drain(mut self) {
        self.abort();
        for subprotocol in 0..self.queues.len() {
            while !self.queues[subprotocol].waits.is_empty() {
                self.pop(subprotocol);
                self.check();
            }
            let inbox = self.protocols[subprotocol].inbox;
            if let Some(largest) = inbox.checked_sub(RECORD_OVERHEAD) {
                let largest = self.protocols[subprotocol]
                    .message_limit
                    .min(largest as u32);
                self.open(subprotocol, largest);
                assert!(self.open.is_some(), "an empty inbox takes its largest");
                self.commit();
                self.check();
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A length relative to the largest that the inbox of this subprotocol can hold.
    OpenEdge(usize, i32),
    Open(usize, u32),
    Fill(usize),
    Commit,
    Abort,
    Pop(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..3, -2i32..3).prop_map(|(sub, edge)| Step::OpenEdge(sub, edge)),
        24 => (0usize..3, 0u32..40).prop_map(|(sub, length)| Step::Open(sub, length)),
        2 => (0usize..3, prop_oneof![Just(MAX), Just(u32::MAX), 0u32..400])
            .prop_map(|(sub, length)| Step::Open(sub, length)),
        10 => (0usize..30).prop_map(Step::Fill),
        24 => Just(Step::Commit),
        4 => Just(Step::Abort),
        24 => (0usize..3).prop_map(Step::Pop),
        1 => Just(Step::Clear),
    ]
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    let inbox = prop_oneof![
        1 => Just(0usize),
        1 => RECORD_OVERHEAD - 1..=RECORD_OVERHEAD + 2,
        1 => 2 * RECORD_OVERHEAD - 1..=2 * RECORD_OVERHEAD + 1,
        6 => 40usize..300,
    ];
    let limit = prop_oneof![3 => Just(MAX), 1 => 0u32..60];
    let overflow = prop_oneof![
        2 => Just(Overflow::HoldBack),
        1 => Just(Overflow::Drop),
        1 => Just(Overflow::Disconnect),
    ];
    (inbox, limit, overflow).prop_map(|(inbox, limit, overflow)| protocol(inbox, limit, overflow))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_message_is_read_once_in_order_and_unaltered(
        protocols in proptest::collection::vec(any_protocol(), 3),
        steps in proptest::collection::vec(step(), 0..300),
    ) {
        let needed: usize = protocols.iter().map(|one| one.inbox).sum();
        let mut bytes = vec![0xee; needed];
        let mut model = Model::new(&mut bytes, &protocols);
        for step in steps {
            match step {
                Step::OpenEdge(sub, edge) => {
                    let largest = model.protocols[sub].inbox as i32 - RECORD_OVERHEAD as i32;
                    if let Ok(length) = u32::try_from(largest + edge) {
                        model.open(sub, length);
                    }
                }
                Step::Open(sub, length) => model.open(sub, length),
                Step::Fill(n) => model.fill(n),
                Step::Commit => model.commit(),
                Step::Abort => model.abort(),
                Step::Pop(sub) => model.pop(sub),
                Step::Clear => model.clear(),
            }
            model.check();
        }
        model.drain();
    }
}

/// Puts a whole message in, which must be taken.
fn put<const N: usize>(arena: &mut Arena<'_, N>, subprotocol: usize, payload: &[u8]) {
    let length = payload.len() as u32;
    match arena.open(subprotocol, length) {
        Admit::Open(mut slot) => {
            assert_eq!(
                arena.with(&mut slot, |window| window.push(payload)),
                payload.len()
            );
            arena.commit(slot, meta(length));
        }
        other => panic!("{other:?}"),
    }
}

fn meta(length: u32) -> Meta {
    Meta {
        code: LocalCode(0),
        length,
        wire_length: length,
        at: Instant::ZERO,
    }
}

#[test]
fn an_inbox_of_one_record_takes_only_the_empty_message() {
    let mut bytes = [0; RECORD_OVERHEAD];
    let mut arena = Arena::<1>::new(&mut bytes, &[held(RECORD_OVERHEAD)]).unwrap();
    put(&mut arena, 0, b"");
    assert_eq!(arena.peek(0).unwrap().payload, Some(&b""[..]));
    assert!(matches!(arena.open(0, 0), Admit::Hold));
    arena.pop(0);
    assert!(matches!(arena.open(0, 1), Admit::Oversize(_)));
    assert!(matches!(arena.open(0, 0), Admit::Open(_)));
}

#[test]
fn an_inbox_with_room_for_no_report_drops_whatever_its_policy() {
    for overflow in [Overflow::HoldBack, Overflow::Drop, Overflow::Disconnect] {
        for inbox in [0, RECORD_OVERHEAD - 1] {
            let mut bytes = [0; RECORD_OVERHEAD];
            let protocols = [protocol(inbox, MAX, overflow)];
            let mut arena = Arena::<1>::new(&mut bytes, &protocols).unwrap();
            assert!(matches!(arena.open(0, 0), Admit::Drop));
        }
    }
}

#[test]
fn a_message_may_wrap_while_the_ones_before_it_are_read() {
    let mut bytes = [0; 100];
    let mut arena = Arena::<1>::new(&mut bytes, &[held(100)]).unwrap();
    put(&mut arena, 0, &[1; 19]);
    put(&mut arena, 0, &[2; 19]);
    arena.pop(0);
    // 20 bytes are left behind the second, 40 before it.
    let Admit::Open(mut slot) = arena.open(0, 19) else {
        panic!("there is room at the beginning");
    };
    arena.with(&mut slot, |window| window.push(&[3; 10]));
    assert_eq!(arena.peek(0).unwrap().payload, Some(&[2; 19][..]));
    arena.pop(0);
    assert_eq!(arena.peek(0), None, "an open message is not visible");
    arena.with(&mut slot, |window| window.push(&[3; 9]));
    arena.commit(slot, meta(19));
    assert_eq!(arena.peek(0).unwrap().payload, Some(&[3; 19][..]));
}

#[test]
fn the_lent_slice_must_hold_every_share() {
    let protocols = [held(30), held(40)];
    let mut bytes = [0; 70];
    assert!(Arena::<2>::new(&mut bytes, &protocols).is_ok());
    let too_small = |bytes: &mut [u8], protocols: &[Protocol]| {
        Arena::<2>::new(bytes, protocols).map(|_| ()).unwrap_err()
    };
    assert_eq!(
        too_small(&mut bytes[..69], &protocols),
        ArenaTooSmall { needed: 70 }
    );
    assert_eq!(
        too_small(&mut bytes, &[held(1), held(1), held(1)]),
        ArenaTooSmall { needed: 3 }
    );
    assert_eq!(
        too_small(&mut bytes, &[held(usize::MAX), held(usize::MAX)]),
        ArenaTooSmall { needed: usize::MAX }
    );
}

#[test]
fn no_more_protocols_than_a_peer_can_register() {
    let mut bytes = [0; 40 * RECORD_OVERHEAD];
    let protocols = [held(RECORD_OVERHEAD); 33];
    assert!(Arena::<40>::new(&mut bytes, &protocols).is_err());
    let mut arena = Arena::<40>::new(&mut bytes, &protocols[..32]).unwrap();
    put(&mut arena, 31, b"");
    assert!(matches!(arena.open(39, 0), Admit::Drop));
}

#[test]
fn an_index_beyond_the_registered_ones_has_no_messages() {
    let mut bytes = [0; 64];
    let mut arena = Arena::<1>::new(&mut bytes, &[held(64)]).unwrap();
    assert!(matches!(arena.open(1, 0), Admit::Drop));
    arena.dropped(1, meta(0));
    arena.pop(1);
    assert_eq!(arena.peek(1), None);
    assert_eq!(arena.counters(1), InboxCounters::default());
}

#[test]
fn a_reader_is_woken_once_for_what_came_and_only_by_its_own_inbox() {
    let mut bytes = [0; 200];
    let mut arena = Arena::<2>::new(&mut bytes, &[held(100), held(100)]).unwrap();
    let tasks = [Counter::new(), Counter::new()];
    let wait = |arena: &mut Arena<'_, 2>, sub: usize, closed| {
        let waker = tasks[sub].waker();
        arena.poll_readable(sub, closed, Some(&mut Context::from_waker(&waker)))
    };
    let wake = |arena: &mut Arena<'_, 2>, closed| {
        while let Some(waker) = arena.next_wake(closed) {
            waker.wake();
        }
        [tasks[0].total(), tasks[1].total()]
    };
    assert!(wait(&mut arena, 0, None).is_pending());
    assert!(wait(&mut arena, 1, None).is_pending());
    assert_eq!(wake(&mut arena, false), [0, 0]);
    put(&mut arena, 1, b"one");
    put(&mut arena, 1, b"two");
    assert_eq!(wake(&mut arena, false), [0, 1]);
    assert_eq!(wait(&mut arena, 1, None), Poll::Ready(Ok(())));
    put(&mut arena, 1, b"three");
    assert_eq!(wake(&mut arena, false), [0, 1], "nobody waits");
    let cause = CloseReason::Local(DisconnectReason::REQUESTED);
    assert_eq!(wake(&mut arena, true), [1, 1], "the end wakes who waits");
    assert_eq!(
        wait(&mut arena, 1, Some(cause)),
        Poll::Ready(Ok(())),
        "what was delivered can be read after it"
    );
    assert_eq!(wait(&mut arena, 0, Some(cause)), Poll::Ready(Err(cause)));
}

#[test]
fn a_cleared_arena_is_empty_and_counts_on() {
    let mut bytes = [0; 64];
    let mut arena = Arena::<1>::new(&mut bytes, &[held(64)]).unwrap();
    put(&mut arena, 0, &[1; 20]);
    arena.pop(0);
    put(&mut arena, 0, &[2; 2]);
    put(&mut arena, 0, &[3; 19]);
    arena.clear();
    assert_eq!(arena.peek(0), None);
    put(&mut arena, 0, &[4; 43]);
    assert_eq!(arena.peek(0).unwrap().payload, Some(&[4; 43][..]));
    let counters = arena.counters(0);
    assert_eq!((counters.messages, counters.bytes), (4, 84));
}
