//! A handle on the session, for anyone.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use devp2p_core::arena::InboxCounters;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::Remote;
use devp2p_core::time::Duration;
use embassy_sync::blocking_mutex::raw::RawMutex;

use crate::event::Events;
use crate::shared::{Inner, Shared, Who};

/// What there is to know of the session at one moment; between sessions, of the one that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Info {
    /// Where it stands.
    pub state: State,
    /// What the remote said of itself; `None` before its Hello.
    pub remote: Option<Remote>,
    /// Bit `i`: the remote shares the protocol `i` of those registered.
    pub shared: u32,
    /// How many sessions have become active so far.
    pub sessions: u32,
    /// The last measured round trip of Ping and Pong.
    pub round_trip: Option<Duration>,
    /// How many of our Pings were answered by a Pong.
    pub pongs: u32,
    /// Why the session ends; `None` while it lives.
    pub close_reason: Option<CloseReason>,
}

impl Info {
    /// Whether the remote shares a protocol, by its index in the registered list.
    pub const fn is_shared(&self, subprotocol: usize) -> bool {
        subprotocol < 32 && self.shared & (1 << subprotocol) != 0
    }
}

/// What one subprotocol received and sent, over all sessions. Counters wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Counters {
    /// What its inbox has seen.
    pub received: InboxCounters,
    /// Messages sealed.
    pub sent_messages: u32,
    /// Bytes of payload sealed, uncompressed.
    pub sent_bytes: u64,
}

/// A handle on the session, to copy at will. It outlives sessions.
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

    /// Asks for the end of the session: the remote is told `reason`. Does nothing if none lives, and nothing to the next.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.shared.request_disconnect(reason);
    }

    /// Waits until the session that is there now is closed; at once if none lives. Dropping the future loses nothing.
    ///
    /// Any number of tasks may wait; beyond four they wake each other, which costs time and no more.
    pub async fn closed(&self) -> CloseReason {
        let mut asked = None;
        poll_fn(|cx| {
            let mut evicted = None;
            let result = self.shared.poll_with(Who::Peer, cx, |inner, _, cx| {
                if *asked.get_or_insert(inner.epoch) != inner.epoch {
                    return Poll::Ready(inner.ended);
                }
                let result = inner.session.poll_closed(None);
                if result.is_pending() {
                    evicted = inner.closed.register(cx);
                }
                result
            });
            if let Some(waker) = evicted {
                waker.wake();
            }
            result
        })
        .await
    }

    /// The events from now on, for one task; `None` if two take them already.
    pub fn events(&self) -> Option<Events<'a, M>> {
        self.shared.events.subscriber().ok().map(Events)
    }

    /// What there is to know. Waits only while another executor uses the session; dropping the future loses nothing.
    pub async fn info(&self) -> Info {
        poll_fn(|cx| self.poll_info(cx)).await
    }

    /// As [`info`](Self::info), for tasks that poll.
    pub fn poll_info(&self, cx: &mut Context<'_>) -> Poll<Info> {
        self.shared
            .poll_with(Who::Peer, cx, |inner, _, _| Poll::Ready(info(inner)))
    }

    /// What there is to know; `None` while another executor uses the session, and inside the closure of a read.
    pub fn try_info(&self) -> Option<Info> {
        self.shared.try_with(|inner, _| info(inner))
    }

    /// What a subprotocol received and sent, by its index in the registered list. Waits only while another executor uses
    /// the session; dropping the future loses nothing.
    pub async fn counters(&self, subprotocol: usize) -> Counters {
        poll_fn(|cx| {
            self.shared.poll_with(Who::Peer, cx, |inner, _, _| {
                Poll::Ready(counters(inner, subprotocol))
            })
        })
        .await
    }

    /// As [`counters`](Self::counters); `None` while another executor uses the session, and inside the closure of a read.
    pub fn try_counters(&self, subprotocol: usize) -> Option<Counters> {
        self.shared
            .try_with(|inner, _| counters(inner, subprotocol))
    }

    /// Asks for a Ping now rather than at the next interval, so that [`Info::round_trip`] is new soon. Does nothing while
    /// one is unanswered, no session is active, or another executor uses the session.
    pub fn request_ping(&self) {
        self.shared
            .try_with(|inner, _| inner.session.request_ping());
    }
}

fn info<const N: usize>(inner: &Inner<'_, N>) -> Info {
    let peer = inner.session.peer();
    let shared = peer.shared().iter();
    Info {
        state: peer.state(),
        remote: peer.remote(),
        shared: shared.fold(0, |bits, one| bits | 1 << (one.subprotocol & 31)),
        sessions: inner.sessions,
        round_trip: peer.round_trip(),
        pongs: peer.pongs(),
        close_reason: peer.close_reason(),
    }
}

fn counters<const N: usize>(inner: &Inner<'_, N>, subprotocol: usize) -> Counters {
    let sent = inner.sent.get(subprotocol).copied().unwrap_or_default();
    Counters {
        received: inner.session.counters(subprotocol),
        sent_messages: sent.messages,
        sent_bytes: sent.bytes,
    }
}

impl<M: RawMutex, const N: usize> fmt::Debug for Peer<'_, M, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.try_info(), f)
    }
}

#[cfg(feature = "defmt")]
impl<M: RawMutex, const N: usize> defmt::Format for Peer<'_, M, N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::Format::format(&self.try_info(), f);
    }
}
