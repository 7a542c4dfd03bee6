//! Hello: what we send is what the strictest peer accepts, what we accept is as sloppy as any peer sends.

use devp2p_core::capability::Protocol;
use devp2p_core::config::Local;
use devp2p_core::hello::{Hello, HelloError, HelloTooLong, InvalidId, MAX_HELLO_LENGTH, NodeId};
use proptest::prelude::*;

const ID: [u8; 64] = [0x42; 64];

/// The five fields of a plain Hello, each already encoded.
fn fields() -> [Vec<u8>; 5] {
    [
        vec![5],
        rlp::encode(&"test/1").to_vec(),
        list(&[capability(b"eth", 68), capability(b"snap", 1)]),
        rlp::encode(&30303u16).to_vec(),
        string(&ID),
    ]
}

fn string(bytes: &[u8]) -> Vec<u8> {
    rlp::encode(&bytes).to_vec()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = rlp::RlpStream::new_list(1);
    stream.append_raw(&items.concat(), 1);
    stream.out().to_vec()
}

fn capability(name: &[u8], version: u64) -> Vec<u8> {
    list(&[string(name), rlp::encode(&version).to_vec()])
}

/// A plain Hello in which one field is another.
fn with(field: usize, bytes: Vec<u8>) -> Vec<u8> {
    let mut fields = fields();
    fields[field] = bytes;
    list(&fields)
}

fn capabilities(payload: &[u8]) -> Vec<(Vec<u8>, u64)> {
    Hello::decode(payload)
        .unwrap()
        .capabilities()
        .map(|one| (one.name.to_vec(), one.version))
        .collect()
}

fn local<'a>(client_name: &'a str, protocols: &'a [Protocol]) -> Local<'a> {
    Local {
        id: NodeId(ID),
        client_name,
        version: 5,
        listen_port: 30303,
        protocols,
    }
}

#[test]
fn a_plain_hello() {
    let payload = list(&fields());
    let hello = Hello::decode(&payload).unwrap();
    assert_eq!(hello.version, 5);
    assert_eq!(hello.client_name, b"test/1");
    assert_eq!(hello.listen_port, 30303);
    assert_eq!(hello.id, Ok(NodeId(ID)));
    assert_eq!(
        capabilities(&payload),
        [(b"eth".to_vec(), 68), (b"snap".to_vec(), 1)]
    );
}

#[test]
fn extra_fields_and_bytes_after_the_list_are_ignored() {
    let plain = list(&fields());
    let expected = Hello::decode(&plain).unwrap();
    // Future fields of any kind, even such as are no RLP.
    for extra in [
        vec![0x01],
        list(&[vec![1], vec![2]]),
        vec![0xff],
        vec![0x81, 0],
    ] {
        let payload = list(&[fields().concat(), extra]);
        let hello = Hello::decode(&payload).unwrap();
        assert_eq!(hello, expected);
    }
    let trailing = [plain.clone(), vec![0xff; 3]].concat();
    assert_eq!(Hello::decode(&trailing).unwrap(), expected);
}

#[test]
fn extra_elements_of_a_capability_are_ignored() {
    let tuple = list(&[string(b"eth"), vec![68], vec![1], list(&[])]);
    let payload = with(2, list(&[tuple, capability(b"snap", 1)]));
    assert_eq!(
        capabilities(&payload),
        [(b"eth".to_vec(), 68), (b"snap".to_vec(), 1)]
    );
}

#[test]
fn any_version_is_accepted() {
    for (bytes, version) in [
        (vec![0x80], 0),
        (vec![4], 4),
        (vec![6], 6),
        (vec![0x81, 0xff], 255),
        (vec![0x82, 1, 5], 0x105),
        (string(&[0xff; 8]), u64::MAX),
        (string(&[0xff; 9]), u64::MAX),
    ] {
        assert_eq!(Hello::decode(&with(0, bytes)).unwrap().version, version);
    }
}

