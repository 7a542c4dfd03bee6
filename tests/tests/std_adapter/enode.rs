use std::net::{SocketAddr, ToSocketAddrs};

use devp2p_core::hello::NodeId;
use devp2p_std::enode::{Enode, EnodeError, Host};

fn id() -> String {
    (0..64).map(|byte| format!("{:02x}", byte * 3)).collect()
}

fn parse(endpoint: &str) -> Result<Enode, EnodeError> {
    format!("enode://{}@{endpoint}", id()).parse()
}

#[test]
fn an_url_parses_and_prints_as_it_was() {
    for endpoint in [
        "127.0.0.1:30303",
        "10.3.58.6:30303?discport=30301",
        "0.0.0.0:30303",
        "0.0.0.0:0",
        "[::]:52150",
        "[2001:db8:3c4d:15::abcd:ef12]:52150",
        "[2001:db8::1]:1?discport=0",
        "bootnode.example.org:65535",
        "valid.:3",
        "a_b-c:3?discport=4",
    ] {
        let url = format!("enode://{}@{endpoint}", id());
        assert_eq!(url.parse::<Enode>().unwrap().to_string(), url);
    }
}

#[test]
fn the_parts_of_an_url_are_where_it_says() {
    let enode = parse("10.3.58.6:30303?discport=30301").unwrap();
    let expected: [u8; 64] = std::array::from_fn(|byte| byte as u8 * 3);
    assert_eq!(enode.id, NodeId(expected));
    assert_eq!(enode.host, Host::Ip([10, 3, 58, 6].into()));
    assert_eq!((enode.tcp, enode.udp), (30303, 30301));
}

#[test]
fn the_discovery_port_is_the_tcp_port_unless_stated() {
    for query in [
        "",
        "?",
        "?discport=",
        "?other=1",
        "?discport=30303",
        "/",
        "#end",
    ] {
        let enode = parse(&format!("127.0.0.1:30303{query}")).unwrap();
        assert_eq!(enode, Enode::new(enode.id, ([127, 0, 0, 1], 30303).into()));
    }
    let first_wins = parse("127.0.0.1:30303?a=b&discport=1&discport=2").unwrap();
    assert_eq!(first_wins.udp, 1);
}

#[test]
fn case_of_scheme_and_identity_does_not_matter() {
    let lower = parse("127.0.0.1:1").unwrap();
    let upper: Enode = format!("ENODE://{}@127.0.0.1:1", id().to_uppercase())
        .parse()
        .unwrap();
    assert_eq!(upper, lower);
}

#[test]
fn white_space_around_an_url_is_skipped_and_none_within() {
    let url = format!("enode://{}@127.0.0.1:1", id());
    for (before, after) in [("", "\n"), ("", "\r\n"), (" ", " \t"), ("\n", "\n\n")] {
        let parsed = format!("{before}{url}{after}").parse::<Enode>();
        assert_eq!(parsed.unwrap().to_string(), url);
    }
    let record = format!(" {RECORD}\r\n").parse::<Enode>();
    assert_eq!(record, RECORD.parse());
    assert_eq!(parse("127.0.0.1 :1"), Err(EnodeError::InvalidHost));
    assert_eq!(parse("127.0.0.1:1\n2"), Err(EnodeError::InvalidPort));
}

#[test]
fn a_mapped_ipv4_address_is_an_ipv4_address() {
    assert_eq!(parse("[::ffff:1.2.3.4]:5"), parse("1.2.3.4:5"));
}

