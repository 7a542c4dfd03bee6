//! Hex digits, into and out of buffers that the caller lends.

/// Decodes `digits`, of either case, into `out`. `None` if there is anything else, or another length than `out` asks for.
pub(crate) fn decode(digits: &[u8], out: &mut [u8]) -> Option<()> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != out.len() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(())
}

/// Encodes `bytes` in lower case into `out`, as far as both go.
pub(crate) fn encode(bytes: &[u8], out: &mut [u8]) {
    let (pairs, _) = out.as_chunks_mut::<2>();
    for (byte, pair) in bytes.iter().zip(pairs) {
        *pair = [lower(byte >> 4), lower(byte & 0xf)];
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

const fn lower(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + (nibble - 10),
    }
}
