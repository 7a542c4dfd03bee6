//! What a program gives an event loop: callbacks, and what they may do.

use std::sync::Arc;
use std::time::Duration;

use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::time::Instant;

use super::Tools;
use super::handle::Handle;
use super::open::Open;
use crate::protocol::Failure;
use crate::time::to_core_duration;

/// The program's side of one session: its callbacks run in the thread of the session's loop, one at a time.
///
/// A callback must not block: all sessions of its loop wait for it. What takes long goes to another thread, which answers
/// through the session's [`Handle`]. A callback that panics ends its session (with Disconnect 0x10) and no other one; nothing
/// is called on that handler any more.
pub trait Handler: Send {
    /// The session is active: messages can be written, and will come.
    fn on_active(&mut self, session: &mut Session<'_>) {
        let _ = session;
    }

    /// A message arrived.
    ///
    /// # Errors
    /// A failure ends the session with its reason, as a subprotocol error.
    fn on_message(
        &mut self,
        session: &mut Session<'_>,
        message: Message<'_>,
    ) -> Result<(), Failure>;

    /// A message arrived that is larger than the protocol's limit; it was skipped. In order with the other messages.
    /// Default: nothing.
    ///
    /// # Errors
    /// A failure ends the session with its reason, as a subprotocol error.
    fn on_oversize(
        &mut self,
        session: &mut Session<'_>,
        oversize: Oversize,
    ) -> Result<(), Failure> {
        let _ = (session, oversize);
        Ok(())
    }

    /// There is room again, after [`Session::try_write`] answered `WouldBlock`.
    fn on_writable(&mut self, session: &mut Session<'_>) {
        let _ = session;
    }

    /// The time that was set by [`Session::set_timer`] has come.
    fn on_timer(&mut self, session: &mut Session<'_>) {
        let _ = session;
    }

    /// The session has ended: the last call, and the only one once the session is closed.
    fn on_closed(&mut self, handle: &Handle, reason: CloseReason) {
        let _ = (handle, reason);
    }
}

/// Makes the handler of a session whose Hello was accepted, or turns the remote away.
pub(super) type Factory =
    Arc<dyn Fn(&Handle) -> Result<Box<dyn Handler>, DisconnectReason> + Send + Sync>;

/// A message that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// Index of its protocol in the host's list.
    pub subprotocol: usize,
    /// Its code in the subprotocol.
    pub code: u32,
    /// Lent for the call.
    pub payload: &'a [u8],
    /// Bytes of payload as they were on the wire, compressed or not.
    pub wire_length: u32,
    /// When its last byte was handled, by the host's clock.
    pub at: Instant,
}

/// A message that was larger than the protocol's limit, and was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Oversize {
    /// Index of its protocol in the host's list.
    pub subprotocol: usize,
    /// Its code in the subprotocol.
    pub code: u32,
    /// Bytes of payload, as the remote stated them.
    pub length: u32,
}

/// A session, lent to its handler for a callback.
pub struct Session<'a> {
    pub(super) open: &'a mut Open,
    pub(super) tools: &'a mut Tools,
    pub(super) handle: &'a Handle,
    pub(super) now: Instant,
}

impl Session<'_> {
    /// The session as other threads may hold it; it also tells who the remote is.
    pub fn handle(&self) -> &Handle {
        self.handle
    }

    /// The remote's identity.
    pub fn id(&self) -> NodeId {
        self.handle.id()
    }

    /// Writes one message; all that a callback writes, and more, leaves in one write. `Ok` means sealed, in order; a later
    /// failure is the session's close reason.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if too much waits for the wire: [`Handler::on_writable`] follows when there is room. Else as
    /// [`WriteError`] says.
    pub fn try_write(
        &mut self,
        subprotocol: usize,
        code: u32,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        self.try_write_slices(subprotocol, code, &[payload])
    }

    /// The same, with a payload in several pieces.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_slices(
        &mut self,
        subprotocol: usize,
        code: u32,
        payload: &[&[u8]],
    ) -> Result<(), WriteError> {
        let code = LocalCode(code);
        self.open.write(
            self.tools,
            self.handle,
            self.now,
            subprotocol,
            code,
            payload,
        )
    }

    /// Bytes that wait for the wire.
    pub fn waiting(&self) -> usize {
        self.open.connection.output.len()
    }

    /// Keeps messages of this subprotocol until [`resume`](Self::resume): they wait in its inbox, and when that is full no more
    /// bytes are taken from the socket. A session whose inbox holds back for longer than the configured limit ends as stalled;
    /// so a pause is for moments. What still waits when the session ends is lost.
    pub fn pause(&mut self, subprotocol: usize) {
        self.open.connection.inbox.set_paused(subprotocol, true);
    }

    /// Delivers messages of this subprotocol again, after this callback. From another thread: [`Handle::resume`].
    pub fn resume(&mut self, subprotocol: usize) {
        self.open.connection.inbox.set_paused(subprotocol, false);
    }

    /// Has [`Handler::on_timer`] called once after so long, in place of the time that was set before.
    pub fn set_timer(&mut self, after: Duration) {
        self.open.timer = Some(self.now.saturating_add(to_core_duration(after)));
    }

    /// Takes back [`set_timer`](Self::set_timer).
    pub fn clear_timer(&mut self) {
        self.open.timer = None;
    }

    /// When this callback began, by the host's clock.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Ends the session: the remote is told `reason`.
    pub fn disconnect(&mut self, reason: DisconnectReason) {
        self.close(CloseReason::Local(reason));
    }

    /// The work of this subprotocol is done: ends the session as a run closure that returns does.
    pub fn finish(&mut self, subprotocol: usize) {
        self.close(CloseReason::ProtocolReturned {
            subprotocol: index(subprotocol),
        });
    }

    /// This subprotocol failed: ends the session as a run closure that fails does.
    pub fn fail(&mut self, subprotocol: usize, failure: &Failure) {
        log::debug!("subprotocol {subprotocol} failed: {failure}");
        self.close(CloseReason::ProtocolError {
            subprotocol: index(subprotocol),
            reason: failure.reason(),
        });
    }

    fn close(&mut self, reason: CloseReason) {
        self.open.connection.close(self.now, reason);
    }

    /// Why the session ends; `None` while it lives.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.open.connection.close_reason()
    }

    /// Asks for a Ping now rather than at the next interval.
    pub fn ping(&mut self) {
        self.open.connection.request_ping();
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("handle", self.handle)
            .finish_non_exhaustive()
    }
}

/// Indices of protocols are below [`MAX_PROTOCOLS`](crate::host::MAX_PROTOCOLS).
pub(super) fn index(subprotocol: usize) -> u8 {
    u8::try_from(subprotocol).unwrap_or(u8::MAX)
}
