//! RLP as the yellow paper's appendix B defines it, with the `rlp` crate as a second opinion.

use devp2p_core::rlp::{
    Error, Item, NoRoom, Reader, Writer, decode_code, encode_code, header_length, list_length,
    saturating_uint64, string_length, uint_length, uint64,
};
use proptest::prelude::*;

/// A tree of items, to be written by both implementations.
#[derive(Debug, Clone)]
enum Tree {
    String(Vec<u8>),
    Uint(u64),
    List(Vec<Tree>),
}

impl Tree {
    fn length(&self) -> usize {
        match self {
            Self::String(bytes) => string_length(bytes),
            Self::Uint(value) => uint_length(*value),
            Self::List(items) => list_length(items.iter().map(Self::length).sum()),
        }
    }

    fn write(&self, to: &mut Writer<'_>) -> Result<(), NoRoom> {
        match self {
            Self::String(bytes) => to.string(bytes),
            Self::Uint(value) => to.uint(*value),
            Self::List(items) => {
                to.list(items.iter().map(Self::length).sum())?;
                items.iter().try_for_each(|item| item.write(to))
            }
        }
    }

    fn write_oracle(&self, to: &mut rlp::RlpStream) {
        match self {
            Self::String(bytes) => to.append(bytes),
            Self::Uint(value) => to.append(value),
            Self::List(items) => {
                to.begin_list(items.len());
                items.iter().for_each(|item| item.write_oracle(to));
                to
            }
        };
    }

    fn check(&self, from: &mut Reader<'_>) {
        match self {
            Self::String(bytes) => assert_eq!(from.string(), Ok(&bytes[..])),
            Self::Uint(value) => assert_eq!(from.uint64(), Ok(*value)),
            Self::List(items) => {
                let mut inner = from.list().unwrap();
                items.iter().for_each(|item| item.check(&mut inner));
                assert!(inner.is_empty());
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3).prop_map(Tree::String),
        prop::collection::vec(any::<u8>(), 50..300).prop_map(Tree::String),
        any::<u64>().prop_map(Tree::Uint),
        (0..64u32, any::<u64>()).prop_map(|(shift, value)| Tree::Uint(value >> shift)),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop::collection::vec(inner, 0..8).prop_map(Tree::List)
    })
}

/// What the oracle makes of the first item: whether it is a list, and its bytes.
fn oracle_item(bytes: &[u8]) -> Option<(bool, &[u8])> {
    let item = rlp::Rlp::new(bytes);
    let info = item.payload_info().ok()?;
    let end = info.header_len.checked_add(info.value_len)?;
    let content = bytes.get(info.header_len..end)?;
    if item.is_data() {
        // The oracle looks for a needlessly prefixed byte only when asked for data.
        item.as_val::<Vec<u8>>().ok()?;
    }
    Some((item.is_list(), content))
}

