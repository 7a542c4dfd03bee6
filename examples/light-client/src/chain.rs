//! The chain as it is known here: a trusted block, some of its ancestors, and what peers claim to come after it.
//!
//! [`Chain::question`] says what to ask next, [`Chain::answer`] takes the headers that came. It does no more than that: request
//! ids, time, and whom to ask are the concern of [`client`](crate::client).

use core::fmt;

use crate::eth::{GetBlockHeaders, Headers, Origin};
use crate::evidence::{Claimed, Head, Trusted, TrustedHash};
use crate::header::Header;
use crate::link::{Ancestry, LinkError, Tip};
use crate::primitives::Hash;
use crate::ring::Ring;

/// Which headers to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Question {
    /// The header with a trusted hash.
    Trusted(TrustedHash),
    /// The header with a hash that a peer claims to be that of its head.
    Claimed(Hash),
    /// So many ancestors, the youngest, with this hash, first.
    Back {
        /// The hash of the first.
        hash: Hash,
        /// How many at most.
        amount: u64,
    },
    /// So many headers from this number on.
    Ahead {
        /// The number of the first.
        number: u64,
        /// How many at most.
        amount: u64,
    },
}

impl Question {
    /// The same as a message.
    pub const fn request(self, request_id: u64) -> GetBlockHeaders {
        let (origin, amount, reverse) = match self {
            Self::Trusted(hash) => (Origin::Hash(hash.hash()), 1, false),
            Self::Claimed(hash) => (Origin::Hash(hash), 1, false),
            Self::Back { hash, amount } => (Origin::Hash(hash), amount, true),
            Self::Ahead { number, amount } => (Origin::Number(number), amount, false),
        };
        GetBlockHeaders {
            request_id,
            origin,
            amount,
            skip: 0,
            reverse,
        }
    }

    const fn amount(self) -> u64 {
        match self {
            Self::Trusted(_) | Self::Claimed(_) => 1,
            Self::Back { amount, .. } | Self::Ahead { amount, .. } => amount,
        }
    }
}

/// What an answer has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Step {
    /// The header of a trusted hash came: it is the trusted head now.
    Trusted(Head<Trusted>),
    /// The header of a trusted hash came: it is older than the trusted head, which stays.
    Older,
    /// So many more ancestors of the trusted head were verified.
    Back {
        /// How many.
        count: u64,
        /// The number of the oldest.
        oldest: u64,
    },
    /// The claimed chain has grown.
    Ahead {
        /// How many headers came that were not known.
        count: u64,
        /// How many that were known are no part of it any more.
        dropped: u64,
        /// Its head.
        head: Head<Claimed>,
    },
    /// The peer is on another branch than the claims so far: it is looked for where that began.
    Branch,
    /// There is nothing after what is known.
    CaughtUp,
}

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ChainError {
    /// A header of the answer does not fit: no honest node sends it.
    Link(LinkError),
    /// The answer has headers from another number than the one asked for.
    OtherNumber,
    /// The peer does not have the block with the trusted hash, or an ancestor of it: it lags, is on another chain, or keeps
    /// less history.
    Lacks(Hash),
    /// On the peer's chain another block stands where the trusted one is.
    ConflictsWithTrusted,
    /// The peer's chain branches off before the hashes that are kept here, and nothing is trusted to begin at again.
    DeepReorganisation,
    /// The trusted hash leads to another genesis block than that of the network: not the peer's fault.
    WrongGenesis(Hash),
}

impl From<LinkError> for ChainError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::OtherNumber => f.write_str("headers from another number than the one asked for"),
            Self::Lacks(hash) => write!(f, "the peer does not have the block {hash}"),
            Self::ConflictsWithTrusted => {
                f.write_str("the peer's chain has another block in place of the trusted one")
            }
            Self::DeepReorganisation => {
                f.write_str("the peer's chain branches off before every hash that is kept")
            }
            Self::WrongGenesis(hash) => {
                write!(f, "the trusted hash leads to another genesis block, {hash}")
            }
        }
    }
}

