//! Receive half, transmit half and peer driven apart, by two threads a side, with inboxes that grow.
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use devp2p_core::capability::Protocol;
use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::config::{Config, Local};
use devp2p_core::disconnect::{self, DisconnectReason};
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::inbox::{Admit, FIRST_ROOM, Hold, Inboxes, Meta, Window};
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{BaseMessage, Expected, Peer};
use devp2p_core::rlp;
use devp2p_core::rlpx::handshake::MAX_SENT;
use devp2p_core::rlpx::receive::{FIRST_FRAME_BUFFER, First, ReceiveHalf, Status};
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, TransmitHalf, frame_length};
use devp2p_core::rlpx::{Established, Handshake, NodeKey, Secrets, Step};
use devp2p_core::time::Instant;
use devp2p_tests::fixture;
use devp2p_tests::random::Random;
use devp2p_tests::rogue::{body, compressed};

const NOW: Instant = Instant::ZERO;

struct Slot {
    subprotocol: usize,
    length: usize,
    bytes: Vec<u8>,
    filled: usize,
}

/// Inboxes without a size, whose slots grow as bytes come, of memory that is sometimes not there.
struct Growable {
    queues: [VecDeque<(Meta, Vec<u8>)>; 2],
    random: Random,
    /// How many times more there is none.
    dry: usize,
    /// Messages that were refused before they began, and within.
    refused: [u32; 2],
}

impl Growable {
    fn new() -> Self {
        Self {
            queues: Default::default(),
            random: Random::new(5),
            dry: 0,
            refused: [0; 2],
        }
    }

    /// Whether there is no memory now.
    fn is_dry(&mut self) -> bool {
        if self.dry == 0 && self.random.one_in(4) {
            self.dry = self.random.index(20);
        }
        self.dry = self.dry.saturating_sub(1);
        self.dry > 0
    }
}

impl Inboxes for Growable {
    type Slot = Slot;

    fn open(&mut self, subprotocol: usize, length: u32) -> Admit<Slot> {
        if self.is_dry() {
            self.refused[0] += 1;
            return Admit::Wait;
        }
        Admit::Open(Slot {
            subprotocol,
            length: length as usize,
            bytes: vec![0; FIRST_ROOM.min(length as usize)],
            filled: 0,
        })
    }

    fn reserve(&mut self, slot: &mut Slot, room: usize) -> bool {
        let wanted = slot.length.min(slot.filled + room);
        if wanted > slot.bytes.len() && self.is_dry() {
            self.refused[1] += 1;
            return false;
        }
        slot.bytes.resize(wanted.max(slot.bytes.len()), 0);
        true
    }

