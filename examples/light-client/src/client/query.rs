//! What can be asked of the state, and what comes of it.

use crate::evidence::{Claimed, Head, Trusted};
use crate::primitives::{Address, Hash};
use crate::snap::Request;
use crate::state::{ProofError, ProvedAccount, ProvedSlot, address_key, slot_key};
use crate::trie::Nodes;

/// The same of something trusted and of something claimed, where it is only known at run time which of them it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Graded<T, C> {
    /// Proved from a trusted hash.
    Trusted(T),
    /// On a peer's word.
    Claimed(C),
}

/// The block against which something is proved.
pub type AnyHead = Graded<Head<Trusted>, Head<Claimed>>;
/// A proved account.
pub type AnyAccount = Graded<ProvedAccount<Trusted>, ProvedAccount<Claimed>>;
/// A proved storage slot.
pub type AnySlot = Graded<ProvedSlot<Trusted>, ProvedSlot<Claimed>>;

/// A question about the state after a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Query {
    /// An account.
    Account {
        /// After this block.
        head: AnyHead,
        /// Whose.
        address: Address,
    },
    /// A storage slot of an account that was proved before.
    Slot {
        /// The account.
        account: AnyAccount,
        /// Which slot, big-endian.
        key: [u8; 32],
    },
    /// The code of an account that was proved before.
    Code {
        /// The account.
        account: AnyAccount,
    },
}

impl Query {
    pub(super) fn request(&self) -> Request {
        match self {
            Self::Account { head, address } => Request::Account {
                root: match head {
                    Graded::Trusted(head) => head.state_root(),
                    Graded::Claimed(head) => head.state_root(),
                },
                key: address_key(*address),
            },
            Self::Slot { account, key } => {
                let (root, address) = match account {
                    Graded::Trusted(account) => (account.head().state_root(), account.address()),
                    Graded::Claimed(account) => (account.head().state_root(), account.address()),
                };
                Request::Slot {
                    root,
                    account: address_key(address),
                    key: slot_key(*key),
                }
            }
            Self::Code { account } => {
                let account = match account {
                    Graded::Trusted(account) => account.account(),
                    Graded::Claimed(account) => account.account(),
                };
                Request::Code(account.map_or(Hash::EMPTY_CODE, |account| account.code_hash))
            }
        }
    }

    /// What the nodes prove; for code, what `code` is.
    pub(super) fn verify<'a>(
        &self,
        nodes: Nodes<'a>,
        code: &'a [u8],
    ) -> Result<Proof<'a>, ProofError> {
        use Graded::{Claimed, Trusted};
        Ok(match self {
            Self::Account { head, address } => Proof::Account(match head {
                Trusted(head) => Trusted(ProvedAccount::verify(head, *address, nodes)?),
                Claimed(head) => Claimed(ProvedAccount::verify(head, *address, nodes)?),
            }),
            Self::Slot { account, key } => Proof::Slot(match account {
                Trusted(account) => Trusted(account.slot(*key, nodes)?),
                Claimed(account) => Claimed(account.slot(*key, nodes)?),
            }),
            Self::Code { account } => {
                match account {
                    Trusted(account) => account.code(code)?,
                    Claimed(account) => account.code(code)?,
                }
                Proof::Code(code)
            }
        })
    }

    /// The answer, if it follows from what is known: a slot of an account without storage, or the code of one without code.
    pub(super) fn known(&self) -> Option<Proof<'static>> {
        match self {
            Self::Account { .. } => None,
            Self::Slot { .. } | Self::Code { .. } => self.verify(Nodes::default(), &[]).ok(),
        }
    }
}

/// What was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Proof<'a> {
    /// An account, or that there is none.
    Account(AnyAccount),
    /// A storage slot.
    Slot(AnySlot),
    /// Code with the hash that the account states.
    Code(&'a [u8]),
}
