//! What is trusted and what is only claimed, as two types.
//!
//! A block hash is trusted because the user says so ([`TrustedHash`]); the header with that hash, its ancestors, and the state
//! under its root are then proved by hashing. Headers after it are not: on a proof-of-stake chain anybody can make some, so
//! that they are a claim of the peer that sent them. Nothing turns a [`Claimed`] value into a [`Trusted`] one but a newer
//! trusted hash.

use core::fmt;
use core::marker::PhantomData;

use crate::header::Header;
use crate::primitives::Hash;

mod sealed {
    pub trait Sealed {}
}

/// [`Trusted`] or [`Claimed`].
pub trait Evidence: sealed::Sealed + Copy + fmt::Debug + PartialEq + Eq {
    /// Whether it is [`Trusted`].
    const IS_TRUSTED: bool;
    /// The word for it: `trusted` or `claimed`.
    const NAME: &'static str;
}

/// Proved, from a block hash that the user trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trusted(());

/// Consistent in itself, on the word of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed(());

impl sealed::Sealed for Trusted {}
impl sealed::Sealed for Claimed {}

impl Evidence for Trusted {
    const IS_TRUSTED: bool = true;
    const NAME: &'static str = "trusted";
}

impl Evidence for Claimed {
    const IS_TRUSTED: bool = false;
    const NAME: &'static str = "claimed";
}

/// The hash of a block that the user got from a source it trusts: its own consensus client, a signed feed, a genesis file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TrustedHash(Hash);

impl TrustedHash {
    /// Trusts this hash. Everything that is called trusted here rests on it.
    pub const fn new(hash: Hash) -> Self {
        Self(hash)
    }

    /// The hash.
    pub const fn hash(self) -> Hash {
        self.0
    }

    /// What `header` says, if it is the header with this hash.
    pub fn head(self, header: &Header<'_>) -> Option<Head<Trusted>> {
        (header.hash() == self.0).then(|| Head::new(header, self.0))
    }
}

/// What is kept of a block's header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head<E> {
    hash: Hash,
    number: u64,
    timestamp: u64,
    state_root: Hash,
    evidence: PhantomData<E>,
}

impl<E: Evidence> Head<E> {
    pub(crate) const fn new(header: &Header<'_>, hash: Hash) -> Self {
        Self {
            hash,
            number: header.number,
            timestamp: header.timestamp,
            state_root: header.state_root,
            evidence: PhantomData,
        }
    }

    /// The block's hash.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The block's number.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The block's time, in seconds since the Unix epoch.
    pub const fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The root of the state after the block.
    pub const fn state_root(&self) -> Hash {
        self.state_root
    }
}

impl Head<Claimed> {
    /// The same block, now that its hash is trusted.
    pub fn trusted(&self, hash: TrustedHash) -> Option<Head<Trusted>> {
        (self.hash == hash.0).then_some(Head {
            hash: self.hash,
            number: self.number,
            timestamp: self.timestamp,
            state_root: self.state_root,
            evidence: PhantomData,
        })
    }
}

impl<E: Evidence> fmt::Debug for Head<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} block {} {}", E::NAME, self.number, self.hash)
    }
}

#[cfg(feature = "defmt")]
impl<E: Evidence> defmt::Format for Head<E> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str} block {=u64} {}", E::NAME, self.number, self.hash);
    }
}
