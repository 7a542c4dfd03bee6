//! What happens to sessions.

use devp2p_core::error::CloseReason;
use devp2p_core::hello::NodeId;

/// Something happened to the session. Taken from [`Peer::event`](crate::Peer::event).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PeerEvent {
    /// A session became active with this node.
    Added(NodeId),
    /// A session ended, active or not.
    Dropped(CloseReason),
}
