//! How headers hang together: two small values that move along a chain, a whole verified message at a time.
//!
//! A value is never changed in place: [`Ancestry::advance`] and [`Tip::advance`] read all headers of a message and give the next
//! value, or an error and nothing. So it does not matter what was in a message that turned out to be wrong.

use core::fmt;

use crate::eth::Headers;
use crate::evidence::{Claimed, Evidence, Head};
use crate::header::Header;
use crate::primitives::{DecodeError, Hash};

/// What is wrong with a header of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LinkError {
    /// It cannot be read.
    Malformed(DecodeError),
    /// Its hash is not the one that its child states, or that was asked for.
    WrongHash,
    /// The parent that it states is not the header before it.
    WrongParent,
    /// Its number is not one from its neighbour's.
    WrongNumber,
    /// It is not later than its parent.
    WrongTime,
    /// There are more headers than were asked for.
    TooMany,
}

impl From<DecodeError> for LinkError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "a header that cannot be read: {error}"),
            Self::WrongHash => f.write_str("a header with another hash than the one asked for"),
            Self::WrongParent => f.write_str("a header whose parent is not the one before it"),
            Self::WrongNumber => f.write_str("a header whose number does not follow"),
            Self::WrongTime => f.write_str("a header that is not later than its parent"),
            Self::TooMany => f.write_str("more headers than were asked for"),
        }
    }
}

impl core::error::Error for LinkError {}

/// The way back from a header: which hash its parent has. Every header that it accepts is as good as the one it began at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ancestry {
    parent: Hash,
    /// Of the header whose parent is next.
    number: u64,
    timestamp: u64,
}

impl Ancestry {
    /// Begins at this header, which was verified.
    pub const fn new(header: &Header<'_>) -> Self {
        Self {
            parent: header.parent,
            number: header.number,
            timestamp: header.timestamp,
        }
    }

    /// The hash of the next header on the way, and its number; `None` at the genesis block.
    pub const fn next(&self) -> Option<(u64, Hash)> {
        match self.number.checked_sub(1) {
            Some(number) => Some((number, self.parent)),
            None => None,
        }
    }

    /// Goes back over all of `headers`, the youngest first.
    ///
    /// # Errors
    /// [`LinkError`] for the first header that does not fit.
    pub fn advance(self, headers: Headers<'_>) -> Result<Self, LinkError> {
        let mut now = self;
        for header in headers {
            let header = header?;
            if header.hash() != now.parent {
                return Err(LinkError::WrongHash);
            }
            if header.number.checked_add(1) != Some(now.number) {
                return Err(LinkError::WrongNumber);
            }
            if header.timestamp >= now.timestamp {
                return Err(LinkError::WrongTime);
            }
            now = Self::new(&header);
        }
        Ok(now)
    }
}

/// The end of a chain of headers, which grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tip {
    hash: Hash,
    number: u64,
    /// Later than this is every block after it.
    timestamp: u64,
}

impl Tip {
    /// The chain that ends with this block.
    pub const fn new(hash: Hash, number: u64, timestamp: u64) -> Self {
        Self {
            hash,
            number,
            timestamp,
        }
    }

    /// The chain that ends with this head.
    pub const fn of<E: Evidence>(head: &Head<E>) -> Self {
        Self::new(head.hash(), head.number(), head.timestamp())
    }

    /// Goes forward over all of `headers`, the oldest first, and says what the last one is: a claim, whatever it began at.
    /// `None` if there are none.
    ///
    /// # Errors
    /// [`LinkError`] for the first header that does not fit.
    pub fn advance(self, headers: Headers<'_>) -> Result<Option<Head<Claimed>>, LinkError> {
        let mut now = self;
        let mut last = None;
        for header in headers {
            let header = header?;
            if header.parent != now.hash {
                return Err(LinkError::WrongParent);
            }
            if now.number.checked_add(1) != Some(header.number) {
                return Err(LinkError::WrongNumber);
            }
            if header.timestamp <= now.timestamp {
                return Err(LinkError::WrongTime);
            }
            let head = Head::new(&header, header.hash());
            now = Self::of(&head);
            last = Some(head);
        }
        Ok(last)
    }
}
