//! Why a session ends, as the Disconnect message says it (RLPx specification, "Disconnect (0x01)").

use core::fmt;

#[cfg(feature = "snappy")]
use crate::inbox::Window;
#[cfg(any(feature = "rlpx", feature = "snappy"))]
use crate::inbox::copy;
use crate::rlp::{self, Reader};
#[cfg(feature = "snappy")]
use crate::snappy::{Decoder, parse_length};

/// A Disconnect reason. All 256 values are reasons; those without a constant have no meaning in the specification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DisconnectReason(pub u8);

impl DisconnectReason {
    /// 0x00: somebody asked for it.
    pub const REQUESTED: Self = Self(0x00);
    /// 0x01: the TCP connection failed. Never sent: there is nothing left to send it on.
    pub const TCP_ERROR: Self = Self(0x01);
    /// 0x02: a breach of the protocol, such as a bad message or an unknown code.
    pub const PROTOCOL_ERROR: Self = Self(0x02);
    /// 0x03: no capability in common.
    pub const USELESS_PEER: Self = Self(0x03);
    /// 0x04: no place for one more peer.
    pub const TOO_MANY_PEERS: Self = Self(0x04);
    /// 0x05: there is a session with this node already.
    pub const ALREADY_CONNECTED: Self = Self(0x05);
    /// 0x06: the base protocol version is not spoken here.
    pub const INCOMPATIBLE_VERSION: Self = Self(0x06);
    /// 0x07: the node identity is null or has the wrong size.
    pub const INVALID_IDENTITY: Self = Self(0x07);
    /// 0x08: the client is shutting down.
    pub const CLIENT_QUITTING: Self = Self(0x08);
    /// 0x09: the identity is not the one that was expected.
    pub const UNEXPECTED_IDENTITY: Self = Self(0x09);
    /// 0x0a: the identity is our own.
    pub const SELF: Self = Self(0x0a);
    /// 0x0b: nothing was heard in time.
    pub const READ_TIMEOUT: Self = Self(0x0b);
    /// 0x10: an error inside a subprotocol.
    pub const SUBPROTOCOL_ERROR: Self = Self(0x10);

    /// What the specification calls this reason, or "unknown reason".
    pub const fn name(self) -> &'static str {
        match self.0 {
            0x00 => "disconnect requested",
            0x01 => "network error",
            0x02 => "breach of protocol",
            0x03 => "useless peer",
            0x04 => "too many peers",
            0x05 => "already connected",
            0x06 => "incompatible p2p protocol version",
            0x07 => "invalid node identity",
            0x08 => "client quitting",
            0x09 => "unexpected identity",
            0x0a => "connected to self",
            0x0b => "read timeout",
            0x10 => "subprotocol error",
            _ => "unknown reason",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#04x})", self.name(), self.0)
    }
}

impl fmt::Debug for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The payload that is sent: a list of the reason, `c1 xx` (`c2 81 xx` from 0x80 on): the first so many bytes of the array.
///
/// This form goes out in place of Hello, and in sessions without Snappy.
pub const fn encode(reason: DisconnectReason) -> ([u8; 3], usize) {
    match reason.0 {
        0 => ([0xc1, 0x80, 0], 2),
        code @ 0x01..=0x7f => ([0xc1, code, 0], 2),
        code @ 0x80..=0xff => ([0xc2, 0x81, code], 3),
    }
}

/// The payload that is sent after Hello where the session compresses: the list as a Snappy block, `02 04 c1 xx`
/// (`03 08 c2 81 xx` from 0x80 on): the first so many bytes of the array.
pub const fn encode_compressed(reason: DisconnectReason) -> ([u8; 5], usize) {
    let ([a, b, c], length) = encode(reason);
    match length {
        2 => ([2, literal_tag(2), a, b, 0], 4),
        _ => ([3, literal_tag(3), a, b, c], 5),
    }
}

/// The reason in a Disconnect's payload of any length, whatever form the remote gave it; `None` if it gave none that can be
/// read.
///
/// Peers send the list or the bare integer, and each of them compressed or not, at any time. What is one whole Snappy block of
/// the length it states is read as its content (without the feature `snappy` only a block of one literal of at most 60 bytes
/// is), and everything else as it is. Then
/// * a list gives its first element, and what follows that element or the list is ignored, however long it is;
/// * a string gives itself, if nothing follows it;
/// * either must be an integer up to 255, where zero bytes in front are allowed: some peers write 0 as `00`. It has to end
///   within the first [`HEAD_LENGTH`] bytes.
///
/// The bare zero `00`, which is also Snappy of nothing, is reason 0. A Disconnect ends the session even if this is `None`.
pub fn decode(payload: &[u8]) -> Option<DisconnectReason> {
    #[cfg(feature = "snappy")]
    {
        let mut partial = Partial::new();
        let mut decoder = Decoder::new(0);
        partial.check(payload, &mut decoder);
        partial.push(payload);
        partial.finish(decoder.finish().is_ok())
    }
    #[cfg(not(feature = "snappy"))]
    read_plain(payload, payload.len())
}

