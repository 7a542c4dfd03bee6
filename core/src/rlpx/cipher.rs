//! The frame cipher: AES-256-CTR with a zero IV, one key for both directions (RLPx specification, "Framing").

use aes::Aes256Enc;
use aes::cipher::KeyInit;
#[cfg(target_pointer_width = "64")]
use aes::cipher::{Block, BlockCipherEncrypt};
#[cfg(target_pointer_width = "64")]
use ctr::{
    CtrCore,
    cipher::{InnerIvInit, StreamCipherCore, array::Array},
    flavors::Ctr128BE,
};
#[cfg(target_pointer_width = "64")]
use zeroize::Zeroize;

pub use crate::ring::BLOCK;

/// AES-256 with its key schedule, encryption only: neither CTR nor the MAC decrypts a block. Wiped on drop.
pub type Aes256 = Aes256Enc;

/// What both directions of a session share and never change.
pub struct FrameKeys {
    /// The cipher's key, aes-secret.
    pub frame: Aes256,
    /// The MAC's key, mac-secret.
    pub mac: Aes256,
}

impl FrameKeys {
    /// From aes-secret and mac-secret.
    pub fn new(aes_secret: &[u8; 32], mac_secret: &[u8; 32]) -> Self {
        Self {
            frame: Aes256::new(aes_secret.into()),
            mac: Aes256::new(mac_secret.into()),
        }
    }
}

/// The keys wipe themselves; ciphers for many blocks at a time also leave them on the stack, spread over wide registers.
#[cfg(target_pointer_width = "64")]
impl Drop for FrameKeys {
    fn drop(&mut self) {
        super::wipe::wipe_stack();
    }
}

impl core::fmt::Debug for FrameKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FrameKeys").finish_non_exhaustive()
    }
}

/// How far one direction has come in its key stream.
#[derive(Debug, Default)]
pub struct FrameCipher {
    /// Blocks used; as 128 bits big-endian it is the next counter block.
    counter: u128,
}

impl FrameCipher {
    /// Encrypts or decrypts `data` in place. Frames are whole blocks: a rest shorter than [`BLOCK`] is left as it is.
    pub fn apply(&mut self, key: &Aes256, data: &mut [u8]) {
        debug_assert!(data.len().is_multiple_of(BLOCK), "whole blocks only");
        let counter = self.counter.to_be_bytes();
        self.counter = self.counter.wrapping_add((data.len() / BLOCK) as u128);
        Self::apply_at(key, &counter, data);
    }

    #[cfg(target_pointer_width = "64")]
    fn apply_at(key: &Aes256, counter: &[u8; BLOCK], data: &mut [u8]) {
        match Array::slice_as_chunks_mut(data).0 {
            [block] => Self::apply_to_one(key, counter, block),
            blocks => Self::apply_to_many(key, counter, blocks),
        }
    }

    /// A header, or the body of a Ping: without room for more blocks, so that a thread which reads little has a small stack.
    #[cfg(target_pointer_width = "64")]
    #[inline(never)]
    fn apply_to_one(key: &Aes256, counter: &[u8; BLOCK], block: &mut Block<Aes256>) {
        let mut stream = Array(*counter);
        key.encrypt_block(&mut stream);
        for (byte, with) in block.iter_mut().zip(&stream) {
            *byte ^= with;
        }
        stream.zeroize();
    }

    #[cfg(target_pointer_width = "64")]
    #[inline(never)]
    fn apply_to_many(key: &Aes256, counter: &[u8; BLOCK], blocks: &mut [Block<Aes256>]) {
        CtrCore::<_, Ctr128BE>::inner_iv_init(key, counter.into()).apply_keystream_blocks(blocks);
    }

    #[cfg(not(target_pointer_width = "64"))]
    fn apply_at(key: &Aes256, counter: &[u8; BLOCK], data: &mut [u8]) {
        let whole = data.len() / BLOCK * BLOCK;
        super::key_stream::apply(key, counter, data.get_mut(..whole).unwrap_or_default());
    }
}