#[test]
fn names_may_be_any_bytes_of_any_length() {
    let name = [0xff, 0xfe, 0x00, 0xc3];
    let payload = with(1, string(&name));
    assert_eq!(Hello::decode(&payload).unwrap().client_name, name);
    let payload = with(1, vec![0x80]);
    assert_eq!(Hello::decode(&payload).unwrap().client_name, b"");

    let long = [0xee; 300];
    let payload = with(
        2,
        list(&[
            capability(&name, 1),
            capability(&long, 2),
            capability(b"", u64::MAX),
        ]),
    );
    assert_eq!(
        capabilities(&payload),
        [(name.to_vec(), 1), (long.to_vec(), 2), (vec![], u64::MAX)]
    );
}

#[test]
fn a_capability_version_of_any_size_is_accepted() {
    let payload = with(2, list(&[list(&[string(b"eth"), string(&[1; 9])])]));
    assert_eq!(capabilities(&payload), [(b"eth".to_vec(), u64::MAX)]);
}

#[test]
fn anything_may_stand_in_the_port() {
    for (bytes, port) in [
        (vec![0x80], 0),
        (vec![0x00], 0),
        (vec![0x81, 0x00], 0),
        (vec![0x81, 0x05], 5),
        (vec![0x83, 0x01, 0x00, 0x00], 0x1_0000),
        (vec![0x83, 0x00, 0x76, 0x5f], 30303),
        (vec![0xb8, 2, 0x76, 0x5f], 30303),
        (string(&[0xff; 8]), u64::MAX),
        (string(&[0xff; 40]), u64::MAX),
        (vec![0xc0], 0),
        (list(&[vec![1], vec![2]]), 0),
    ] {
        let payload = with(3, bytes);
        let hello = Hello::decode(&payload).unwrap();
        assert_eq!(hello.listen_port, port);
        assert_eq!(hello.id, Ok(NodeId(ID)));
    }
}

#[test]
fn a_null_or_missized_identity_is_told_from_a_malformed_hello() {
    for id in [
        vec![0; 64],
        vec![],
        vec![0x42],
        vec![0x42; 63],
        vec![0x42; 65],
        vec![0x42; 300],
    ] {
        let payload = with(4, string(&id));
        assert_eq!(Hello::decode(&payload).unwrap().id, Err(InvalidId));
    }
    let mut last = [0; 64];
    last[63] = 1;
    let payload = with(4, string(&last));
    assert_eq!(Hello::decode(&payload).unwrap().id, Ok(NodeId(last)));
}

#[test]
fn what_cannot_be_ignored_is_malformed() {
    let no_list = fields().concat();
    let rows = [
        ("empty", vec![]),
        ("an empty list", vec![0xc0]),
        ("a string", string(&no_list)),
        ("no identity", list(&fields()[..4])),
        ("only a version", list(&fields()[..1])),
        (
            "a version with a zero byte in front",
            with(0, vec![0x82, 0, 5]),
        ),
        ("a zero byte as version", with(0, vec![0x00])),
        ("a version with a needless prefix", with(0, vec![0x81, 5])),
        ("a list as version", with(0, vec![0xc0])),
        ("a list as client name", with(1, vec![0xc0])),
        ("a string as capabilities", with(2, vec![0x80])),
        ("a string as a capability", with(2, list(&[string(b"eth")]))),
        ("an empty capability", with(2, list(&[vec![0xc0]]))),
        (
            "a capability without version",
            with(2, list(&[list(&[string(b"eth")])])),
        ),
        (
            "a list as a capability's name",
            with(2, list(&[list(&[vec![0xc0], vec![1]])])),
        ),
        (
            "a list as a capability's version",
            with(2, list(&[list(&[string(b"eth"), vec![0xc0]])])),
        ),
        (
            "a capability's version with a zero byte in front",
            with(2, list(&[list(&[string(b"eth"), vec![0x82, 0, 68]])])),
        ),
        (
            "a capability that reaches out of its list",
            with(2, vec![0xc3, 0xc5, 0x80, 0x01]),
        ),
        (
            "a bad capability after a good one",
            with(2, list(&[capability(b"eth", 68), vec![0x01]])),
        ),
        (
            "a port that reaches out of the list",
            list(&[fields()[..3].concat(), vec![0xb8, 0xff]]),
        ),
        ("a list as identity", with(4, list(&[ID.to_vec()]))),
    ];
    for (what, payload) in rows {
        assert_eq!(Hello::decode(&payload), Err(HelloError), "{what}");
    }
}

