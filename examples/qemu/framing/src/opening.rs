//! Where a session begins on a line that knows no connections, and whose ends start and restart at any time.

use crate::Header;

/// One end's part in agreeing on a session.
///
/// Each end numbers its sessions and says `Begin` with its number and the one that it last heard. A session has begun once the
/// remote said our number: everything that follows on the line is then of that session, everything before belongs to nobody.
/// A `Begin` that does not fit a begun session says that the remote started anew.
///
/// An end that has not begun repeats its `Begin` from time to time; a frame lost on the way then only costs time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Opening {
    ours: u16,
    /// The remote's number as it last said it; 0 if it has not.
    theirs: u16,
    /// The remote's number in our last `Begin`, if we said one.
    told: Option<u16>,
    begun: bool,
}

/// What a `Begin` of the remote means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Begun {
    /// Nothing new.
    No {
        /// Whether to answer by our `Begin`.
        say: bool,
    },
    /// The session has begun.
    Now {
        /// Whether to say our `Begin` first.
        say: bool,
    },
    /// The remote started anew: the session that had begun is over. [`Opening::restart`] with the remote's number.
    Anew,
}

impl Default for Opening {
    fn default() -> Self {
        Self::new()
    }
}

impl Opening {
    /// Before the first session.
    pub const fn new() -> Self {
        Self {
            ours: 1,
            theirs: 0,
            told: None,
            begun: false,
        }
    }

    /// A new session of ours, where the remote's number is known or 0. Its `Begin` is to be said.
    pub fn restart(&mut self, theirs: u16) {
        *self = Self {
            ours: self.ours.checked_add(1).unwrap_or(1),
            theirs,
            told: None,
            begun: false,
        };
    }

    /// Whether the session has begun.
    pub const fn is_begun(&self) -> bool {
        self.begun
    }

    /// The `Begin` to say now.
    pub fn begin(&mut self) -> Header {
        self.told = Some(self.theirs);
        Header::Begin {
            sender: self.ours,
            receiver: self.theirs,
        }
    }

    /// Takes the remote's `Begin`. `may_repeat` says that nothing else has come from the remote in this session, so that it
    /// may not have heard ours.
    pub fn handle(&mut self, sender: u16, receiver: u16, may_repeat: bool) -> Begun {
        let knows_ours = receiver == self.ours;
        if self.begun {
            return match knows_ours && sender == self.theirs {
                true => Begun::No { say: may_repeat },
                false => Begun::Anew,
            };
        }
        self.theirs = sender;
        self.begun = knows_ours;
        let say = self.told != Some(sender);
        if self.begun {
            Begun::Now { say }
        } else {
            Begun::No { say }
        }
    }
}

#[cfg(test)]
impl Opening {
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        let begun = self.begun && other.begun;
        begun && (self.ours, self.theirs) == (other.theirs, other.ours)
    }
}
