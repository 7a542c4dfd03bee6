//! Matching: of each shared name the highest shared version, in the order of the names' bytes, codes from 16 on.

use std::collections::BTreeMap;

use devp2p_core::capability::Protocol;
use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::config::Local;
use devp2p_core::hello::{Hello, NodeId, RemoteCapability};
use devp2p_core::shared_capabilities::{MatchError, SharedCapabilities};
use proptest::prelude::*;
use serde::Deserialize;

type Table = SharedCapabilities<32>;

fn protocol(name: &str, version: u32, length: u32) -> Protocol {
    Protocol::new(name, version, length, 0).unwrap()
}

fn theirs<'a>(name: &'a str, version: u64) -> RemoteCapability<'a> {
    RemoteCapability {
        name: name.as_bytes(),
        version,
    }
}

fn as_remote(protocols: &[Protocol]) -> Vec<RemoteCapability<'_>> {
    protocols
        .iter()
        .map(|one| theirs(one.capability.name.as_str(), one.capability.version.into()))
        .collect()
}

/// A row of a table as both sides see it: name, version, offset, length.
type Row = (String, u32, u32, u32);

fn rows<const N: usize>(table: &SharedCapabilities<N>, local: &[Protocol]) -> Vec<Row> {
    table
        .iter()
        .map(|entry| {
            let capability = local[usize::from(entry.subprotocol)].capability;
            (
                capability.name.as_str().to_owned(),
                capability.version,
                entry.offset,
                entry.length,
            )
        })
        .collect()
}

/// The naive model, with an ordered map.
fn model(local: &[Protocol], remote: &[RemoteCapability<'_>]) -> Option<Vec<Row>> {
    let mut best: BTreeMap<&[u8], (u32, u32)> = BTreeMap::new();
    for one in local {
        let name = one.capability.name.as_bytes();
        let version = one.capability.version;
        let shared = remote
            .iter()
            .any(|theirs| theirs.name == name && theirs.version == u64::from(version));
        if shared && best.get(name).is_none_or(|(old, _)| version > *old) {
            best.insert(name, (version, one.length));
        }
    }
    let mut offset = 16u32;
    let mut rows = Vec::new();
    for (name, (version, length)) in best {
        rows.push((
            String::from_utf8(name.to_vec()).unwrap(),
            version,
            offset,
            length,
        ));
        offset = offset.checked_add(length)?;
    }
    Some(rows)
}

#[derive(Deserialize)]
struct Vectors {
    rows: Vec<VectorRow>,
}

#[derive(Deserialize)]
struct VectorRow {
    title: String,
    remote: Vec<Stated>,
    local: Vec<Stated>,
    r#match: Vec<Stated>,
}

#[derive(Deserialize)]
struct Stated {
    name: String,
    version: u32,
    #[serde(default)]
    length: u32,
    #[serde(default)]
    offset: u32,
}

#[test]
fn public_vectors() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../vectors/capability-matching.json")).unwrap();
    assert!(!vectors.rows.is_empty());
    for row in vectors.rows {
        let local: Vec<_> = row
            .local
            .iter()
            .map(|one| protocol(&one.name, one.version, one.length))
            .collect();
        let remote: Vec<_> = row
            .remote
            .iter()
            .map(|one| theirs(&one.name, one.version.into()))
            .collect();
        let table = Table::new(&local, remote.iter().copied()).unwrap();
        let got = rows(&table, &local);
        let short: Vec<_> = got
            .iter()
            .map(|(name, version, offset, _)| (name.as_str(), *version, *offset))
            .collect();
        let expected: Vec<_> = row
            .r#match
            .iter()
            .map(|one| (one.name.as_str(), one.version, one.offset + 16))
            .collect();
        assert_eq!(short, expected, "{}", row.title);
        assert_eq!(Some(got), model(&local, &remote), "{}", row.title);
    }
}

