//! What happens to sessions.

use devp2p_core::error::CloseReason;
use devp2p_core::hello::NodeId;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::pubsub::{PubSubChannel, Subscriber, WaitResult};

/// Events that wait for a subscriber; of more the oldest are lost, so the last one always has room.
pub(crate) const EVENTS: usize = 4;
/// Subscribers at a time.
pub(crate) const SUBSCRIBERS: usize = 2;

pub(crate) type Channel<M> = PubSubChannel<M, PeerEvent, EVENTS, SUBSCRIBERS, 0>;

/// Something happened to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PeerEvent {
    /// A session became active with this node.
    Added(NodeId),
    /// A session ended, active or not.
    Dropped(CloseReason),
}

/// Events since it was made, for one task. From [`Peer::events`](crate::Peer::events).
pub struct Events<'a, M: RawMutex>(pub(crate) Subscriber<'a, M, PeerEvent, EVENTS, SUBSCRIBERS, 0>);

/// So many events were lost, since more than four waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Lagged(pub u64);

impl core::fmt::Display for Lagged {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} events were lost", self.0)
    }
}

impl core::error::Error for Lagged {}

impl<M: RawMutex> Events<'_, M> {
    /// Waits for the next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Lagged`] if events were lost; the next call goes on with the oldest that is left.
    pub async fn next(&mut self) -> Result<PeerEvent, Lagged> {
        check(self.0.next_message().await)
    }

    /// The next event if one waits.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<PeerEvent>, Lagged> {
        self.0.try_next_message().map(check).transpose()
    }
}

fn check(result: WaitResult<PeerEvent>) -> Result<PeerEvent, Lagged> {
    match result {
        WaitResult::Message(event) => Ok(event),
        WaitResult::Lagged(lost) => Err(Lagged(lost)),
    }
}
