//! What is answered to requests for things that are not kept here: nothing, in the form of the answer.
//!
//! An answer without contents is legal, and says that the sender does not have it. No answer at all would look like a broken
//! peer: go-ethereum ends sessions for it.

use devp2p_core::rlp::{NoRoom, Writer, uint_length};

use super::code;
use crate::primitives::{DecodeError, whole_list};

/// An answer without contents that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EmptyAnswer {
    /// The message code of the answer.
    pub code: u32,
    request_id: u64,
    /// What follows the request id, as RLP.
    contents: &'static [u8],
}

impl EmptyAnswer {
    pub(crate) fn new(
        code: u32,
        request: &[u8],
        contents: &'static [u8],
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            code,
            request_id: whole_list(request)?.uint64()?,
            contents,
        })
    }

    /// Writes the payload to the front of `out`; returns its length.
    ///
    /// # Errors
    /// [`NoRoom`]; 32 bytes are always enough.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut writer = Writer::new(out);
        writer.list(uint_length(self.request_id) + self.contents.len())?;
        writer.uint(self.request_id)?;
        writer.raw(self.contents)?;
        Ok(writer.len())
    }
}

/// An empty list.
const NOTHING: &[u8] = &[0xc0];
/// Receipts from version 70 say before them whether the last block's are incomplete: they are not (EIP-7975).
const NO_RECEIPTS: &[u8] = &[0x80, 0xc0];
/// No hashes, no cells, and a mask of 128 bits none of which is set (EIP-8070).
const NO_CELLS: &[u8] = &[
    0xc0, 0xc0, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// The empty answer to a request with this code in this version; `None` if the message is no request.
///
/// # Errors
/// [`DecodeError`] if the request is not a list that begins with its number.
pub fn empty_answer(
    version: u32,
    code: u32,
    payload: &[u8],
) -> Result<Option<EmptyAnswer>, DecodeError> {
    let contents = match code {
        code::GET_BLOCK_HEADERS | code::GET_BLOCK_BODIES | code::GET_POOLED_TRANSACTIONS => NOTHING,
        code::GET_RECEIPTS if version < 70 => NOTHING,
        code::GET_RECEIPTS => NO_RECEIPTS,
        code::GET_BLOCK_ACCESS_LISTS if version >= 71 => NOTHING,
        code::GET_CELLS if version >= 72 => NO_CELLS,
        _ => return Ok(None),
    };
    // Each answer has the code after its request's.
    EmptyAnswer::new(code + 1, payload, contents).map(Some)
}
