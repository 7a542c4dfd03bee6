//! Node records (EIP-778): what a node signed of itself, in one line of text.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use devp2p_core::hello::NodeId;
use devp2p_core::rlp::{self, Item, Reader};
use devp2p_core::rlpx::keccak256;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{Signature, VerifyingKey};
use k256::elliptic_curve::point::AffineCoordinates;

use crate::enode::{Enode, Host};

/// The largest record, in bytes (EIP-778, "RLP Encoding").
const MAX_LENGTH: usize = 300;

/// Why a text after `enr:` is not a node's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// It is not Base64 in the form for URLs, without padding.
    Base64,
    /// It has more than 300 bytes.
    TooLong,
    /// It is not the list that a record is, or its keys are not in order.
    Malformed(Option<rlp::Error>),
    /// It is of another identity scheme than `v4`, or has no public key.
    Identity,
    /// Its signature is not by its public key.
    Signature,
    /// It says no address.
    NoAddress,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base64 => "the node record is not Base64 for URLs: copy it whole, from enr: on",
            Self::TooLong => "the node record has more than 300 bytes: copy one record alone",
            Self::Malformed(_) => {
                "the node record is not one (EIP-778): copy it whole, from enr: on"
            }
            Self::Identity => {
                "the node record has no key of the identity scheme v4: such a node cannot be dialled"
            }
            Self::Signature => {
                "the node record's signature is wrong: it was changed, so take it again from the node"
            }
            Self::NoAddress => {
                "the node record says no address: take the node's enode URL, or a record from a node that others reach"
            }
        })
    }
}

impl From<rlp::Error> for RecordError {
    fn from(error: rlp::Error) -> Self {
        Self::Malformed(Some(error))
    }
}

impl std::error::Error for RecordError {}

/// Reads what follows `enr:`, and checks the signature. A node with an IPv4 and an IPv6 address is taken at the former.
pub(crate) fn parse(text: &str) -> Result<Enode, RecordError> {
    // The longest record in Base64; nothing longer is decoded at all.
    if text.len() > MAX_LENGTH.div_ceil(3) * 4 {
        return Err(RecordError::TooLong);
    }
    let record = base64(text).ok_or(RecordError::Base64)?;
    if record.len() > MAX_LENGTH {
        return Err(RecordError::TooLong);
    }
    let mut whole = Reader::new(&record);
    let mut items = whole.list()?;
    if !whole.is_empty() {
        return Err(RecordError::Malformed(None));
    }
    let signature = items.string()?;
    let signed = items.rest();
    let _sequence = items.uint64()?;
    let pairs = Pairs::read(items)?;
    let key = match (pairs.id, pairs.key) {
        (Some(b"v4"), Some(key)) => {
            VerifyingKey::from_sec1_bytes(key).map_err(|_| RecordError::Identity)?
        }
        _ => return Err(RecordError::Identity),
    };
    verify(&key, signature, signed)?;

    let mut id = [0; 64];
    let (x, y) = id.split_at_mut(32);
    x.copy_from_slice(&key.as_affine().x());
    y.copy_from_slice(&key.as_affine().y());
    let (ip, tcp, udp) = match (pairs.ip, pairs.ip6) {
        (Some(ip), _) => (IpAddr::V4(ip), pairs.tcp, pairs.udp),
        (None, Some(ip)) => (
            IpAddr::V6(ip).to_canonical(),
            pairs.tcp6.or(pairs.tcp),
            pairs.udp6.or(pairs.udp),
        ),
        (None, None) => return Err(RecordError::NoAddress),
    };
    let tcp = tcp.unwrap_or(0);
    Ok(Enode {
        id: NodeId(id),
        host: Host::Ip(ip),
        tcp,
        udp: udp.unwrap_or(tcp),
    })
}

/// The signature is over the list without it.
fn verify(key: &VerifyingKey, signature: &[u8], signed: &[u8]) -> Result<(), RecordError> {
    let mut content = vec![0; rlp::list_length(signed.len())];
    let mut writer = rlp::Writer::new(&mut content);
    let written = writer.list(signed.len()).and_then(|()| writer.raw(signed));
    written.map_err(|_| RecordError::Malformed(None))?;
    let hash = keccak256(&[&content]);
    let signature = Signature::from_slice(signature).map_err(|_| RecordError::Signature)?;
    key.verify_prehash(&hash, &signature)
        .map_err(|_| RecordError::Signature)
}

/// The pairs that matter here.
#[derive(Default)]
struct Pairs<'a> {
    id: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    ip: Option<Ipv4Addr>,
    ip6: Option<Ipv6Addr>,
    tcp: Option<u16>,
    tcp6: Option<u16>,
    udp: Option<u16>,
    udp6: Option<u16>,
}

impl<'a> Pairs<'a> {
    fn read(mut items: Reader<'a>) -> Result<Self, RecordError> {
        let mut pairs = Self::default();
        let mut last: Option<&[u8]> = None;
        while !items.is_empty() {
            let key = items.string()?;
            if last.is_some_and(|last| last >= key) {
                return Err(RecordError::Malformed(None));
            }
            last = Some(key);
            // Values of other keys may be anything.
            let value = match items.item()? {
                Item::String(value) => value,
                Item::List(_) => continue,
            };
            let port = || {
                let number = rlp::uint64(value).ok();
                number.and_then(|number| u16::try_from(number).ok())
            };
            match key {
                b"id" => pairs.id = Some(value),
                b"secp256k1" if value.len() == 33 => pairs.key = Some(value),
                b"ip" => pairs.ip = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from),
                b"ip6" => pairs.ip6 = <[u8; 16]>::try_from(value).ok().map(Ipv6Addr::from),
                b"tcp" => pairs.tcp = port(),
                b"tcp6" => pairs.tcp6 = port(),
                b"udp" => pairs.udp = port(),
                b"udp6" => pairs.udp6 = port(),
                _ => {}
            }
        }
        Ok(pairs)
    }
}

/// The bytes of Base64 in the form for URLs, without padding (RFC 4648, section 5).
fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        })
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            bits = bits << 6 | u32::from(value(*byte)?);
        }
        let bits = bits << (6 * (4 - group.len()));
        let [_, whole @ ..] = bits.to_be_bytes();
        // A group of one digit is none.
        let length = group.len().checked_sub(1).filter(|length| *length > 0)?;
        let (used, unused) = whole.split_at_checked(length)?;
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(used);
    }
    Some(bytes)
}
