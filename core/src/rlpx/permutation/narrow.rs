//! For registers below 64 bits: one round, in place and without a branch, which the smallest optimisation level does not undo.

use super::{ROUND_CONSTANTS, State};

/// Rho and pi move lane 1 to the first of these, turned by so much, what was there to the second, and so on round to lane 1.
const MOVES: [(usize, u32); 23] = [
    (10, 1),
    (7, 3),
    (11, 6),
    (17, 10),
    (18, 15),
    (3, 21),
    (5, 28),
    (16, 36),
    (8, 45),
    (21, 55),
    (24, 2),
    (4, 14),
    (15, 27),
    (23, 41),
    (19, 56),
    (13, 8),
    (12, 25),
    (2, 43),
    (20, 62),
    (14, 18),
    (22, 39),
    (9, 61),
    (6, 20),
];
const LAST_TURN: u32 = 44;

/// The block once for each value, as a constant.
macro_rules! unroll {
    ($i:ident in $($value:literal)* : $block:block) => {
        $({
            const $i: usize = $value;
            $block
        })*
    };
}

/// Twenty-four rounds.
pub(super) fn permute(a: &mut State) {
    for constant in ROUND_CONSTANTS {
        let mut parity = [0; 5];
        unroll!(X in 0 1 2 3 4: {
            parity[X] = a[X] ^ a[X + 5] ^ a[X + 10] ^ a[X + 15] ^ a[X + 20];
        });
        unroll!(X in 0 1 2 3 4: {
            let effect = parity[(X + 4) % 5] ^ parity[(X + 1) % 5].rotate_left(1);
            unroll!(Y in 0 5 10 15 20: { a[X + Y] ^= effect; });
        });
        let mut moving = a[1];
        unroll!(I in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22: {
            const TO: usize = MOVES[I].0;
            let there = a[TO];
            a[TO] = moving.rotate_left(MOVES[I].1);
            moving = there;
        });
        a[1] = moving.rotate_left(LAST_TURN);
        unroll!(Y in 0 5 10 15 20: {
            let row = [a[Y], a[Y + 1], a[Y + 2], a[Y + 3], a[Y + 4]];
            unroll!(X in 0 1 2 3 4: {
                a[Y + X] = row[X] ^ (!row[(X + 1) % 5] & row[(X + 2) % 5]);
            });
        });
        a[0] ^= constant;
    }
}
