//! Hashes and addresses, and how an RLP item is read as one.

use core::fmt;

use devp2p_core::rlp::{self, Item, Reader};
use devp2p_core::rlpx::keccak256;

/// A keccak256 hash: of a block header, of a node of a trie, of code, or of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// keccak256 of the empty string: the code hash of an account without code.
    pub const EMPTY_CODE: Self = Self([
        0xc5, 0xd2, 0x46, 0x01, 0x86, 0xf7, 0x23, 0x3c, 0x92, 0x7e, 0x7d, 0xb2, 0xdc, 0xc7, 0x03,
        0xc0, 0xe5, 0x00, 0xb6, 0x53, 0xca, 0x82, 0x27, 0x3b, 0x7b, 0xfa, 0xd8, 0x04, 0x5d, 0x85,
        0xa4, 0x70,
    ]);
    /// keccak256 of the RLP of the empty string: the root of a trie without entries.
    pub const EMPTY_TRIE: Self = Self([
        0x56, 0xe8, 0x1f, 0x17, 0x1b, 0xcc, 0x55, 0xa6, 0xff, 0x83, 0x45, 0xe6, 0x92, 0xc0, 0xf8,
        0x6e, 0x5b, 0x48, 0xe0, 0x1b, 0x99, 0x6c, 0xad, 0xc0, 0x01, 0x62, 0x2f, 0xb5, 0xe3, 0x63,
        0xb4, 0x21,
    ]);

    /// keccak256 of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(keccak256(&[bytes]))
    }
}

/// The address of an account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(pub [u8; 20]);

macro_rules! shown_as_hex {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        #[cfg(feature = "defmt")]
        impl defmt::Format for $name {
            fn format(&self, f: defmt::Formatter<'_>) {
                defmt::write!(f, "0x");
                for byte in self.0 {
                    defmt::write!(f, "{=u8:02x}", byte);
                }
            }
        }
    )*};
}

shown_as_hex!(Hash, Address);

/// Why a message, a header or a node of a trie cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are no RLP, or not of the kind that stands there.
    Rlp(rlp::Error),
    /// Bytes follow where there must be none.
    TrailingBytes,
    /// A field of a fixed size has another one.
    FieldLength {
        /// Bytes that it must have.
        expected: u16,
        /// Bytes that it has; 65 535 for more than that.
        found: u16,
    },
    /// A field holds a value that it cannot have.
    FieldValue,
}

impl From<rlp::Error> for DecodeError {
    fn from(error: rlp::Error) -> Self {
        Self::Rlp(error)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rlp(error) => error.fmt(f),
            Self::TrailingBytes => f.write_str("bytes follow after the last item"),
            Self::FieldLength { expected, found } => {
                write!(f, "a field of {expected} bytes has {found}")
            }
            Self::FieldValue => f.write_str("a field has a value that it cannot have"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// The items of the list that all of `bytes` is.
pub(crate) fn whole_list(bytes: &[u8]) -> Result<Reader<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let items = reader.list()?;
    if reader.is_empty() {
        Ok(items)
    } else {
        Err(DecodeError::TrailingBytes)
    }
}

/// The next item, a string of exactly `N` bytes.
pub(crate) fn array<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], DecodeError> {
    let bytes = reader.string()?;
    bytes.try_into().map_err(|_| DecodeError::FieldLength {
        expected: N as u16,
        found: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
    })
}

/// The next item, a hash.
pub(crate) fn hash(reader: &mut Reader<'_>) -> Result<Hash, DecodeError> {
    array(reader).map(Hash)
}

/// The next item, an integer of up to 256 bits, big-endian.
pub(crate) fn uint256(reader: &mut Reader<'_>) -> Result<[u8; 32], DecodeError> {
    wide(reader.string()?)
}

/// The integer of up to 256 bits that a string's bytes are, big-endian.
pub(crate) fn wide(digits: &[u8]) -> Result<[u8; 32], DecodeError> {
    let mut value = [0; 32];
    if digits.first() == Some(&0) {
        return Err(rlp::Error::NonCanonicalInteger.into());
    }
    let from = value.len().checked_sub(digits.len());
    let from = from.ok_or(rlp::Error::IntegerTooLarge)?;
    for (to, digit) in value.iter_mut().skip(from).zip(digits) {
        *to = *digit;
    }
    Ok(value)
}

/// The next item with its header, as it was encoded.
pub(crate) fn raw<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], rlp::Error> {
    let before = reader.rest();
    let _: Item<'a> = reader.item()?;
    let length = before.len().saturating_sub(reader.rest().len());
    Ok(before.get(..length).unwrap_or_default())
}
