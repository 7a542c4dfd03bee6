//! Payloads that both ends can make from a number, so that any change on the way shows.

/// Fills `out` with random bytes that depend on `seed` only.
pub(crate) fn random(seed: u64, out: &mut [u8]) {
    // xorshift64*, never from zero.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in out.chunks_mut(8) {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let word = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// Message `number` of a stream: random bytes, with every second block of 64 repeated, so that Snappy has something to do.
pub(crate) fn mixed(number: u64, length: usize) -> Vec<u8> {
    let mut payload = vec![0; length];
    random(number + 1, &mut payload);
    for pair in payload.chunks_exact_mut(128) {
        let (first, second) = pair.split_at_mut(64);
        second.copy_from_slice(first);
    }
    payload
}
