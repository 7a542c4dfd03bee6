//! Frames sealed and opened, and handshakes.

use std::hint::black_box;

use devp2p_core::arena::{Arena, Slot};
use devp2p_core::rlpx::receive::{ReceiveHalf, Status};
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, TransmitHalf, frame_length};
use devp2p_core::rlpx::{FrameKeys, Handshake, MAX_RECEIVED, MAX_SENT, Mac, NodeKey, Step};
use devp2p_core::time::Instant;
use devp2p_tests::fixture;

use super::message_level::{CODE, LANE, LANES, active, protocols};
use super::{Micro, time};
use crate::fast::{Curve, Sponge};
use crate::jobs::{Pattern, payload};
use crate::traffic::size_name;

/// Sizes of payload, and how many frames are counted.
const SIZES: [(usize, u64); 4] = [(100, 500), (1 << 10, 200), (16 << 10, 20), (64 << 10, 10)];

pub(super) fn all() -> Vec<Micro> {
    let each = |(size, counted)| [seal(size, counted), open(size, counted)];
    let mut all: Vec<_> = SIZES.into_iter().flat_map(each).collect();
    all.push(Micro::repeated("handshake, both sides", 3, handshake));
    all
}

/// A frame of a random payload, compressed before: its bytes with room around them, and those of the body.
fn frame(size: usize) -> (Vec<u8>, usize) {
    let compressed = snap::raw::Encoder::new()
        .compress_vec(&payload(size, Pattern::Random))
        .expect("it is short");
    let body = 1 + compressed.len();
    let mut frame = vec![0; frame_length(body)];
    frame[HEADER_LENGTH] = CODE as u8;
    frame[HEADER_LENGTH + 1..][..compressed.len()].copy_from_slice(&compressed);
    (frame, body)
}

fn keys() -> FrameKeys {
    FrameKeys::new(&[3; 32], &[4; 32])
}

/// A composed frame is encrypted and its MACs are made, in place.
fn seal(size: usize, counted: u64) -> Micro {
    Micro::repeated(
        format!("seal {}", size_name(size as u64)),
        counted,
        move || {
            let (mut frame, body) = frame(size);
            let keys = keys();
            let mut transmit = TransmitHalf::<Sponge>::new(Mac::default());
            move || assert!(transmit.seal(&keys, black_box(&mut frame), body))
        },
    )
}

/// A frame is verified, decrypted, decompressed, routed to its inbox, and read there.
fn open(size: usize, counted: u64) -> Micro {
    Micro::new(
        format!("open {}", size_name(size as u64)),
        counted,
        move |count, go| {
            let (plain, body) = frame(size);
            let keys = keys();
            let mut transmit = TransmitHalf::<Sponge>::new(Mac::default());
            let mut frames = vec![plain; count as usize];
            for frame in &mut frames {
                assert!(transmit.seal(&keys, frame, body));
            }
            let inbox = 2 * size + 256;
            let protocols = protocols(inbox);
            let peer = active(&protocols);
            let mut memory = vec![0; LANES * inbox];
            let mut arena: Arena<'_, LANES> = Arena::new(&mut memory, &protocols).expect("room");
            let mut receive = ReceiveHalf::<Slot, Sponge>::new(Mac::default());
            receive.set_compressed(true);
            time(go, || {
                for frame in &mut frames {
                    let (n, status) =
                        receive.handle(&keys, Instant::ZERO, frame, peer.shared(), &mut arena);
                    assert_eq!((n, status), (frame.len(), Status::NeedInput));
                    let message = arena.peek(LANE).expect("it was routed here");
                    assert_eq!(message.payload.map(<[u8]>::len), Some(size));
                    arena.pop(LANE);
                }
            })
        },
    )
}

/// Both sides, from the keys to the session's secrets.
fn handshake() -> impl FnMut() {
    let (ours, theirs) = (fixture::key(1), fixture::key(2));
    let mut seed = 0;
    move || {
        seed += 2;
        let mut initiator: Side = Side::new(
            Handshake::initiator_with(*theirs.id(), fixture::entropy(seed)),
            &ours,
        );
        let mut recipient = Side::new(
            Handshake::recipient_with(fixture::entropy(seed + 1)),
            &theirs,
        );
        initiator.advance(&mut recipient);
        recipient.advance(&mut initiator);
        initiator.advance(&mut recipient);
        assert!(initiator.is_done && recipient.is_done);
    }
}

struct Side<'a> {
    handshake: Handshake<Curve, Sponge>,
    key: &'a NodeKey,
    sent: [u8; MAX_SENT],
    received: Vec<u8>,
    is_done: bool,
}

impl<'a> Side<'a> {
    fn new(handshake: Handshake<Curve, Sponge>, key: &'a NodeKey) -> Self {
        Self {
            handshake,
            key,
            sent: [0; MAX_SENT],
            received: Vec::with_capacity(MAX_RECEIVED),
            is_done: false,
        }
    }

    /// Goes on until it needs more than it has received.
    fn advance(&mut self, other: &mut Side<'_>) {
        while !self.is_done {
            let step = self
                .handshake
                .poll(self.key, &mut self.sent, &self.received);
            match step.expect("an honest handshake") {
                Step::Working => {}
                Step::Send(length) => other.received.extend_from_slice(&self.sent[..length]),
                Step::Receive(total) if total > self.received.len() => return,
                Step::Receive(_) => {}
                Step::Done(established) => {
                    black_box(established);
                    self.is_done = true;
                }
            }
        }
    }
}
