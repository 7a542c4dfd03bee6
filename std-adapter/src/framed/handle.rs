//! What the program holds of a session over a private link.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use devp2p_core::capability::Capability;
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::peer;

use super::endpoint::{AnyMachine, Shared};
use super::resources::SessionShared;
use crate::block::{block_on, block_until};
use crate::counters::{Counters, Traffic};
use crate::handle::{Message, ReadError};
use crate::inbox::Arrived;
use crate::queue::Queue;
use crate::time::to_std_duration;
use crate::turn::Turns;

/// A session that became active: the remote, and the handles of the shared subprotocols. Dropping a handle says that its
/// subprotocol is done and so ends the session; dropping this drops those that were not taken.
#[derive(Debug)]
pub struct Session {
    peer: Peer,
    subprotocols: Vec<Option<Subprotocol>>,
}

impl Session {
    pub(super) fn new(shared: &Arc<Shared>, machine: &AnyMachine) -> Self {
        let peer = Peer {
            shared: Arc::clone(shared),
            session: Arc::clone(machine.shared()),
        };
        let subprotocol = |index: usize, capability| {
            let is_shared = machine.peer().shared().is_shared(index);
            is_shared.then(|| Subprotocol {
                peer: peer.clone(),
                index,
                capability,
                reading: Turns::default(),
            })
        };
        let protocols = machine.protocols().iter().enumerate();
        Self {
            subprotocols: protocols
                .map(|(index, protocol)| subprotocol(index, protocol.capability))
                .collect(),
            peer,
        }
    }

    /// The remote and the session.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The handle of the protocol with this index in the settings; `None` if the remote does not share it, or if it was taken.
    pub fn take(&mut self, subprotocol: usize) -> Option<Subprotocol> {
        self.subprotocols.get_mut(subprotocol)?.take()
    }
}

/// The remote and the session with it, live or ended. Cheap to clone.
#[derive(Clone)]
pub struct Peer {
    shared: Arc<Shared>,
    session: Arc<SessionShared>,
}

impl Peer {
    /// Who the remote says it is.
    pub fn id(&self) -> NodeId {
        self.session
            .hello
            .get()
            .map_or(NodeId([0; 64]), |hello| hello.0)
    }

    /// What the remote calls its client.
    pub fn client_name(&self) -> &str {
        self.session
            .hello
            .get()
            .map_or("", |(_, text)| &text.client_name)
    }

    /// Every capability that the remote offers, as `name/version`.
    pub fn capabilities(&self) -> &[String] {
        let hello = self.session.hello.get();
        hello.map_or(&[], |(_, text)| &text.capabilities)
    }

    /// Ends the session: the remote is told `reason`.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.close(CloseReason::Local(reason));
    }

    fn close(&self, cause: CloseReason) {
        self.shared.change(|running, now| {
            if self.is_in(&running.machine) {
                running.machine.close(now, cause);
            }
        });
    }

    /// Why the session ends; `None` while it lives.
    pub fn close_reason(&self) -> Option<CloseReason> {
        let live = self.live(peer::Peer::close_reason).flatten();
        live.or_else(|| self.session.closed.get().copied())
    }

    /// Waits until the session is closed.
    pub fn closed(&self) -> CloseReason {
        loop {
            let closed = |_: &mut _, _| self.session.closed.get().copied();
            if let Some(reason) = self.shared.wait(None, closed) {
                return reason;
            }
        }
    }

    /// Asks for a Ping now rather than at the next interval; [`round_trip`](Self::round_trip) changes when its Pong comes.
    pub fn ping(&self) {
        self.shared.change(|running, _| {
            if self.is_in(&running.machine) {
                running.machine.request_ping();
            }
        });
    }

    /// The last measured round trip of Ping and Pong; `None` also once the next session began.
    pub fn round_trip(&self) -> Option<Duration> {
        let span = self.live(peer::Peer::round_trip).flatten();
        span.map(to_std_duration)
    }

    /// How many of our Pings were answered by a Pong; 0 once the next session began.
    pub fn pongs(&self) -> u32 {
        self.live(peer::Peer::pongs).unwrap_or(0)
    }

    /// Traffic of the protocol with this index in the settings, in this session.
    pub fn traffic(&self, subprotocol: usize) -> Traffic {
        let counters = self.session.counters.get(subprotocol);
        counters.map(Counters::traffic).unwrap_or_default()
    }

    /// Looks at this session, unless the next one took its place.
    fn live<R>(
        &self,
        f: impl FnOnce(&peer::Peer<{ crate::host::MAX_PROTOCOLS }>) -> R,
    ) -> Option<R> {
        self.shared
            .with(|machine| self.is_in(machine).then(|| f(machine.peer())))
    }

    fn is_in(&self, machine: &AnyMachine) -> bool {
        Arc::ptr_eq(&self.session, machine.shared())
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("id", &self.id()).finish()
    }
}

/// One subprotocol of a session. Threads may share it: reads and writes each take turns.
#[derive(Debug)]
pub struct Subprotocol {
    peer: Peer,
    index: usize,
    capability: Capability,
    /// The inbox has room for one reader that waits.
    reading: Turns,
}

