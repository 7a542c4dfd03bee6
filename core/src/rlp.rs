//! The RLP reader and writer needed here, over borrowed slices (Ethereum yellow paper, appendix B).
//!
//! Reading never recurses: a list is handed out as a [`Reader`] over its bytes, and only who descends pays. Every function is
//! total: any bytes give a value or an [`Error`]. A stated length is believed only if the bytes are there.

use core::fmt;

use crate::inbox::copy;

/// Why bytes are not the RLP that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before the item does.
    UnexpectedEnd,
    /// A length, or a single byte, is stated in a longer form than it needs.
    NonCanonicalLength,
    /// An integer begins with a zero byte.
    NonCanonicalInteger,
    /// An integer is larger than its type.
    IntegerTooLarge,
    /// A list stands where a string was expected.
    ExpectedString,
    /// A string stands where a list was expected.
    ExpectedList,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnexpectedEnd => "RLP ends before its item does",
            Self::NonCanonicalLength => "RLP length in a longer form than it needs",
            Self::NonCanonicalInteger => "RLP integer begins with a zero byte",
            Self::IntegerTooLarge => "RLP integer is too large",
            Self::ExpectedString => "RLP list where a string was expected",
            Self::ExpectedList => "RLP string where a list was expected",
        })
    }
}

impl core::error::Error for Error {}

/// The output has no room for what was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room left for RLP")
    }
}

impl core::error::Error for NoRoom {}

/// One item.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A string: these bytes. Integers are strings too.
    String(&'a [u8]),
    /// A list: a reader of its items.
    List(Reader<'a>),
}

/// Reads items one after the other from the front of a slice. A failed read consumes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of the items in `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether every item was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes that were not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next item.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`] also if there is no item left; [`Error::NonCanonicalLength`].
    pub fn item(&mut self) -> Result<Item<'a>, Error> {
        self.next(true)
    }

    /// The next item, also if its length is stated in a longer form than it needs.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`].
    pub fn lenient_item(&mut self) -> Result<Item<'a>, Error> {
        self.next(false)
    }

    /// The next item, a string.
    ///
    /// # Errors
    /// As [`Reader::item`], and [`Error::ExpectedString`].
    pub fn string(&mut self) -> Result<&'a [u8], Error> {
        let mut after = *self;
        match after.item()? {
            Item::String(bytes) => {
                *self = after;
                Ok(bytes)
            }
            Item::List(_) => Err(Error::ExpectedString),
        }
    }

    /// The next item, a list.
    ///
    /// # Errors
    /// As [`Reader::item`], and [`Error::ExpectedList`].
    pub fn list(&mut self) -> Result<Reader<'a>, Error> {
        let mut after = *self;
        match after.item()? {
            Item::List(items) => {
                *self = after;
                Ok(items)
            }
            Item::String(_) => Err(Error::ExpectedList),
        }
    }

    /// The next item, an integer.
    ///
    /// # Errors
    /// As [`Reader::string`], [`Error::NonCanonicalInteger`] and [`Error::IntegerTooLarge`].
    pub fn uint64(&mut self) -> Result<u64, Error> {
        let mut after = *self;
        let value = uint64(after.string()?)?;
        *self = after;
        Ok(value)
    }

    /// The next item, an integer of 32 bits.
    ///
    /// # Errors
    /// As [`Reader::uint64`].
    pub fn uint32(&mut self) -> Result<u32, Error> {
        let mut after = *self;
        let value = u32::try_from(after.uint64()?).map_err(|_| Error::IntegerTooLarge)?;
        *self = after;
        Ok(value)
    }

    fn next(&mut self, strict: bool) -> Result<Item<'a>, Error> {
        let Header {
            is_list,
            start,
            length,
        } = header(self.rest, strict)?;
        let (_, from) = self
            .rest
            .split_at_checked(start)
            .ok_or(Error::UnexpectedEnd)?;
        let (bytes, rest) = from.split_at_checked(length).ok_or(Error::UnexpectedEnd)?;
        self.rest = rest;
        Ok(if is_list {
            Item::List(Reader::new(bytes))
        } else {
            Item::String(bytes)
        })
    }
}

/// What the bytes before an item's content say.
pub(crate) struct Header {
    pub(crate) is_list: bool,
    /// Bytes of the header; zero for a byte that is a string of itself.
    pub(crate) start: usize,
    /// Bytes of the content, whether they are there or not.
    pub(crate) length: usize,
}