proptest! {
    #[test]
    fn writes_and_reads_what_the_oracle_does(tree in tree()) {
        let mut oracle = rlp::RlpStream::new();
        tree.write_oracle(&mut oracle);
        let expected = oracle.out();

        let mut out = vec![0; tree.length()];
        let mut writer = Writer::new(&mut out);
        tree.write(&mut writer).unwrap();
        prop_assert_eq!(writer.as_bytes(), &expected[..]);
        prop_assert_eq!(writer.len(), expected.len());

        let mut reader = Reader::new(&expected);
        tree.check(&mut reader);
        prop_assert!(reader.is_empty());

        // One byte less is too little to write to and to read from.
        let short = expected.len() - 1;
        prop_assert_eq!(tree.write(&mut Writer::new(&mut out[..short])), Err(NoRoom));
        prop_assert_eq!(Reader::new(&expected[..short]).item().err(), Some(Error::UnexpectedEnd));
    }

    #[test]
    fn any_bytes_are_read_as_the_oracle_reads_them(
        head in prop_oneof![any::<u8>(), 0x80u8..0x83, 0xb7u8..0xba, 0xc0u8..0xc3, 0xf7u8..0xfb],
        mut bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..80], 0..120),
    ) {
        bytes.insert(0, head);
        let mut reader = Reader::new(&bytes);
        let ours = match reader.item() {
            Ok(Item::String(content)) => Some((false, content)),
            Ok(Item::List(items)) => Some((true, items.rest())),
            Err(_) => {
                prop_assert_eq!(reader.rest(), &bytes[..], "a failed read consumes nothing");
                None
            }
        };
        prop_assert_eq!(ours, oracle_item(&bytes));
        // What is strictly right is also leniently right, and the same.
        if ours.is_some() {
            let lenient = match Reader::new(&bytes).lenient_item() {
                Ok(Item::String(content)) => (false, content),
                Ok(Item::List(items)) => (true, items.rest()),
                Err(error) => panic!("{error}"),
            };
            prop_assert_eq!(Some(lenient), ours);
        }
    }

    #[test]
    fn reading_on_always_ends(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut waiting = vec![Reader::new(&bytes)];
        let mut items = 0;
        while let Some(mut reader) = waiting.pop() {
            while let Ok(item) = reader.lenient_item() {
                items += 1;
                if let Item::List(inner) = item {
                    waiting.push(inner);
                }
            }
        }
        prop_assert!(items <= bytes.len());
    }

    #[test]
    fn integers_are_as_the_oracle_decodes_them(bytes in prop::collection::vec(0u8..4, 0..11)) {
        let mut stream = rlp::RlpStream::new();
        stream.append(&bytes);
        let encoded = stream.out();
        let oracle = rlp::decode::<u64>(&encoded).ok();
        prop_assert_eq!(uint64(&bytes).ok(), oracle);
        prop_assert_eq!(Reader::new(&encoded).uint64().ok(), oracle);
        prop_assert_eq!(Reader::new(&encoded).uint32().ok(), rlp::decode::<u32>(&encoded).ok());
        let exact = bytes.iter().try_fold(0u64, |value, byte| {
            value.checked_mul(256)?.checked_add(u64::from(*byte))
        });
        prop_assert_eq!(saturating_uint64(&bytes), exact.unwrap_or(u64::MAX));
    }

    #[test]
    fn codes_come_back(shift in 0..32u32, code in any::<u32>(), after in any::<[u8; 4]>()) {
        let code = code >> shift;
        let (bytes, length) = encode_code(code);
        let canonical = rlp::encode(&code);
        prop_assert_eq!(&bytes[..length], &canonical[..]);
        let mut data = bytes[..length].to_vec();
        data.extend(after);
        prop_assert_eq!(decode_code(&data), Ok((u64::from(code), length)));
        for cut in 0..length {
            prop_assert_eq!(decode_code(&data[..cut]), Err(Error::UnexpectedEnd));
        }
    }

    #[test]
    fn any_bytes_have_a_code_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        match decode_code(&bytes) {
            Ok((code, used)) => {
                prop_assert!((1..=9).contains(&used));
                if bytes[0] != 0 {
                    let canonical = rlp::encode(&code);
                    prop_assert_eq!(&bytes[..used], &canonical[..]);
                }
            }
            // The oracle lets a length pass that is stated in a longer form than it needs.
            Err(Error::NonCanonicalLength) => {}
            Err(_) => prop_assert!(rlp::decode::<u64>(&bytes).is_err()),
        }
    }
}

#[test]
fn a_length_in_a_longer_form_than_it_needs_is_refused_but_read_leniently() {
    let long = |head: &[u8], length: usize| [head, &vec![0xaa; length]].concat();
    let rows = [
        (vec![0x81, 0x00], vec![0x00]),
        (vec![0x81, 0x7f], vec![0x7f]),
        (long(&[0xb8, 55], 55), vec![0xaa; 55]),
        (long(&[0xb9, 0, 56], 56), vec![0xaa; 56]),
        (long(&[0xbf, 0, 0, 0, 0, 0, 0, 0, 56], 56), vec![0xaa; 56]),
        (vec![0xb8, 0], vec![]),
        (long(&[0xf8, 55], 55), vec![0xaa; 55]),
        (long(&[0xf9, 0, 56], 56), vec![0xaa; 56]),
    ];
    for (bytes, content) in rows {
        assert_eq!(
            Reader::new(&bytes).item().err(),
            Some(Error::NonCanonicalLength),
            "{bytes:02x?}"
        );
        let mut reader = Reader::new(&bytes);
        match reader.lenient_item().unwrap() {
            Item::String(got) => assert_eq!(got, content),
            Item::List(got) => assert_eq!(got.rest(), content),
        }
        assert!(reader.is_empty());
    }
}

