//! A framing with checksums, of which any altered byte is noticed.

use devp2p_core::code::WireCode;
use devp2p_core::framed::{Decoded, Framing, Mark};

/// Bytes before the payload: its length in four, the code in four, both big-endian, a checksum of the eight in four.
const HEADER: usize = 12;
/// Bytes after the payload: a checksum of header and payload.
const TRAILER: usize = 4;
/// Both.
pub const OVERHEAD: usize = HEADER + TRAILER;

/// FNV-1a over 32 bits: two inputs of one length that differ in one byte differ in it.
#[derive(Debug, Clone, Copy)]
struct Sum(u32);

impl Default for Sum {
    fn default() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

/// One side of a link whose frames are checked but not secret.
#[derive(Debug, Default)]
pub struct Checked {
    /// A header or a trailer, as far as it has come.
    gathered: Vec<u8>,
    /// Bytes of payload still to come, once the header is there.
    left: Option<usize>,
    incoming: Sum,
    outgoing: Sum,
    damaged: bool,
}

impl Checked {
    fn gather(&mut self, whole: usize, bytes: &[u8]) -> usize {
        let n = bytes.len().min(whole - self.gathered.len());
        self.gathered.extend(&bytes[..n]);
        n
    }

    fn begin_frame(&mut self) -> Decoded<'static> {
        let word = |at: usize| u32::from_be_bytes(self.gathered[at..at + 4].try_into().expect("4"));
        let (length, code, check) = (word(0), word(4), word(8));
        self.incoming = Sum::default();
        self.incoming.add(&self.gathered[..8]);
        if self.incoming.0 != check {
            self.damaged = true;
            return Decoded::Damaged;
        }
        self.gathered.clear();
        self.left = Some(length as usize);
        Decoded::Message {
            code: code.into(),
            length: length as usize,
        }
    }
}

impl Framing for Checked {
    fn decode<'a>(&mut self, bytes: &'a mut [u8]) -> (usize, Option<Decoded<'a>>) {
        if self.damaged {
            return (bytes.len(), None);
        }
        let Some(left) = self.left else {
            let n = self.gather(HEADER, bytes);
            let is_whole = self.gathered.len() == HEADER;
            return (n, is_whole.then(|| self.begin_frame()));
        };
        if left > 0 {
            let n = left.min(bytes.len());
            self.incoming.add(&bytes[..n]);
            self.left = Some(left - n);
            return (n, (n > 0).then_some(Decoded::Payload(&bytes[..n])));
        }
        let n = self.gather(TRAILER, bytes);
        if self.gathered.len() < TRAILER {
            return (n, None);
        }
        self.damaged = self.gathered != self.incoming.0.to_be_bytes();
        self.gathered.clear();
        self.left = None;
        (
            n,
            Some(if self.damaged {
                Decoded::Damaged
            } else {
                Decoded::Complete
            }),
        )
    }

    fn is_inside_frame(&self) -> bool {
        !self.damaged && (self.left.is_some() || !self.gathered.is_empty())
    }

    fn header_length(&self) -> usize {
        HEADER
    }

    fn trailer_length(&self) -> usize {
        TRAILER
    }

    fn begin(&mut self, code: WireCode, length: usize) -> Option<Mark> {
        let length = u32::try_from(length).ok()?;
        let words = [length, code.0].map(u32::to_be_bytes).concat();
        self.outgoing = Sum::default();
        self.outgoing.add(&words);
        let check = self.outgoing.0.to_be_bytes();
        Some(Mark::EMPTY.and(&words).and(&check))
    }

    fn payload(&mut self, piece: &mut [u8]) {
        self.outgoing.add(piece);
    }

    fn finish(&mut self, _intact: bool) -> Mark {
        Mark::EMPTY.and(&self.outgoing.0.to_be_bytes())
    }
}
