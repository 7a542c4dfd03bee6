//! ECIES as RLPx uses it (RLPx specification, "ECIES Encryption"; EIP-8 for the size prefix under the MAC).
//!
//! A packet is `size (2) || 0x04 || R (64) || iv (16) || ciphertext || tag (32)`, and `size` counts what follows it. The point
//! multiplications are the caller's: these functions begin where the shared x coordinate is known.

use aes::Aes128Enc;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::curve::PointBytes;
use super::key_stream;
use super::types::HandshakeError;

/// Bytes of the size prefix.
pub(super) const PREFIX: usize = 2;
const POINT: usize = 65;
const IV: usize = 16;
const TAG: usize = 32;
/// Where the plaintext lies in a packet.
pub(super) const BODY: usize = PREFIX + POINT + IV;
/// What encryption adds to a body, the prefix not counted; also the least that a prefix may state.
pub(super) const OVERHEAD: usize = POINT + IV + TAG;
/// The most that a prefix may state: what go-ethereum accepts.
pub(super) const MAX_SIZE: usize = 2048;

/// The bytes in a whole packet, from its prefix.
pub(super) fn packet_length(prefix: [u8; PREFIX]) -> Result<usize, HandshakeError> {
    let size = usize::from(u16::from_be_bytes(prefix));
    if (OVERHEAD..=MAX_SIZE).contains(&size) {
        Ok(PREFIX + size)
    } else {
        Err(HandshakeError)
    }
}

/// The sender's ephemeral point R, not yet checked; only the uncompressed form has 65 bytes.
pub(super) fn ephemeral_point(packet: &[u8]) -> Result<&PointBytes, HandshakeError> {
    match packet.get(PREFIX..).and_then(<[u8]>::split_first_chunk) {
        Some(([0x04], rest)) => rest.first_chunk().ok_or(HandshakeError),
        _ => Err(HandshakeError),
    }
}

/// The two keys of one packet.
pub(super) struct PacketKeys {
    encryption: Zeroizing<[u8; 16]>,
    mac: Zeroizing<[u8; 32]>,
}

impl PacketKeys {
    /// Concatenation KDF (NIST SP 800-56A, 5.8.1) over SHA-256: 32 bytes are one round, and the second half is hashed once more.
    pub(super) fn derive(shared_x: &[u8; 32]) -> Self {
        let material = Zeroizing::new(<[u8; 32]>::from(
            Sha256::new()
                .chain_update(1u32.to_be_bytes())
                .chain_update(shared_x)
                .finalize(),
        ));
        let (encryption, mac) = material.split_at(16);
        let mut keys = Self {
            encryption: Zeroizing::default(),
            mac: Zeroizing::new(Sha256::digest(mac).into()),
        };
        keys.encryption.copy_from_slice(encryption);
        keys
    }

    fn hmac(
        &self,
        prefix: &[u8],
        iv_and_ciphertext: &[u8],
    ) -> Result<Hmac<Sha256>, HandshakeError> {
        let hmac = Hmac::<Sha256>::new_from_slice(&*self.mac).map_err(|_| HandshakeError)?;
        Ok(hmac.chain_update(iv_and_ciphertext).chain_update(prefix))
    }

    fn apply_key_stream(&self, iv: &[u8; IV], data: &mut [u8]) {
        key_stream::apply(&Aes128Enc::new((&*self.encryption).into()), iv, data);
    }

    /// Checks the tag, then decrypts the first bytes of the body into `head`. The packet stays as it is: the MAC states absorb
    /// it later. Returns the length of the whole body; bytes of `head` beyond it are not written.
    pub(super) fn open(&self, packet: &[u8], head: &mut [u8]) -> Result<usize, HandshakeError> {
        let (prefix, rest) = packet.split_at_checked(PREFIX).ok_or(HandshakeError)?;
        let (_, rest) = rest.split_at_checked(POINT).ok_or(HandshakeError)?;
        let (authentic, tag) = rest.split_last_chunk::<TAG>().ok_or(HandshakeError)?;
        let (iv, ciphertext) = authentic.split_first_chunk().ok_or(HandshakeError)?;
        self.hmac(prefix, authentic)?
            .verify(tag.into())
            .map_err(|_| HandshakeError)?;
        let known = head.len().min(ciphertext.len());
        for (to, from) in head.iter_mut().zip(ciphertext) {
            *to = *from;
        }
        if let Some(head) = head.get_mut(..known) {
            self.apply_key_stream(iv, head);
        }
        Ok(ciphertext.len())
    }

    /// Encrypts the body in place and adds iv and tag. Prefix and R are there already.
    pub(super) fn seal(&self, packet: &mut [u8], iv: &[u8; IV]) -> Result<(), HandshakeError> {
        let (prefix, rest) = packet.split_at_mut_checked(PREFIX).ok_or(HandshakeError)?;
        let (_, rest) = rest.split_at_mut_checked(POINT).ok_or(HandshakeError)?;
        let (authentic, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(HandshakeError)?;
        let (to, body) = authentic.split_first_chunk_mut().ok_or(HandshakeError)?;
        *to = *iv;
        self.apply_key_stream(iv, body);
        *tag = self.hmac(prefix, authentic)?.finalize().into_bytes().into();
        Ok(())
    }
}

/// Writes prefix and R of a packet that is `packet.len()` bytes long.
pub(super) fn write_head(packet: &mut [u8], point: &PointBytes) -> Result<(), HandshakeError> {
    let size = packet.len().checked_sub(PREFIX).ok_or(HandshakeError)?;
    let size = u16::try_from(size).map_err(|_| HandshakeError)?;
    let (prefix, rest) = packet.split_first_chunk_mut().ok_or(HandshakeError)?;
    let ([form], rest) = rest.split_first_chunk_mut().ok_or(HandshakeError)?;
    *prefix = size.to_be_bytes();
    *form = 0x04;
    *rest.first_chunk_mut().ok_or(HandshakeError)? = *point;
    Ok(())
}
