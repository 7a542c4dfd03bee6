//! The key stream of CTR mode, in batches of as many blocks as the cipher encrypts at once: one code for handshake packets,
//! frames and MACs, where registers are small and flash is scarce.

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, ParBlocks,
};

use zeroize::Zeroize;

use crate::ring::BLOCK;

/// Exclusive-ors `data` with the encrypted counter blocks from `counter` on, big-endian, 128 bits.
#[inline(never)]
pub(super) fn apply<C>(cipher: &C, counter: &[u8; BLOCK], data: &mut [u8])
where
    C: BlockCipherEncrypt<BlockSize = U16>,
{
    let counter = u128::from_be_bytes(*counter);
    cipher.encrypt_with_backend(KeyStream { counter, data });
}

struct KeyStream<'a> {
    counter: u128,
    data: &'a mut [u8],
}

impl BlockSizeUser for KeyStream<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for KeyStream<'_> {
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(mut self, backend: &B) {
        // Never single blocks: that is another code, which would be linked too.
        let mut batch = ParBlocks::<B>::default();
        for chunk in self.data.chunks_mut(size_of_val(&batch)) {
            for block in &mut batch {
                *block = Array(self.counter.to_be_bytes());
                self.counter = self.counter.wrapping_add(1);
            }
            backend.encrypt_par_blocks_inplace(&mut batch);
            for (block, with) in chunk.chunks_mut(BLOCK).zip(&batch) {
                for (byte, with) in block.iter_mut().zip(with) {
                    *byte ^= with;
                }
            }
        }
        batch.zeroize();
    }
}
