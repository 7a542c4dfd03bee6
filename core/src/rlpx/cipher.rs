//! The frame cipher: AES-256-CTR with a zero IV, one key for both directions (RLPx specification, "Framing").

use aes::Aes256Enc;
use ctr::cipher::array::Array;
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use ctr::{CtrCore, flavors::Ctr128BE};

/// AES-256 with its key schedule, encryption only: neither CTR nor the MAC decrypts a block. Wiped on drop.
pub type Aes256 = Aes256Enc;

/// Bytes in a block of AES.
pub const BLOCK: usize = 16;

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
        let (blocks, rest) = Array::slice_as_chunks_mut(data);
        debug_assert!(rest.is_empty(), "whole blocks only");
        let iv = self.counter.to_be_bytes().into();
        CtrCore::<_, Ctr128BE>::inner_iv_init(key, &iv).apply_keystream_blocks(blocks);
        self.counter = self.counter.wrapping_add(blocks.len() as u128);
    }
}
