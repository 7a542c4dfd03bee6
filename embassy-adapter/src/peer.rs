//! A handle on the session, for anyone.

use core::future::poll_fn;

use devp2p_core::arena::InboxCounters;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::Remote;
use devp2p_core::time::Duration;
use embassy_sync::blocking_mutex::raw::RawMutex;

use crate::event::PeerEvent;
use crate::shared::{Shared, Who};

/// What there is to know of the session at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Info {
    /// Where it stands.
    pub state: State,
    /// What the remote said of itself; `None` before its Hello.
    pub remote: Option<Remote>,
    /// How many sessions have become active so far.
    pub sessions: u32,
    /// The last measured round trip of Ping and Pong.
    pub round_trip: Option<Duration>,
    /// How many of our Pings were answered by a Pong.
    pub pongs: u32,
    /// Why the session ends; `None` while it lives.
    pub close_reason: Option<CloseReason>,
}

/// A handle on the session, to copy at will.
pub struct Peer<'a, M: RawMutex, const N: usize> {
    shared: &'a Shared<'a, M, N>,
}

impl<M: RawMutex, const N: usize> Clone for Peer<'_, M, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: RawMutex, const N: usize> Copy for Peer<'_, M, N> {}

impl<'a, M: RawMutex, const N: usize> Peer<'a, M, N> {
    pub(crate) fn new(shared: &'a Shared<'a, M, N>) -> Self {
        Self { shared }
    }

    /// Asks for the end of the session: the remote is told `reason`.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.shared.request_disconnect(reason);
    }

    /// Waits until the session is closed; at once if none lives. One task at a time waits here. Dropping the future loses
    /// nothing.
    pub async fn closed(&self) -> CloseReason {
        poll_fn(|cx| {
            self.shared.poll_with(Who::Peer, cx, |inner, _, cx| {
                inner.session.poll_closed(Some(cx))
            })
        })
        .await
    }

    /// The next event. Up to four wait; of more the oldest are lost. Dropping the future loses nothing.
    pub async fn event(&self) -> PeerEvent {
        self.shared.events.receive().await
    }

    /// What there is to know; `None` if another executor uses the session at this moment.
    pub fn info(&self) -> Option<Info> {
        self.shared.try_with(|inner, _| {
            let peer = inner.session.peer();
            Info {
                state: peer.state(),
                remote: peer.remote(),
                sessions: inner.generation,
                round_trip: peer.round_trip(),
                pongs: peer.pongs(),
                close_reason: peer.close_reason(),
            }
        })
    }

    /// What the inbox of a subprotocol has seen; `None` if another executor uses the session at this moment.
    pub fn counters(&self, subprotocol: usize) -> Option<InboxCounters> {
        self.shared
            .try_with(|inner, _| inner.session.counters(subprotocol))
    }
}
