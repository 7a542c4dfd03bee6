//! enode URLs: a node's identity and where it listens, in one line of text.
//!
//! `enode://<128 hex digits>@<host>:<TCP port>[?discport=<UDP port>]`, as go-ethereum reads and prints it. The host is an IPv4
//! address, an IPv6 address in brackets, or a DNS name; without `discport` the UDP port is the TCP port. A node record, `enr:`
//! and Base64 (EIP-778), is read too.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use devp2p_core::hello::NodeId;

pub use crate::record::RecordError;

const SCHEME: &str = "enode://";
/// The longest DNS name as text (RFC 1035, section 2.3.4), with its final dot.
const MAX_NAME_LENGTH: usize = 254;

/// Where a node is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address. IPv4 addresses that are mapped into IPv6 count as IPv4 once parsed.
    Ip(IpAddr),
    /// A DNS name, looked up each time that the node is dialled.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A node's identity and endpoint. Parse with [`str::parse`], also from a node record, print with [`Display`](fmt::Display);
/// both ways agree. White space around the text, such as the end of its line, is skipped.
///
/// As a [`ToSocketAddrs`] it yields the TCP addresses to dial; a DNS name is looked up there and blocks meanwhile.
///
/// That the identity is a point of the curve is not checked here: the handshake does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Enode {
    /// The node's public key.
    pub id: NodeId,
    /// Where the node is. `0.0.0.0` or `[::]` stands for an address that is not known yet.
    pub host: Host,
    /// The TCP port of RLPx; zero if the node does not listen.
    pub tcp: u16,
    /// The UDP port of discovery.
    pub udp: u16,
}

impl Enode {
    /// A node at `addr`, whose discovery port is the same as its TCP port.
    pub fn new(id: NodeId, addr: SocketAddr) -> Self {
        Self {
            id,
            host: Host::Ip(addr.ip().to_canonical()),
            tcp: addr.port(),
            udp: addr.port(),
        }
    }
}

impl fmt::Display for Enode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}@{}:{}", self.id, self.host, self.tcp)?;
        if self.udp != self.tcp {
            write!(f, "?discport={}", self.udp)?;
        }
        Ok(())
    }
}

impl ToSocketAddrs for Enode {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        if self.tcp == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the node states TCP port 0, so it does not listen: it cannot be dialled",
            ));
        }
        match &self.host {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, self.tcp)].into_iter()),
            Host::Name(name) => (name.as_str(), self.tcp).to_socket_addrs(),
        }
    }
}

/// Why a text is not an enode URL. The message says what was expected and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnodeError {
    /// It does not begin with `enode://`.
    Scheme,
    /// It is a node record (`enr:`), which cannot be read.
    Record(RecordError),
    /// There is no `@` between an identity and a host.
    MissingHost,
    /// The identity has another length than 128 hex digits.
    IdLength(usize),
    /// The identity holds something else than hex digits.
    IdDigits,
    /// The host is neither an address nor a name.
    InvalidHost,
    /// The host is an IPv6 address without brackets, or something else than an IPv6 address is within them.
    Ipv6Brackets,
    /// No port follows the host.
    MissingPort,
    /// The port is not a number of 16 bits.
    InvalidPort,
    /// The discovery port is not a number of 16 bits.
    InvalidDiscoveryPort,
}

impl fmt::Display for EnodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str(
                "not an enode URL: expected enode://<128 hex digits>@<host>:<port>; copy it whole from the remote node",
            ),
            Self::Record(error) => error.fmt(f),
            Self::MissingHost => f.write_str(
                "the enode URL names no host: write @<host>:<port> after the identity",
            ),
            Self::IdLength(found) => write!(
                f,
                "the identity in the enode URL has {found} characters: expected 128 hex digits, the public key without its 04 prefix"
            ),
            Self::IdDigits => f.write_str(
                "the identity in the enode URL holds something else than hex digits (0-9, a-f): copy it again",
            ),
            Self::InvalidHost => f.write_str(
                "the host in the enode URL is neither an IPv4 address, nor an IPv6 address in brackets, nor a DNS name",
            ),
            Self::Ipv6Brackets => f.write_str(
                "an IPv6 host in an enode URL stands in brackets and without a zone: write it as [2001:db8::1]:30303",
            ),
            Self::MissingPort => {
                f.write_str("the enode URL has no port: write it after the host, as in :30303")
            }
            Self::InvalidPort => {
                f.write_str("the port in the enode URL is not a number from 0 to 65535")
            }
            Self::InvalidDiscoveryPort => f.write_str(
                "discport in the enode URL is not a number from 0 to 65535: correct it or leave it out",
            ),
        }
    }
}

