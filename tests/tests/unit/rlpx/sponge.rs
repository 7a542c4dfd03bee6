//! Keccak256: against published digests, and against the definition written out coordinate by coordinate; the core's own, and
//! the std adapter's, which takes what the processor at hand has.

use devp2p_core::rlpx::{Keccak256, Permutation, Portable, Sponge, keccak256};
use devp2p_std::keccak::Native;
use proptest::prelude::*;

use super::array;

/// The Keccak reference's five step mappings on a cube of lanes, rate 1088, padding `pad10*1`.
fn reference(input: &[u8]) -> [u8; 32] {
    let mut padded = input.to_vec();
    padded.push(1);
    padded.resize(padded.len().next_multiple_of(136), 0);
    *padded.last_mut().unwrap() |= 0x80;
    let mut a = [[0u64; 5]; 5];
    for block in padded.chunks(136) {
        for (at, lane) in block.chunks(8).enumerate() {
            a[at % 5][at / 5] ^= u64::from_le_bytes(lane.try_into().unwrap());
        }
        let mut lfsr = 1u16;
        for _ in 0..24 {
            let c: [u64; 5] = core::array::from_fn(|x| a[x].iter().fold(0, |c, lane| c ^ lane));
            for x in 0..5 {
                let d = c[(x + 4) % 5] ^ c[(x + 1) % 5].rotate_left(1);
                a[x].iter_mut().for_each(|lane| *lane ^= d);
            }
            let (mut x, mut y, mut b) = (1, 0, [[0u64; 5]; 5]);
            b[0][0] = a[0][0];
            for t in 0..24u32 {
                let to = (y, (2 * x + 3 * y) % 5);
                b[to.0][to.1] = a[x][y].rotate_left((t + 1) * (t + 2) / 2 % 64);
                (x, y) = to;
            }
            for x in 0..5 {
                for y in 0..5 {
                    a[x][y] = b[x][y] ^ (!b[(x + 1) % 5][y] & b[(x + 2) % 5][y]);
                }
            }
            for j in 0..7 {
                if lfsr & 1 == 1 {
                    a[0][0] ^= 1 << ((1 << j) - 1);
                }
                lfsr <<= 1;
                if lfsr & 0x100 != 0 {
                    lfsr ^= 0x171;
                }
            }
        }
    }
    let mut digest = [0; 32];
    for (x, to) in digest.chunks_mut(8).enumerate() {
        to.copy_from_slice(&a[x][0].to_le_bytes());
    }
    digest
}

#[test]
fn published_digests() {
    for (input, digest) in [
        (
            "",
            "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
        ),
        (
            "abc",
            "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
        ),
    ] {
        assert_eq!(keccak256(&[input.as_bytes()]), array(digest), "{input:?}");
        assert_eq!(reference(input.as_bytes()), array(digest), "{input:?}");
    }
}

#[test]
fn every_length_over_three_blocks() {
    let input: Vec<u8> = (0..3 * 136 + 1).map(|at| (at * 7 % 251) as u8).collect();
    for length in 0..input.len() {
        let expected = reference(&input[..length]);
        assert_eq!(keccak256(&[&input[..length]]), expected, "{length} bytes");
        let mut native = Keccak256::<Native>::default();
        native.absorb(&input[..length]);
        assert_eq!(native.digest(), expected, "{length} bytes, native");
    }
}

#[test]
fn a_digest_does_not_disturb_the_sponge() {
    let mut sponge = <Keccak256>::default();
    sponge.absorb(&[1; 100]);
    assert_eq!(sponge.digest(), sponge.digest());
    sponge.absorb(&[1; 100]);
    assert_eq!(sponge.digest(), reference(&[1; 200]));
    assert_eq!(keccak256(&[&[1; 60], &[], &[1; 140]]), reference(&[1; 200]));
}

/// The digest of `input`, absorbed in parts of the given lengths and one of the rest.
fn in_parts<P: Permutation>(input: &[u8], parts: &[usize]) -> [u8; 32] {
    let mut sponge = Keccak256::<P>::default();
    let mut rest = input;
    for part in parts {
        let (now, later) = rest.split_at((*part).min(rest.len()));
        sponge.absorb(now);
        rest = later;
    }
    sponge.absorb(rest);
    sponge.digest()
}

proptest! {
    #[test]
    fn any_split_gives_the_same_digest(
        input in proptest::collection::vec(any::<u8>(), 0..1000),
        cuts in proptest::collection::vec(0usize..200, 0..20),
    ) {
        let expected = reference(&input);
        prop_assert_eq!(in_parts::<Portable>(&input, &cuts), expected);
        prop_assert_eq!(in_parts::<Native>(&input, &cuts), expected);
    }
}
