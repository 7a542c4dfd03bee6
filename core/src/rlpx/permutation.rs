//! The permutation Keccak-f\[1600\] (Keccak reference 3.0, section 1.2), which bounds the rate of frames: a seam, and two
//! implementations, one for registers of 64 bits, one for smaller ones, where flash is scarce too.

#[cfg(any(test, not(target_pointer_width = "64")))]
mod narrow;
#[cfg(any(test, target_pointer_width = "64"))]
mod wide;

/// Five planes of five lanes: lane (x, y) is the one at `x + 5y`.
pub type State = [u64; 25];

/// Lanes of input between two permutations: 1600 bits less twice 256.
pub const RATE_LANES: usize = 17;

/// Input for one permutation, as bytes of its lanes.
pub type Block = [[u8; 8]; RATE_LANES];

/// The permutation under [`Keccak256`](super::Keccak256). A host can put one here that its processor does faster.
pub trait Permutation {
    /// Twenty-four rounds.
    fn permute(state: &mut State);

    /// For each block: adds it to the first lanes by exclusive-or, then permutes.
    #[inline]
    fn absorb(state: &mut State, blocks: &[Block]) {
        for block in blocks {
            for (to, from) in state.iter_mut().zip(block) {
                *to ^= u64::from_le_bytes(*from);
            }
            Self::permute(state);
        }
    }
}

/// The permutation in plain Rust, for every target.
#[derive(Debug, Clone, Copy)]
pub enum Portable {}

impl Permutation for Portable {
    #[inline]
    fn permute(state: &mut State) {
        #[cfg(not(target_pointer_width = "64"))]
        narrow::permute(state);
        #[cfg(target_pointer_width = "64")]
        wide::permute(state);
    }
}

/// What iota adds in each round.
pub const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

#[cfg(test)]
mod tests {
    use super::{narrow, wide};

    #[test]
    fn both_compute_the_same() {
        let (mut left, mut right) = ([0; 25], [0; 25]);
        for turn in 0..50u64 {
            for lane in 0..25 {
                let input = (turn + 1)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(lane);
                left[lane as usize] ^= input;
                right[lane as usize] ^= input;
            }
            narrow::permute(&mut left);
            wide::permute(&mut right);
            assert_eq!(left, right, "turn {turn}");
        }
    }
}