#[test]
fn what_is_wrong_is_named() {
    use EnodeError as E;
    for (endpoint, expected) in [
        ("", E::MissingHost),
        (":30303", E::MissingHost),
        ("127.0.0.1", E::MissingPort),
        ("[::1]", E::MissingPort),
        ("host.example", E::MissingPort),
        ("127.0.0.1:", E::InvalidPort),
        ("127.0.0.1:foo", E::InvalidPort),
        ("127.0.0.1:+1", E::InvalidPort),
        ("127.0.0.1:65536", E::InvalidPort),
        ("127.0.0.1:3?discport=foo", E::InvalidDiscoveryPort),
        ("127.0.0.1:3?discport=65536", E::InvalidDiscoveryPort),
        ("::1:30303", E::Ipv6Brackets),
        ("[127.0.0.1]:1", E::Ipv6Brackets),
        ("[::1:30303", E::Ipv6Brackets),
        ("[fe80::1%25eth0]:30303", E::Ipv6Brackets),
        ("[::1]x:30303", E::InvalidHost),
        ("256.1.1.1:1", E::InvalidHost),
        ("a..b:1", E::InvalidHost),
        ("a b:1", E::InvalidHost),
        ("user@host:1", E::InvalidHost),
        ("\u{e4}.example:1", E::InvalidHost),
    ] {
        assert_eq!(parse(endpoint), Err(expected), "{endpoint}");
    }
    let id = id();
    for (text, expected) in [
        (String::new(), E::Scheme),
        ("http://example.org".into(), E::Scheme),
        (id.clone(), E::Scheme),
        ("enod\u{e9}://".into(), E::Scheme),
        (format!("enode://{id}"), E::MissingHost),
        ("enode://01010101".into(), E::IdLength(8)),
        ("enode://01010101@127.0.0.1:3".into(), E::IdLength(8)),
        (format!("enode://04{id}@127.0.0.1:3"), E::IdLength(130)),
        ("enode://127.0.0.1:3".into(), E::IdLength(11)),
        (format!("enode://{}x@127.0.0.1:3", &id[1..]), E::IdDigits),
    ] {
        assert_eq!(text.parse::<Enode>(), Err(expected), "{text}");
    }
}

#[test]
fn an_address_resolves_to_itself_and_a_name_when_asked() {
    let addresses = |endpoint| -> Vec<SocketAddr> {
        parse(endpoint)
            .unwrap()
            .to_socket_addrs()
            .unwrap()
            .collect()
    };
    assert_eq!(
        addresses("1.2.3.4:5?discport=6"),
        [([1, 2, 3, 4], 5).into()]
    );
    assert_eq!(addresses("[::1]:5"), ["[::1]:5".parse().unwrap()]);
    let local = addresses("localhost:5");
    assert!(
        !local.is_empty()
            && local
                .iter()
                .all(|at| at.ip().is_loopback() && at.port() == 5)
    );
}

#[test]
fn a_node_that_does_not_listen_cannot_be_dialled() {
    let error = parse("1.2.3.4:0").unwrap().to_socket_addrs().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

/// The example of EIP-778.
const RECORD: &str = "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0gmlwhH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8";

#[test]
fn a_node_record_is_read_as_an_enode() {
    let enode: Enode = RECORD.parse().expect("the published record");
    assert_eq!(enode.host.to_string(), "127.0.0.1");
    assert_eq!((enode.tcp, enode.udp), (0, 30303));
    let id = enode.id.to_string();
    assert!(
        id.starts_with("ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138"),
        "{id}"
    );
}

#[test]
fn a_node_record_that_was_changed_is_told() {
    let (scheme, text) = RECORD.split_at(4);
    let mut letters: Vec<char> = text.chars().collect();
    for at in 0..letters.len() {
        let was = letters[at];
        letters[at] = if was == 'A' { 'B' } else { 'A' };
        let changed: String = letters.iter().collect();
        letters[at] = was;
        let parsed = format!("{scheme}{changed}").parse::<Enode>();
        assert!(
            matches!(parsed, Err(EnodeError::Record(_))),
            "{at}: {parsed:?}"
        );
        let cut = format!("{scheme}{}", &text[..at]).parse::<Enode>();
        assert!(matches!(cut, Err(EnodeError::Record(_))), "{at}: {cut:?}");
    }
    use devp2p_std::enode::RecordError as R;
    // In the port, which is signed; and behind it.
    let begin = RECORD.strip_suffix('8').expect("its end");
    for (end, error) in [('Y', R::Signature), ('9', R::Base64)] {
        let changed = format!("{begin}{end}").parse::<Enode>();
        assert_eq!(changed, Err(EnodeError::Record(error)));
    }
    for (text, error) in [
        (
            "enr:".to_owned(),
            R::Malformed(Some(devp2p_core::rlp::Error::UnexpectedEnd)),
        ),
        ("enr:AA==".to_owned(), R::Base64),
        (format!("enr:{}", "A".repeat(401)), R::TooLong),
    ] {
        assert_eq!(
            text.parse::<Enode>(),
            Err(EnodeError::Record(error)),
            "{text}"
        );
    }
}

/// A record with these pairs, signed by a key.
fn signed(pairs: &[(&str, Vec<u8>)]) -> String {
    use devp2p_core::rlpx::curve::{Curve, K256};
    let mut content = rlp::RlpStream::new_list(1 + 2 * pairs.len());
    content.append(&1_u8);
    for (key, value) in pairs {
        content.append(key).append(value);
    }
    let hash = devp2p_core::rlpx::keccak256(&[&content.out()]);
    let signature = K256::sign(&[7; 32], &hash).expect("a signature");
    let mut record = rlp::RlpStream::new_list(2 + 2 * pairs.len());
    record.append(&&signature[..64]).append(&1_u8);
    for (key, value) in pairs {
        record.append(key).append(value);
    }
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = "enr:".to_owned();
    for group in record.out().chunks(3) {
        let mut bytes = [0; 4];
        bytes[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bytes);
        for n in 0..=group.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * n)) as usize & 63]));
        }
    }
    text
}

