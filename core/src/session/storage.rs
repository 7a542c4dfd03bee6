//! The memory that a session is lent.

use crate::arena::ArenaTooSmall;
use crate::rlpx::handshake::{MAX_RECEIVED, MAX_SENT};
use crate::rlpx::receive::FIRST_FRAME_BUFFER;

/// The least bytes of inbox memory that a session can be lent: handshake and Hello overlay it.
pub const MIN_INBOX_MEMORY: usize = if MAX_RECEIVED > FIRST_FRAME_BUFFER {
    MAX_RECEIVED
} else {
    FIRST_FRAME_BUFFER
};

/// The least bytes of transmit ring that a session can be lent: the handshake overlays it. Our Hello's frame must fit too.
pub const MIN_RING: usize = MAX_SENT;

/// The memory that a session is lent.
#[derive(Debug)]
pub struct Storage<'a> {
    /// For the inboxes: the sum of the protocols' `inbox`, and at least [`MIN_INBOX_MEMORY`].
    pub inboxes: &'a mut [u8],
    /// For sealed bytes that wait for the wire: at least [`MIN_RING`].
    pub ring: &'a mut [u8],
    /// For compression: a power of two of entries, 512 are plenty; empty sends Snappy's literal form.
    pub table: &'a mut [u16],
}

/// The lent storage is too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StorageError {
    /// The inboxes need at least this many bytes, or the protocols are too many.
    Inboxes {
        /// Bytes.
        needed: usize,
    },
    /// The transmit ring needs at least this many bytes.
    Ring {
        /// Bytes.
        needed: usize,
    },
    /// Our Hello would be larger than any peer takes: a shorter client name or fewer protocols are needed.
    Hello,
}

impl core::fmt::Display for StorageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Inboxes { needed } => write!(f, "lend at least {needed} bytes for the inboxes"),
            Self::Hello => f.write_str(
                "our Hello is too long: shorten the client name or register fewer protocols",
            ),
            Self::Ring { needed } => {
                write!(f, "lend at least {needed} bytes for the transmit ring")
            }
        }
    }
}

impl core::error::Error for StorageError {}

impl From<ArenaTooSmall> for StorageError {
    fn from(error: ArenaTooSmall) -> Self {
        Self::Inboxes {
            needed: error.needed,
        }
    }
}
