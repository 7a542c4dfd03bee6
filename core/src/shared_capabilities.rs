//! Which subprotocols a session has, and where their codes begin (RLPx specification, "Message ID-based multiplexing").
//!
//! Of each name that both sides state, the highest version that both state is used. The subprotocols are ordered by the bytes
//! of their names; the first one's codes begin at 16, and each owns as many codes as its length says. So the same two Hellos
//! give the same table on both sides.

use core::fmt;

use heapless::Vec;

use crate::capability::{Protocol, highest_below};
use crate::code::{LocalCode, WireCode};
use crate::hello::RemoteCapability;
use crate::{BASE_PROTOCOL_LENGTH, MAX_PROTOCOLS};

/// One subprotocol of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SharedCapability {
    /// Index of its protocol in the list that was registered here.
    pub subprotocol: u8,
    /// The wire code of its local code 0.
    pub offset: u32,
    /// How many codes it owns; zero owns none.
    pub length: u32,
}

/// Why there is no table of shared capabilities. Only what is registered here can be the cause, never the remote alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MatchError {
    /// More protocols are registered here than the table holds, or than [`MAX_PROTOCOLS`].
    TooManyProtocols,
    /// The shared protocols together own more codes than 32 bits can number.
    CodeSpaceExhausted,
}

impl fmt::Display for MatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyProtocols => "too many protocols are registered",
            Self::CodeSpaceExhausted => "the shared protocols own more codes than there are",
        })
    }
}

impl core::error::Error for MatchError {}

/// The subprotocols of a session, at most `N`, ordered by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedCapabilities<const N: usize> {
    entries: Vec<SharedCapability, N>,
}

impl<const N: usize> SharedCapabilities<N> {
    /// The table of a session that shares nothing, as every session is before Hello.
    pub const fn empty() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Matches the protocols registered here with the capabilities of the remote, in constant memory however many those are.
    ///
    /// Repetitions on either side change nothing; of one capability registered twice, the first counts.
    ///
    /// # Errors
    /// [`MatchError`].
    pub fn new<'a>(
        local: &[Protocol],
        remote: impl IntoIterator<Item = RemoteCapability<'a>>,
    ) -> Result<Self, MatchError> {
        let mut table = Self::empty();
        table.fill(local, remote)?;
        Ok(table)
    }

    /// [`new`](Self::new) in place. After an error the table is of no use.
    pub(crate) fn fill<'a>(
        &mut self,
        local: &[Protocol],
        remote: impl IntoIterator<Item = RemoteCapability<'a>>,
    ) -> Result<(), MatchError> {
        self.entries.clear();
        if local.len() > N.min(MAX_PROTOCOLS) {
            return Err(MatchError::TooManyProtocols);
        }
        let mut shared: u32 = 0;
        for theirs in remote {
            for (index, ours) in local.iter().enumerate() {
                let ours = &ours.capability;
                if u64::from(ours.version) == theirs.version && ours.name.as_bytes() == theirs.name
                {
                    shared |= 1 << index;
                }
            }
        }

        let (mut last, mut taken) = (None, None);
        while let Some((index, protocol)) = highest_below(local, last) {
            let name = &protocol.capability.name;
            // The highest shared version of a name comes first, and the others of that name after it.
            if shared >> index & 1 == 1 && taken != Some(name) {
                taken = Some(name);
                let entry = SharedCapability {
                    subprotocol: index as u8,
                    offset: 0,
                    length: protocol.length,
                };
                let pushed = self.entries.push(entry);
                pushed.map_err(|_| MatchError::TooManyProtocols)?;
            }
            last = Some(&protocol.capability);
        }
        // Unlike `reverse`, this links no panic.
        let mut rest = self.entries.as_mut_slice();
        while let [first, inner @ .., last] = rest {
            core::mem::swap(first, last);
            rest = inner;
        }
        let mut offset = BASE_PROTOCOL_LENGTH;
        for entry in &mut self.entries {
            entry.offset = offset;
            offset = offset
                .checked_add(entry.length)
                .ok_or(MatchError::CodeSpaceExhausted)?;
        }
        Ok(())
    }

    /// The subprotocol that owns a code, by its index in the registered list, and the code inside it. `None` for codes of
    /// the base protocol and for those that nobody owns.
    #[inline]
    pub fn locate(&self, code: WireCode) -> Option<(usize, LocalCode)> {
        // Few entries: looking at all of them beats a search with branches.
        self.entries.iter().find_map(|entry| {
            let local = code.0.wrapping_sub(entry.offset);
            (local < entry.length).then_some((usize::from(entry.subprotocol), LocalCode(local)))
        })
    }

    /// The wire code of a subprotocol's code. `None` if the subprotocol is not shared, or if the code is not below its length.
    #[inline]
    pub fn wire_code(&self, subprotocol: usize, code: LocalCode) -> Option<WireCode> {
        let entry = self.get(subprotocol)?;
        // A code below the length cannot overflow: `new` has checked the end.
        (code.0 < entry.length).then(|| WireCode(entry.offset.wrapping_add(code.0)))
    }

    /// Where a subprotocol's codes begin, or `None` if it is not shared.
    pub fn offset(&self, subprotocol: usize) -> Option<u32> {
        self.get(subprotocol).map(|entry| entry.offset)
    }

    /// Whether the remote shares a protocol, by its index in the registered list.
    pub fn is_shared(&self, subprotocol: usize) -> bool {
        self.get(subprotocol).is_some()
    }

    /// The entry of a subprotocol, by its index in the registered list.
    pub fn get(&self, subprotocol: usize) -> Option<&SharedCapability> {
        self.entries
            .iter()
            .find(|entry| usize::from(entry.subprotocol) == subprotocol)
    }

    /// The entries, ordered by name.
    pub fn iter(&self) -> core::slice::Iter<'_, SharedCapability> {
        self.entries.iter()
    }

    /// How many subprotocols the session has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is shared.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first code after those that are owned.
    pub fn end(&self) -> WireCode {
        WireCode(self.entries.last().map_or(BASE_PROTOCOL_LENGTH, |entry| {
            entry.offset.wrapping_add(entry.length)
        }))
    }
}

impl<'a, const N: usize> IntoIterator for &'a SharedCapabilities<N> {
    type Item = &'a SharedCapability;
    type IntoIter = core::slice::Iter<'a, SharedCapability>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
