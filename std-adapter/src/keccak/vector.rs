//! The permutation with each lane in a vector register of its own: 32 of those hold all 25 lanes, AVX-512 rotates by any
//! constant, and computes any function of three bits at once, such as chi's.

use core::arch::x86_64::{
    __m128i, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_rol_epi64, _mm_setzero_si128,
    _mm_ternarylogic_epi64, _mm_xor_si128,
};

use devp2p_core::rlpx::permutation::{Block, ROUND_CONSTANTS, State};

pub(super) const DESCRIPTION: &str = "keccak in AVX-512";

/// `a ^ b ^ c`, and `a ^ (!b & c)`: the results for the eight values of the three bits.
const XOR: i32 = 0b1001_0110;
const CHI: i32 = 0b1101_0010;

/// One row after theta, rho and pi, then chi: five lanes of `$to`.
macro_rules! plane {
    ($from:ident, $to:ident, $effect:ident, $y:literal, $(($lane:literal, $rotation:literal)),*) => {{
        let row = [$(_mm_rol_epi64::<$rotation>(_mm_xor_si128($from[$lane], $effect[$lane % 5]))),*];
        $to[5 * $y] = _mm_ternarylogic_epi64::<CHI>(row[0], row[1], row[2]);
        $to[5 * $y + 1] = _mm_ternarylogic_epi64::<CHI>(row[1], row[2], row[3]);
        $to[5 * $y + 2] = _mm_ternarylogic_epi64::<CHI>(row[2], row[3], row[4]);
        $to[5 * $y + 3] = _mm_ternarylogic_epi64::<CHI>(row[3], row[4], row[0]);
        $to[5 * $y + 4] = _mm_ternarylogic_epi64::<CHI>(row[4], row[0], row[1]);
    }};
}

/// The parity of a column: pairs first, which leaves one step to the plane that a round computes last.
macro_rules! parity {
    ($from:ident, $x:literal) => {
        _mm_ternarylogic_epi64::<XOR>(
            _mm_xor_si128($from[$x], $from[$x + 5]),
            _mm_xor_si128($from[$x + 10], $from[$x + 15]),
            $from[$x + 20],
        )
    };
}

/// One round from `$from` into `$to`.
macro_rules! round {
    ($from:ident, $to:ident, $constant:expr) => {
        let parity = [
            parity!($from, 0),
            parity!($from, 1),
            parity!($from, 2),
            parity!($from, 3),
            parity!($from, 4),
        ];
        let effect = [
            _mm_xor_si128(parity[4], _mm_rol_epi64::<1>(parity[1])),
            _mm_xor_si128(parity[0], _mm_rol_epi64::<1>(parity[2])),
            _mm_xor_si128(parity[1], _mm_rol_epi64::<1>(parity[3])),
            _mm_xor_si128(parity[2], _mm_rol_epi64::<1>(parity[4])),
            _mm_xor_si128(parity[3], _mm_rol_epi64::<1>(parity[0])),
        ];
        plane!(
            $from,
            $to,
            effect,
            0,
            (0, 0),
            (6, 44),
            (12, 43),
            (18, 21),
            (24, 14)
        );
        $to[0] = _mm_xor_si128($to[0], lane($constant));
        plane!(
            $from,
            $to,
            effect,
            1,
            (3, 28),
            (9, 20),
            (10, 3),
            (16, 45),
            (22, 61)
        );
        plane!(
            $from,
            $to,
            effect,
            2,
            (1, 1),
            (7, 6),
            (13, 25),
            (19, 8),
            (20, 18)
        );
        plane!(
            $from,
            $to,
            effect,
            3,
            (4, 27),
            (5, 36),
            (11, 10),
            (17, 15),
            (23, 56)
        );
        plane!(
            $from,
            $to,
            effect,
            4,
            (2, 62),
            (8, 55),
            (14, 39),
            (15, 41),
            (21, 2)
        );
    };
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn lane(value: u64) -> __m128i {
    _mm_cvtsi64_si128(value.cast_signed())
}

/// Twenty-four rounds.
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) fn permute(state: &mut State) {
    absorb(state, &[Block::default()]);
}

/// Adds each block and permutes. All in one function, in which nearly all lanes stay in registers.
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) fn absorb(state: &mut State, blocks: &[Block]) {
    let mut a = [_mm_setzero_si128(); 25];
    for (to, from) in a.iter_mut().zip(&*state) {
        *to = lane(*from);
    }
    let mut e = a;
    for block in blocks {
        for (to, from) in a.iter_mut().zip(block) {
            *to = _mm_xor_si128(*to, lane(u64::from_le_bytes(*from)));
        }
        for &[even, odd] in ROUND_CONSTANTS.as_chunks().0 {
            round!(a, e, even);
            round!(e, a, odd);
        }
    }
    for (to, from) in state.iter_mut().zip(a) {
        *to = _mm_cvtsi128_si64(from).cast_unsigned();
    }
}