#[test]
fn codes_at_every_edge() {
    let local = [
        protocol("snap", 1, 8),
        protocol("void", 1, 0),
        protocol("eth", 68, 17),
        protocol("other", 1, 3),
    ];
    let remote = [theirs("void", 1), theirs("snap", 1), theirs("eth", 68)];
    let table = Table::new(&local, remote).unwrap();
    // eth owns 16..=32, snap 33..=40, void nothing.
    for (code, expected) in [
        (0, None),
        (15, None),
        (16, Some((2, 0))),
        (32, Some((2, 16))),
        (33, Some((0, 0))),
        (40, Some((0, 7))),
        (41, None),
        (42, None),
        (u32::MAX, None),
    ] {
        let expected = expected.map(|(subprotocol, code)| (subprotocol, LocalCode(code)));
        assert_eq!(table.locate(WireCode(code)), expected, "{code}");
    }
    for (subprotocol, code, expected) in [
        (2, 0, Some(16)),
        (2, 16, Some(32)),
        (2, 17, None),
        (2, u32::MAX, None),
        (0, 0, Some(33)),
        (0, 7, Some(40)),
        (0, 8, None),
        (1, 0, None),
        (3, 0, None),
        (4, 0, None),
        (usize::MAX, 0, None),
        (256 + 2, 0, None),
    ] {
        let expected = expected.map(WireCode);
        assert_eq!(
            table.wire_code(subprotocol, LocalCode(code)),
            expected,
            "{subprotocol} {code}"
        );
    }
    assert_eq!(table.end(), WireCode(41));
    assert_eq!(table.len(), 3);
    assert_eq!(
        table.offset(1),
        Some(41),
        "a protocol without codes is shared all the same"
    );
    assert!(table.is_shared(1));
    assert_eq!(table.offset(3), None);
    assert!(!table.is_shared(3));
    assert!(!table.is_shared(256));
}

#[test]
fn nothing_is_shared_before_hello() {
    const EMPTY: SharedCapabilities<4> = SharedCapabilities::empty();
    assert!(EMPTY.is_empty());
    assert_eq!(EMPTY.end(), WireCode(16));
    assert_eq!(EMPTY.locate(WireCode(16)), None);
    assert_eq!(EMPTY.wire_code(0, LocalCode(0)), None);
}

#[test]
fn the_highest_version_wins_in_whatever_order() {
    let mut local = [
        protocol("p", 1, 10),
        protocol("p", 2, 20),
        protocol("p", 3, 30),
        protocol("p", 5, 50),
    ];
    let mut remote = [
        theirs("p", 1),
        theirs("p", 3),
        theirs("p", 2),
        theirs("p", 4),
    ];
    for _ in 0..4 {
        local.rotate_left(1);
        for _ in 0..4 {
            remote.rotate_left(1);
            let table = Table::new(&local, remote).unwrap();
            assert_eq!(rows(&table, &local), [("p".to_owned(), 3, 16, 30)]);
        }
    }
}

#[test]
fn repetitions_change_nothing() {
    let local = [
        protocol("p", 1, 4),
        protocol("p", 1, 9),
        protocol("q", 1, 1),
    ];
    let once = Table::new(&local, [theirs("p", 1), theirs("q", 1)]).unwrap();
    let often = [theirs("p", 1), theirs("q", 1)]
        .into_iter()
        .cycle()
        .take(501);
    assert_eq!(Table::new(&local, often).unwrap(), once);
    // Of a capability registered twice the first counts.
    assert_eq!(
        rows(&once, &local),
        [("p".to_owned(), 1, 16, 4), ("q".to_owned(), 1, 20, 1)]
    );
    assert!(!once.is_shared(1));
}

#[test]
fn names_are_compared_as_bytes_and_whole() {
    let local = ["a", "B", "ab", "", "~", "zzzzzzzzzzzzzzz"].map(|name| protocol(name, 1, 1));
    let table = Table::new(&local, as_remote(&local)).unwrap();
    let names: Vec<_> = rows(&table, &local).into_iter().map(|row| row.0).collect();
    assert_eq!(names, ["", "B", "a", "ab", "zzzzzzzzzzzzzzz", "~"]);

    // A longer name, one padded with zeros, other case, a version that is the same in its low 32 bits: none of them is ours.
    let local = [protocol("ab", 1, 1)];
    let strangers = [
        theirs("abc", 1),
        theirs("a", 1),
        theirs("ab\0", 1),
        theirs("AB", 1),
        theirs("ab\u{e9}", 1),
        theirs("ab", (1 << 32) + 1),
        theirs("ab", u64::MAX),
    ];
    assert!(Table::new(&local, strangers).unwrap().is_empty());
}

#[test]
fn offsets_near_the_end_of_32_bits() {
    let room = u32::MAX - 16;
    let local = [
        protocol("a", 1, room),
        protocol("b", 1, 0),
        protocol("c", 1, 1),
    ];
    let remote = as_remote(&local);
    // The codes up to the last but one can be owned; the end must still be a code.
    let table = Table::new(&local, remote[..2].to_vec()).unwrap();
    assert_eq!(table.end(), WireCode(u32::MAX));
    assert_eq!(
        table.locate(WireCode(u32::MAX - 1)),
        Some((0, LocalCode(room - 1)))
    );
    assert_eq!(table.locate(WireCode(u32::MAX)), None);
    assert_eq!(
        table.wire_code(0, LocalCode(room - 1)),
        Some(WireCode(u32::MAX - 1))
    );
    assert_eq!(table.wire_code(0, LocalCode(room)), None);
    assert_eq!(table.locate(WireCode(15)), None);

    assert_eq!(
        Table::new(&local, remote),
        Err(MatchError::CodeSpaceExhausted)
    );
    let local = [protocol("a", 1, u32::MAX)];
    assert_eq!(
        Table::new(&local, as_remote(&local)),
        Err(MatchError::CodeSpaceExhausted)
    );
    // What is not shared takes no codes.
    assert!(Table::new(&local, []).unwrap().is_empty());
}

