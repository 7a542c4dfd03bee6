//! Messages of `eth`: both forms of Status, ranges, requests for headers and their answers.
use devp2p_core::rlp;
use devp2p_light::eth::{
    self, BlockHeaders, BlockRange, GetBlockHeaders, Origin, Status, empty_answer,
};
use devp2p_light::fork_id::ForkId;
use devp2p_light::header::{Header, MAX_LENGTH};
use devp2p_light::primitives::{DecodeError, Hash};
use proptest::prelude::*;

use crate::bytes::{MadeHeader, hash, hex, mainnet_genesis};

const STATUS: Status = Status {
    version: 69,
    network_id: 1,
    genesis: Hash([0xaa; 32]),
    fork_id: ForkId {
        hash: [0xde, 0xad, 0xbe, 0xef],
        next: 0xbadd_cafe,
    },
    head: Hash([0xbb; 32]),
    numbers: Some((1, 0x1234)),
};

fn written(encode: impl FnOnce(&mut [u8]) -> Result<usize, rlp::NoRoom>) -> Vec<u8> {
    let mut out = [0; 256];
    let length = encode(&mut out).expect("room");
    out[..length].to_vec()
}

#[test]
fn status_has_the_form_of_its_version() {
    // EIP-7642: [version, networkid, genesis, forkid, earliest, latest, latestHash].
    let expected = format!(
        "f8534501a0{}ca84deadbeef84baddcafe01821234a0{}",
        "aa".repeat(32),
        "bb".repeat(32)
    );
    let encoded = written(|out| STATUS.encode(out));
    assert_eq!(encoded, hex(&expected));
    for version in 69..=72 {
        let status = Status { version, ..STATUS };
        let encoded = written(|out| status.encode(out));
        assert_eq!(Status::decode(version, &encoded), Ok(status));
    }
    // Before it: [version, networkid, td, head, genesis, forkid].
    let old = Status {
        version: 68,
        numbers: None,
        ..STATUS
    };
    let expected = format!(
        "f850440180a0{}a0{}ca84deadbeef84baddcafe",
        "bb".repeat(32),
        "aa".repeat(32)
    );
    let encoded = written(|out| old.encode(out));
    assert_eq!(encoded, hex(&expected));
    assert_eq!(Status::decode(68, &encoded), Ok(old));
    // A real total difficulty is longer, and skipped.
    let real = hex(&format!(
        "f85a44018a0c70d815d562d3cfa955a0{}a0{}ca84deadbeef84baddcafe",
        "bb".repeat(32),
        "aa".repeat(32)
    ));
    assert_eq!(Status::decode(68, &real), Ok(old));
}

#[test]
fn a_range_that_ends_before_it_begins_is_an_error() {
    let range = BlockRange {
        earliest: 5,
        latest: 5,
        latest_hash: Hash([1; 32]),
    };
    let encoded = written(|out| range.encode(out));
    assert_eq!(BlockRange::decode(&encoded), Ok(range));
    let backwards = BlockRange {
        earliest: 6,
        ..range
    };
    let encoded = written(|out| backwards.encode(out));
    assert_eq!(BlockRange::decode(&encoded), Err(DecodeError::FieldValue));
}

/// The examples of the specification's test vectors (EIP-2481).
#[test]
fn requests_for_headers_are_those_of_the_published_vectors() {
    let by_hash = GetBlockHeaders {
        request_id: 1111,
        origin: Origin::Hash(hash(
            "00000000000000000000000000000000000000000000000000000000deadc0de",
        )),
        amount: 5,
        skip: 5,
        reverse: false,
    };
    let by_number = GetBlockHeaders {
        origin: Origin::Number(9999),
        ..by_hash
    };
    for (request, vector) in [
        (
            by_hash,
            "e8820457e4a000000000000000000000000000000000000000000000000000000000deadc0de050580",
        ),
        (by_number, "ca820457c682270f050580"),
    ] {
        assert_eq!(written(|out| request.encode(out)), hex(vector));
        assert_eq!(GetBlockHeaders::decode(&hex(vector)), Ok(request));
    }
}

