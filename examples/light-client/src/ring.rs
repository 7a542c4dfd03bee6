//! The hashes of the last blocks of a chain.

use crate::primitives::Hash;

/// The hashes of up to `N` blocks in a row: 32 bytes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring<const N: usize> {
    /// Each at its number modulo `N`.
    slots: [Hash; N],
    newest: u64,
    length: usize,
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Ring<N> {
    const HAS_ROOM: () = assert!(N > 0, "a ring holds at least one hash");

    /// No hashes.
    pub const fn new() -> Self {
        const { Self::HAS_ROOM };
        Self {
            slots: [Hash([0; 32]); N],
            newest: 0,
            length: 0,
        }
    }

    /// How many hashes there are.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether an older hash would not fit any more.
    pub const fn is_full(&self) -> bool {
        self.length == N
    }

    /// The numbers of the oldest and the newest block.
    pub const fn range(&self) -> Option<(u64, u64)> {
        match self.length {
            0 => None,
            length => Some((self.newest.saturating_sub(length as u64 - 1), self.newest)),
        }
    }

    /// The hash of the block with this number, if it is among them.
    pub fn get(&self, number: u64) -> Option<Hash> {
        let (oldest, newest) = self.range()?;
        if !(oldest..=newest).contains(&number) {
            return None;
        }
        self.slots.get(slot::<N>(number)).copied()
    }

    /// The number of the block with this hash, if it is among them.
    pub fn number_of(&self, hash: Hash) -> Option<u64> {
        let (oldest, newest) = self.range()?;
        (oldest..=newest).find(|number| self.get(*number) == Some(hash))
    }

    /// Leaves this block alone.
    pub fn reset(&mut self, number: u64, hash: Hash) {
        self.length = 1;
        self.newest = number;
        self.set(number, hash);
    }

    /// Adds the block after the newest; the oldest goes if there is no room. The first block of all may have any number.
    pub fn push(&mut self, number: u64, hash: Hash) {
        if self.is_empty() || Some(number) != self.newest.checked_add(1) {
            return self.reset(number, hash);
        }
        self.newest = number;
        self.length = (self.length + 1).min(N);
        self.set(number, hash);
    }

    /// Adds the block before the oldest, if there is room for it; returns whether there was.
    pub fn push_older(&mut self, number: u64, hash: Hash) -> bool {
        let Some((oldest, _)) = self.range() else {
            return false;
        };
        if self.is_full() || number.checked_add(1) != Some(oldest) {
            return false;
        }
        self.length += 1;
        self.set(number, hash);
        true
    }

    /// Takes away every block after `number`.
    pub fn truncate(&mut self, number: u64) {
        let Some((oldest, newest)) = self.range() else {
            return;
        };
        if number < oldest {
            self.length = 0;
        } else if number < newest {
            self.length -= usize::try_from(newest - number).unwrap_or(self.length);
            self.newest = number;
        }
    }

    fn set(&mut self, number: u64, hash: Hash) {
        if let Some(slot) = self.slots.get_mut(slot::<N>(number)) {
            *slot = hash;
        }
    }
}

fn slot<const N: usize>(number: u64) -> usize {
    (number % N as u64) as usize
}