#[test]
fn a_length_beyond_the_bytes_is_refused() {
    for bytes in [
        &[0x82, 1][..],
        &[0xb8],
        &[0xb8, 56, 1],
        &[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[0xc1],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[0xfb, 0xff, 0xff, 0xff, 0xff],
        &[],
    ] {
        assert_eq!(
            Reader::new(bytes).item().err(),
            Some(Error::UnexpectedEnd),
            "{bytes:02x?}"
        );
        assert_eq!(
            Reader::new(bytes).lenient_item().err(),
            Some(Error::UnexpectedEnd),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn an_inner_item_cannot_reach_out_of_its_list() {
    let mut outer = Reader::new(&[0xc2, 0x82, 1, 2, 3]);
    let mut inner = outer.list().unwrap();
    assert_eq!(inner.item().err(), Some(Error::UnexpectedEnd));
    assert_eq!(outer.rest(), [2, 3]);
}

#[test]
fn a_wrong_kind_is_said_and_consumes_nothing() {
    let mut reader = Reader::new(&[0xc0, 0x05]);
    assert_eq!(reader.string(), Err(Error::ExpectedString));
    assert_eq!(reader.uint64(), Err(Error::ExpectedString));
    assert!(reader.list().unwrap().is_empty());
    assert_eq!(reader.list().err(), Some(Error::ExpectedList));
    assert_eq!(reader.uint32(), Ok(5));
    assert_eq!(reader.uint32(), Err(Error::UnexpectedEnd));
}

#[test]
fn lists_in_one_another_are_descended_one_at_a_time() {
    let mut bytes = vec![0xc0];
    for _ in 0..1_000 {
        let mut next = vec![0; list_length(bytes.len())];
        let mut writer = Writer::new(&mut next);
        writer.list(bytes.len()).unwrap();
        writer.raw(&bytes).unwrap();
        bytes = next;
    }
    let mut reader = Reader::new(&bytes);
    let mut depth = 0;
    while let Ok(inner) = reader.list() {
        assert!(reader.is_empty());
        reader = inner;
        depth += 1;
    }
    assert_eq!(depth, 1_001);
}

#[test]
fn codes_in_every_form() {
    for (data, expected) in [
        (&[0x80, 9][..], Ok((0, 1))),
        (&[0x00, 9], Ok((0, 1))),
        (&[0x01], Ok((1, 1))),
        (&[0x7f], Ok((0x7f, 1))),
        (&[0x81, 0x80], Ok((0x80, 2))),
        (&[0x81, 0xff, 0], Ok((0xff, 2))),
        (&[0x82, 1, 0], Ok((0x100, 3))),
        (
            &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            Ok((u64::MAX, 9)),
        ),
        (&[0x81, 0x7f], Err(Error::NonCanonicalLength)),
        (&[0x81, 0x00], Err(Error::NonCanonicalLength)),
        (&[0x82, 0, 1], Err(Error::NonCanonicalInteger)),
        (
            &[0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            Err(Error::IntegerTooLarge),
        ),
        (&[0xc0], Err(Error::ExpectedString)),
        (&[0xc1, 1], Err(Error::ExpectedString)),
        (&[0x82, 1], Err(Error::UnexpectedEnd)),
        (&[], Err(Error::UnexpectedEnd)),
    ] {
        assert_eq!(decode_code(data), expected, "{data:02x?}");
    }
}

#[test]
fn lengths_at_every_edge() {
    for (length, header) in [
        (0, 1),
        (55, 1),
        (56, 2),
        (255, 2),
        (256, 3),
        (65_535, 3),
        (65_536, 4),
    ] {
        assert_eq!(header_length(length), header, "{length}");
        let bytes = vec![0xee; length];
        let mut out = vec![0; string_length(&bytes)];
        Writer::new(&mut out).string(&bytes).unwrap();
        assert_eq!(out, rlp::encode(&bytes), "{length}");
    }
    assert_eq!(list_length(usize::MAX), usize::MAX);
}

#[test]
fn an_append_that_does_not_fit_writes_nothing() {
    let mut out = [0; 4];
    let mut writer = Writer::new(&mut out);
    assert!(writer.is_empty());
    writer.uint(0).unwrap();
    assert_eq!(writer.string(b"dog"), Err(NoRoom));
    assert_eq!(writer.list(3), Err(NoRoom));
    assert_eq!(writer.list(usize::MAX), Err(NoRoom));
    assert_eq!(writer.as_bytes(), [0x80]);
    writer.string(b"ox").unwrap();
    assert_eq!(writer.string(&[1]), Err(NoRoom));
    assert_eq!(out, [0x80, 0x82, b'o', b'x']);
}
