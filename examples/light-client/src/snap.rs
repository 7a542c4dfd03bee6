//! The `snap` protocol, versions 1 and 2, as far as one needs it who asks for single accounts, slots and code.
//!
//! Defined in the devp2p specification, `caps/snap.md`. A single entry is asked for as the shortest range: from its key to its
//! key, in as few bytes as the other side will send. The answer's proof is all that is believed; the entries before it are
//! not even read.

use devp2p_core::rlp::{NoRoom, Reader, Writer, list_length, string_length, uint_length};

use crate::eth::EmptyAnswer;
use crate::primitives::{DecodeError, Hash, whole_list};
use crate::trie::Nodes;

/// What Hello calls the protocol.
pub const NAME: &str = "snap";

/// The versions that are understood here, and the number of message codes of each, lowest first. Version 2 has block access
/// lists in place of trie nodes.
pub const VERSIONS: [(u32, u32); 2] = [(1, 8), (2, 10)];

/// Message codes.
pub mod code {
    /// Asks for a range of accounts.
    pub const GET_ACCOUNT_RANGE: u32 = 0x00;
    /// Answers with accounts and a proof.
    pub const ACCOUNT_RANGE: u32 = 0x01;
    /// Asks for ranges of storage slots.
    pub const GET_STORAGE_RANGES: u32 = 0x02;
    /// Answers with slots and a proof.
    pub const STORAGE_RANGES: u32 = 0x03;
    /// Asks for code.
    pub const GET_BYTE_CODES: u32 = 0x04;
    /// Answers with code.
    pub const BYTE_CODES: u32 = 0x05;
    /// Asks for nodes of tries (version 1).
    pub const GET_TRIE_NODES: u32 = 0x06;
    /// Asks for block access lists (version 2).
    pub const GET_ACCESS_LISTS: u32 = 0x08;
}

/// How many bytes of entries are asked for: the least with which go-ethereum sends one entry, and its proof.
const LEAST: u64 = 1;
/// Bytes of a hash with its header.
const HASH: usize = 33;

/// A request for one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Request {
    /// The account with this hashed address.
    Account {
        /// The root of the state trie.
        root: Hash,
        /// The hashed address.
        key: Hash,
    },
    /// A storage slot.
    Slot {
        /// The root of the state trie.
        root: Hash,
        /// The hashed address of the account.
        account: Hash,
        /// The hashed key of the slot.
        key: Hash,
    },
    /// The code with this hash.
    Code(Hash),
}

impl Request {
    /// Its message code.
    pub const fn code(&self) -> u32 {
        match self {
            Self::Account { .. } => code::GET_ACCOUNT_RANGE,
            Self::Slot { .. } => code::GET_STORAGE_RANGES,
            Self::Code(_) => code::GET_BYTE_CODES,
        }
    }

    /// Writes the payload to the front of `out`; returns its length.
    ///
    /// # Errors
    /// [`NoRoom`]; 160 bytes are always enough.
    pub fn encode(&self, request_id: u64, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut writer = Writer::new(out);
        let ends = uint_length(request_id) + uint_length(LEAST);
        match self {
            Self::Account { root, key } => {
                writer.list(ends + 3 * HASH)?;
                writer.uint(request_id)?;
                for hash in [root, key, key] {
                    writer.string(&hash.0)?;
                }
            }
            Self::Slot { root, account, key } => {
                writer.list(ends + HASH + list_length(HASH) + 2 * HASH)?;
                writer.uint(request_id)?;
                writer.string(&root.0)?;
                writer.list(string_length(&account.0))?;
                for hash in [account, key, key] {
                    writer.string(&hash.0)?;
                }
            }
            Self::Code(hash) => {
                writer.list(ends + list_length(HASH))?;
                writer.uint(request_id)?;
                writer.list(HASH)?;
                writer.string(&hash.0)?;
            }
        }
        writer.uint(LEAST)?;
        Ok(writer.len())
    }
}

/// An answer to any [`Request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The number of the request that is answered.
    pub request_id: u64,
    /// The entries, or codes.
    entries: Reader<'a>,
    /// The proof. Empty if the sender does not have the state that was asked for.
    pub proof: Nodes<'a>,
}

impl<'a> Answer<'a> {
    /// Reads the payload of AccountRange, StorageRanges or ByteCodes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(code: u32, payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut items = whole_list(payload)?;
        let request_id = items.uint64()?;
        let entries = items.list()?;
        let proof = match code {
            code::BYTE_CODES => Nodes::default(),
            _ => Nodes::new(items.list()?),
        };
        if !items.is_empty() {
            return Err(DecodeError::TrailingBytes);
        }
        Ok(Self {
            request_id,
            entries,
            proof,
        })
    }

    /// The first code of an answer to [`Request::Code`]; `None` if the sender has none of what was asked for.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn code(&self) -> Result<Option<&'a [u8]>, DecodeError> {
        let mut entries = self.entries;
        if entries.is_empty() {
            return Ok(None);
        }
        Ok(Some(entries.string()?))
    }
}

/// No entries, no proof.
const NOTHING: &[u8] = &[0xc0, 0xc0];
/// No codes, nodes or lists.
const NO_CODES: &[u8] = &[0xc0];

/// The answer without contents to a request with this code; `None` if the message is no request. It says that the state is not
/// served here.
///
/// # Errors
/// [`DecodeError`] if the request is not a list that begins with its number.
pub fn empty_answer(code: u32, payload: &[u8]) -> Result<Option<EmptyAnswer>, DecodeError> {
    let contents = match code {
        code::GET_ACCOUNT_RANGE | code::GET_STORAGE_RANGES => NOTHING,
        code::GET_BYTE_CODES | code::GET_TRIE_NODES | code::GET_ACCESS_LISTS => NO_CODES,
        _ => return Ok(None),
    };
    EmptyAnswer::new(code + 1, payload, contents).map(Some)
}
