//! The Snappy block format, with crate `snap` as the oracle in both directions.

use devp2p_core::inbox::Window;
use devp2p_core::snappy::{
    DecodeError, Decoder, Encoder, compress, max_compressed_length, measure, parse_length,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Decodes in pieces of the given sizes (the last size repeats), into a window that has `headroom` more bytes each time it is
/// full, and comes back with all of the output.
fn decode_in(block: &[u8], pieces: &[usize], headroom: usize) -> Result<Vec<u8>, DecodeError> {
    let Some((length, taken)) = parse_length(block)? else {
        return Err(DecodeError::Truncated);
    };
    let mut decoder = Decoder::new(length);
    let (mut bytes, mut filled) = (Vec::new(), 0);
    let mut rest = &block[taken..];
    let mut sizes = pieces.iter().copied();
    let mut size = usize::MAX;
    while !rest.is_empty() {
        size = sizes.next().unwrap_or(size).max(1);
        let (mut piece, after) = rest.split_at(size.min(rest.len()));
        while !piece.is_empty() {
            let mut window = Window::new(&mut bytes, filled);
            let n = decoder.decode(piece, &mut window)?;
            filled = window.len();
            assert!(n == piece.len() || window.room() == 0);
            piece = &piece[n..];
            if !piece.is_empty() {
                bytes.resize(filled + headroom, 0xEE);
            }
        }
        rest = after;
    }
    decoder.finish()?;
    bytes.truncate(filled);
    assert_eq!(bytes.len(), length as usize);
    assert_eq!(decoder.produced(), length);
    Ok(bytes)
}

/// Decodes in pieces of `size`, into a window with exactly the room that the decoder asked for.
fn decode_with_room(block: &[u8], size: usize) -> Result<Vec<u8>, DecodeError> {
    let (length, taken) = parse_length(block)?.ok_or(DecodeError::Truncated)?;
    let mut decoder = Decoder::new(length);
    let (mut bytes, mut filled) = (Vec::new(), 0);
    for piece in block[taken..].chunks(size) {
        let room = decoder.room_for(piece.len());
        assert!(room <= decoder.remaining() as usize);
        bytes.resize(filled + room, 0);
        let mut window = Window::new(&mut bytes, filled);
        assert_eq!(decoder.decode(piece, &mut window)?, piece.len());
        filled = window.len();
    }
    decoder.finish()?;
    bytes.truncate(filled);
    Ok(bytes)
}

fn decode(block: &[u8]) -> Result<Vec<u8>, DecodeError> {
    decode_in(block, &[], 1 << 20)
}

fn skip_in(block: &[u8], size: usize) -> Result<(), DecodeError> {
    let (length, taken) = parse_length(block)?.ok_or(DecodeError::Truncated)?;
    let mut decoder = Decoder::new(length);
    for piece in block[taken..].chunks(size) {
        decoder.skip(piece)?;
    }
    decoder.finish()
}

fn oracle(block: &[u8]) -> Option<Vec<u8>> {
    // A length of 4 GiB is not worth the allocation: no block of a test is as long.
    if snap::raw::decompress_len(block).ok()? > 1 << 22 {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(block).ok()
}

fn snap_compress(data: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(data).unwrap()
}

/// Emits in pieces of the given sizes (the last one repeats).
fn emit(payload: &[&[u8]], mut table: Option<&mut [u16]>, sizes: &[usize]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut block = Vec::new();
    let mut sizes = sizes.iter().copied();
    let mut size = usize::MAX;
    while !encoder.is_done() {
        size = sizes.next().unwrap_or(size).clamp(1, 1 << 22);
        let mut out = vec![0; size];
        let n = encoder.emit(payload, table.as_deref_mut(), &mut out);
        assert!(n == size || encoder.is_done());
        block.extend_from_slice(&out[..n]);
    }
    block
}

/// An empty table is none.
fn lend(table: &mut [u16]) -> Option<&mut [u16]> {
    (!table.is_empty()).then_some(table)
}

/// Both passes; asserts that they agree, with whatever the table held before.
fn encode(payload: &[&[u8]], table: usize, sizes: &[usize]) -> Vec<u8> {
    let mut table = vec![0xABCD; table];
    let measured = measure(payload, lend(&mut table));
    table.fill(0x1234);
    let block = emit(payload, lend(&mut table), sizes);
    assert_eq!(block.len(), measured);
    block
}

const WORDS: [&str; 24] = [
    "the ",
    "session ",
    "of ",
    "a ",
    "message ",
    "that ",
    "is ",
    "frame ",
    "and ",
    "in ",
    "to ",
    "block ",
    "peer ",
    "which ",
    "header ",
    "code ",
    "not ",
    "offset",
    ", ",
    ". ",
    "protocol ",
    "length ",
    "\n",
    "capability ",
];

/// Data with the structure that a matcher meets: words, runs, noise.
fn data(max_parts: usize) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => vec(0..WORDS.len(), 1..40).prop_map(|at| {
            at.into_iter().flat_map(|at| WORDS[at].bytes()).collect()
        }),
        1 => (any::<u8>(), 1..300_usize).prop_map(|(byte, n)| vec![byte; n]),
        1 => vec(any::<u8>(), 0..200),
        1 => (any::<u64>(), 1..5000_usize).prop_map(|(seed, n)| noise(seed, n)),
        1 => (vec(any::<u8>(), 1..20), 1..60_usize).prop_map(|(unit, n)| unit.repeat(n)),
    ];
    vec(part, 0..max_parts).prop_map(|parts: Vec<Vec<u8>>| parts.concat())
}