/// Reads the header of the item at the front of `bytes`.
pub(crate) fn header(bytes: &[u8], strict: bool) -> Result<Header, Error> {
    let (&first, tail) = bytes.split_first().ok_or(Error::UnexpectedEnd)?;
    let (is_list, start, length) = match first {
        0x00..=0x7f => (false, 0, 1),
        // What is a string of itself.
        0x81 if strict && matches!(tail, [0x00..=0x7f, ..]) => {
            return Err(Error::NonCanonicalLength);
        }
        0x80..=0xb7 => (false, 1, usize::from(first - 0x80)),
        0xb8..=0xbf => (
            false,
            1 + usize::from(first - 0xb7),
            long_length(tail, first - 0xb7, strict)?,
        ),
        0xc0..=0xf7 => (true, 1, usize::from(first - 0xc0)),
        0xf8..=0xff => (
            true,
            1 + usize::from(first - 0xf7),
            long_length(tail, first - 0xf7, strict)?,
        ),
    };
    Ok(Header {
        is_list,
        start,
        length,
    })
}

/// A length of `size` bytes at the front of `from`.
fn long_length(from: &[u8], size: u8, strict: bool) -> Result<usize, Error> {
    let digits = from.get(..usize::from(size)).ok_or(Error::UnexpectedEnd)?;
    let length = saturating_uint64(digits);
    if strict && (digits.first() == Some(&0) || length < 56) {
        return Err(Error::NonCanonicalLength);
    }
    // No slice is longer than a usize can say.
    usize::try_from(length).map_err(|_| Error::UnexpectedEnd)
}

/// The integer that a string's bytes are.
///
/// # Errors
/// [`Error::NonCanonicalInteger`] if it begins with a zero byte, [`Error::IntegerTooLarge`] if it has more than eight bytes.
pub fn uint64(bytes: &[u8]) -> Result<u64, Error> {
    if bytes.first() == Some(&0) {
        return Err(Error::NonCanonicalInteger);
    }
    if bytes.len() > 8 {
        return Err(Error::IntegerTooLarge);
    }
    Ok(saturating_uint64(bytes))
}

/// The integer that a string's bytes are, leading zeros allowed; [`u64::MAX`] if it is larger than that.
pub fn saturating_uint64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value: u64, byte| {
        if value >> 56 == 0 {
            value << 8 | u64::from(*byte)
        } else {
            u64::MAX
        }
    })
}

/// The message code at the front of a frame's data, and how many bytes (1 to 9) it takes.
///
/// Besides the canonical integer, the raw byte `0x00` is taken as code 0: some peers write codes as one raw byte.
///
/// # Errors
/// As [`Reader::uint64`].
pub fn decode_code(data: &[u8]) -> Result<(u64, usize), Error> {
    if let Some(code @ 0x00..=0x7f) = data.first() {
        return Ok((u64::from(*code), 1));
    }
    let mut reader = Reader::new(data);
    let code = reader.uint64()?;
    Ok((code, data.len().saturating_sub(reader.rest.len())))
}

/// A message code as it stands before its payload: the first so many bytes of the array.
pub const fn encode_code(code: u32) -> ([u8; 5], usize) {
    let [a, b, c, d] = code.to_be_bytes();
    match code {
        0 => ([0x80, 0, 0, 0, 0], 1),
        1..=0x7f => ([d, 0, 0, 0, 0], 1),
        0x80..=0xff => ([0x81, d, 0, 0, 0], 2),
        0x100..=0xffff => ([0x82, c, d, 0, 0], 3),
        0x1_0000..=0xff_ffff => ([0x83, b, c, d, 0], 4),
        0x100_0000.. => ([0x84, a, b, c, d], 5),
    }
}

/// Bytes that the header of a list, or of a string of more than one byte, takes when `length` bytes follow it.
pub const fn header_length(length: usize) -> usize {
    if length < 56 {
        1
    } else {
        1 + significant_bytes(length as u64)
    }
}

/// Bytes that a list of `length` bytes of items takes, header included; `usize::MAX` if no slice can hold it.
pub const fn list_length(length: usize) -> usize {
    length.saturating_add(header_length(length))
}

/// Bytes that a string takes, header included.
pub const fn string_length(bytes: &[u8]) -> usize {
    match bytes {
        [0x00..=0x7f] => 1,
        _ => list_length(bytes.len()),
    }
}