#[test]
fn answers_are_read_header_by_header_up_to_the_first_that_is_none() {
    let first = mainnet_genesis();
    let second = MadeHeader {
        parent: Hash([9; 32]),
        state_root: Hash([8; 32]),
        number: 7,
        timestamp: 6,
        extra: b"some".to_vec(),
    };
    let second_encoded = second.encode();
    let mut out = vec![0; 4096];
    let length = BlockHeaders::encode(77, &[&first, &second_encoded], &mut out).expect("room");
    let answer = BlockHeaders::decode(&out[..length]).expect("an answer");
    assert_eq!(answer.request_id, 77);
    assert_eq!(answer.headers.count(), Some(2));
    let headers: Vec<_> = answer.headers.collect();
    let genesis = headers[0].expect("the first header");
    assert_eq!(
        genesis.hash(),
        hash("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3")
    );
    assert_eq!((genesis.number, genesis.timestamp), (0, 0));
    let read = headers[1].expect("the second header");
    assert_eq!(read.encoded(), second_encoded);
    assert_eq!(
        (read.parent, read.state_root, read.number, read.timestamp),
        (Hash([9; 32]), Hash([8; 32]), 7, 6)
    );
    assert_eq!(read.hash(), second.hash());

    let length =
        BlockHeaders::encode(1, &[&first, &[0x05], &second_encoded], &mut out).expect("room");
    let answer = BlockHeaders::decode(&out[..length]).expect("an answer");
    let mut headers = answer.headers;
    assert!(headers.next().is_some_and(|header| header.is_ok()));
    assert!(headers.next().is_some_and(|header| header.is_err()));
    assert_eq!(headers.next(), None);
}

#[test]
fn the_longest_header_of_today_is_within_the_stated_length() {
    let header = MadeHeader {
        parent: Hash([9; 32]),
        state_root: Hash([8; 32]),
        number: u64::MAX,
        timestamp: u64::MAX,
        extra: vec![0xff; 32],
    };
    // Besides what it has: the largest base fee, the block access list's hash, the slot, all integers at 8 bytes.
    let rest = 32 + 33 + 9 + 4 * 8;
    assert!(header.encode().len() + rest <= MAX_LENGTH);
}

#[test]
fn what_is_not_had_is_answered_by_nothing() {
    let request = hex("ca820457c682270f050580");
    let answer = |version, code| {
        let answer = empty_answer(version, code, &request).expect("a request");
        answer.map(|answer| (answer.code, written(|out| answer.encode(out))))
    };
    let nothing = || hex("c4820457c0");
    for (asked, answered) in [(0x03, 0x04), (0x05, 0x06), (0x09, 0x0a)] {
        assert_eq!(answer(68, asked), Some((answered, nothing())));
    }
    assert_eq!(answer(69, 0x0f), Some((0x10, nothing())));
    assert_eq!(answer(70, 0x0f), Some((0x10, hex("c582045780c0"))));
    assert_eq!(answer(71, 0x12), Some((0x13, nothing())));
    let no_cells = format!("d6820457c0c090{}", "00".repeat(16));
    assert_eq!(answer(72, 0x14), Some((0x15, hex(&no_cells))));
    // Transactions and announcements ask for nothing.
    for code in [0x01, 0x02, 0x07, 0x08, 0x11] {
        assert_eq!(answer(72, code), None);
    }
    assert!(empty_answer(69, 0x03, b"\xc1").is_err());
}

#[test]
fn lengths_are_those_of_the_versions() {
    let lengths: Vec<_> = (67..=73).map(eth::length).collect();
    let known = [17, 18, 18, 20, 22].map(Some);
    assert_eq!(lengths, [&[None][..], &known, &[None]].concat());
}

proptest! {
    #[test]
    fn no_bytes_panic(version in 66_u32..75, bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _ = Status::decode(version, &bytes);
        let _ = BlockRange::decode(&bytes);
        let _ = GetBlockHeaders::decode(&bytes);
        if let Ok(answer) = BlockHeaders::decode(&bytes) {
            let _ = answer.headers.count();
            let _ = answer.headers.last();
        }
        let _ = Header::decode(&bytes);
        for code in 0..0x20 {
            let _ = empty_answer(version, code, &bytes);
        }
    }

    /// One byte changed, cut or added: a header is another one, or none.
    #[test]
    fn a_changed_header_is_another(at in 0_usize..600, to in any::<u8>()) {
        let header = MadeHeader {
            parent: Hash([9; 32]),
            state_root: Hash([8; 32]),
            number: 7,
            timestamp: 6,
            extra: vec![1; 32],
        };
        let encoded = header.encode();
        let mut changed = encoded.clone();
        let at = at % changed.len();
        changed[at] = to;
        if changed != encoded && let Ok(read) = Header::decode(&changed) {
            prop_assert_ne!(read.hash(), header.hash());
        }
        prop_assert!(Header::decode(&encoded[..at]).is_err());
    }
}

#[test]
fn headers_of_mainnet_have_their_published_hashes() {
    let vectors = include_str!("../../vectors/mainnet-headers.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).expect("JSON");
    let vectors = vectors["headers"].as_array().expect("a list");
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let encoded = hex(vector["header"].as_str().expect("digits"));
        let header = Header::decode(&encoded).expect("a header");
        assert_eq!(
            header.hash(),
            hash(vector["hash"].as_str().expect("digits"))
        );
        assert_eq!(vector["number"], header.number);
        assert_eq!(vector["timestamp"], header.timestamp);
        assert!(encoded.len() <= MAX_LENGTH);
    }
}
