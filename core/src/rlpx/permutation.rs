//! The permutation Keccak-f\[1600\] (Keccak reference 3.0, section 1.2), written for the frame rate: keccak is what bounds it.
//!
//! Six lanes are kept complemented throughout ("lane complementing", Keccak implementation overview, section 2.2), which leaves
//! one or no complement in each row of chi, and two rounds make one turn of the loop on 64-bit targets, so that no lane moves.

/// Five planes of five lanes, lane `x + 5y`; the lanes named in [`COMPLEMENTED`] hold their complement.
pub(super) type State = [u64; 25];

const COMPLEMENTED: [usize; 6] = [1, 2, 8, 12, 17, 20];

/// The all-zero state in this representation.
pub(super) const ZERO: State = {
    let mut state = [0; 25];
    let mut i = 0;
    while i < COMPLEMENTED.len() {
        state[COMPLEMENTED[i]] = !0;
        i += 1;
    }
    state
};

/// The first four lanes in plain representation: the 256 bits that keccak256 puts out.
#[inline(always)]
pub(super) fn first_lanes(state: &State) -> [u64; 4] {
    [state[0], !state[1], !state[2], state[3]]
}

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
    let mut e = [0; 25];
    let mut parity = [0; 5];
    for y in 0..5 {
        for x in 0..5 {
            parity[x] ^= a[x + 5 * y];
        }
    }
    #[cfg(target_pointer_width = "64")]
    for &[even, odd] in ROUND_CONSTANTS.as_chunks().0 {
        round!(a, e, parity, even);
        round!(e, a, parity, odd);
    }
    // Half the code, where flash is scarcer than time.
    #[cfg(not(target_pointer_width = "64"))]
    for constant in ROUND_CONSTANTS {
        round!(a, e, parity, constant);
        a = e;
    }
    *state = a;
}
