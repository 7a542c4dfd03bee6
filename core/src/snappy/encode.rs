//! Encoding: a greedy matcher, one element at a time, so that output can stop anywhere.

use crate::inbox::{WIDE, copy};

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
/// 512 entries serve firmware, 4096 compress text about 14 % better. Without a table the payload is stored as literals, which
/// takes at most 9 bytes more than the payload itself up to 16 MiB.
pub fn measure(payload: &[&[u8]], mut table: Option<&mut [u16]>) -> usize {
    let mut encoder = Encoder::new();
    let mut total = 0;
    while encoder.next_element(payload, table.as_deref_mut()) {
        encoder.make_tag(payload);
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
            if WIDE
                && self.started
                && self.copy == 0
                && let Some(table) = usable(table.as_deref_mut())
            {
                self.emit_whole(payload, table, &mut out);
            }
            if !self.next_element(payload, table.as_deref_mut()) {
                self.done = true;
                break;
            }
            self.make_tag(payload);
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

    /// Finds the next element if it is not known yet; false if there is none. The tag and literal before must have been written.
    fn next_element(&mut self, payload: &[&[u8]], table: Option<&mut [u16]>) -> bool {
        if self.literal > 0 || self.copy > 0 || !self.started {
            return true;
        }
        let rest = self.rest(payload);
        if rest.is_empty() {
            return false;
        }
        match usable(table) {
            Some(table) => {
                let slice = payload.get(self.slice).copied().unwrap_or_default();
                let start = self.at % BLOCK;
                let block = slice.get(self.at - start..).unwrap_or_default();
                let block = block.get(..BLOCK).unwrap_or(block);
                let found = find(block, table, start);
                self.literal = found.literal;
                self.copy = found.length;
                self.offset = found.offset;
            }
            None => {
                let later = payload.get(self.slice + 1..).unwrap_or_default();
                self.literal = rest.len().saturating_add(total(later)).min(MAX_LITERAL);
            }
        }
        true
    }

    /// Makes what goes out before the literal of the current element, or else a tag of its copy; at first, the length.
    fn make_tag(&mut self, payload: &[&[u8]]) {
        self.head_at = 0;
        if !self.started {
            self.started = true;
            let mut length = total(payload) as u32;
            let mut n = 0;
            for to in &mut self.head {
                n += 1;
                *to = length as u8 & 0x7F;
                length >>= 7;
                if length == 0 {
                    break;
                }
                *to |= 0x80;
            }
            self.head_end = n;
            return;
        }
        let (tag, size) = if self.literal > 0 {
            literal_tag(self.literal)
        } else {
            let (tag, size, length) = copy_tag(self.copy, self.offset);
            self.copy -= length;
            self.at += length;
            (tag, size)
        };
        let [a, b, c, d] = tag.to_le_bytes();
        self.head = [a, b, c, d, 0];
        self.head_end = size as u8;
    }

    /// The fast part of [`emit`](Self::emit): elements of the current block that fit in `out` with room to spare. The one that
    /// does not is left as the next.
    fn emit_whole(&mut self, payload: &[&[u8]], table: &mut [u16], out: &mut &mut [u8]) {
        let slice = payload.get(self.slice).copied().unwrap_or_default();
        let mut start = self.at % BLOCK;
        let begin = self.at - start;
        let block = slice.get(begin..).unwrap_or_default();
        let block = block.get(..BLOCK).unwrap_or(block);
        let mut to = core::mem::take(out);
        while start < block.len() {
            let mut found = find(block, table, start);
            // A tag of a copy takes 3 bytes and stands for 60 or more, except for the last two.
            if to.len() < found.literal + found.length / 16 + 32 {
                self.literal = found.literal;
                self.copy = found.length;
                self.offset = found.offset;
                break;
            }
            if found.literal > 0 {
                let (tag, size) = literal_tag(found.literal);
                to = put_short(to, &tag.to_le_bytes(), size);
                to = put_short(to, block.get(start..).unwrap_or_default(), found.literal);
            }
            start += found.literal + found.length;
            while found.length > 0 {
                let (tag, size, length) = copy_tag(found.length, found.offset);
                to = put_short(to, &tag.to_le_bytes(), size);
                found.length -= length;
            }
        }
        self.at = begin + start;
        *out = to;
    }
}

/// The tag of a literal of 1 to 2^24 bytes, least byte first, and how many bytes it takes.
fn literal_tag(length: usize) -> (u32, usize) {
    let length = length as u32 - 1;
    match length {
        0..60 => (length << 2, 1),
        60..0x100 => (length << 8 | 60 << 2, 2),
        0x100..0x1_0000 => (length << 8 | 61 << 2, 3),
        _ => (length << 8 | 62 << 2, 4),
    }
}

/// The first tag of a copy of `copy` bytes, least byte first; how many bytes it takes, and for how many it stands.
fn copy_tag(copy: usize, offset: u16) -> (u32, usize, usize) {
    // The tag with an offset of 11 bits is shorter, but cannot state a length below 4: leave that much.
    let length = match copy {
        0..=64 => copy,
        65..68 => 60,
        _ => 64,
    };
    let (low, offset) = (length as u32, u32::from(offset));
    if (4..12).contains(&length) && offset < 1 << 11 {
        let high = offset >> 8 << 5;
        (high | (low - 4) << 2 | 1 | (offset & 0xFF) << 8, 2, length)
    } else {
        ((low - 1) << 2 | 2 | offset << 8, 3, length)
    }
}

/// A table of less than two entries is none.
fn usable(table: Option<&mut [u16]>) -> Option<&mut [u16]> {
    table.filter(|table| table.len() >= 2)
}

fn total(payload: &[&[u8]]) -> usize {
    payload
        .iter()
        .fold(0, |total, slice| total.saturating_add(slice.len()))
}

/// Moves as much of `from` as fits to the beginning of `out`, which then begins after it.
fn put(out: &mut &mut [u8], from: &[u8]) -> usize {
    let to = core::mem::take(out);
    let n = copy(to, from);
    *out = to.get_mut(n..).unwrap_or_default();
    n
}

/// Moves the first `n` bytes of `from` to the beginning of `out`; both are at least as long. Short ones go as 4 or 16 bytes, so
/// what follows in `out` can be overwritten.
#[inline(always)]
fn put_short<'o>(out: &'o mut [u8], from: &[u8], n: usize) -> &'o mut [u8] {
    if n <= 4
        && let Some(to) = out.first_chunk_mut::<4>()
        && let Some(from) = from.first_chunk()
    {
        *to = *from;
    } else if n <= 16
        && let Some(to) = out.first_chunk_mut::<16>()
        && let Some(from) = from.first_chunk()
    {
        *to = *from;
    } else if let Some(to) = out.get_mut(..n)
        && let Some(from) = from.get(..n)
    {
        copy(to, from);
    }
    out.get_mut(n..).unwrap_or_default()
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
            let after = common(block, candidate + MIN_MATCH, at + MIN_MATCH);
            // What comes before may be the same too, where the table has lost its place, or steps went over it.
            let before = match (block.get(..candidate), block.get(start..at)) {
                (Some(a), Some(b)) => a
                    .iter()
                    .rev()
                    .zip(b.iter().rev())
                    .take_while(|(a, b)| a == b)
                    .count(),
                _ => 0,
            };
            return Found {
                literal: at - start - before,
                offset: (at - candidate) as u16,
                length: before + MIN_MATCH + after,
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
