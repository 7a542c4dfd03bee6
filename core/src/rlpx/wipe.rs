//! What calls that handled secrets leave behind on the stack.

use zeroize::Zeroize;

/// Words below the caller that are overwritten: on a board no deeper than a step of the handshake goes, so that no stack has to
/// be larger for it.
const WORDS: usize = if cfg!(target_pointer_width = "64") {
    16 * 1024 / 8
} else {
    6 * 1024 / size_of::<usize>()
};

/// Overwrites the stack below the caller's own frame, 6 KiB, on 64-bit machines 16: copies that a call which has returned made
/// of what it was passed or what it returned, in registers' places and moved values, which no destructor reaches.
///
/// A session does this after each step of the handshake. So should a driver after a call that moved
/// [`Established`](super::Established) or what is in it.
#[inline(never)]
pub fn wipe_stack() {
    let mut below = [0_usize; WORDS];
    below.zeroize();
}
