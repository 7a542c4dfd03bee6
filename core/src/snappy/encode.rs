//! Encoding: a greedy matcher, one element at a time, so that output can stop anywhere.

use crate::inbox::WIDE;

/// Matches are searched in blocks of this many bytes of a slice, so that a position fits in 16 bits.
const BLOCK: usize = 1 << 16;
/// The longest literal: longer ones would need a length of 4 bytes.
const MAX_LITERAL: usize = 1 << 24;
/// The shortest match.
const MIN_MATCH: usize = 4;

/// The most bytes, the length included, into which `n` bytes in one slice can be compressed, with or without a table.
///
/// The general bound of the format is `32 + n + n / 6`; these encoders stay below it, since they choose no match shorter than 4.
/// A literal of up to 60 bytes before a match costs what the match saves at least, a longer one 1 or 2 bytes more; a block of
/// 65 536 bytes ends in a literal that costs up to 3; the length takes up to 5.
pub const fn max_compressed_length(n: usize) -> usize {
    n.saturating_add(n / 64 + 8)
}

/// The exact number of bytes that [`Encoder::emit`] makes of `payload` (at most 2^32 - 1 bytes in all) with this table: the first
/// of two passes.
///
/// The payload is the concatenation of the slices. The content of `table` does not matter; its length, a power of two, does:
/// 512 entries serve firmware, 4096 compress about 10 % better. Without a table the payload is stored as literals, which
/// takes at most 9 bytes more than the payload itself up to 16 MiB.
pub fn measure(payload: &[&[u8]], mut table: Option<&mut [u16]>) -> usize {
    let mut encoder = Encoder::new();
    let mut total = 0;
    while encoder.next_head(payload, table.as_deref_mut()) {
        total += usize::from(encoder.head_end) + encoder.literal;
        while !encoder.take(payload, usize::MAX).is_empty() {}
    }
    total
}

/// Compresses `input` in one pass; returns how many bytes that made, or `None` if `out` is too small.
/// [`max_compressed_length`] bytes are always enough.
pub fn compress(input: &[u8], table: Option<&mut [u16]>, out: &mut [u8]) -> Option<usize> {
    let mut encoder = Encoder::new();
    let n = encoder.emit(&[input], table, out);
    encoder.is_done().then_some(n)
}

/// Compresses one payload, a piece of output at a time.
///
/// Call [`emit`](Self::emit) with the same payload and the same table, unchanged in between, until the output ends. What it
/// writes in all is as long as [`measure`] said for a table of the same length.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    /// The next byte of the payload that no output stands for yet: its slice, and its place there.
    slice: usize,
    at: usize,
    /// Bytes of the current literal that are still to be written; they begin at the place above.
    literal: usize,
    /// The copy after that literal, as far as its tags were not made.
    copy: usize,
    offset: u16,
    /// `head[head_at..head_end]` goes out before the literal: a tag, or at first the length.
    head: [u8; 5],
    head_at: u8,
    head_end: u8,
    started: bool,
    done: bool,
}

impl Encoder {
    /// An encoder at the beginning of a payload.
    pub const fn new() -> Self {
        Self {
            slice: 0,
            at: 0,
            literal: 0,
            copy: 0,
            offset: 0,
            head: [0; 5],
            head_at: 0,
            head_end: 0,
            started: false,
            done: false,
        }
    }

    /// Whether everything was written.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Writes the next bytes of the compressed form to `out`; returns how many. That is all of `out` until the end is reached.
    pub fn emit(
        &mut self,
        payload: &[&[u8]],
        mut table: Option<&mut [u16]>,
        mut out: &mut [u8],
    ) -> usize {
        let size = out.len();
        loop {
            let head = self
                .head
                .get(usize::from(self.head_at)..usize::from(self.head_end))
                .unwrap_or_default();
            let n = put(&mut out, head);
            self.head_at += n as u8;
            if self.head_at < self.head_end {
                break;
            }
            while self.literal > 0 {
                let bytes = self.take(payload, out.len());
                if put(&mut out, bytes) == 0 {
                    break;
                }
            }
            if self.literal > 0 {
                break;
            }
            if !self.next_head(payload, table.as_deref_mut()) {
                self.done = true;
                break;
            }
        }
        size - out.len()
    }