#[test]
fn as_many_protocols_as_the_table_holds() {
    let local: Vec<_> = (0..33)
        .map(|n| protocol(&format!("p{n:02}"), 1, 2))
        .collect();
    let remote = as_remote(&local);
    let full = Table::new(&local[..32], remote.clone()).unwrap();
    assert_eq!(full.len(), 32);
    assert_eq!(full.end(), WireCode(16 + 64));
    assert_eq!(full.locate(WireCode(16 + 63)), Some((31, LocalCode(1))));

    assert_eq!(
        Table::new(&local, remote.clone()),
        Err(MatchError::TooManyProtocols)
    );
    assert_eq!(
        SharedCapabilities::<64>::new(&local, remote.clone()).err(),
        Some(MatchError::TooManyProtocols)
    );
    assert_eq!(
        SharedCapabilities::<2>::new(&local[..3], remote.clone()).err(),
        Some(MatchError::TooManyProtocols)
    );
    assert_eq!(
        SharedCapabilities::<2>::new(&local[..2], remote)
            .unwrap()
            .len(),
        2
    );
}

fn protocols() -> impl Strategy<Value = Vec<Protocol>> {
    let length = prop_oneof![4 => 0..20u32, 1 => Just(u32::MAX / 2)];
    prop::collection::vec(("[abA~]{0,3}", 0..4u32, length), 0..20).prop_map(|list| {
        list.into_iter()
            .map(|(name, version, length)| protocol(&name, version, length))
            .collect()
    })
}

proptest! {
    #[test]
    fn the_table_is_the_models(local in protocols(), other in protocols()) {
        let remote = as_remote(&other);
        match (Table::new(&local, remote.clone()), model(&local, &remote)) {
            (Ok(table), Some(expected)) => prop_assert_eq!(rows(&table, &local), expected),
            (Err(MatchError::CodeSpaceExhausted), None) => {}
            (got, expected) => prop_assert!(false, "{:?} {:?}", got, expected),
        }
    }

    #[test]
    fn the_same_two_hellos_give_the_same_table_on_both_sides(
        a in protocols(), b in protocols(), lengths in prop::collection::vec(0..9u32, 64),
    ) {
        // A capability owns the same number of codes wherever it is registered.
        let settled = |mut list: Vec<Protocol>| {
            for one in &mut list {
                let name = one.capability.name.as_bytes().iter().map(|byte| usize::from(*byte));
                one.length = lengths[(name.sum::<usize>() * 4 + one.capability.version as usize) % 64];
            }
            list
        };
        let (a, b) = (settled(a), settled(b));
        let hello = |protocols: &[Protocol]| {
            let local = Local {
                id: NodeId([1; 64]),
                client_name: "test",
                version: 5,
                listen_port: 0,
                protocols,
            };
            let mut out = vec![0; 2048];
            let length = local.encode_hello(&mut out).unwrap();
            out.truncate(length);
            out
        };
        let (from_a, from_b) = (hello(&a), hello(&b));
        let at_a = Table::new(&a, Hello::decode(&from_b).unwrap().capabilities()).unwrap();
        let at_b = Table::new(&b, Hello::decode(&from_a).unwrap().capabilities()).unwrap();
        prop_assert_eq!(rows(&at_a, &a), rows(&at_b, &b));
        prop_assert_eq!(at_a.end(), at_b.end());
    }

    #[test]
    fn every_code_has_one_owner_and_comes_back(local in protocols(), other in protocols()) {
        let Ok(table) = Table::new(&local, as_remote(&other)) else { return Ok(()) };
        let end = table.end().0;
        let mut owned = 0;
        for code in (0..end.min(500)).chain([end, end.saturating_add(1), u32::MAX]).map(WireCode) {
            match table.locate(code) {
                Some((subprotocol, local)) => {
                    prop_assert_eq!(table.wire_code(subprotocol, local), Some(code));
                    owned += 1;
                }
                None => prop_assert!(code.0 < 16 || code.0 >= end),
            }
        }
        if end <= 500 {
            prop_assert_eq!(owned, end - 16);
        }
        for entry in &table {
            let at = usize::from(entry.subprotocol);
            prop_assert_eq!(entry.length, local[at].length);
            prop_assert_eq!(table.get(at), Some(entry));
            prop_assert_eq!(table.offset(at), Some(entry.offset));
        }
    }
}