/// Bytes without structure (xorshift).
fn noise(seed: u64, n: usize) -> Vec<u8> {
    let mut x = seed | 1;
    let step = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    (0..n).map(step).collect()
}

/// Elements that are mostly valid, so that arbitrary blocks get past the first tag.
fn elements() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let element = prop_oneof![
        vec(any::<u8>(), 1..60).prop_map(|bytes| {
            let tag = (bytes.len() as u8 - 1) << 2;
            (bytes.len(), [vec![tag], bytes].concat())
        }),
        (0..4_u8, vec(any::<u8>(), 1..90)).prop_map(|(extra, bytes)| {
            let length = (bytes.len() as u32 - 1).to_le_bytes();
            let tag = vec![(60 + extra) << 2];
            let block = [
                tag,
                length[..1 + usize::from(extra)].to_vec(),
                bytes.clone(),
            ];
            (bytes.len(), block.concat())
        }),
        (4..12_u8, 0..60_u8)
            .prop_map(|(n, offset)| (usize::from(n), vec![(n - 4) << 2 | 1, offset])),
        (1..65_u8, 0..60_u16).prop_map(|(n, offset)| {
            (
                usize::from(n),
                [vec![(n - 1) << 2 | 2], offset.to_le_bytes().to_vec()].concat(),
            )
        }),
        (1..65_u8, 0..60_u32).prop_map(|(n, offset)| {
            (
                usize::from(n),
                [vec![(n - 1) << 2 | 3], offset.to_le_bytes().to_vec()].concat(),
            )
        }),
    ];
    let literal = vec(any::<u8>(), 30..60).prop_map(|bytes| {
        let tag = (bytes.len() as u8 - 1) << 2;
        (bytes.len(), [vec![tag], bytes].concat())
    });
    // The length is right in most cases.
    let lie = prop_oneof![8 => Just(0), 1 => -3..4_i32];
    (literal, vec(element, 0..20), lie).prop_map(|(first, more, lie)| {
        let length = first.0 + more.iter().map(|(n, _)| n).sum::<usize>();
        let bytes = more
            .into_iter()
            .fold(first.1, |all, (_, bytes)| [all, bytes].concat());
        (length.saturating_add_signed(lie as isize) as u32, bytes)
    })
}

fn with_length(length: u32, elements: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut rest = length;
    while rest >= 0x80 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
    block.extend_from_slice(elements);
    block
}