#[test]
fn a_hello_cut_anywhere_is_malformed() {
    let payload = list(&fields());
    for cut in 0..payload.len() {
        assert_eq!(Hello::decode(&payload[..cut]), Err(HelloError), "{cut}");
    }
}

#[test]
fn a_stated_length_is_not_believed() {
    // Lists and strings of 64 KiB and of 2^64 - 1 bytes that are not there, at each level.
    for head in [
        &[0xfa, 1, 0, 0][..],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        let whole = [head, &fields().concat()[..]].concat();
        assert_eq!(Hello::decode(&whole), Err(HelloError));
        for field in 0..5 {
            for base in [0, 0x40] {
                let mut bytes = head.to_vec();
                bytes[0] -= base;
                assert_eq!(
                    Hello::decode(&with(field, bytes)),
                    Err(HelloError),
                    "{field}"
                );
            }
        }
        let inner = with(2, list(&[capability(b"eth", 68), head.to_vec()]));
        assert_eq!(Hello::decode(&inner), Err(HelloError));
    }
}

#[test]
fn more_capabilities_than_we_could_register_are_all_read() {
    let many: Vec<_> = (0..5_000).map(|n| capability(b"cap", n)).collect();
    let payload = with(2, list(&many));
    assert!(payload.len() > 1 << 15);
    assert!(
        capabilities(&payload)
            .into_iter()
            .map(|one| one.1)
            .eq(0..5_000)
    );
}

#[test]
fn ours_has_exactly_five_canonical_fields_sorted() {
    let protocols = [
        Protocol::new("snap", 1, 8, 0).unwrap(),
        Protocol::new("eth", 69, 18, 0).unwrap(),
        Protocol::new("eth", 68, 17, 0).unwrap(),
        Protocol::new("eth", 69, 18, 0).unwrap(),
        Protocol::new("abc", 300, 1, 0).unwrap(),
    ];
    let mut out = [0; MAX_HELLO_LENGTH];
    let length = local("test/1", &protocols).encode_hello(&mut out).unwrap();
    let mut expected = fields();
    expected[2] = list(&[
        capability(b"abc", 300),
        capability(b"eth", 68),
        capability(b"eth", 69),
        capability(b"snap", 1),
    ]);
    assert_eq!(&out[..length], &list(&expected)[..]);

    let mut nothing = local("", &[]);
    nothing.version = 4;
    nothing.listen_port = 0;
    let length = nothing.encode_hello(&mut out).unwrap();
    let expected = [vec![4], vec![0x80], vec![0xc0], vec![0x80], string(&ID)];
    assert_eq!(&out[..length], &list(&expected)[..]);
}

#[test]
fn ours_is_at_most_2047_bytes() {
    let mut out = [0; 4096];
    // A Hello without capabilities is 77 bytes longer than a long name: headers 3 + 3, version 1, list 1, port 3, id 66.
    let name = "n".repeat(2047 - 77);
    assert_eq!(local(&name, &[]).encode_hello(&mut out), Ok(2047));
    assert_eq!(Hello::decode(&out).unwrap().client_name, name.as_bytes());
    let name = "n".repeat(2048 - 77);
    assert_eq!(local(&name, &[]).encode_hello(&mut out), Err(HelloTooLong));

    // The most protocols, with the longest names and versions, leave room for a long client name.
    let protocols: Vec<_> = (0..32)
        .map(|n| Protocol::new(&format!("{n:015}"), u32::MAX - n, 1, 0).unwrap())
        .collect();
    let name = "n".repeat(1_200);
    let length = local(&name, &protocols).encode_hello(&mut out).unwrap();
    assert_eq!(capabilities(&out[..length]).len(), 32);
}

