//! Block headers: the fields by which they are chained, and the root of the state after the block.

use devp2p_core::rlp::Reader;

use crate::primitives::{DecodeError, Hash, array, hash, uint256, whole_list};

/// Bytes that no header of a proof-of-stake chain exceeds: every field of today at its largest (33 bytes of RLP for each hash
/// and for the base fee, 32 bytes of extra data), with room for two more hashes. Proof-of-work headers are smaller.
pub const MAX_LENGTH: usize = 832;

/// A block header over borrowed bytes.
///
/// Fields that a fork added at the end may be there or not; that they are RLP is all that is asked of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    encoded: &'a [u8],
    /// The hash of the parent's header.
    pub parent: Hash,
    /// The root of the state trie after this block.
    pub state_root: Hash,
    /// The block's number, its distance from the genesis block.
    pub number: u64,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
}

impl<'a> Header<'a> {
    /// Reads the header that all of `encoded` is.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not a list of at least the fifteen fields that every header has, in their sizes.
    pub fn decode(encoded: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = whole_list(encoded)?;
        let parent = hash(&mut fields)?;
        let _ommers = hash(&mut fields)?;
        let _beneficiary: [u8; 20] = array(&mut fields)?;
        let state_root = hash(&mut fields)?;
        let _transactions_root = hash(&mut fields)?;
        let _receipts_root = hash(&mut fields)?;
        let _logs_bloom: [u8; 256] = array(&mut fields)?;
        let _difficulty = uint256(&mut fields)?;
        let number = fields.uint64()?;
        let _gas_limit = fields.uint64()?;
        let _gas_used = fields.uint64()?;
        let timestamp = fields.uint64()?;
        let _extra_data = fields.string()?;
        let _mix_hash = hash(&mut fields)?;
        let _nonce: [u8; 8] = array(&mut fields)?;
        well_formed(fields)?;
        Ok(Self {
            encoded,
            parent,
            state_root,
            number,
            timestamp,
        })
    }

    /// The bytes that it was read from.
    pub const fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// The block's hash: keccak256 of the header's bytes. Computed at each call.
    pub fn hash(&self) -> Hash {
        Hash::of(self.encoded)
    }
}

fn well_formed(mut items: Reader<'_>) -> Result<(), DecodeError> {
    while !items.is_empty() {
        items.item()?;
    }
    Ok(())
}
