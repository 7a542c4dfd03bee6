//! Accounts, storage slots and code, proved against the state root of a block.
//!
//! What is proved carries the block's evidence in its type: an account under a [`Claimed`](crate::evidence::Claimed) head is
//! itself a claim.

use core::fmt;

use crate::evidence::{Evidence, Head};
use crate::primitives::{Address, DecodeError, Hash, hash, uint256, whole_list, wide};
use crate::trie::{self, TrieError};
use devp2p_core::rlp::{self, Item, Reader};

/// Why nothing is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ProofError {
    /// The nodes do not lead from the root to the key.
    Trie(TrieError),
    /// What the trie has under the key is no account, or no slot's value.
    Value(DecodeError),
    /// The code has another hash than the account's.
    WrongCode(Hash),
}

impl From<TrieError> for ProofError {
    fn from(error: TrieError) -> Self {
        Self::Trie(error)
    }
}

impl From<DecodeError> for ProofError {
    fn from(error: DecodeError) -> Self {
        Self::Value(error)
    }
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trie(error) => error.fmt(f),
            Self::Value(error) => write!(f, "the proved value cannot be read: {error}"),
            Self::WrongCode(hash) => write!(f, "code with the hash {hash}, which is another one"),
        }
    }
}

impl core::error::Error for ProofError {}

/// An account of the state trie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Account {
    /// How many transactions were sent from it, or contracts made.
    pub nonce: u64,
    /// Its balance in wei, big-endian.
    pub balance: [u8; 32],
    /// The root of its storage trie: [`Hash::EMPTY_TRIE`] if it has no storage.
    pub storage_root: Hash,
    /// The hash of its code: [`Hash::EMPTY_CODE`] if it has none.
    pub code_hash: Hash,
}

impl Account {
    /// Reads an account as the state trie has it.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(encoded: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = whole_list(encoded)?;
        let account = Self {
            nonce: fields.uint64()?,
            balance: uint256(&mut fields)?,
            storage_root: hash(&mut fields)?,
            code_hash: hash(&mut fields)?,
        };
        match fields.is_empty() {
            true => Ok(account),
            false => Err(DecodeError::TrailingBytes),
        }
    }
}

/// An account, or its absence, proved against a block's state root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ProvedAccount<E: Evidence> {
    head: Head<E>,
    address: Address,
    account: Option<Account>,
}

impl<E: Evidence> ProvedAccount<E> {
    /// Verifies what the nodes say of the account with this address after the block `head`.
    ///
    /// # Errors
    /// [`ProofError`] if they prove neither an account nor that there is none.
    pub fn verify<'a>(
        head: &Head<E>,
        address: Address,
        nodes: impl IntoIterator<Item = Result<&'a [u8], rlp::Error>>,
    ) -> Result<Self, ProofError> {
        let value = trie::lookup(head.state_root(), &address_key(address).0, nodes)?;
        Ok(Self {
            head: *head,
            address,
            account: value.map(Account::decode).transpose()?,
        })
    }

    /// The block after which it is so.
    pub const fn head(&self) -> &Head<E> {
        &self.head
    }

    /// Whose account it is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The account; `None` if there is none.
    pub const fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// The root of the storage trie; that of the empty trie if there is no account.
    pub fn storage_root(&self) -> Hash {
        let account = self.account.as_ref();
        account.map_or(Hash::EMPTY_TRIE, |account| account.storage_root)
    }

    /// Verifies what the nodes say of the storage slot `key` of this account.
    ///
    /// # Errors
    /// [`ProofError`] if they prove no value, not even zero.
    pub fn slot<'a>(
        &self,
        key: [u8; 32],
        nodes: impl IntoIterator<Item = Result<&'a [u8], rlp::Error>>,
    ) -> Result<ProvedSlot<E>, ProofError> {
        let value = match trie::lookup(self.storage_root(), &slot_key(key).0, nodes)? {
            Some(encoded) => slot_value(encoded)?,
            None => [0; 32],
        };
        Ok(ProvedSlot {
            account: *self,
            key,
            value,
        })
    }

    /// Verifies that this is the account's code.
    ///
    /// # Errors
    /// [`ProofError::WrongCode`].
    pub fn code(&self, code: &[u8]) -> Result<(), ProofError> {
        let account = self.account.as_ref();
        let expected = account.map_or(Hash::EMPTY_CODE, |account| account.code_hash);
        let found = Hash::of(code);
        match found == expected {
            true => Ok(()),
            false => Err(ProofError::WrongCode(found)),
        }
    }
}

/// The value of a storage slot, proved against a block's state root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ProvedSlot<E: Evidence> {
    account: ProvedAccount<E>,
    key: [u8; 32],
    value: [u8; 32],
}

impl<E: Evidence> ProvedSlot<E> {
    /// The account that it is of.
    pub const fn account(&self) -> &ProvedAccount<E> {
        &self.account
    }

    /// Which slot it is, big-endian.
    pub const fn key(&self) -> [u8; 32] {
        self.key
    }

    /// What is in it, big-endian: zero also if the trie has no such slot.
    pub const fn value(&self) -> [u8; 32] {
        self.value
    }
}

/// Where the state trie has an account.
pub fn address_key(address: Address) -> Hash {
    Hash::of(&address.0)
}

/// Where a storage trie has a slot.
pub fn slot_key(key: [u8; 32]) -> Hash {
    Hash::of(&key)
}

/// A slot's value is an integer that is encoded once more.
fn slot_value(encoded: &[u8]) -> Result<[u8; 32], DecodeError> {
    let mut reader = Reader::new(encoded);
    let Item::String(digits) = reader.item()? else {
        return Err(rlp::Error::ExpectedString.into());
    };
    match reader.is_empty() {
        true => wide(digits),
        false => Err(DecodeError::TrailingBytes),
    }
}