/// One block with every kind of element: literals with 0 to 4 bytes of length, copies with 11, 16 and 32 bits of offset, overlaps
/// of several periods.
fn every_element() -> (Vec<u8>, Vec<u8>) {
    let mut elements = vec![2 << 2];
    elements.extend(b"abc");
    for extra in 1..=4_usize {
        elements.push((59 + extra as u8) << 2);
        elements.extend(&4_u32.to_le_bytes()[..extra]);
        elements.extend(b"hello");
    }
    for offset in [1_u8, 2, 3, 5, 7, 8, 9, 15, 16, 17, 23] {
        elements.extend([(11 - 4) << 2 | 1, offset]);
        elements.extend([63 << 2 | 2, offset, 0]);
        elements.extend([32 << 2 | 3, offset, 0, 0, 0]);
    }
    let length = 23 + 11 * (11 + 64 + 33);
    let block = with_length(length, &elements);
    let output = oracle(&block).unwrap();
    (block, output)
}

#[test]
fn stated_length() {
    assert_eq!(parse_length(&[]), Ok(None));
    assert_eq!(parse_length(&[0]), Ok(Some((0, 1))));
    assert_eq!(parse_length(&[64, 9]), Ok(Some((64, 1))));
    assert_eq!(parse_length(&[0xFE]), Ok(None));
    assert_eq!(parse_length(&[0xFE, 0xFF, 0x7F]), Ok(Some((2_097_150, 3))));
    assert_eq!(
        parse_length(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        Ok(Some((u32::MAX, 5)))
    );
    // Longer than it must be, within 5 bytes.
    assert_eq!(parse_length(&[0x80, 0]), Ok(Some((0, 2))));
    assert_eq!(parse_length(&[0x81, 0x80, 0x80, 0x80, 0]), Ok(Some((1, 5))));
    // 33 bits, and a sixth byte.
    assert_eq!(
        parse_length(&[0x80, 0x80, 0x80, 0x80, 0x10]),
        Err(DecodeError::Length)
    );
    assert_eq!(
        parse_length(&[0x80, 0x80, 0x80, 0x80, 0x80]),
        Err(DecodeError::Length)
    );
}

#[test]
fn known_blocks() {
    assert_eq!(decode(&[0]), Ok(vec![]));
    assert_eq!(decode(&[1, 0, 0xC0]), Ok(vec![0xC0]));
    assert_eq!(decode(&[2, 4, 0xC1, 0x04]), Ok(vec![0xC1, 0x04]));
    // A literal, then a copy of it with overlap.
    assert_eq!(decode(b"\x09\x08abc\x09\x03"), Ok(b"abcabcabc"[..].into()));
    assert_eq!(encode(&[], 0, &[]), [0]);
    assert_eq!(encode(&[], 512, &[]), [0]);
    assert_eq!(encode(&[&[0xC0]], 0, &[]), [1, 0, 0xC0]);
    assert_eq!(encode(&[&[0xC1], &[4]], 0, &[]), [2, 4, 0xC1, 4]);
    assert_eq!(encode(&[&[b'x'; 20]], 512, &[]), b"\x14\x00x\x4a\x01\x00");
}

#[test]
fn a_long_match_leaves_a_short_tag_for_its_end() {
    // 65 = 60 + 5: a tag of 3 bytes and one of 2, where 64 + 1 would take two of 3.
    let block = encode(&[&[b'x'; 66]], 512, &[1]);
    assert_eq!(block, [66, 0, b'x', 59 << 2 | 2, 1, 0, 1 << 2 | 1, 1]);
}

#[test]
fn an_empty_block_ends_after_its_length() {
    assert_eq!(Decoder::new(0).finish(), Ok(()));
    for byte in 0..=255 {
        assert_eq!(decode(&[0, byte]), Err(DecodeError::TooLong));
        assert_eq!(skip_in(&[0, byte], 1), Err(DecodeError::TooLong));
    }
}

#[test]
fn a_block_can_be_cut_anywhere() {
    let (block, output) = every_element();
    for headroom in [1, 7, 63, 64, 100, 4096] {
        assert_eq!(decode_in(&block, &[1], headroom).as_ref(), Ok(&output));
        for cut in 1..block.len() {
            let decoded = decode_in(&block, &[cut, usize::MAX], headroom);
            assert_eq!(decoded.as_ref(), Ok(&output), "cut at {cut}");
        }
    }
    for size in 1..block.len() {
        assert_eq!(decode_with_room(&block, size).as_ref(), Ok(&output));
        assert_eq!(skip_in(&block, size), Ok(()));
    }
}

#[test]
fn a_block_that_is_cut_short_is_truncated() {
    let (block, _) = every_element();
    for end in 0..block.len() {
        assert_eq!(decode(&block[..end]), Err(DecodeError::Truncated));
        assert_eq!(skip_in(&block[..end], 3), Err(DecodeError::Truncated));
    }
}

#[test]
fn lying_lengths() {
    let (block, output) = every_element();
    let elements = &block[parse_length(&block).unwrap().unwrap().1..];
    let right = output.len() as u32;
    for length in [0, 1, 22, right - 64, right - 1] {
        let block = with_length(length, elements);
        assert_eq!(decode(&block), Err(DecodeError::TooLong));
        assert_eq!(decode_in(&block, &[1], 3), Err(DecodeError::TooLong));
        assert_eq!(skip_in(&block, 5), Err(DecodeError::TooLong));
    }
    for length in [right + 1, 0xFF_FFFF, u32::MAX] {
        let block = with_length(length, elements);
        assert_eq!(decode(&block), Err(DecodeError::Truncated));
        assert_eq!(skip_in(&block, 5), Err(DecodeError::Truncated));
    }
    // A literal of 2^32 bytes, and one of 2^32 - 1.
    for low in [0xFF, 0xFE] {
        let elements = [63 << 2, low, 0xFF, 0xFF, 0xFF, 1, 2, 3];
        assert_eq!(
            decode(&with_length(3, &elements)),
            Err(DecodeError::TooLong)
        );
    }
    let elements = [63 << 2, 0xFE, 0xFF, 0xFF, 0xFF, 1, 2, 3];
    assert_eq!(
        decode(&with_length(u32::MAX, &elements)),
        Err(DecodeError::Truncated)
    );
}

#[test]
fn a_copy_reads_only_what_was_produced() {
    for (tag, size) in [(1, 1), (3 << 2 | 2, 2), (3 << 2 | 3, 4)] {
        for (offset, valid) in [
            (0_u32, false),
            (1, true),
            (3, true),
            (4, false),
            (255, false),
        ] {
            let mut elements = vec![2 << 2, b'a', b'b', b'c', tag];
            elements.extend(&offset.to_le_bytes()[..size]);
            let block = with_length(7, &elements);
            let expected = if valid {
                Ok(())
            } else {
                Err(DecodeError::Offset)
            };
            assert_eq!(decode(&block).map(|_| ()), expected);
            assert_eq!(skip_in(&block, 2), expected);
            assert_eq!(oracle(&block).is_some(), valid);
        }
    }
    let far = [0, b'a', 3, 0, 0, 0, 0x80];
    assert_eq!(decode(&with_length(2, &far)), Err(DecodeError::Offset));
}

#[test]
fn what_the_window_held_before_cannot_be_copied() {
    let mut bytes = [0; 200];
    bytes[..6].copy_from_slice(b"secret");
    // As a whole, and byte by byte; with more behind the copy, so that its tag is not the last.
    for (size, offset) in [(1, 2), (1, 7), (100, 2), (100, 7)] {
        let mut window = Window::new(&mut bytes, 6);
        let mut decoder = Decoder::new(50);
        let block = [0, b'a', 1, offset, 0, b'b', 0, b'c', 0, b'd'];
        let result = block
            .chunks(size)
            .try_for_each(|piece| decoder.decode(piece, &mut window).map(|_| ()));
        assert_eq!(result, Err(DecodeError::Offset));
    }
    let mut decoder = Decoder::new(5);
    let mut window = Window::new(&mut bytes, 6);
    assert_eq!(decoder.decode(&[0, b'a', 1, 1], &mut window), Ok(4));
    assert_eq!(window.filled(), b"secretaaaaa");
}

#[test]
fn an_error_is_final() {
    let mut bytes = [0; 100];
    let mut window = Window::new(&mut bytes, 0);
    let mut decoder = Decoder::new(10);
    let error = Err(DecodeError::Offset);
    assert_eq!(decoder.decode(&[0, 1, 1, 0], &mut window), error);
    assert_eq!(decoder.decode(&[], &mut window), error);
    assert_eq!(decoder.decode(&[9 << 2], &mut window), error);
    assert_eq!(decoder.skip(&[]), Err(DecodeError::Offset));
    assert_eq!(decoder.finish(), Err(DecodeError::Offset));
}

#[test]
fn a_full_window_is_resumed_and_output_can_be_given_up() {
    // One byte, then 64 copies of it: the copy stops at the end of the window, and its tag is not taken whole.
    let input = [0, 7, 63 << 2 | 2, 1, 0];
    let mut bytes = [0; 80];
    let mut decoder = Decoder::new(65);
    let mut window = Window::new(&mut bytes[..10], 0);
    assert_eq!(decoder.decode(&input, &mut window), Ok(4));
    assert_eq!((window.len(), decoder.remaining()), (10, 55));
    assert_eq!(decoder.finish(), Err(DecodeError::Truncated));
    assert_eq!(decoder.decode(&[], &mut window), Ok(0));
    let mut skipping = decoder.clone();
    assert_eq!(skipping.skip(&input[4..]), Ok(()));
    assert_eq!(skipping.finish(), Ok(()));
    assert_eq!(decoder.room_for(1), 55);
    let mut window = Window::new(&mut bytes, 10);
    assert_eq!(decoder.decode(&input[4..], &mut window), Ok(1));
    assert_eq!(decoder.finish(), Ok(()));
    assert_eq!(window.filled(), [7; 65]);
}

#[test]
fn literals_need_few_bytes_more() {
    for (n, more) in [
        (1, 2),
        (60, 2),
        (61, 3),
        (256, 4),
        (257, 5),
        (65_536, 6),
        (65_537, 7),
    ] {
        let data = noise(n as u64, n);
        let (a, b) = data.split_at(n / 3);
        let block = encode(&[a, &[], b], 0, &[1000]);
        assert_eq!(block.len(), n + more);
        assert_eq!(oracle(&block), Some(data.clone()));
        assert_eq!(decode(&block), Ok(data));
    }
    // One literal has at most 2^24 bytes.
    let data = vec![5; (1 << 24) + 3];
    assert_eq!(measure(&[&data], None), data.len() + 4 + 4 + 1);
}

#[test]
fn text_is_compressed_as_well_as_by_others() {
    let mut state = 7_u64;
    let mut text = Vec::new();
    while text.len() < 16_384 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let at = (state >> 33) as usize % (3 * WORDS.len());
        match WORDS.get(at / 2) {
            Some(word) => text.extend(word.bytes()),
            None => text.extend(noise(state >> 40, 3).iter().map(|byte| byte % 26 + b'a')),
        }
    }
    let best = snap_compress(&text).len();
    let small = encode(&[&text], 512, &[]).len();
    let large = encode(&[&text], 4096, &[]).len();
    assert!(large * 100 <= best * 105, "{large} of {best}");
    assert!(small * 100 <= best * 117, "{small} of {best}");
}