/// Bytes that an integer takes, header included.
pub const fn uint_length(value: u64) -> usize {
    if value < 0x80 {
        1
    } else {
        1 + significant_bytes(value)
    }
}

/// Bytes of an integer without its leading zeros.
const fn significant_bytes(value: u64) -> usize {
    8 - value.leading_zeros() as usize / 8
}

/// Appends items to a slice. What does not fit is not begun: a failed append writes nothing.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// A writer that fills `out` from its front.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, length: 0 }
    }

    /// Bytes written so far.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes written so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.out.get(..self.length).unwrap_or_default()
    }

    /// Appends an integer in its canonical form.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn uint(&mut self, value: u64) -> Result<(), NoRoom> {
        let digits = value.to_be_bytes();
        let from = digits.len() - significant_bytes(value);
        self.string(digits.get(from..).unwrap_or_default())
    }

    /// Appends a string.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn string(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        if !matches!(bytes, [0x00..=0x7f]) {
            self.header(0x80, bytes.len())?;
        }
        self.raw(bytes)
    }

    /// Appends the header of a list; exactly `length` bytes of items must follow, see the length functions.
    ///
    /// # Errors
    /// [`NoRoom`] if the header, or `length` bytes after it, cannot fit.
    pub fn list(&mut self, length: usize) -> Result<(), NoRoom> {
        self.header(0xc0, length)
    }

    /// Appends bytes as they are: items encoded elsewhere.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let (to, _) = self
            .out
            .get_mut(self.length..)
            .and_then(|free| free.split_at_mut_checked(bytes.len()))
            .ok_or(NoRoom)?;
        copy(to, bytes);
        self.length += bytes.len();
        Ok(())
    }

    /// Appends a header, if the `length` bytes that it announces fit after it.
    fn header(&mut self, base: u8, length: usize) -> Result<(), NoRoom> {
        let room = self.out.len().saturating_sub(self.length);
        if list_length(length) > room {
            return Err(NoRoom);
        }
        if length < 56 {
            return self.raw(&[base + length as u8]);
        }
        let digits = (length as u64).to_be_bytes();
        let size = significant_bytes(length as u64);
        self.raw(&[base + 55 + size as u8])?;
        self.raw(digits.get(digits.len() - size..).unwrap_or_default())
    }
}

/// Writes items from the end of a slice towards its front, the last one first: no length has to be known beforehand.
pub(crate) struct BackWriter<'a> {
    out: &'a mut [u8],
    /// Where the first byte stands that was written.
    at: usize,
    is_full: bool,
}

impl<'a> BackWriter<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        let at = out.len();
        Self {
            out,
            at,
            is_full: false,
        }
    }

    /// Where the items begin that were written so far, for [`list`](Self::list).
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn uint(&mut self, value: u32) {
        self.string(significant(&value.to_be_bytes()));
    }

    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(crate) fn string(&mut self, bytes: &[u8]) {
        self.raw(bytes);
        if !matches!(bytes, [0x00..=0x7f]) {
            self.header(0x80, bytes.len());
        }
    }

    /// Makes a list of the items before `end`.
    pub(crate) fn list(&mut self, end: usize) {
        self.header(0xc0, end.saturating_sub(self.at));
    }

    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn header(&mut self, base: u8, length: usize) {
        if length < 56 {
            return self.raw(&[base | length as u8]);
        }
        let digits = length.to_be_bytes();
        let digits = significant(&digits);
        self.raw(digits);
        self.raw(&[base + 55 + digits.len() as u8]);
    }

    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn raw(&mut self, bytes: &[u8]) {
        match self.at.checked_sub(bytes.len()) {
            Some(at) => {
                copy(self.out.get_mut(at..self.at).unwrap_or_default(), bytes);
                self.at = at;
            }
            None => self.is_full = true,
        }
    }

    /// Moves what was written to the front of the slice; returns its length.
    pub(crate) fn finish(self) -> Result<usize, NoRoom> {
        if self.is_full {
            return Err(NoRoom);
        }
        let length = self.out.len() - self.at;
        for to in 0..length {
            if let Some(&byte) = self.out.get(self.at + to)
                && let Some(to) = self.out.get_mut(to)
            {
                *to = byte;
            }
        }
        Ok(length)
    }
}

/// The bytes of an integer without leading zeros.
pub(crate) fn significant(mut digits: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = digits {
        digits = rest;
    }
    digits
}
