//! Snappy, and RLP by its main use here: Hello.

use std::hint::black_box;

use devp2p_core::hello::{Hello, MAX_HELLO_LENGTH};
use devp2p_core::inbox::Window;
use devp2p_core::rlp;
use devp2p_core::snappy;

use super::Micro;
use super::message_level::{local, protocols};
use crate::jobs::{Pattern, payload};
use crate::traffic::size_name;

const SIZES: [(usize, u64); 2] = [(1 << 10, 200), (64 << 10, 10)];

pub(super) fn all() -> Vec<Micro> {
    let mut all = Vec::new();
    for (size, counted) in SIZES {
        let name = |what| format!("{what} {}, half zero", size_name(size as u64));
        all.push(Micro::repeated(name("snappy encode"), counted, move || {
            encode(size)
        }));
        all.push(Micro::repeated(
            name("snap crate encode"),
            counted,
            move || {
                let payload = payload(size, Pattern::Half);
                let mut encoder = snap::raw::Encoder::new();
                let mut out = vec![0; snap::raw::max_compress_len(size)];
                move || {
                    let length = encoder.compress(black_box(&payload), &mut out);
                    assert!(black_box(length).is_ok());
                }
            },
        ));
        all.push(Micro::repeated(name("snappy decode"), counted, move || {
            decode(size)
        }));
    }
    all.push(Micro::repeated("rlp code", 5000, || {
        move || {
            let (code, length) = rlp::encode_code(black_box(0x40));
            assert_eq!(
                rlp::decode_code(black_box(&code[..length])),
                Ok((0x40, length))
            );
        }
    }));
    all.push(Micro::repeated("Hello encode", 1000, || {
        let protocols = protocols(4096);
        let mut out = [0; MAX_HELLO_LENGTH];
        move || assert!(black_box(local(1, black_box(&protocols)).encode_hello(&mut out)).is_ok())
    }));
    all.push(Micro::repeated("Hello decode", 1000, || {
        let mut out = [0; MAX_HELLO_LENGTH];
        let length = local(1, &protocols(4096)).encode_hello(&mut out);
        let length = length.expect("a short Hello");
        move || {
            let hello = Hello::decode(black_box(&out[..length])).expect("a Hello");
            assert_eq!(black_box(hello.capabilities()).count(), 4);
        }
    }));
    all
}

fn encode(size: usize) -> impl FnMut() {
    let payload = payload(size, Pattern::Half);
    let mut table = vec![0; 4096];
    let mut out = vec![0; snappy::max_compressed_length(size)];
    move || {
        let length = snappy::compress(black_box(&payload), Some(&mut table), &mut out);
        assert!(black_box(length).is_some());
    }
}

fn decode(size: usize) -> impl FnMut() {
    let compressed = snap::raw::Encoder::new()
        .compress_vec(&payload(size, Pattern::Half))
        .expect("it is short");
    let mut out = vec![0; size];
    move || {
        let length = snappy::parse_length(black_box(&compressed));
        let (length, head) = length.expect("valid").expect("whole");
        let mut decoder = snappy::Decoder::new(length);
        let mut window = Window::new(&mut out, 0);
        let taken = decoder.decode(&compressed[head..], &mut window);
        assert_eq!(taken, Ok(compressed.len() - head));
        assert_eq!(decoder.finish(), Ok(()));
    }
}