impl core::error::Error for ChainError {}

/// A trusted block, the hashes of the last `N` blocks, and the head that peers claim.
///
/// It outlives sessions: the next peer goes on where the last one was left. Ancestors of the trusted head are as trusted as it
/// is; blocks after it are claims, replaced when a peer is on another branch, until [`trust`](Self::trust) covers them.
#[derive(Debug, Clone)]
pub struct Chain<const N: usize = 64> {
    genesis: Hash,
    trusted: Option<Head<Trusted>>,
    /// A trusted hash whose header is not here yet.
    pending: Option<TrustedHash>,
    /// How many ancestors of a trusted head are to be verified.
    back: u64,
    ancestry: Option<(Ancestry, u64)>,
    ring: Ring<N>,
    claimed: Option<Head<Claimed>>,
    /// A peer's word for its head, where nothing is trusted.
    claim: Option<Hash>,
    /// How far before the head to look for the branch that a peer is on.
    step_back: u64,
}

impl<const N: usize> Chain<N> {
    /// A chain with this genesis block, known from `trusted` on. `back` ancestors of that block are verified first, or as many
    /// as there are. Without a trusted hash everything is a claim.
    pub const fn new(genesis: Hash, trusted: Option<TrustedHash>, back: u64) -> Self {
        Self {
            genesis,
            trusted: None,
            pending: trusted,
            back,
            ancestry: None,
            ring: Ring::new(),
            claimed: None,
            claim: None,
            step_back: 0,
        }
    }

    /// The trusted block, once its header came.
    pub const fn trusted(&self) -> Option<&Head<Trusted>> {
        self.trusted.as_ref()
    }

    /// The head that is claimed, if it is ahead of what is trusted.
    pub const fn claimed(&self) -> Option<&Head<Claimed>> {
        self.claimed.as_ref()
    }

    /// The hashes that are kept. Those up to the trusted block's number are trusted.
    pub const fn ring(&self) -> &Ring<N> {
        &self.ring
    }

    /// Whether ancestors of the trusted block are still to be verified.
    pub const fn is_going_back(&self) -> bool {
        self.pending.is_some() || self.ancestry.is_some()
    }

    /// The number and the time of the latest trusted block: zero before one is known.
    pub fn trusted_position(&self) -> (u64, u64) {
        let head = self.trusted.as_ref();
        head.map_or((0, 0), |head| (head.number(), head.timestamp()))
    }

    /// Trusts a newer block, and with it its ancestors. If it is the claimed head, that is the new trusted head, which is
    /// returned; else its header is asked for next. A block that turns out to be older than the trusted one changes nothing.
    pub fn trust(&mut self, hash: TrustedHash) -> Option<Head<Trusted>> {
        if let Some(head) = self.claimed.and_then(|head| head.trusted(hash)) {
            self.trusted = Some(head);
            self.claimed = None;
            self.step_back = 0;
            return Some(head);
        }
        if self.trusted.is_none_or(|head| head.hash() != hash.hash()) {
            self.pending = Some(hash);
        }
        None
    }

    /// Notes a peer's word for its head: where to begin if nothing is trusted.
    pub fn hint(&mut self, head: Hash) {
        if self.trusted.is_none() && self.pending.is_none() && self.claimed.is_none() {
            self.claim = Some(head);
        }
    }

    /// What to ask for next, `most` headers at a time (at least one).
    pub fn question(&self, most: u64) -> Option<Question> {
        let most = most.max(1);
        if let Some(hash) = self.pending {
            return Some(Question::Trusted(hash));
        }
        if let Some((ancestry, left)) = self.ancestry
            && let Some((_, hash)) = ancestry.next()
        {
            let amount = most.min(left);
            return Some(Question::Back { hash, amount });
        }
        if let Some(hash) = self.claim {
            return Some(Question::Claimed(hash));
        }
        let number = self.base()?.number.checked_add(1)?;
        let number = number.saturating_sub(self.step_back);
        Some(Question::Ahead {
            number,
            amount: most,
        })
    }

