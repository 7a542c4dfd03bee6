//! For 64-bit registers: two rounds make one turn of the loop, so that no lane moves, and six lanes are kept complemented
//! ("lane complementing", Keccak implementation overview, section 2.2), which leaves one or no complement in a row of chi.

use super::{ROUND_CONSTANTS, State};

const COMPLEMENTED: [usize; 6] = [1, 2, 8, 12, 17, 20];

/// One row after theta, rho and pi, then chi as given: five lanes of `$to`, which also enter the column parities.
macro_rules! plane {
    ($from:ident, $to:ident, $parity:ident, $effect:ident, $y:literal,
     $(($lane:literal, $rotation:literal)),*; |$($b:ident),*| $($chi:expr),*) => {{
        let [$($b),*] = [$(($from[$lane] ^ $effect[$lane % 5]).rotate_left($rotation)),*];
        let row = [$($chi),*];
        $to[5 * $y] = row[0];
        $to[5 * $y + 1] = row[1];
        $to[5 * $y + 2] = row[2];
        $to[5 * $y + 3] = row[3];
        $to[5 * $y + 4] = row[4];
        $parity[0] ^= row[0];
        $parity[1] ^= row[1];
        $parity[2] ^= row[2];
        $parity[3] ^= row[3];
        $parity[4] ^= row[4];
    }};
}

/// One round from `$from` into `$to`; `$parity` holds the column parities of the former before and of the latter after.
macro_rules! round {
    ($from:ident, $to:ident, $parity:ident, $constant:expr) => {
        let effect = [
            $parity[4] ^ $parity[1].rotate_left(1),
            $parity[0] ^ $parity[2].rotate_left(1),
            $parity[1] ^ $parity[3].rotate_left(1),
            $parity[2] ^ $parity[4].rotate_left(1),
            $parity[3] ^ $parity[0].rotate_left(1),
        ];
        $parity = [0; 5];
        plane!($from, $to, $parity, effect, 0, (0, 0), (6, 44), (12, 43), (18, 21), (24, 14);
            |a, e, i, o, u| a ^ (e | i) ^ $constant, e ^ (!i | o), i ^ (o & u), o ^ (u | a), u ^ (a & e));
        plane!($from, $to, $parity, effect, 1, (3, 28), (9, 20), (10, 3), (16, 45), (22, 61);
            |a, e, i, o, u| a ^ (e | i), e ^ (i & o), i ^ (o | !u), o ^ (u | a), u ^ (a & e));
        plane!($from, $to, $parity, effect, 2, (1, 1), (7, 6), (13, 25), (19, 8), (20, 18);
            |a, e, i, o, u| a ^ (e | i), e ^ (i & o), i ^ (!o & u), !o ^ (u | a), u ^ (a & e));
        plane!($from, $to, $parity, effect, 3, (4, 27), (5, 36), (11, 10), (17, 15), (23, 56);
            |a, e, i, o, u| a ^ (e & i), e ^ (i | o), i ^ (!o | u), !o ^ (u & a), u ^ (a | e));
        plane!($from, $to, $parity, effect, 4, (2, 62), (8, 55), (14, 39), (15, 41), (21, 2);
            |a, e, i, o, u| a ^ (!e & i), !e ^ (i | o), i ^ (o & u), o ^ (u | a), u ^ (a & e));
    };
}

/// Twenty-four rounds.
pub(super) fn permute(state: &mut State) {
    let mut a = *state;
    for lane in COMPLEMENTED {
        a[lane] = !a[lane];
    }
    let mut e = [0; 25];
    let mut parity = [0; 5];
    for y in 0..5 {
        for x in 0..5 {
            parity[x] ^= a[x + 5 * y];
        }
    }
    for &[even, odd] in ROUND_CONSTANTS.as_chunks().0 {
        round!(a, e, parity, even);
        round!(e, a, parity, odd);
    }
    for lane in COMPLEMENTED {
        a[lane] = !a[lane];
    }
    *state = a;
}
