//! Disconnect: the reason comes out of every form in which peers send it.

use devp2p_core::disconnect::{DisconnectReason, decode, encode, encode_compressed};
use proptest::prelude::*;
use serde::Deserialize;

fn snappy(content: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(content).unwrap()
}

fn unsnappy(payload: &[u8]) -> Option<Vec<u8>> {
    // A stated length is not to be believed: only the smallest blocks are of interest.
    (snap::raw::decompress_len(payload).ok()? <= 64)
        .then(|| snap::raw::Decoder::new().decompress_vec(payload).ok())?
}

/// The rule of decoding, once more and in other words.
///
/// The oracle's Snappy says whether the payload is a block, except that `00` is no block here.
fn rule(payload: &[u8]) -> Option<u8> {
    let content = match payload {
        [0x00] => vec![0x00],
        _ => unsnappy(payload).unwrap_or(payload.to_vec()),
    };
    match content[..] {
        // Bare: one byte, which from 0x80 on has a prefix. The empty string is zero, and so are zero bytes in front.
        [0x80] => Some(0),
        [byte @ 0x00..=0x7f] => Some(byte),
        [0x81, byte @ 0x80..=0xff] => Some(byte),
        [0x82, 0, byte] => Some(byte),
        // The first element of a list that is long enough to hold it.
        [head @ 0xc1..=0xf7, ref rest @ ..] if rest.len() >= usize::from(head - 0xc0) => {
            match rest[..usize::from(head - 0xc0)] {
                [0x80, ..] => Some(0),
                [byte @ 0x00..=0x7f, ..] => Some(byte),
                [0x81, byte @ 0x80..=0xff, ..] => Some(byte),
                _ => None,
            }
        }
        _ => None,
    }
}

#[test]
fn every_payload_of_up_to_three_bytes_follows_the_rule() {
    let check = |payload: &[u8]| {
        let reason = decode(payload).map(|reason| reason.0);
        assert_eq!(reason, rule(payload), "{payload:02x?}");
    };
    check(&[]);
    for a in 0..=255 {
        check(&[a]);
        for b in 0..=255 {
            check(&[a, b]);
            for c in 0..=255 {
                check(&[a, b, c]);
            }
        }
    }
}

