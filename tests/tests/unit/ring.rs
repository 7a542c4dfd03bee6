//! The transmit ring against a queue of bytes.

use std::collections::VecDeque;

use devp2p_core::error::WriteError;
use devp2p_core::output::{Output, Room};
use devp2p_core::ring::{BLOCK, Ring};
use proptest::prelude::*;

/// A ring, the bytes that must wait in it, and the next byte to write, so that no two neighbours are alike.
struct Model<'a> {
    ring: Ring<'a>,
    waits: VecDeque<u8>,
    next: u8,
    /// Bytes written since nothing waited.
    written: usize,
}

impl<'a> Model<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        let capacity = bytes.len() / 16 * 16;
        let ring = Ring::new(bytes);
        assert_eq!(ring.capacity(), capacity);
        Self {
            ring,
            waits: VecDeque::new(),
            next: 0,
            written: 0,
        }
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (0..n).map(|i| self.next.wrapping_add(i as u8)).collect();
        self.next = self.next.wrapping_add(n as u8);
        bytes
    }

    /// Writes up to `n` bytes in place, as the sealer does.
    fn write(&mut self, n: usize) {
        let room = self.ring.writable().len();
        let bytes = self.bytes(n.min(room));
        self.ring.writable()[..bytes.len()].copy_from_slice(&bytes);
        self.ring.commit(bytes.len());
        self.wait(bytes);
    }

    fn wait(&mut self, bytes: Vec<u8>) {
        if self.waits.is_empty() {
            self.written = 0;
        }
        self.written += bytes.len();
        self.waits.extend(bytes);
    }

    fn push(&mut self, n: usize) {
        let fits = n <= self.ring.capacity() - self.waits.len();
        let bytes = self.bytes(n);
        assert_eq!(self.ring.push(&bytes), fits, "{n} bytes");
        if fits {
            self.wait(bytes);
        }
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.ring.readable().len());
        self.ring.consume(n);
        self.waits.drain(..n);
    }

    fn check(&mut self) {
        let (ring, waits) = (&mut self.ring, &self.waits);
        assert_eq!(ring.len(), waits.len());
        assert_eq!(ring.is_empty(), waits.is_empty());
        let aligned = waits.is_empty() || self.written.is_multiple_of(BLOCK);
        let free = match aligned {
            true => (ring.capacity() - waits.len()) / BLOCK * BLOCK,
            false => 0,
        };
        assert_eq!(
            ring.free(),
            free,
            "in whole blocks, and none after a part of one"
        );
        for length in [free, free + 1, ring.capacity(), ring.capacity() + 1] {
            let expected = match length {
                _ if length <= free => Ok(()),
                _ if length > ring.capacity() => Err(WriteError::TooLarge),
                _ => Err(WriteError::WouldBlock { free }),
            };
            assert_eq!(ring.fits(length), expected, "{length} bytes");
        }
        let readable = ring.readable();
        assert_eq!(
            readable.is_empty(),
            waits.is_empty(),
            "what waits can be taken"
        );
        assert!(readable.iter().eq(waits.iter().take(readable.len())));
        let free = ring.free();
        let room = ring.writable().len();
        assert!(room <= free);
        assert_eq!(room == 0, free == 0, "what is free can be written");
    }

    fn drain(mut self) {
        while !self.ring.is_empty() {
            self.consume(usize::MAX);
            self.check();
        }
        assert!(self.waits.is_empty());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Push(usize),
    Consume(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..80).prop_map(Step::Write),
        6 => (0usize..80).prop_map(Step::Push),
        10 => (0usize..100).prop_map(Step::Consume),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn bytes_of_any_number_come_out_as_they_went_in(
        capacity in 0usize..150,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut bytes = vec![0; capacity];
        let mut model = Model::new(&mut bytes);
        for step in steps {
            match step {
                Step::Write(n) => model.write(n),
                Step::Push(n) => model.push(n),
                Step::Consume(n) => model.consume(n),
                Step::Clear => {
                    model.ring.clear();
                    model.waits.clear();
                }
            }
            model.check();
        }
        model.drain();
    }

    #[test]
    fn whole_blocks_never_wrap_however_the_wire_takes_them(
        blocks in 1usize..9,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut bytes = vec![0; blocks * BLOCK + 5];
        let mut model = Model::new(&mut bytes);
        let start = model.ring.storage().as_ptr().addr();
        for step in steps {
            match step {
                Step::Write(n) => model.write(n / BLOCK * BLOCK),
                Step::Push(n) => model.push(n / BLOCK * BLOCK),
                Step::Consume(n) => model.consume(n),
                Step::Clear => {
                    model.ring.clear();
                    model.waits.clear();
                }
            }
            model.check();
            let room = model.ring.writable();
            prop_assert_eq!(room.len() % BLOCK, 0);
            if !room.is_empty() {
                prop_assert_eq!((room.as_ptr().addr() - start) % BLOCK, 0);
            }
        }
        model.drain();
    }
}

#[test]
fn a_push_that_fills_the_ring_across_its_end_is_taken_whole() {
    let mut bytes = [0; 32];
    let mut model = Model::new(&mut bytes);
    model.push(23);
    model.consume(10);
    model.push(3);
    model.check();
    model.push(16);
    model.check();
    model.push(1);
    model.push(0);
    model.drain();
}

#[test]
fn after_a_packet_that_is_not_whole_blocks_there_is_room_once_it_was_taken() {
    let mut bytes = [0; 64];
    let mut ring = Ring::new(&mut bytes);
    assert!(ring.push(&[7; 17]));
    assert_eq!((ring.free(), ring.writable().len()), (0, 0));
    ring.consume(16);
    assert_eq!((ring.free(), ring.writable().len()), (0, 0));
    ring.consume(1);
    assert_eq!((ring.free(), ring.writable().len()), (64, 64));
}

#[test]
fn a_ring_of_less_than_one_block_holds_nothing() {
    let mut bytes = [0; BLOCK - 1];
    let mut model = Model::new(&mut bytes);
    model.push(1);
    model.push(0);
    model.write(1);
    model.check();
    assert_eq!(model.ring.capacity(), 0);
}

#[test]
fn what_was_written_into_an_empty_ring_stands_at_the_beginning_of_its_storage() {
    let mut bytes = [0; 64];
    let mut ring = Ring::new(&mut bytes);
    assert!(ring.push(&[7; 40]));
    ring.consume(40);
    assert!(ring.push(b"hello"));
    ring.consume(5);
    assert_eq!(&ring.storage()[..5], b"hello");
}

#[test]
fn neither_commit_nor_consume_goes_beyond_what_there_is() {
    let mut bytes = [0; 32];
    let mut ring = Ring::new(&mut bytes);
    ring.consume(1);
    assert_eq!(ring.len(), 0);
    ring.commit(usize::MAX);
    assert_eq!(ring.len(), 32);
    ring.consume(usize::MAX);
    assert!(ring.is_empty());
    assert_eq!(ring.writable().len(), 32);
}