#[test]
fn a_node_record_says_where_its_node_listens() {
    use devp2p_core::rlpx::curve::{Curve, K256};
    use devp2p_std::enode::RecordError as R;
    let id = K256::public_key(&[7; 32]).expect("a key");
    let mut key = vec![2 + (id[63] & 1)];
    key.extend(&id[..32]);
    let scheme = ("id", b"v4".to_vec());
    let key = ("secp256k1", key);
    let v4 = ("ip", vec![192, 0, 2, 1]);
    let v6 = ("ip6", [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat());
    let tcp = ("tcp", vec![0x76, 0x5f]);
    let tcp6 = ("tcp6", vec![0x76, 0x60]);
    let cases = [
        (
            vec![
                scheme.clone(),
                v4.clone(),
                v6.clone(),
                key.clone(),
                tcp.clone(),
            ],
            "192.0.2.1:30303",
        ),
        (
            vec![scheme.clone(), v6.clone(), key.clone(), tcp.clone()],
            "[2001:db8::1]:30303",
        ),
        (
            vec![scheme.clone(), v6, key.clone(), tcp.clone(), tcp6],
            "[2001:db8::1]:30304",
        ),
        (
            vec![
                ("eth", vec![1; 90]),
                scheme.clone(),
                v4.clone(),
                key.clone(),
                tcp.clone(),
            ],
            "192.0.2.1:30303",
        ),
    ];
    for (pairs, end) in cases {
        let enode: Enode = signed(&pairs).parse().expect("a record");
        assert_eq!(enode.id.0, id);
        assert!(enode.to_string().ends_with(&format!("@{end}")), "{enode}");
    }
    for (pairs, error) in [
        (vec![scheme.clone(), key.clone(), tcp.clone()], R::NoAddress),
        (
            vec![("id", b"v5".to_vec()), v4.clone(), key.clone()],
            R::Identity,
        ),
        (vec![scheme.clone(), v4.clone()], R::Identity),
        (
            vec![scheme.clone(), key.clone(), v4.clone()],
            R::Malformed(None),
        ),
        (
            vec![scheme.clone(), scheme.clone(), v4.clone(), key.clone()],
            R::Malformed(None),
        ),
        (vec![scheme, v4, key, ("zzz", vec![1; 220])], R::TooLong),
    ] {
        assert_eq!(
            signed(&pairs).parse::<Enode>(),
            Err(EnodeError::Record(error))
        );
    }
}