    fn with<R>(&mut self, slot: &mut Slot, f: impl FnOnce(&mut Window<'_>) -> R) -> R {
        let mut window = Window::new(&mut slot.bytes, slot.filled);
        let result = f(&mut window);
        slot.filled = window.len();
        result
    }

    fn commit(&mut self, mut slot: Slot, meta: Meta) {
        slot.bytes.truncate(slot.filled);
        self.queues[slot.subprotocol].push_back((meta, slot.bytes));
    }

    fn abort(&mut self, _slot: Slot) {}

    fn dropped(&mut self, _subprotocol: usize, _meta: Meta) {}
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs the handshake of both sides in memory.
fn handshakes(keys: [&NodeKey; 2]) -> [Established; 2] {
    let mut sides = [
        Handshake::initiator(*keys[1].id(), fixture::entropy(1)),
        Handshake::recipient(fixture::entropy(2)),
    ];
    let mut sent = [[0; MAX_SENT]; 2];
    let mut received = [Vec::new(), Vec::new()];
    let mut done = [None, None];
    for _ in 0..100 {
        for i in 0..2 {
            if done[i].is_some() {
                continue;
            }
            match sides[i].poll(keys[i], &mut sent[i], &received[i]) {
                Ok(Step::Send(n)) => received[1 - i].extend_from_slice(&sent[i][..n]),
                Ok(Step::Done(established)) => done[i] = Some(established),
                Ok(Step::Working | Step::Receive(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    done.map(|done| done.expect("a handshake without faults"))
}

/// What the two threads of a side share.
struct Shared {
    peer: Mutex<Peer<2>>,
    keys: devp2p_core::rlpx::FrameKeys,
}

impl Shared {
    fn peer(&self) -> MutexGuard<'_, Peer<2>> {
        self.peer.lock().expect("no thread panics")
    }

    /// Calls `f`, and wakes who is to be woken once the lock is released.
    fn change<R>(&self, f: impl FnOnce(&mut Peer<2>) -> R) -> R {
        let mut peer = self.peer();
        let result = f(&mut peer);
        let wakes: Vec<Waker> = std::iter::from_fn(|| peer.next_wake()).collect();
        drop(peer);
        wakes.into_iter().for_each(Waker::wake);
        result
    }
}

/// Takes what comes until the end of the stream; returns what was delivered.
fn receive(
    shared: &Shared,
    local: &Local<'_>,
    mut half: ReceiveHalf<Slot>,
    wire: &Receiver<Vec<u8>>,
    sender: &Thread,
) -> Growable {
    let mut inboxes = Growable::new();
    let mut buffer = vec![0; FIRST_FRAME_BUFFER];
    for mut bytes in wire {
        let mut at = 0;
        while (at < bytes.len() || half.is_held()) && !shared.peer().is_closing() {
            if shared.peer().state() == State::AwaitingHello {
                let (n, first) = half.handle_first(&shared.keys, &bytes[at..], &mut buffer);
                at += n;
                match first {
                    First::NeedInput => {}
                    First::Message(0, payload) => {
                        let compressed = shared.change(|peer| {
                            peer.handle_hello(NOW, local, payload);
                            peer.decompresses()
                        });
                        half.set_compressed(compressed);
                    }
                    other => panic!("{other:?} in place of Hello"),
                }
            } else {
                let table = shared.peer().shared().clone();
                // In pieces, so that memory is missing in all places.
                let end = bytes.len().min(at + inboxes.random.index(5_000));
                let piece = &mut bytes[at..end];
                let (n, status) = half.handle(&shared.keys, NOW, piece, &table, &mut inboxes);
                at += n;
                shared.change(|peer| match status {
                    Status::NeedInput | Status::Held(Hold::Memory) => {}
                    Status::Base(message) => peer.handle_base(NOW, message),
                    other => panic!("{other:?}"),
                });
            }
            let received = half.take_received();
            shared.change(|peer| peer.on_receive(NOW, received));
        }
        sender.unpark();
    }
    shared.change(|peer| peer.handle_end(NOW, TransportError::EndOfStream));
    sender.unpark();
    inboxes
}

/// Sends everything, then what the peer still has to say until it ends.
fn transmit(
    shared: &Shared,
    local: &Local<'_>,
    mut half: TransmitHalf,
    wire: Sender<Vec<u8>>,
    messages: &[(usize, u32, Vec<u8>)],
    sent: &Sender<()>,
) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut messages = messages.iter().peekable();
    let seal = |half: &mut TransmitHalf, body: &[u8]| {
        let mut frame = vec![0; frame_length(body.len())];
        frame[HEADER_LENGTH..][..body.len()].copy_from_slice(body);
        assert!(half.seal(&shared.keys, &mut frame, body.len()));
        // The other side may be gone.
        let _ = wire.send(frame);
    };
    let mut told = false;
    loop {
        while let Some(control) = shared.change(|peer| peer.poll_control(NOW)) {
            let compresses = shared.peer().compresses();
            let mut payload = [0; 2048];
            let n = control
                .encode(local, compresses, &mut payload)
                .expect("a short Hello");
            let (code, m) = rlp::encode_code(control.code().0);
            seal(&mut half, &[&code[..m], &payload[..n]].concat());
        }
        if shared.change(Peer::wants_half_close) || shared.peer().state() == State::Closed {
            return;
        }
        if shared.peer().state() == State::Active
            && let Some((subprotocol, code, payload)) = messages.peek()
        {
            let mut cx = Context::from_waker(&waker);
            let code = LocalCode(*code);
            match shared.change(|peer| peer.poll_acquire(*subprotocol, code, Some(&mut cx))) {
                Poll::Ready(Ok(WireCode(code))) => {
                    shared.change(|peer| peer.begin_write(*subprotocol));
                    seal(&mut half, &body(code, &compressed(payload)));
                    shared.change(|peer| peer.complete_write(*subprotocol));
                    messages.next();
                    continue;
                }
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending if shared.peer().wants_to_send() => continue,
                Poll::Pending => {}
            }
        }
        if messages.peek().is_none() && !std::mem::replace(&mut told, true) {
            sent.send(()).expect("the test waits");
        }
        thread::park();
    }
}

#[test]
fn two_threads_a_side_exchange_messages_and_part() {
    let protocols: [Protocol; 2] = [fixture::protocol("a", 3, 0), fixture::protocol("b", 900, 0)];
    let keys = [fixture::key(1), fixture::key(2)];
    let established = handshakes([&keys[0], &keys[1]]);
    let mut random = Random::new(3);
    let messages = [(); 2].map(|()| {
        let mut message = || {
            let subprotocol = random.index(2);
            let code = random.below([3, 900][subprotocol]) as u32;
            let length = random.index(20_000);
            (subprotocol, code, random.compressible(length))
        };
        (0..300).map(|_| message()).collect::<Vec<_>>()
    });
    let (to_a, from_b) = channel();
    let (to_b, from_a) = channel();
    let wires = [(to_b, from_b), (to_a, from_a)];
    let (sent, all_sent) = channel();
    let locals = keys
        .each_ref()
        .map(|key| fixture::local(key, 5, &protocols));

    let mut shares = Vec::new();
    let mut halves = Vec::new();
    for (Established { secrets, remote }, local) in established.into_iter().zip(&locals) {
        let Secrets {
            keys,
            egress,
            ingress,
        } = secrets;
        let expected = Expected::Authenticated(remote);
        let peer = Peer::<2>::new(Config::new(), local, expected, fixture::at_secs(5));
        shares.push(Arc::new(Shared {
            peer: Mutex::new(peer),
            keys,
        }));
        halves.push((ReceiveHalf::<Slot>::new(ingress), TransmitHalf::new(egress)));
    }
    let delivered: Vec<Growable> = thread::scope(|scope| {
        let mut receivers = Vec::new();
        let mut senders = Vec::new();
        for (i, ((rx_half, tx_half), (wire_out, wire_in))) in
            halves.into_iter().zip(wires).enumerate()
        {
            let (shared, local, messages) = (&shares[i], &locals[i], &messages[i]);
            let sent = sent.clone();
            let sender =
                scope.spawn(move || transmit(shared, local, tx_half, wire_out, messages, &sent));
            let thread = sender.thread().clone();
            senders.push(thread.clone());
            receivers.push(scope.spawn(move || receive(shared, local, rx_half, &wire_in, &thread)));
        }
        for _ in 0..2 {
            all_sent.recv().expect("both send everything");
        }
        // The Disconnect follows everything that was sealed before it, so b hears all of a before it ends; what a has not
        // heard of b by then is discarded.
        shares[0].change(|peer| peer.disconnect(NOW, DisconnectReason::CLIENT_QUITTING));
        senders[0].unpark();
        receivers
            .into_iter()
            .map(|receiver| receiver.join().expect("no thread panics"))
            .collect()
    });
    for (i, inboxes) in delivered.iter().enumerate() {
        let [before, within] = inboxes.refused;
        assert!(
            before > 10 && within > 10,
            "{before} and {within} were refused"
        );
        for (subprotocol, queue) in inboxes.queues.iter().enumerate() {
            let sent = messages[1 - i].iter().filter(|(to, ..)| *to == subprotocol);
            let got = queue.iter();
            let mut count = 0;
            for ((meta, bytes), (_, code, payload)) in got.zip(sent.clone()) {
                assert_eq!(
                    (meta.code, meta.length as usize),
                    (LocalCode(*code), payload.len())
                );
                assert_eq!(bytes, payload);
                count += 1;
            }
            if i == 1 {
                assert_eq!(count, sent.count(), "b heard everything");
            }
        }
    }
    let quitting = DisconnectReason::CLIENT_QUITTING;
    assert_eq!(
        shares[0].peer().close_reason(),
        Some(CloseReason::Local(quitting))
    );
    assert_eq!(
        shares[1].peer().close_reason(),
        Some(CloseReason::RemoteRequested(Some(quitting)))
    );
    assert_eq!(
        disconnect::decode(&[0xc1, quitting.0]),
        Some(quitting),
        "{:?}",
        BaseMessage::Disconnect(Some(quitting))
    );
}