/// As [`decode`], of a payload of `length` bytes of which only the first [`HEAD_LENGTH`] were kept. A Snappy block that is longer
/// is not read.
pub fn decode_head(head: &[u8], length: usize) -> Option<DisconnectReason> {
    let head = head.get(..length).unwrap_or(head);
    #[cfg(feature = "snappy")]
    if head.len() == length {
        return decode(head);
    }
    read_plain(head, length)
}

/// The bytes of a payload, and of what it decompresses to, in which the reason is looked for: room for the headers of a block
/// and of a list of 16 MiB, and for the reason.
pub const HEAD_LENGTH: usize = 16;

/// A payload that arrives in pieces: its beginning and its length are kept.
#[cfg(any(feature = "rlpx", feature = "snappy"))]
#[derive(Debug)]
pub(crate) struct Partial {
    head: [u8; HEAD_LENGTH],
    length: usize,
}

#[cfg(any(feature = "rlpx", feature = "snappy"))]
impl Partial {
    pub(crate) const fn new() -> Self {
        Self {
            head: [0; HEAD_LENGTH],
            length: 0,
        }
    }

    /// Takes the next piece. Where there is a decoder, it is [checked](Self::check) first.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let free = self.head.get_mut(self.length..).unwrap_or_default();
        copy(free, piece);
        self.length = self.length.saturating_add(piece.len());
    }

    /// Lets `decoder` see the next piece as a part of a Snappy block. The first piece must hold the length that such a block
    /// states, at most five bytes, or be the whole payload.
    #[cfg(feature = "snappy")]
    pub(crate) fn check(&self, piece: &[u8], decoder: &mut Decoder) {
        let mut elements = piece;
        if self.length == 0 {
            // Without a length it is no block, whatever follows: `finish` finds none either.
            let (length, skip) = stated_length(piece).unwrap_or((1, piece.len()));
            *decoder = Decoder::new(length);
            elements = piece.get(skip..).unwrap_or_default();
        }
        // It keeps its error.
        let _ = decoder.skip(elements);
    }

    /// The reason, as [`decode`] says; `is_block` is what a decoder that has checked every piece found.
    pub(crate) fn finish(&self, is_block: bool) -> Option<DisconnectReason> {
        let head = self.head.get(..self.length).unwrap_or(&self.head);
        #[cfg(feature = "snappy")]
        if is_block && let Some((length @ 1.., skip)) = stated_length(head) {
            return read_block(head.get(skip..)?, length);
        }
        let _ = is_block;
        read_plain(head, self.length)
    }
}

/// The reason in a payload of `length` bytes that begins with `head`. Without a decoder, a block is one literal.
fn read_plain(head: &[u8], length: usize) -> Option<DisconnectReason> {
    #[cfg(not(feature = "snappy"))]
    if let [stated @ 1..=60, tag, content @ ..] = head
        && *tag == literal_tag(*stated)
        && length == 2 + usize::from(*stated)
    {
        return read(content, usize::from(*stated));
    }
    read(head, length)
}

#[cfg(feature = "snappy")]
fn stated_length(head: &[u8]) -> Option<(u32, usize)> {
    parse_length(head).ok().flatten()
}

/// The reason in the content of a valid block that states `length` and whose elements begin with these.
#[cfg(feature = "snappy")]
fn read_block(elements: &[u8], length: u32) -> Option<DisconnectReason> {
    let mut content = [0; HEAD_LENGTH];
    let mut window = Window::new(&mut content, 0);
    // Ends when the window is full, or the beginning used up: no element is invalid.
    let _ = Decoder::new(length).decode(elements, &mut window);
    read(window.filled(), length as usize)
}

/// The reason in a list, or a bare one, of `length` bytes that begins with `head`.
fn read(head: &[u8], length: usize) -> Option<DisconnectReason> {
    let header = rlp::header(head, true).ok()?;
    let rest = length.checked_sub(header.start)?;
    let content = head.get(header.start..)?;
    let content = content.get(..header.length).unwrap_or(content);
    let digits = if header.is_list && header.length <= rest {
        Reader::new(content).string().ok()?
    } else if !header.is_list && header.length == rest && header.length == content.len() {
        content
    } else {
        return None;
    };
    match rlp::significant(digits) {
        [] => Some(DisconnectReason(0)),
        [reason] => Some(DisconnectReason(*reason)),
        _ => None,
    }
}

/// The tag of a Snappy literal of 1 to 60 bytes: what the 60 possible lengths leave of a byte is zero.
const fn literal_tag(length: u8) -> u8 {
    length.wrapping_sub(1) << 2
}