    /// The next piece of the current literal, of at most `n` bytes; empty if there is none, or the payload is over.
    fn take<'p>(&mut self, payload: &[&'p [u8]], n: usize) -> &'p [u8] {
        let n = n.min(self.literal);
        let rest = self.rest(payload);
        let piece = rest.get(..n.min(rest.len())).unwrap_or_default();
        self.at += piece.len();
        self.literal -= piece.len();
        piece
    }

    /// What is left of the current slice; empty only at the end of the payload.
    fn rest<'p>(&mut self, payload: &[&'p [u8]]) -> &'p [u8] {
        while let Some(slice) = payload.get(self.slice) {
            match slice.get(self.at..) {
                Some(rest) if !rest.is_empty() => return rest,
                _ => {
                    self.slice += 1;
                    self.at = 0;
                }
            }
        }
        &[]
    }

    /// Makes the next tag; false if there is none. The one before, and its literal, must have been written.
    fn next_head(&mut self, payload: &[&[u8]], table: Option<&mut [u16]>) -> bool {
        self.head_at = 0;
        self.head_end = 0;
        if !self.started {
            self.started = true;
            let mut length = total(payload) as u32;
            while length >= 0x80 {
                self.push(length as u8 | 0x80);
                length >>= 7;
            }
            self.push(length as u8);
            return true;
        }
        if self.copy == 0 {
            let rest = self.rest(payload);
            if rest.is_empty() {
                return false;
            }
            match table {
                Some(table) if table.len() >= 2 => {
                    let slice = payload.get(self.slice).copied().unwrap_or_default();
                    let block = slice.get(self.at - self.at % BLOCK..).unwrap_or_default();
                    let block = block.get(..BLOCK).unwrap_or(block);
                    let found = find(block, table, self.at % BLOCK);
                    self.literal = found.literal;
                    self.copy = found.length;
                    self.offset = found.offset;
                }
                _ => {
                    let later = payload.get(self.slice + 1..).unwrap_or_default();
                    self.literal = rest.len().saturating_add(total(later)).min(MAX_LITERAL);
                }
            }
        }
        if self.literal > 0 {
            let length = self.literal - 1;
            let [a, b, c, ..] = length.to_le_bytes();
            match length {
                0..60 => self.push(a << 2),
                60..0x100 => self.push_all(&[60 << 2, a]),
                0x100..0x1_0000 => self.push_all(&[61 << 2, a, b]),
                _ => self.push_all(&[62 << 2, a, b, c]),
            }
        } else {
            // The tag with an offset of 11 bits is shorter, but cannot state a length below 4: leave that much.
            let length = match self.copy {
                0..=64 => self.copy,
                65..68 => 60,
                _ => 64,
            };
            let [low, high] = self.offset.to_le_bytes();
            if (4..12).contains(&length) && high < 8 {
                self.push_all(&[high << 5 | (length as u8 - 4) << 2 | 1, low]);
            } else {
                self.push_all(&[(length as u8 - 1) << 2 | 2, low, high]);
            }
            self.copy -= length;
            self.at += length;
        }
        true
    }

    fn push(&mut self, byte: u8) {
        if let Some(to) = self.head.get_mut(usize::from(self.head_end)) {
            *to = byte;
            self.head_end += 1;
        }
    }

    fn push_all(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.push(byte);
        }
    }
}

fn total(payload: &[&[u8]]) -> usize {
    payload
        .iter()
        .fold(0, |total, slice| total.saturating_add(slice.len()))
}

/// Moves as much of `from` as fits to the beginning of `out`, which then begins after it.
fn put(out: &mut &mut [u8], from: &[u8]) -> usize {
    let n = from.len().min(out.len());
    if let Some((to, rest)) = core::mem::take(out).split_at_mut_checked(n) {
        to.copy_from_slice(from.get(..n).unwrap_or_default());
        *out = rest;
    }
    n
}

/// A literal, then a copy. Without a copy the literal reaches the end of the block.
struct Found {
    literal: usize,
    offset: u16,
    length: usize,
}

/// Finds the first match in `block` from `start` on. The table holds places of what was seen in this block.
fn find(block: &[u8], table: &mut [u16], start: usize) -> Found {
    // A small block uses a part of a large table: the rest need not be cleared.
    let bits = table
        .len()
        .min(block.len().next_power_of_two().clamp(256, BLOCK))
        .ilog2();
    let table = table.get_mut(..1 << bits).unwrap_or_default();
    if start == 0 {
        // An entry of zero says "the first byte": a guess like any other, checked like any other.
        table.fill(0);
    }
    let mut swap = |word: u32, at: usize| {
        let hash = word.wrapping_mul(0x9E37_79B1) >> (32 - bits);
        match table.get_mut(hash as usize) {
            Some(entry) => usize::from(core::mem::replace(entry, at as u16)),
            None => 0,
        }
    };
    let mut at = start;
    if start == 0 {
        at = 1;
    } else if let Some(word) = word_at(block, start - 1) {
        swap(word, start - 1);
    }
    // The longer there is no match, the larger the steps: data that cannot be compressed passes quickly.
    let mut skip = 32;
    while let Some(word) = word_at(block, at) {
        let candidate = swap(word, at);
        if candidate < at && word_at(block, candidate) == Some(word) {
            return Found {
                literal: at - start,
                offset: (at - candidate) as u16,
                length: MIN_MATCH + common(block, candidate + MIN_MATCH, at + MIN_MATCH),
            };
        }
        let step = skip >> 5;
        at += step;
        skip += step;
    }
    Found {
        literal: block.len() - start,
        offset: 0,
        length: 0,
    }
}

#[inline(always)]
fn word_at(block: &[u8], at: usize) -> Option<u32> {
    let word = block.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

/// How many bytes are the same from `a` on and from `b` on, where `a` comes first.
fn common(block: &[u8], a: usize, b: usize) -> usize {
    let mut b = block.get(b..).unwrap_or_default();
    let mut a = block.get(a..).unwrap_or_default();
    let mut n = 0;
    if WIDE {
        while let (Some((x, a_rest)), Some((y, b_rest))) =
            (a.split_first_chunk::<8>(), b.split_first_chunk::<8>())
        {
            let differs = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
            if differs != 0 {
                return n + differs.trailing_zeros() as usize / 8;
            }
            n += 8;
            (a, b) = (a_rest, b_rest);
        }
    }
    n + a.iter().zip(b).take_while(|(x, y)| x == y).count()
}
