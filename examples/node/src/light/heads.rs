//! Which head how many peers claim.

use std::collections::BTreeMap;

use devp2p_light::evidence::{Claimed, Head};
use devp2p_light::primitives::Hash;

/// What peers claim. A peer that is on a longer chain with a block claims that block too.
#[derive(Debug, Default)]
pub(super) struct Heads(Vec<Option<Claim>>);

/// A peer's head, and the hashes of its last blocks.
type Claim = (Head<Claimed>, BTreeMap<u64, Hash>);

/// A head, and the number of peers that claim it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) head: Head<Claimed>,
    pub(super) by: usize,
    /// Of so many that claim any.
    pub(super) of: usize,
}

impl Heads {
    pub(super) fn new(peers: usize) -> Self {
        Self((0..peers).map(|_| None).collect())
    }

    pub(super) fn set(&mut self, peer: usize, head: Head<Claimed>, known: Vec<(u64, Hash)>) {
        if let Some(slot) = self.0.get_mut(peer) {
            *slot = Some((head, known.into_iter().collect()));
        }
    }

    /// A peer that was left claims nothing any more.
    pub(super) fn remove(&mut self, peer: usize) {
        if let Some(slot) = self.0.get_mut(peer) {
            *slot = None;
        }
    }

    /// How many peers claim this head.
    pub(super) fn count(&self, head: Head<Claimed>) -> Counted {
        let claims = self.0.iter().flatten();
        let by = claims
            .clone()
            .filter(|(_, known)| known.get(&head.number()) == Some(&head.hash()));
        Counted {
            head,
            by: by.count(),
            of: claims.count(),
        }
    }

    /// The head that most peers claim; of those the latest.
    pub(super) fn best(&self) -> Option<Counted> {
        let heads = self.0.iter().flatten().map(|(head, _)| self.count(*head));
        heads.max_by_key(|counted| (counted.by, counted.head.number()))
    }
}