#[test]
fn large_payloads_go_in_blocks() {
    let data = [
        noise(1, 70_000),
        vec![0; 200_000],
        noise(2, 1000),
        noise(2, 1000),
    ]
    .concat();
    for table in [0, 2, 256, 512, 4096, 65_536, 1 << 17] {
        let block = encode(&[&data], table, &[10_000]);
        assert_eq!(oracle(&block).as_ref(), Some(&data));
        assert!(block.len() <= max_compressed_length(data.len()));
        assert_eq!(decode_in(&block, &[777], 5000).as_ref(), Ok(&data));
        assert_eq!(decode_with_room(&block, 5000).as_ref(), Ok(&data));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_we_encode_others_decode(
        data in data(12),
        cuts in vec(any::<prop::sample::Index>(), 0..4),
        bits in 0..14_u32,
        sizes in vec(1..50_usize, 1..20),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
        ends.extend([0, data.len()]);
        ends.sort_unstable();
        let payload: Vec<&[u8]> = ends.windows(2).map(|at| &data[at[0]..at[1]]).collect();
        let size = if bits == 0 { 0 } else { 1 << bits };
        let block = encode(&payload, size, &sizes);
        prop_assert_eq!(oracle(&block), Some(data.clone()));
        prop_assert_eq!(encode(&payload, size, &[]), block.clone());
        prop_assert_eq!(decode(&block), Ok(data));
    }

    #[test]
    fn one_pass_is_the_same_as_two(data in data(8), bits in 0..14_u32) {
        let size = if bits == 0 { 0 } else { 1 << bits };
        let block = encode(&[&data], size, &[]);
        prop_assert!(block.len() <= max_compressed_length(data.len()));
        let mut table = vec![7; size];
        let mut out = vec![0; block.len()];
        prop_assert_eq!(compress(&data, lend(&mut table), &mut out), Some(block.len()));
        prop_assert_eq!(&out, &block);
        prop_assert_eq!(compress(&data, lend(&mut table), &mut out[1..]), None);
    }

    #[test]
    fn what_others_encode_we_decode(
        data in data(12),
        sizes in vec(1..50_usize, 1..20),
        size in 1..500_usize,
        headroom in 1..200_usize,
    ) {
        let block = snap_compress(&data);
        let expected = Ok(data);
        prop_assert_eq!(&decode(&block), &expected);
        prop_assert_eq!(&decode_in(&block, &sizes, headroom), &expected);
        prop_assert_eq!(&decode_with_room(&block, size), &expected);
        prop_assert_eq!(skip_in(&block, size), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn others_accept_the_same(
        (length, elements) in elements(),
        damage in prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
        sizes in vec(1..30_usize, 1..8),
        size in 1..100_usize,
        headroom in 1..100_usize,
    ) {
        let mut block = with_length(length, &elements);
        if let Some((at, byte)) = damage {
            let at = at.index(block.len());
            block[at] = byte;
        }
        let expected = oracle(&block);
        let whole = decode(&block);
        prop_assert_eq!(whole.as_ref().ok(), expected.as_ref());
        prop_assert_eq!(&decode_in(&block, &sizes, headroom), &whole);
        prop_assert_eq!(&decode_with_room(&block, size), &whole);
        prop_assert_eq!(skip_in(&block, size), whole.map(|_| ()));
    }

    #[test]
    fn arbitrary_bytes(block in vec(any::<u8>(), 0..40), sizes in vec(1..8_usize, 1..8)) {
        let whole = decode(&block);
        // Others read a length of up to 10 bytes, here 5 is the limit.
        if whole != Err(DecodeError::Length) {
            prop_assert_eq!(whole.clone().ok(), oracle(&block));
        }
        prop_assert_eq!(&decode_in(&block, &sizes, 1), &whole);
        prop_assert_eq!(skip_in(&block, 1), whole.map(|_| ()));
    }

    #[test]
    fn a_window_repeats_what_it_holds(
        held in vec(any::<u8>(), 1..100),
        offset in 0..110_usize,
        length in 0..150_usize,
        room in 0..200_usize,
    ) {
        let mut bytes = held.clone();
        bytes.resize(held.len() + room, 0);
        let mut window = Window::new(&mut bytes, held.len());
        let valid = offset > 0 && offset <= held.len() && length <= room;
        prop_assert_eq!(window.repeat(offset, length), valid);
        let mut expected = held;
        for _ in 0..if valid { length } else { 0 } {
            expected.push(expected[expected.len() - offset]);
        }
        prop_assert_eq!(window.filled(), &expected[..]);
    }
}