#[test]
fn every_canonical_form_of_up_to_three_bytes_means_what_the_oracle_says() {
    let mut seen = 0;
    for bytes in (0..1 << 24).map(|n: u32| n.to_be_bytes()) {
        for payload in [&bytes[1..2], &bytes[1..3], &bytes[1..]] {
            let item = rlp::Rlp::new(payload);
            let whole = item
                .payload_info()
                .is_ok_and(|info| info.total() == payload.len());
            let oracle = if item.is_list() {
                item.val_at::<u8>(0)
            } else {
                item.as_val::<u8>()
            };
            if let (true, Ok(reason)) = (whole, oracle) {
                assert_eq!(
                    decode(payload),
                    Some(DisconnectReason(reason)),
                    "{payload:02x?}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 256);
}

#[derive(Deserialize)]
struct Vectors {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    payload: String,
    reason: Option<u8>,
    note: String,
}

#[test]
fn payloads_seen_on_the_wire() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../vectors/disconnect.json")).unwrap();
    assert!(!vectors.rows.is_empty());
    for row in vectors.rows {
        let payload: Vec<u8> = (0..row.payload.len() / 2)
            .map(|i| u8::from_str_radix(&row.payload[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let reason = decode(&payload).map(|reason| reason.0);
        assert_eq!(reason, row.reason, "{}: {}", row.payload, row.note);
    }
}

#[test]
fn all_reasons_come_back_from_each_form() {
    for reason in (0..=255).map(DisconnectReason) {
        let list = {
            let mut stream = rlp::RlpStream::new_list(1);
            stream.append(&reason.0);
            stream.out()
        };
        let (bytes, length) = encode(reason);
        assert_eq!(&bytes[..length], &list[..]);
        assert_eq!(decode(&bytes[..length]), Some(reason));

        let (bytes, length) = encode_compressed(reason);
        assert_eq!(&bytes[..length], &snappy(&list));
        assert_eq!(decode(&bytes[..length]), Some(reason));

        let bare = rlp::encode(&reason.0);
        assert_eq!(decode(&bare), Some(reason));
        assert_eq!(decode(&snappy(&bare)), Some(reason));
    }
    assert_eq!(encode(DisconnectReason::REQUESTED), ([0xc1, 0x80, 0], 2));
    assert_eq!(encode(DisconnectReason(0xfe)), ([0xc2, 0x81, 0xfe], 3));
    assert_eq!(
        encode_compressed(DisconnectReason(4)),
        ([0x02, 0x04, 0xc1, 0x04, 0], 4)
    );
    assert_eq!(
        encode_compressed(DisconnectReason(0xfe)),
        ([0x03, 0x08, 0xc2, 0x81, 0xfe], 5)
    );
}

#[test]
fn the_first_element_counts_however_many_follow() {
    // Up to a list of 60 bytes, the longest literal whose tag is one byte.
    for more in 0..=57 {
        let mut stream = rlp::RlpStream::new_list(1 + more);
        stream.append(&4u8);
        for i in 0..more {
            // Unlike neighbours, so that the block stays one literal.
            stream.append(&(i as u8 + 5));
        }
        let list = stream.out();
        assert_eq!(decode(&list), Some(DisconnectReason::TOO_MANY_PEERS));
        assert_eq!(
            decode(&snappy(&list)),
            Some(DisconnectReason::TOO_MANY_PEERS)
        );
    }
}

/// A list of the reason and a text, as the oracle encodes it.
fn with_text(reason: u8, length: usize) -> Vec<u8> {
    let mut stream = rlp::RlpStream::new_list(2);
    stream.append(&reason).append(&vec![b'x'; length]);
    stream.out().to_vec()
}

#[test]
fn the_first_element_counts_whatever_follows_to_any_length() {
    let mut seen = 0;
    let lengths = (0..300).chain([1_154, 2_000, 65_535, 65_536, 1 << 20, 0xff_fff0]);
    for length in lengths {
        for reason in [0, 4, 0x10, 0xfe] {
            let check = |payload: &[u8]| {
                let found = decode(payload).map(|reason| reason.0);
                assert_eq!(found, Some(reason), "and {length} more");
            };
            let list = with_text(reason, length);
            check(&list);
            check(&snappy(&list));
            let followed = [&encode_list(reason)[..], &vec![0; length]].concat();
            // `c180` and 131 zeros, or `c104` and 1 154, happen to be a block of zeros, which wins.
            if snap::raw::Decoder::new().decompress_vec(&followed).is_err() {
                check(&followed);
            } else {
                assert_eq!(decode(&followed), None);
                seen += 1;
            }
            check(&snappy(&followed));
        }
    }
    assert_eq!(seen, 2);
}

fn encode_list(reason: u8) -> Vec<u8> {
    let (bytes, length) = encode(DisconnectReason(reason));
    bytes[..length].to_vec()
}

/// The oracle's blocks begin with a literal that holds the reason; others are as valid.
#[test]
fn a_reason_in_a_copy_of_a_block_is_found() {
    // `c3 04 04 04` as a literal of `c3 04` and a copy of one byte, then of one more.
    let block = [0x04, 0x04, 0xc3, 0x04, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00];
    assert_eq!(decode(&block), Some(DisconnectReason::TOO_MANY_PEERS));
    // `c1 c1 04`: the reason is no reason, being a list.
    let block = [0x03, 0x00, 0xc1, 0x02, 0x01, 0x00, 0x00, 0x04];
    assert_eq!(decode(&block), None);
    // `c4 81 ff 81 ff` of five literals of one byte.
    let block = [0x05, 0, 0xc4, 0, 0x81, 0, 0xff, 0, 0x81, 0, 0xff];
    assert_eq!(decode(&block), Some(DisconnectReason(0xff)));
}

#[test]
fn what_is_no_reason_is_none() {
    for payload in [
        &[0xc0][..],
        &[0xc1, 0xc0],             // a list in the list
        &[0xc3, 0x82, 0x01, 0x00], // 256
        &[0x82, 0x01, 0x00],
        &[0x81, 0x04],       // a prefix that is not needed
        &[0xb8, 0x01, 0x04], // a length in a longer form than needed
        &[0xf8, 0x01, 0x04],
        &[0xc5, 0x04],       // shorter than it says
        &[0x04, 0x05],       // a bare reason and something else
        &[0x02, 0x04, 0xc1], // a block shorter than it says
        &[0x02, 0x04, 0xc1, 0x04, 0x00],
        &[0x03, 0x04, 0xc1, 0x04],
        &[&[0x80 + 20][..], &[0; 20]].concat(), // a string beyond what is looked at
        &[&[0xc0 + 21, 0x80 + 20][..], &[0; 20]].concat(),
    ] {
        assert_eq!(decode(payload), None, "{payload:02x?}");
    }
}

#[test]
fn all_reasons_have_a_text() {
    for reason in (0..=255).map(DisconnectReason) {
        let text = reason.to_string();
        assert!(text.ends_with(&format!("(0x{:02x})", reason.0)), "{text}");
        assert_eq!(format!("{reason:?}"), text);
        let named = matches!(reason.0, 0x00..=0x0b | 0x10);
        assert_eq!(text.starts_with("unknown reason"), !named, "{text}");
    }
}

proptest! {
    #[test]
    fn any_payload_is_decoded_without_panic(payload in prop::collection::vec(any::<u8>(), 0..80)) {
        let reason = decode(&payload);
        // Compression changes nothing, as long as the block is one literal.
        if !payload.is_empty() && payload.len() <= 60 {
            let block = [&[payload.len() as u8, (payload.len() as u8 - 1) << 2], &payload[..]].concat();
            prop_assert_eq!(unsnappy(&block), Some(payload.clone()));
            if unsnappy(&payload).is_none() {
                prop_assert_eq!(decode(&block), reason);
            }
        }
    }
}
