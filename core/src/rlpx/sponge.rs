//! The sponge that the MACs and the key derivation run on: a seam, and keccak256 behind it.

use core::marker::PhantomData;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::permutation::{Permutation, Portable, RATE_LANES, State};

/// A hash that goes on absorbing after a digest was read from it, as each direction's MAC does.
///
/// A host can put its own keccak256 here, or its own [`Permutation`] under [`Keccak256`]; `Default` is the state that has
/// absorbed nothing.
pub trait Sponge: Clone + Default {
    /// Absorbs `bytes`; any split of the same bytes into calls gives the same state.
    fn absorb(&mut self, bytes: &[u8]);
    /// The digest of everything absorbed so far. The state is not changed.
    fn digest(&self) -> [u8; 32];
}

/// Bytes absorbed between two permutations.
const RATE: usize = RATE_LANES * 8;

/// Keccak256 as Ethereum uses it: the padding of the original submission (0x01), not that of SHA-3 (0x06).
pub struct Keccak256<P: Permutation = Portable> {
    lanes: State,
    /// Bytes absorbed since the last permutation, below `RATE`.
    filled: usize,
    permutation: PhantomData<P>,
}

impl<P: Permutation> Default for Keccak256<P> {
    fn default() -> Self {
        Self {
            lanes: [0; 25],
            filled: 0,
            permutation: PhantomData,
        }
    }
}

impl<P: Permutation> Clone for Keccak256<P> {
    fn clone(&self) -> Self {
        Self {
            lanes: self.lanes,
            filled: self.filled,
            permutation: PhantomData,
        }
    }
}

impl<P: Permutation> Keccak256<P> {
    /// Adds fewer than eight bytes, which do not cross a lane's end.
    fn absorb_within_lane(&mut self, bytes: &[u8]) {
        let shift = 8 * (self.filled % 8);
        let lane = bytes
            .iter()
            .rev()
            .fold(0, |lane, &byte| (lane << 8) | u64::from(byte));
        if let Some(to) = self.lanes.get_mut(self.filled / 8) {
            *to ^= lane << shift;
        }
        self.advance(bytes.len());
    }

    fn advance(&mut self, count: usize) {
        self.filled += count;
        if self.filled >= RATE {
            P::permute(&mut self.lanes);
            self.filled = 0;
        }
    }

    /// Pads and permutes `lanes` as the last block.
    #[inline(always)]
    fn squeeze(lanes: &mut State, filled: usize) -> [u8; 32] {
        if let Some(lane) = lanes.get_mut(filled / 8) {
            *lane ^= 1 << (8 * (filled % 8));
        }
        lanes[RATE_LANES - 1] ^= 0x80 << 56;
        P::permute(lanes);
        let mut digest = [0; 32];
        for (to, lane) in digest.as_chunks_mut().0.iter_mut().zip(lanes) {
            *to = lane.to_le_bytes();
        }
        digest
    }
}

impl<P: Permutation> Sponge for Keccak256<P> {
    fn absorb(&mut self, bytes: &[u8]) {
        // A handshake packet has any length, so lanes and input can be out of step for a whole session: whole lanes are
        // taken from wherever in the input they begin.
        let (head, rest) = bytes.split_at(bytes.len().min(self.filled.wrapping_neg() % 8));
        if !head.is_empty() {
            self.absorb_within_lane(head);
        }
        let (mut lanes, tail) = rest.as_chunks::<8>();
        while !lanes.is_empty() {
            // Where flash is scarce the loop's other half does for whole blocks too.
            #[cfg(target_pointer_width = "64")]
            if self.filled == 0 {
                let (blocks, rest) = lanes.as_chunks();
                P::absorb(&mut self.lanes, blocks);
                lanes = rest;
            }
            let room = RATE_LANES - self.filled / 8;
            let (now, later) = lanes.split_at(lanes.len().min(room));
            for (to, from) in self.lanes.iter_mut().skip(self.filled / 8).zip(now) {
                *to ^= u64::from_le_bytes(*from);
            }
            self.advance(8 * now.len());
            lanes = later;
        }
        if !tail.is_empty() {
            self.absorb_within_lane(tail);
        }
    }

    fn digest(&self) -> [u8; 32] {
        Self::squeeze(&mut self.lanes.clone(), self.filled)
    }
}

impl<P: Permutation> Drop for Keccak256<P> {
    fn drop(&mut self) {
        self.lanes.zeroize();
    }
}

impl<P: Permutation> ZeroizeOnDrop for Keccak256<P> {}

impl<P: Permutation> core::fmt::Debug for Keccak256<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keccak256").finish_non_exhaustive()
    }
}

/// Keccak256 of the parts one after the other. The permutation can be undone, so what hashed a secret is wiped.
pub fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    let mut sponge = Keccak256::<Portable>::default();
    for part in parts {
        sponge.absorb(part);
    }
    let filled = sponge.filled;
    Keccak256::<Portable>::squeeze(&mut sponge.lanes, filled)
}
