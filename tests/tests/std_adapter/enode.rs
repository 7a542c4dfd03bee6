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
        ("enr:-IS4QHCYrYZbAKW".into(), E::NodeRecord),
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