impl std::error::Error for EnodeError {}

impl FromStr for Enode {
    type Err = EnodeError;

    fn from_str(text: &str) -> Result<Self, EnodeError> {
        let text = text.trim_ascii();
        if let Some(record) = text.strip_prefix("enr:") {
            return crate::record::parse(record).map_err(EnodeError::Record);
        }
        let rest = strip_scheme(text)?;
        // Path and fragment mean nothing here; go-ethereum skips them too.
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let rest = rest.split_once('/').map_or(rest, |(before, _)| before);

        let (id, endpoint) = match rest.split_once('@') {
            Some((id, endpoint)) => (parse_id(id)?, endpoint),
            // A wrong identity is the likelier mistake, so it is told first.
            None => return Err(parse_id(rest).err().unwrap_or(EnodeError::MissingHost)),
        };
        let (host, port) = split_host(endpoint)?;
        let tcp = parse_port(port).ok_or(EnodeError::InvalidPort)?;
        Ok(Self {
            id,
            host,
            tcp,
            udp: parse_discovery_port(query, tcp)?,
        })
    }
}

fn strip_scheme(text: &str) -> Result<&str, EnodeError> {
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => Ok(rest),
        _ => Err(EnodeError::Scheme),
    }
}

fn parse_id(text: &str) -> Result<NodeId, EnodeError> {
    let mut id = [0; 64];
    if text.len() != 2 * id.len() {
        return Err(EnodeError::IdLength(text.chars().count()));
    }
    crate::hex::decode(text.as_bytes(), &mut id).ok_or(EnodeError::IdDigits)?;
    Ok(NodeId(id))
}

/// Splits `host:port`.
fn split_host(endpoint: &str) -> Result<(Host, &str), EnodeError> {
    if let Some(rest) = endpoint.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or(EnodeError::Ipv6Brackets)?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| EnodeError::Ipv6Brackets)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port,
            None if rest.is_empty() => return Err(EnodeError::MissingPort),
            None => return Err(EnodeError::InvalidHost),
        };
        return Ok((Host::Ip(IpAddr::V6(ip).to_canonical()), port));
    }
    let Some((host, port)) = endpoint.split_once(':') else {
        return Err(if endpoint.is_empty() {
            EnodeError::MissingHost
        } else {
            EnodeError::MissingPort
        });
    };
    if port.contains(':') {
        return Err(EnodeError::Ipv6Brackets);
    }
    if host.is_empty() {
        return Err(EnodeError::MissingHost);
    }
    let host = match host.parse() {
        Ok(ip) => Host::Ip(IpAddr::V4(ip)),
        Err(_) if is_dns_name(host) => Host::Name(host.to_owned()),
        Err(_) => return Err(EnodeError::InvalidHost),
    };
    Ok((host, port))
}

/// A name of letters, digits, `-` and `_`, whose last label is no number: such a one is a mistyped IPv4 address.
fn is_dns_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let label_is_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last_is_number = |last: &str| last.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= MAX_NAME_LENGTH
        && labels.split('.').all(label_is_fine)
        && !labels.rsplit('.').next().is_some_and(last_is_number)
}

fn parse_port(text: &str) -> Option<u16> {
    // Unlike `parse`, a URL takes no sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The first `discport`; without one, or if it is empty, the TCP port.
fn parse_discovery_port(query: &str, tcp: u16) -> Result<u16, EnodeError> {
    let stated = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("discport="))
        .filter(|value| !value.is_empty());
    stated.map_or(Ok(tcp), |value| {
        parse_port(value).ok_or(EnodeError::InvalidDiscoveryPort)
    })
}