    /// Takes the headers that came for `question`, which [`question`](Self::question) gave. After an error nothing was taken over that
    /// is not proved.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn answer(&mut self, question: Question, headers: Headers<'_>) -> Result<Step, ChainError> {
        let count = headers.count().unwrap_or_default() as u64;
        if count > question.amount() {
            return Err(LinkError::TooMany.into());
        }
        match question {
            Question::Trusted(hash) => self.on_trusted(hash, headers),
            Question::Claimed(hash) => self.on_claimed(hash, headers),
            Question::Back { hash, .. } => self.on_back(hash, headers, count),
            Question::Ahead { number, .. } => self.on_ahead(number, headers),
        }
    }

    fn on_trusted(&mut self, hash: TrustedHash, headers: Headers<'_>) -> Result<Step, ChainError> {
        let header = only(hash.hash(), headers)?;
        let head = hash.head(&header).ok_or(LinkError::WrongHash)?;
        if head.number() == 0 && head.hash() != self.genesis {
            return Err(ChainError::WrongGenesis(head.hash()));
        }
        if self.pending == Some(hash) {
            self.pending = None;
        }
        if self.trusted.is_some_and(|old| old.number() > head.number()) {
            return Ok(Step::Older);
        }
        self.trusted = Some(head);
        if self
            .claimed
            .is_some_and(|old| old.number() <= head.number())
        {
            self.claimed = None;
        }
        if self.ring.get(head.number()) != Some(head.hash()) {
            self.ring.reset(head.number(), head.hash());
            self.claimed = None;
            self.ancestry =
                (self.back > 0 && head.number() > 0).then(|| (Ancestry::new(&header), self.back));
        }
        if self.claimed.is_none() {
            self.ring.truncate(head.number());
        }
        self.claim = None;
        self.step_back = 0;
        Ok(Step::Trusted(head))
    }

    fn on_claimed(&mut self, hash: Hash, headers: Headers<'_>) -> Result<Step, ChainError> {
        let header = only(hash, headers)?;
        if header.hash() != hash {
            return Err(LinkError::WrongHash.into());
        }
        let head = Head::new(&header, hash);
        self.claim = None;
        self.claimed = Some(head);
        self.ring.reset(head.number(), hash);
        Ok(Step::Ahead {
            count: 1,
            dropped: 0,
            head,
        })
    }

    fn on_back(
        &mut self,
        hash: Hash,
        headers: Headers<'_>,
        count: u64,
    ) -> Result<Step, ChainError> {
        if headers.is_empty() {
            return Err(ChainError::Lacks(hash));
        }
        let Some((ancestry, left)) = self.ancestry else {
            return Ok(Step::Older);
        };
        let after = ancestry.advance(headers)?;
        // The hash of a verified header is the parent that the one after it states.
        let (mut hash, mut oldest) = (hash, 0);
        for header in headers.flatten() {
            if header.number == 0 && hash != self.genesis {
                return Err(ChainError::WrongGenesis(hash));
            }
            self.ring.push_older(header.number, hash);
            (hash, oldest) = (header.parent, header.number);
        }
        let left = left.saturating_sub(count);
        self.ancestry = (left > 0 && oldest > 0).then_some((after, left));
        Ok(Step::Back { count, oldest })
    }

    fn on_ahead(&mut self, number: u64, headers: Headers<'_>) -> Result<Step, ChainError> {
        let Some(base) = self.base() else {
            return Ok(Step::CaughtUp);
        };
        let before = number.saturating_sub(1);
        let Some(known) = self.ring.get(before) else {
            return self.look_further_back(before);
        };
        let Some(first) = headers.clone_first()? else {
            if self.step_back == 0 {
                return Ok(Step::CaughtUp);
            }
            // The peer's chain is shorter than the claims so far.
            if self.trusted.is_some_and(|head| head.number() == before) {
                self.ring.truncate(before);
                self.claimed = None;
                self.step_back = 0;
                return Ok(Step::CaughtUp);
            }
            return self.look_further_back(before);
        };
        if first.number != number {
            return Err(ChainError::OtherNumber);
        }
        // Of blocks before the head the time is not kept; after the trusted block they are.
        let (_, timestamp) = self.trusted_position();
        let timestamp = if before == base.number {
            base.timestamp
        } else {
            timestamp
        };
        let tip = Tip::new(first.parent, before, timestamp);
        let Some(head) = tip.advance(headers)? else {
            return Ok(Step::CaughtUp);
        };
        if first.parent != known {
            return self.look_further_back(before);
        }
        Ok(self.extend(head, base.number, headers))
    }

    /// Takes over headers that were verified, up to `head`, and link to a block of the ring.
    fn extend(&mut self, head: Head<Claimed>, base: u64, headers: Headers<'_>) -> Step {
        let (mut count, mut dropped) = (0, 0);
        let mut after = headers.flatten().skip(1);
        for header in headers.flatten() {
            let hash = after.next().map_or(head.hash(), |child| child.parent);
            if self.ring.get(header.number) == Some(hash) {
                continue;
            }
            if count == 0 {
                let common = header.number.saturating_sub(1);
                dropped = base.saturating_sub(common);
                self.ring.truncate(common);
            }
            count += 1;
            self.ring.push(header.number, hash);
        }
        if count == 0 {
            // All of it was known: where the branch begins is still ahead.
            self.step_back = base.saturating_sub(head.number());
            return Step::Branch;
        }
        self.step_back = 0;
        self.claimed = Some(head);
        Step::Ahead {
            count,
            dropped,
            head,
        }
    }

    /// The peer has no child of the block `before`, or of that number another one.
    fn look_further_back(&mut self, before: u64) -> Result<Step, ChainError> {
        let oldest = self.ring.range().map_or(0, |(oldest, _)| oldest);
        let trusted = self.trusted;
        let floor = trusted.map_or(oldest, |head| head.number().max(oldest));
        if before > floor {
            let furthest = self.step_back.saturating_add(before - floor);
            self.step_back = self.step_back.saturating_mul(2).max(1).min(furthest);
            return Ok(Step::Branch);
        }
        match trusted {
            Some(head) if before == head.number() => Err(ChainError::ConflictsWithTrusted),
            Some(head) => {
                self.ring.reset(head.number(), head.hash());
                self.claimed = None;
                self.step_back = 0;
                Ok(Step::Branch)
            }
            None => Err(ChainError::DeepReorganisation),
        }
    }

    /// The last block that is known.
    fn base(&self) -> Option<Position> {
        let claimed = self.claimed.as_ref().map(|head| Position {
            number: head.number(),
            timestamp: head.timestamp(),
        });
        claimed.or_else(|| {
            self.trusted.as_ref().map(|head| Position {
                number: head.number(),
                timestamp: head.timestamp(),
            })
        })
    }
}

#[derive(Clone, Copy)]
struct Position {
    number: u64,
    timestamp: u64,
}

/// The one header of an answer about the block with this hash.
fn only(hash: Hash, mut headers: Headers<'_>) -> Result<Header<'_>, ChainError> {
    match headers.next() {
        Some(header) => Ok(header.map_err(LinkError::from)?),
        None => Err(ChainError::Lacks(hash)),
    }
}

impl<'a> Headers<'a> {
    /// The first header, which stays.
    fn clone_first(&self) -> Result<Option<Header<'a>>, LinkError> {
        let mut headers = *self;
        Ok(headers.next().transpose()?)
    }
}
