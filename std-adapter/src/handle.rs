//! What a run closure is given: its side of one subprotocol in one session.

use std::time::{Duration, Instant};

use devp2p_core::capability::Capability;
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::session::Written;

use crate::busy_poll::BusyPoll;
use crate::compressor;
use crate::counters::Traffic;
use crate::events::PeerEvent;
use crate::inbox::Arrived;
use crate::peer::PeerHandle;
use crate::session::SessionInner;
use crate::time::to_core_duration;

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its code inside the subprotocol.
    pub code: u32,
    /// Its payload, uncompressed.
    pub payload: Vec<u8>,
    /// When its last byte had arrived.
    pub at: Instant,
    /// Bytes of payload as they were on the wire.
    pub wire_length: u32,
}

/// A message that [`Subprotocol::read_into`] copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// Its code inside the subprotocol.
    pub code: u32,
    /// Bytes of its payload, uncompressed.
    pub length: usize,
    /// When its last byte had arrived.
    pub at: Instant,
}

impl Message {
    /// Decodes the payload as one RLP item.
    ///
    /// # Errors
    /// As the decoder says; returned from a run closure it ends the session as a breach of protocol.
    pub fn decode<T: rlp::Decodable>(&self) -> Result<T, rlp::DecoderError> {
        rlp::decode(&self.payload)
    }
}

/// Why a read gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The session is closed and every message that came before was read.
    Closed(CloseReason),
    /// A message was larger than the protocol's limit, or than the buffer; its payload is lost. The session goes on.
    Oversize {
        /// Its code inside the subprotocol.
        code: u32,
        /// Bytes of its payload.
        length: u32,
    },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed(reason) => write!(f, "the session is closed: {reason}"),
            Self::Oversize { code, length } => {
                write!(
                    f,
                    "a message with code {code:#04x} of {length} bytes is too large and was skipped"
                )
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// One subprotocol of one live session. Dropped when its run closure returns.
#[derive(Debug)]
pub struct Subprotocol {
    writer: Writer,
    busy_poll: BusyPoll,
}

impl Subprotocol {
    pub(crate) fn new(peer: PeerHandle, index: usize, capability: Capability) -> Self {
        Self {
            busy_poll: BusyPoll::new(to_core_duration(peer.inner.session.env.host.busy_poll)),
            writer: Writer {
                peer,
                index,
                capability,
            },
        }
    }

    /// Name and version.
    pub fn capability(&self) -> Capability {
        self.writer.capability
    }

    /// The remote and the session.
    pub fn peer(&self) -> &PeerHandle {
        &self.writer.peer
    }

    /// A writer of this subprotocol for another thread. Writers take turns in the order in which they ask.
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    // ---- Reading ----

    /// Waits for the next message. Meanwhile this thread may read from the transport for the whole session. Then the end of a
    /// session that this side closes is told when the remote answers it, at the latest at the closing deadline.
    ///
    /// # Errors
    /// [`ReadError::Closed`] at the end; [`ReadError::Oversize`] in place of a message that was too large.
    pub fn read(&mut self) -> Result<Message, ReadError> {
        loop {
            if let Some(next) = self.next(None) {
                return self.message(next.map_err(ReadError::Closed)?);
            }
        }
    }

    /// Waits for the next message, at most `timeout`: then `None`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, ReadError> {
        let deadline = Instant::now().checked_add(timeout);
        match self.next(deadline) {
            Some(next) => self.message(next.map_err(ReadError::Closed)?).map(Some),
            None => Ok(None),
        }
    }

    /// The next message if one waits.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn try_read(&mut self) -> Result<Option<Message>, ReadError> {
        match self.writer.session().try_next(self.writer.index) {
            Some(next) => self.message(next.map_err(ReadError::Closed)?).map(Some),
            None => Ok(None),
        }
    }

    /// Waits for the next message and copies its payload to the front of `buffer`.
    ///
    /// # Errors
    /// As [`read`](Self::read); also [`ReadError::Oversize`] if `buffer` is too small, and the message is then lost.
    pub fn read_into(&mut self, buffer: &mut [u8]) -> Result<Incoming, ReadError> {
        self.read_with(|message| {
            let length = message.payload.len();
            match buffer.get_mut(..length) {
                Some(to) => {
                    to.copy_from_slice(&message.payload);
                    Ok(Incoming {
                        code: message.code,
                        length,
                        at: message.at,
                    })
                }
                None => Err(ReadError::Oversize {
                    code: message.code,
                    length: length as u32,
                }),
            }
        })?
    }

    /// Waits for the next message and lends it to `f`. No lock is held meanwhile.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with<R>(&mut self, f: impl FnOnce(&Message) -> R) -> Result<R, ReadError> {
        self.read().map(|message| f(&message))
    }

    fn next(&mut self, deadline: Option<Instant>) -> Option<Result<Arrived, CloseReason>> {
        compressor::on_wait();
        let Self { writer, busy_poll } = self;
        writer.session().next(writer.index, deadline, busy_poll)
    }

    fn message(&self, arrived: Arrived) -> Result<Message, ReadError> {
        let meta = arrived.meta;
        let code = meta.code.0;
        let payload = arrived.payload.ok_or(ReadError::Oversize {
            code,
            length: meta.length,
        })?;
        let clock = &self.writer.session().env.host.clock;
        let at = clock.to_std(meta.at).unwrap_or_else(Instant::now);
        Ok(Message {
            code,
            payload,
            at,
            wire_length: meta.wire_length,
        })
    }

    // ---- Writing: as Writer does ----

    /// As [`Writer::write`].
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write(&self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.writer.write(code, payload)
    }

    /// As [`Writer::write_vectored`].
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_vectored(&self, code: u32, payload: &[&[u8]]) -> Result<(), WriteError> {
        self.writer.write_vectored(code, payload)
    }

    /// As [`Writer::write_timeout`].
    ///
    /// # Errors
    /// As [`Writer::write_timeout`].
    pub fn write_timeout(
        &self,
        code: u32,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<(), WriteError> {
        self.writer.write_timeout(code, payload, timeout)
    }

    /// As [`Writer::try_write`].
    ///
    /// # Errors
    /// As [`Writer::try_write`].
    pub fn try_write(&self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.writer.try_write(code, payload)
    }

    /// As [`Writer::write_rlp`].
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_rlp<T: rlp::Encodable>(&self, code: u32, value: &T) -> Result<(), WriteError> {
        self.writer.write_rlp(code, value)
    }

    /// As [`Writer::flush`].
    ///
    /// # Errors
    /// As [`Writer::flush`].
    pub fn flush(&self) -> Result<(), CloseReason> {
        self.writer.flush()
    }

    /// Ends the session for this reason.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.writer.peer.disconnect(reason);
    }
}

