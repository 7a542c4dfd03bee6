//! The bodies of auth and ack: RLP lists, padded (EIP-8). Extra elements and whatever follows the list are ignored, and so is
//! the version, which peers do not agree on sending or checking.

use super::curve::{PointBytes, SignatureBytes};
use super::types::{HandshakeError, Nonce};

const VERSION: u8 = 4;

const SIGNATURE_HEADER: [u8; 2] = [0xb8, 65];
const POINT_HEADER: [u8; 2] = [0xb8, 64];
const NONCE_HEADER: [u8; 1] = [0x80 + 32];

const AUTH_PAYLOAD: u8 = (2 + 65) + (2 + 64) + (1 + 32) + 1;
const ACK_PAYLOAD: u8 = (2 + 64) + (1 + 32) + 1;
/// Bytes of the auth list that we write, without padding.
pub(super) const AUTH: usize = 2 + AUTH_PAYLOAD as usize;
/// Bytes of the ack list that we write, without padding.
pub(super) const ACK: usize = 2 + ACK_PAYLOAD as usize;
/// As much of a received body as can matter: a list header of three bytes and the three elements of auth.
pub(super) const HEAD: usize = 3 + (2 + 65) + (2 + 64) + (1 + 32);

/// What auth says: signature, static public key, nonce.
pub(super) type Auth<'a> = (&'a SignatureBytes, &'a PointBytes, &'a Nonce);
/// What ack says: ephemeral public key, nonce.
pub(super) type Ack<'a> = (&'a PointBytes, &'a Nonce);

/// Reads auth from the first bytes of a body that is `length` bytes long.
pub(super) fn read_auth(head: &[u8], length: usize) -> Result<Auth<'_>, HandshakeError> {
    let mut list = Reader::list(head, length)?;
    Ok((
        list.element(SIGNATURE_HEADER)?,
        list.element(POINT_HEADER)?,
        list.element(NONCE_HEADER)?,
    ))
}

/// Reads ack likewise.
pub(super) fn read_ack(head: &[u8], length: usize) -> Result<Ack<'_>, HandshakeError> {
    let mut list = Reader::list(head, length)?;
    Ok((list.element(POINT_HEADER)?, list.element(NONCE_HEADER)?))
}

/// Writes auth, and zeros to the end of `body`.
pub(super) fn write_auth(body: &mut [u8], (signature, point, nonce): Auth<'_>) {
    write(
        body,
        &[
            &[0xf8, AUTH_PAYLOAD],
            &SIGNATURE_HEADER,
            signature,
            &POINT_HEADER,
            point,
            &NONCE_HEADER,
            nonce,
            &[VERSION],
        ],
    );
}

/// Writes ack likewise.
pub(super) fn write_ack(body: &mut [u8], (point, nonce): Ack<'_>) {
    write(
        body,
        &[
            &[0xf8, ACK_PAYLOAD],
            &POINT_HEADER,
            point,
            &NONCE_HEADER,
            nonce,
            &[VERSION],
        ],
    );
}

fn write(body: &mut [u8], parts: &[&[u8]]) {
    let mut to = body.iter_mut();
    for byte in parts.iter().copied().flatten() {
        if let Some(to) = to.next() {
            *to = *byte;
        }
    }
    to.for_each(|byte| *byte = 0);
}

/// The elements of a list of which only the beginning is at hand.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn list(head: &'a [u8], length: usize) -> Result<Self, HandshakeError> {
        let (payload, rest) = match head {
            [short @ 0xc0..=0xf7, rest @ ..] => (usize::from(*short - 0xc0), rest),
            [0xf8, length, rest @ ..] => (usize::from(*length), rest),
            [0xf9, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            _ => return Err(HandshakeError),
        };
        let header = head.len() - rest.len();
        if length.checked_sub(header).is_none_or(|room| payload > room) {
            return Err(HandshakeError);
        }
        Ok(Self(rest.get(..payload).unwrap_or(rest)))
    }

    /// The next element, which has this header and so a known size.
    fn element<const H: usize, const N: usize>(
        &mut self,
        header: [u8; H],
    ) -> Result<&'a [u8; N], HandshakeError> {
        let rest = self.0.strip_prefix(&header).ok_or(HandshakeError)?;
        let (element, rest) = rest.split_first_chunk().ok_or(HandshakeError)?;
        self.0 = rest;
        Ok(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn ack(list_header: &[u8], tail: &[u8]) -> Vec<u8> {
        let mut body = list_header.to_vec();
        body.extend(POINT_HEADER);
        body.extend([1; 64]);
        body.extend(NONCE_HEADER);
        body.extend([2; 32]);
        body.extend(tail);
        body
    }

    fn read(body: &[u8]) -> bool {
        let head = &body[..body.len().min(HEAD)];
        match read_ack(head, body.len()) {
            Ok(ack) => {
                assert_eq!(ack, (&[1; 64], &[2; 32]));
                true
            }
            Err(HandshakeError) => false,
        }
    }

    #[test]
    fn version_extra_elements_and_padding_are_ignored() {
        assert!(read(&ack(&[0xf8, 99], &[])), "no version");
        assert!(read(&ack(&[0xf8, 100], &[4])));
        assert!(read(&ack(&[0xf8, 100], &[57, 0, 0, 0])), "zero padding");
        assert!(
            read(&ack(&[0xf8, 102], &[0x80, 0xc1, 0x05, 9, 9])),
            "a list as an extra"
        );
        assert!(
            read(&ack(&[0xf8, 99], &[0xff; 300])),
            "padding of any value"
        );
        assert!(
            read(&ack(&[0xf9, 1, 99], &[0x80; 256])),
            "a list longer than the head"
        );
    }

    #[test]
    fn a_list_that_does_not_hold_the_elements_is_refused() {
        assert!(!read(&[]));
        assert!(!read(&[0xf9]));
        assert!(
            !read(&ack(&[0xf8, 98], &[])),
            "the nonce crosses the end of the list"
        );
        assert!(
            !read(&ack(&[0xf8, 100], &[])),
            "the list crosses the end of the body"
        );
        assert!(
            !read(&ack(&[0xfa, 0, 0, 99], &[])),
            "a length of three bytes"
        );
        assert!(!read(&ack(&[0xb8, 99], &[])), "a string");
        assert!(!read(&ack(&[0xc0], &[])), "an empty list");
        let mut body = ack(&[0xf8, 100], &[4]);
        body[3] = 63;
        assert!(!read(&body), "a key of 63 bytes");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (signature, point, nonce) = ([7; 65], [8; 64], [9; 32]);
        let mut body = [0xff; AUTH + 100];
        write_auth(&mut body, (&signature, &point, &nonce));
        assert_eq!(
            read_auth(&body[..HEAD], body.len()),
            Ok((&signature, &point, &nonce))
        );
        assert_eq!(body[AUTH - 1], VERSION);
        assert_eq!(body[AUTH..], [0; 100]);
        let mut body = [0xff; ACK + 100];
        write_ack(&mut body, (&point, &nonce));
        assert_eq!(read_ack(&body, body.len()), Ok((&point, &nonce)));
        assert_eq!(body[ACK - 1], VERSION);
        assert_eq!(body[ACK..], [0; 100]);
    }
}