impl Subprotocol {
    /// Name and version.
    pub fn capability(&self) -> Capability {
        self.capability
    }

    /// The remote and the session.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`ReadError::Closed`] at the end; [`ReadError::Oversize`] in place of a message that was too large.
    pub fn read(&self) -> Result<Message, ReadError> {
        let _turn = self.reading.wait(None);
        let next = block_on(|cx| self.queue().poll_next(Some(cx)));
        self.message(next)
    }

    /// Waits for its turn and the next message, at most `timeout` together: then `None`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<Option<Message>, ReadError> {
        let deadline = Instant::now().checked_add(timeout);
        let Some(_turn) = self.reading.wait(deadline) else {
            return Ok(None);
        };
        let next = block_until(deadline, |cx| self.queue().poll_next(Some(cx)));
        next.map(|next| self.message(next)).transpose()
    }

    /// The next message if one waits.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn try_read(&self) -> Result<Option<Message>, ReadError> {
        match self.queue().poll_next(None) {
            Poll::Ready(next) => self.message(next).map(Some),
            Poll::Pending => Ok(None),
        }
    }

    fn queue(&self) -> &Queue {
        &self.peer.session.queues[self.index]
    }

    fn message(&self, next: Result<Arrived, CloseReason>) -> Result<Message, ReadError> {
        let Arrived { meta, payload, .. } = next.map_err(ReadError::Closed)?;
        let (code, length) = (meta.code.0, meta.length);
        let at = self.peer.shared.clock.to_std(meta.at);
        Ok(Message {
            code,
            payload: payload.ok_or(ReadError::Oversize { code, length })?,
            at: at.unwrap_or_else(Instant::now),
            wire_length: meta.wire_length,
        })
    }

    /// Writes one message: waits for its turn and for room, and frames it. `Ok` means framed, in order;
    /// [`flush`](Self::flush) waits for the wire.
    ///
    /// # Errors
    /// [`WriteError::Closed`], [`WriteError::InvalidCode`] or [`WriteError::TooLarge`]: the message was not sent.
    pub fn write(&self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.write_until(code, payload, None)
    }

    /// Writes one message if that need not wait for longer than `timeout`.
    ///
    /// # Errors
    /// [`WriteError::TimedOut`] if it must; else as [`write`](Self::write).
    pub fn write_timeout(
        &self,
        code: u32,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<(), WriteError> {
        self.write_until(code, payload, Instant::now().checked_add(timeout))
    }

    /// Writes one message if it need not wait.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if it would have to; else as [`write`](Self::write).
    pub fn try_write(&self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        let shared = &self.peer.shared;
        let turn = shared.turns.try_take();
        let _turn = turn.ok_or(WriteError::WouldBlock { free: 0 })?;
        shared.change(|running, now| self.write_now(&mut running.machine, now, code, payload))
    }

    /// Waits until the transport took everything that was framed before.
    ///
    /// # Errors
    /// The cause, if the session closed first.
    pub fn flush(&self) -> Result<(), CloseReason> {
        let (sealed, _) = self.peer.shared.with(AnyMachine::progress);
        loop {
            let flushed = self.peer.shared.wait(None, |running, _| {
                let (_, taken) = running.machine.progress();
                match self.peer.session.closed.get() {
                    _ if taken >= sealed => Some(Ok(())),
                    closed => closed.copied().map(Err),
                }
            });
            if let Some(result) = flushed {
                return result;
            }
        }
    }

    /// Ends the session, since this subprotocol failed: the remote is told `reason`, by convention
    /// [`SUBPROTOCOL_ERROR`](DisconnectReason::SUBPROTOCOL_ERROR), or
    /// [`PROTOCOL_ERROR`](DisconnectReason::PROTOCOL_ERROR) for a message that could not be decoded.
    pub fn fail(self, reason: DisconnectReason) {
        let subprotocol = self.index as u8;
        self.peer.close(CloseReason::ProtocolError {
            subprotocol,
            reason,
        });
    }

    fn write_until(
        &self,
        code: u32,
        payload: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), WriteError> {
        let shared = &self.peer.shared;
        let _turn = shared.turns.wait(deadline).ok_or(WriteError::TimedOut)?;
        let written = shared.wait(deadline, |running, now| {
            match self.write_now(&mut running.machine, now, code, payload) {
                Err(WriteError::WouldBlock { .. }) => None,
                other => Some(other),
            }
        });
        written.unwrap_or(Err(WriteError::TimedOut))
    }

    fn write_now(
        &self,
        machine: &mut AnyMachine,
        now: devp2p_core::time::Instant,
        code: u32,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        match self.peer.session.closed.get() {
            Some(reason) => Err(WriteError::Closed(*reason)),
            None => machine.try_write(now, self.index, LocalCode(code), payload),
        }
    }
}

impl Drop for Subprotocol {
    fn drop(&mut self) {
        self.queue().abandon();
        let subprotocol = self.index as u8;
        self.peer
            .close(CloseReason::ProtocolReturned { subprotocol });
    }
}