impl Drop for Subprotocol {
    fn drop(&mut self) {
        // Handles may outlive the session, and must not keep its unread messages.
        let Writer { index, .. } = self.writer;
        let unread = self
            .writer
            .session()
            .change(|machine, _| machine.abandon(index));
        drop(unread);
    }
}

/// Writes messages of one subprotocol. Clones may be used by several threads at once.
#[derive(Debug, Clone)]
pub struct Writer {
    peer: PeerHandle,
    index: usize,
    capability: Capability,
}

impl Writer {
    /// Writes one message: waits for the write token and for room, seals, and puts it on the wire unless another thread is
    /// doing so. `Ok` means sealed, in order; [`flush`](Self::flush) waits for the wire.
    ///
    /// A message that follows another within 20 us, and 4 us more for each KiB of it, is kept to go out with the next ones in one
    /// write: when those are 64 KiB or the first of them 0.2 ms old, when a subprotocol waits for a message or flushes, else when
    /// nothing follows for about 0.4 ms.
    ///
    /// # Errors
    /// [`WriteError::Closed`], [`WriteError::InvalidCode`] or [`WriteError::TooLarge`]: the message was not sent.
    pub fn write(&self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.write_slices(code, &[payload], None)
    }

    /// Writes one message whose payload is these slices in a row.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_vectored(&self, code: u32, payload: &[&[u8]]) -> Result<(), WriteError> {
        self.write_slices(code, payload, None)
    }

    /// Writes one message if it can begin within `timeout`.
    ///
    /// # Errors
    /// [`WriteError::TimedOut`] if not; else as [`write`](Self::write).
    pub fn write_timeout(
        &self,
        code: u32,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<(), WriteError> {
        self.write_slices(code, &[payload], Instant::now().checked_add(timeout))
    }

    /// Writes one message if it need not wait.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if it would have to; else as [`write`](Self::write).
    pub fn try_write(&self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        let written = compressor::encode(&[payload], self.peer.inner.compresses, |message| {
            self.session()
                .try_write(self.index, LocalCode(code), message)
        })?;
        self.count(code, written);
        Ok(())
    }

    /// Writes one message whose payload is the RLP encoding of `value`.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_rlp<T: rlp::Encodable>(&self, code: u32, value: &T) -> Result<(), WriteError> {
        self.write(code, &rlp::encode(value))
    }

    /// Waits until the transport took everything that was sealed before.
    ///
    /// # Errors
    /// The cause, if the session closed first.
    pub fn flush(&self) -> Result<(), CloseReason> {
        self.session().flush_all()
    }

    /// The remote and the session.
    pub fn peer(&self) -> &PeerHandle {
        &self.peer
    }

    /// Traffic of this subprotocol in this session.
    pub fn traffic(&self) -> Traffic {
        self.peer.traffic(self.index)
    }

    fn write_slices(
        &self,
        code: u32,
        payload: &[&[u8]],
        deadline: Option<Instant>,
    ) -> Result<(), WriteError> {
        let written = compressor::encode(payload, self.peer.inner.compresses, |message| {
            self.session()
                .write(self.index, LocalCode(code), message, deadline)
        })?;
        self.count(code, written);
        Ok(())
    }

    fn count(&self, code: u32, written: Written) {
        let inner = &self.peer.inner;
        for counters in [&inner.counters[..], &inner.session.env.host.counters[..]] {
            if let Some(counters) = counters.get(self.index) {
                counters.sent(written.length, written.wire_length);
            }
        }
        inner
            .session
            .env
            .host
            .events
            .send_message(|| PeerEvent::MessageSent {
                peer: inner.id,
                capability: self.capability,
                code: LocalCode(code),
                length: written.length,
            });
    }

    fn session(&self) -> &SessionInner {
        &self.peer.inner.session
    }
}
