//! GetBlockHeaders and BlockHeaders.

use devp2p_core::rlp::{Item, NoRoom, Reader, Writer, list_length, string_length, uint_length};

use crate::header::Header;
use crate::primitives::{DecodeError, Hash, raw, whole_list};

/// Where a request for headers begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Origin {
    /// At the block with this hash.
    Hash(Hash),
    /// At the block with this number on the chain that the other side takes for canonical.
    Number(u64),
}

/// Asks for headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct GetBlockHeaders {
    /// The number by which the answer is recognised.
    pub request_id: u64,
    /// Where to begin.
    pub origin: Origin,
    /// How many headers at most.
    pub amount: u64,
    /// How many blocks to leave out between two headers.
    pub skip: u64,
    /// Towards the genesis block in place of away from it.
    pub reverse: bool,
}

impl GetBlockHeaders {
    /// Reads the payload of a request.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut items = whole_list(payload)?;
        let request_id = items.uint64()?;
        let mut query = items.list()?;
        let origin = match query.string()? {
            bytes @ [_, _, _, _, _, _, _, _, _, ..] => {
                let found = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                let hash = bytes.try_into().map_err(|_| DecodeError::FieldLength {
                    expected: 32,
                    found,
                })?;
                Origin::Hash(Hash(hash))
            }
            number => Origin::Number(devp2p_core::rlp::uint64(number)?),
        };
        Ok(Self {
            request_id,
            origin,
            amount: query.uint64()?,
            skip: query.uint64()?,
            reverse: match query.uint64()? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::FieldValue),
            },
        })
    }

    /// Writes the payload to the front of `out`; returns its length.
    ///
    /// # Errors
    /// [`NoRoom`]; 64 bytes are always enough.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let origin = match self.origin {
            Origin::Hash(hash) => string_length(&hash.0),
            Origin::Number(number) => uint_length(number),
        };
        let query = origin + uint_length(self.amount) + uint_length(self.skip) + uint_length(1);
        let mut writer = Writer::new(out);
        writer.list(uint_length(self.request_id) + list_length(query))?;
        writer.uint(self.request_id)?;
        writer.list(query)?;
        match self.origin {
            Origin::Hash(hash) => writer.string(&hash.0)?,
            Origin::Number(number) => writer.uint(number)?,
        }
        writer.uint(self.amount)?;
        writer.uint(self.skip)?;
        writer.uint(self.reverse.into())?;
        Ok(writer.len())
    }
}

/// Answers with headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeaders<'a> {
    /// The number of the request that is answered.
    pub request_id: u64,
    /// The headers, none if the sender has none of those that were asked for.
    pub headers: Headers<'a>,
}

impl<'a> BlockHeaders<'a> {
    /// Reads the payload of an answer. The headers themselves are read as they are iterated over.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut items = whole_list(payload)?;
        let request_id = items.uint64()?;
        let headers = Headers(items.list()?);
        if !items.is_empty() {
            return Err(DecodeError::TrailingBytes);
        }
        Ok(Self {
            request_id,
            headers,
        })
    }

    /// Writes the payload of an answer with these headers, each in its encoding, to the front of `out`; returns its length.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn encode(request_id: u64, headers: &[&[u8]], out: &mut [u8]) -> Result<usize, NoRoom> {
        let list = headers
            .iter()
            .fold(0, |sum: usize, header| sum.saturating_add(header.len()));
        let mut writer = Writer::new(out);
        writer.list(uint_length(request_id).saturating_add(list_length(list)))?;
        writer.uint(request_id)?;
        writer.list(list)?;
        headers.iter().try_for_each(|header| writer.raw(header))?;
        Ok(writer.len())
    }
}

/// The headers of an answer, one after the other. After an error there are no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a>(Reader<'a>);

impl Headers<'_> {
    /// Whether there are none, or none left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are, or are left; `None` if they are not RLP.
    pub fn count(mut self) -> Option<usize> {
        let mut count = 0;
        while !self.0.is_empty() {
            let _: Item<'_> = self.0.item().ok()?;
            count += 1;
        }
        Some(count)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let header = raw(&mut self.0)
            .map_err(DecodeError::from)
            .and_then(Header::decode);
        if header.is_err() {
            self.0 = Reader::default();
        }
        Some(header)
    }
}
