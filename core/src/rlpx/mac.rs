//! The MAC of one direction: a running keccak256, stirred with AES at each header and body (RLPx specification, "MAC").

#[cfg(target_pointer_width = "64")]
use aes::cipher::BlockCipherEncrypt;
use subtle::ConstantTimeEq;

use super::cipher::{Aes256, BLOCK};
use super::sponge::{Keccak256, Sponge};

/// A MAC on the wire: the first half of a digest.
pub type Tag = [u8; BLOCK];

/// The MAC state of one direction.
#[derive(Clone, Default)]
pub struct Mac<S: Sponge = Keccak256> {
    sponge: S,
    /// The digest of `sponge`, first half, while nothing was absorbed since: the tag of a body is also what the next header
    /// begins with, so a frame costs three digests instead of four.
    digest: Option<Tag>,
}

impl<S: Sponge> Mac<S> {
    /// The tag of a frame header, given encrypted.
    pub fn header(&mut self, key: &Aes256, ciphertext: &[u8; BLOCK]) -> Tag {
        self.stir(key, Some(ciphertext))
    }

    /// Absorbs a part of the encrypted body.
    pub fn update(&mut self, ciphertext: &[u8]) {
        self.digest = None;
        self.sponge.absorb(ciphertext);
    }

    /// The tag of a frame body, once all of it went through [`update`](Self::update).
    pub fn body(&mut self, key: &Aes256) -> Tag {
        self.stir(key, None)
    }

    /// The whole digest of the state as it is.
    pub fn digest(&self) -> [u8; 32] {
        self.sponge.digest()
    }

    /// Absorbs the encrypted digest, exclusive-or the header's ciphertext or, for a body, the digest itself.
    fn stir(&mut self, key: &Aes256, header: Option<&[u8; BLOCK]>) -> Tag {
        let before = self.half_digest();
        let mut seed = *header.unwrap_or(&before);
        add_encrypted(key, &before, &mut seed);
        self.update(&seed);
        self.half_digest()
    }

    fn half_digest(&mut self) -> Tag {
        *self.digest.get_or_insert_with(|| {
            let [first, _] = *self.sponge.digest().as_chunks().0 else {
                return Tag::default();
            };
            first
        })
    }
}

impl<S: Sponge> core::fmt::Debug for Mac<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Mac").finish_non_exhaustive()
    }
}

/// Exclusive-ors `seed` with the encrypted block.
#[cfg(target_pointer_width = "64")]
fn add_encrypted(key: &Aes256, block: &Tag, seed: &mut Tag) {
    let mut block = (*block).into();
    key.encrypt_block(&mut block);
    for (byte, with) in seed.iter_mut().zip(block) {
        *byte ^= with;
    }
}

/// The same: the key stream of one block.
#[cfg(not(target_pointer_width = "64"))]
fn add_encrypted(key: &Aes256, block: &Tag, seed: &mut Tag) {
    super::key_stream::apply(key, block, seed);
}

/// Whether two tags are the same, in a time that does not depend on them.
#[must_use]
pub fn tags_match(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
