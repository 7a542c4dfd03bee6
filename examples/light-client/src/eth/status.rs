//! Status, the first message of each side, and what refreshes its range later.

use devp2p_core::rlp::{NoRoom, Writer, list_length, string_length, uint_length};

use crate::fork_id::ForkId;
use crate::primitives::{DecodeError, Hash, hash, uint256, whole_list};

/// The first version whose Status has a range of blocks in place of the total difficulty (EIP-7642).
const FIRST_WITH_RANGE: u32 = 69;
/// Bytes of a hash with its header.
const HASH: usize = 33;

/// Which blocks a node has: the contents of BlockRangeUpdate, and the end of Status from version 69.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BlockRange {
    /// The number of the earliest block.
    pub earliest: u64,
    /// The number of the latest block.
    pub latest: u64,
    /// The hash of the latest block.
    pub latest_hash: Hash,
}

impl BlockRange {
    /// Reads the payload of BlockRangeUpdate.
    ///
    /// # Errors
    /// [`DecodeError`], also for a range that ends before it begins.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut whole_list(payload)?)
    }

    fn read(items: &mut devp2p_core::rlp::Reader<'_>) -> Result<Self, DecodeError> {
        let range = Self {
            earliest: items.uint64()?,
            latest: items.uint64()?,
            latest_hash: hash(items)?,
        };
        if range.earliest > range.latest {
            return Err(DecodeError::FieldValue);
        }
        Ok(range)
    }

    /// Writes the payload of BlockRangeUpdate to the front of `out`; returns its length.
    ///
    /// # Errors
    /// [`NoRoom`]; 53 bytes are always enough.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut writer = Writer::new(out);
        writer.list(self.items_length())?;
        self.write(&mut writer)?;
        Ok(writer.len())
    }

    fn items_length(&self) -> usize {
        uint_length(self.earliest) + uint_length(self.latest) + HASH
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.uint(self.earliest)?;
        writer.uint(self.latest)?;
        writer.string(&self.latest_hash.0)
    }
}

/// What a node says of itself and its chain.
///
/// The total difficulty of version 68 means nothing on a proof-of-stake chain: it is skipped on receipt, and sent as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Status {
    /// The version of `eth`.
    pub version: u32,
    /// The network's number.
    pub network_id: u64,
    /// The hash of the genesis block.
    pub genesis: Hash,
    /// Which forks the node knows and has passed.
    pub fork_id: ForkId,
    /// The hash of the latest block.
    pub head: Hash,
    /// Numbers of the earliest and the latest block, which version 68 does not state.
    pub numbers: Option<(u64, u64)>,
}

impl Status {
    /// Reads the payload of a Status in the form that `version`, the session's, has.
    ///
    /// # Errors
    /// [`DecodeError`], also for a range that ends before it begins.
    pub fn decode(version: u32, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut items = whole_list(payload)?;
        let stated = items.uint32()?;
        let network_id = items.uint64()?;
        if version < FIRST_WITH_RANGE {
            let _total_difficulty = uint256(&mut items)?;
            let head = hash(&mut items)?;
            return Ok(Self {
                version: stated,
                network_id,
                genesis: hash(&mut items)?,
                fork_id: ForkId::read(&mut items)?,
                head,
                numbers: None,
            });
        }
        let genesis = hash(&mut items)?;
        let fork_id = ForkId::read(&mut items)?;
        let range = BlockRange::read(&mut items)?;
        Ok(Self {
            version: stated,
            network_id,
            genesis,
            fork_id,
            head: range.latest_hash,
            numbers: Some((range.earliest, range.latest)),
        })
    }

    /// Writes the payload to the front of `out`, in the form of its version; returns its length. Without numbers, a version
    /// that has them states block 0.
    ///
    /// # Errors
    /// [`NoRoom`]; 160 bytes are always enough.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut writer = Writer::new(out);
        let common = uint_length(self.version.into())
            + uint_length(self.network_id)
            + HASH
            + self.fork_id.length();
        if self.version < FIRST_WITH_RANGE {
            writer.list(common + uint_length(0) + HASH)?;
            writer.uint(self.version.into())?;
            writer.uint(self.network_id)?;
            writer.uint(0)?;
            writer.string(&self.head.0)?;
            writer.string(&self.genesis.0)?;
            self.fork_id.write(&mut writer)?;
            return Ok(writer.len());
        }
        let (earliest, latest) = self.numbers.unwrap_or_default();
        let range = BlockRange {
            earliest,
            latest,
            latest_hash: self.head,
        };
        writer.list(common + range.items_length())?;
        writer.uint(self.version.into())?;
        writer.uint(self.network_id)?;
        writer.string(&self.genesis.0)?;
        self.fork_id.write(&mut writer)?;
        range.write(&mut writer)?;
        Ok(writer.len())
    }
}

impl ForkId {
    fn read(items: &mut devp2p_core::rlp::Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = items.list()?;
        let hash = crate::primitives::array(&mut fields)?;
        let next = fields.uint64()?;
        Ok(Self { hash, next })
    }

    fn items_length(&self) -> usize {
        string_length(&self.hash) + uint_length(self.next)
    }

    fn length(&self) -> usize {
        list_length(self.items_length())
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.list(self.items_length())?;
        writer.string(&self.hash)?;
        writer.uint(self.next)
    }
}