#[test]
fn an_output_too_small_is_an_error() {
    let protocols = [Protocol::new("eth", 68, 17, 0).unwrap()];
    let local = local("test/1", &protocols);
    let length = local.encode_hello(&mut [0; 2048]).unwrap();
    let mut out = vec![0; length];
    assert_eq!(local.encode_hello(&mut out), Ok(length));
    for less in 0..length {
        assert_eq!(
            local.encode_hello(&mut out[..less]),
            Err(HelloTooLong),
            "{less}"
        );
    }
}

#[test]
fn an_identity_is_shown_as_hex() {
    let mut id = ID;
    id[0] = 0x0a;
    let text = NodeId(id).to_string();
    assert_eq!(text.len(), 128);
    assert!(text.starts_with("0a42"));
}

proptest! {
    #[test]
    fn ours_is_read_back_as_it_is(
        version in any::<u8>(),
        client_name in ".{0,80}",
        listen_port in any::<u16>(),
        stated in prop::collection::vec(("[!-~]{0,15}", any::<u32>()), 0..32),
        id in any::<[u8; 32]>(),
    ) {
        let protocols: Vec<_> = stated
            .iter()
            .map(|(name, version)| Protocol::new(name, *version, 1, 0).unwrap())
            .collect();
        let mut key = ID;
        key[..32].copy_from_slice(&id);
        let local = Local { id: NodeId(key), client_name: &client_name, version, listen_port, protocols: &protocols };
        let mut out = [0; 2048];
        let length = local.encode_hello(&mut out).unwrap();
        let payload = &out[..length];

        let hello = Hello::decode(payload).unwrap();
        prop_assert_eq!(hello.version, u64::from(version));
        prop_assert_eq!(hello.client_name, client_name.as_bytes());
        prop_assert_eq!(hello.listen_port, u64::from(listen_port));
        prop_assert_eq!(hello.id, Ok(NodeId(key)));
        let mut expected: Vec<_> = stated
            .into_iter()
            .map(|(name, version)| (name.into_bytes(), u64::from(version)))
            .collect();
        expected.sort();
        expected.dedup();
        prop_assert_eq!(&capabilities(payload), &expected);

        // The oracle reads the same, and finds nothing else.
        let oracle = rlp::Rlp::new(payload);
        prop_assert_eq!(oracle.payload_info().unwrap().total(), length);
        prop_assert_eq!(oracle.item_count(), Ok(5));
        prop_assert_eq!(oracle.val_at::<u8>(0), Ok(version));
        prop_assert_eq!(oracle.val_at::<String>(1), Ok(client_name));
        prop_assert_eq!(oracle.val_at::<u16>(3), Ok(listen_port));
        for (tuple, (name, version)) in oracle.at(2).unwrap().iter().zip(&expected) {
            prop_assert_eq!(tuple.item_count(), Ok(2));
            prop_assert_eq!(&tuple.val_at::<Vec<u8>>(0).unwrap(), name);
            prop_assert_eq!(&tuple.val_at::<u64>(1).unwrap(), version);
        }
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(hello) = Hello::decode(&bytes) {
            prop_assert!(hello.capabilities().count() <= bytes.len());
        }
    }

    #[test]
    fn a_hello_with_altered_bytes_is_decoded_without_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut payload = list(&fields());
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Ok(hello) = Hello::decode(&payload) {
            // The iterator, which has no errors to give, reaches the end of the list that decoding has checked.
            let oracle = rlp::Rlp::new(&payload).at(2).unwrap().item_count().unwrap();
            prop_assert_eq!(hello.capabilities().count(), oracle);
        }
    }
}
