//! Capabilities (a name and a version) and the protocols that implement them here.

use core::cmp::Ordering;
use core::fmt;

/// The longest capability name, in bytes, that can be registered here. The specification asks for at most eight; peers do
/// not enforce it, so a little more is taken. Names of remote capabilities may have any length.
pub const MAX_NAME_LENGTH: usize = 15;

/// The name of a capability: ASCII, up to [`MAX_NAME_LENGTH`] bytes, ordered by its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapabilityName {
    // Zero padding sorts a name before every longer name that it begins, as comparing slices does.
    bytes: [u8; MAX_NAME_LENGTH],
    length: u8,
}

/// The name is longer than [`MAX_NAME_LENGTH`] bytes, or holds a byte that is not printable ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InvalidName;

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a capability name must be printable ASCII of at most {MAX_NAME_LENGTH} bytes"
        )
    }
}

impl core::error::Error for InvalidName {}

impl CapabilityName {
    /// Checks a name; usable in constants.
    ///
    /// # Errors
    /// [`InvalidName`] if it is too long or not printable ASCII.
    pub const fn new(name: &str) -> Result<Self, InvalidName> {
        let from = name.as_bytes();
        if from.len() > MAX_NAME_LENGTH {
            return Err(InvalidName);
        }
        let mut bytes = [0; MAX_NAME_LENGTH];
        let mut i = 0;
        while i < from.len() {
            if !from[i].is_ascii_graphic() {
                return Err(InvalidName);
            }
            bytes[i] = from[i];
            i += 1;
        }
        Ok(Self {
            bytes,
            length: from.len() as u8,
        })
    }

    /// The name's bytes, in the order that sorts capabilities.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for CapabilityName {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

/// A capability as a Hello states it, `name/version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Capability {
    /// The name, at most [`MAX_NAME_LENGTH`] bytes.
    pub name: CapabilityName,
    /// The version; of several shared versions of one name the highest is used.
    pub version: u32,
}

impl Ord for Capability {
    fn cmp(&self, other: &Self) -> Ordering {
        let names = self.name.bytes.iter().cmp(&other.name.bytes);
        names.then(self.version.cmp(&other.version))
    }
}

impl PartialOrd for Capability {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Of the protocols whose capability is below `bound`, or of all without one: that with the highest capability, the first of
/// equals, and its index. So a list is walked in descending order, each capability once, without memory: there are few.
pub(crate) fn highest_below<'p>(
    protocols: &'p [Protocol],
    bound: Option<&Capability>,
) -> Option<(usize, &'p Protocol)> {
    let mut highest: Option<(usize, &Protocol)> = None;
    for (index, protocol) in protocols.iter().enumerate() {
        let one = &protocol.capability;
        if bound.is_none_or(|bound| one < bound)
            && highest.is_none_or(|(_, highest)| *one > highest.capability)
        {
            highest = Some((index, protocol));
        }
    }
    highest
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// What to do with a message that finds its inbox full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Overflow {
    /// Take no more bytes from the transport until there is room: lossless, and closes the session as stalled after the
    /// configured `hold_back_limit`. The default.
    #[default]
    HoldBack,
    /// Drop the message and count it.
    Drop,
    /// Close the session as stalled at once.
    Disconnect,
}

/// A protocol registered here: its capability, how many message codes it owns, and its inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Protocol {
    /// Name and version.
    pub capability: Capability,
    /// How many message codes it owns: its highest code plus one. Zero owns none.
    pub length: u32,
    /// Bytes of inbox: the arena's share for it, or in growable storage the bytes of messages that may wait.
    pub inbox: usize,
    /// The largest payload accepted, in bytes. Default: [`MAX_MESSAGE_LENGTH`](crate::MAX_MESSAGE_LENGTH).
    pub message_limit: u32,
    /// What happens when its inbox is full. Default: hold back.
    pub overflow: Overflow,
}

impl Protocol {
    /// A protocol `name/version` with `length` codes and `inbox` bytes of inbox, everything else at its default.
    ///
    /// # Errors
    /// [`InvalidName`] if the name cannot be a capability's.
    pub const fn new(
        name: &str,
        version: u32,
        length: u32,
        inbox: usize,
    ) -> Result<Self, InvalidName> {
        match CapabilityName::new(name) {
            Ok(name) => Ok(Self {
                capability: Capability { name, version },
                length,
                inbox,
                message_limit: crate::MAX_MESSAGE_LENGTH,
                overflow: Overflow::HoldBack,
            }),
            Err(error) => Err(error),
        }
    }
}
