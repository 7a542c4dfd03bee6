//! The permutation Keccak-f\[1600\] (Keccak reference 3.0, section 1.2), which bounds the rate of frames.
//!
//! There are two, with the same interface: one for registers of 64 bits, one for smaller ones, where flash is scarce too.

#[cfg(any(test, not(target_pointer_width = "64")))]
mod narrow;
#[cfg(any(test, target_pointer_width = "64"))]
mod wide;

#[cfg(not(target_pointer_width = "64"))]
pub(super) use narrow::{ZERO, first_lanes, permute};
#[cfg(target_pointer_width = "64")]
pub(super) use wide::{ZERO, first_lanes, permute};

/// Five planes of five lanes, lane `x + 5y`; what a lane looks like is the implementation's affair, except that input is added
/// by exclusive-or.
pub(super) type State = [u64; 25];

/// What iota adds in each round.
const ROUND_CONSTANTS: [u64; 24] = [
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
        let (mut left, mut right) = (narrow::ZERO, wide::ZERO);
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
            assert_eq!(narrow::first_lanes(&left), wide::first_lanes(&right));
            for (lane, zero) in wide::ZERO.iter().enumerate() {
                assert_eq!(left[lane], right[lane] ^ zero, "lane {lane}");
            }
        }
    }
}
