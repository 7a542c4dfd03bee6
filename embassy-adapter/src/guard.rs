//! One subprotocol's handle, which outlives sessions, and its side of one session.

use core::future::poll_fn;
use core::task::{Context, Poll};

use devp2p_core::arena::Message;
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::lifecycle::State;
use devp2p_core::session::Write;
use devp2p_core::time::Instant;
use embassy_sync::blocking_mutex::raw::RawMutex;

use crate::shared::{Inner, Shared, Who};

/// The handle of one protocol. It outlives sessions and gives a [`Guard`] for each.
pub struct Subprotocol<'a, M: RawMutex, const N: usize> {
    shared: &'a Shared<'a, M, N>,
    index: usize,
    /// The last session that was asked for.
    generation: u32,
}

/// A session became active whose remote does not share this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NotShared;

impl core::fmt::Display for NotShared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the remote does not share this protocol")
    }
}

impl core::error::Error for NotShared {}

impl<'a, M: RawMutex, const N: usize> Subprotocol<'a, M, N> {
    pub(crate) fn new(shared: &'a Shared<'a, M, N>, index: usize) -> Self {
        Self {
            shared,
            index,
            generation: 0,
        }
    }

    /// Waits for the next session. Each one is given once; one that ended before it was asked for is passed over. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    /// [`NotShared`] if a session became active without this protocol: call again for the next one.
    pub async fn session(&mut self) -> Result<Guard<'a, M, N>, NotShared> {
        let (shared, index) = (self.shared, self.index);
        let (generation, is_shared) = poll_fn(|cx| {
            shared.poll_with(Who::Reader(index), cx, |inner, _, cx| {
                let lives = inner.session.peer().state() == State::Active;
                if lives && inner.generation != self.generation {
                    let is_shared = inner.session.peer().shared().is_shared(index);
                    return Poll::Ready((inner.generation, is_shared));
                }
                if let Some(waiter) = inner.starts.get_mut(index) {
                    waiter.register(Some(cx));
                }
                Poll::Pending
            })
        })
        .await;
        self.generation = generation;
        let side = Side {
            shared,
            index,
            generation,
        };
        match is_shared {
            true => Ok(Guard {
                reader: Reader(side),
                writer: Writer(side),
                done: false,
            }),
            false => Err(NotShared),
        }
    }
}

struct Side<'a, M: RawMutex, const N: usize> {
    shared: &'a Shared<'a, M, N>,
    index: usize,
    generation: u32,
}

impl<M: RawMutex, const N: usize> Clone for Side<'_, M, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: RawMutex, const N: usize> Copy for Side<'_, M, N> {}

impl<'a, M: RawMutex, const N: usize> Side<'a, M, N> {
    /// Why this side's session is over, though another may live.
    fn ended(&self, inner: &Inner<'a, N>) -> Option<CloseReason> {
        (inner.generation != self.generation).then_some(inner.ended)
    }
}

/// One subprotocol's side of one session. Dropping it means that the subprotocol's work is done: the session ends, and the
/// remote is told that we are quitting (0x08).
pub struct Guard<'a, M: RawMutex, const N: usize> {
    reader: Reader<'a, M, N>,
    writer: Writer<'a, M, N>,
    done: bool,
}

impl<'a, M: RawMutex, const N: usize> Guard<'a, M, N> {
    /// The two directions, for two tasks or a `select`.
    pub fn split(&mut self) -> (&mut Reader<'a, M, N>, &mut Writer<'a, M, N>) {
        (&mut self.reader, &mut self.writer)
    }

    /// The subprotocol failed: the session ends, and the remote is told `reason`.
    pub fn fail(mut self, reason: DisconnectReason) {
        let Side { shared, index, .. } = self.reader.0;
        self.done = true;
        shared.request_fail(index, reason);
    }

    /// As [`Reader::read`].
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<Incoming, ReadError> {
        self.reader.read(buffer).await
    }

    /// As [`Reader::read_with`].
    ///
    /// # Errors
    /// As [`Reader::read_with`].
    pub async fn read_with<R>(
        &mut self,
        f: impl FnOnce(&Message<'_>) -> R,
    ) -> Result<R, ReadError> {
        self.reader.read_with(f).await
    }

    /// As [`Writer::write`].
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.writer.write(code, payload).await
    }

    /// As [`Writer::flush`].
    ///
    /// # Errors
    /// As [`Writer::flush`].
    pub async fn flush(&mut self) -> Result<(), CloseReason> {
        self.writer.flush().await
    }
}

impl<M: RawMutex, const N: usize> Drop for Guard<'_, M, N> {
    fn drop(&mut self) {
        let Side {
            shared,
            index,
            generation,
        } = self.reader.0;
        // A session that has ended is not ended again, nor is the next one.
        let lives = shared.try_with(|inner, _| inner.generation == generation);
        if !self.done && lives != Some(false) {
            shared.request_return(index);
        }
    }
}

/// A message that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Incoming {
    /// Its code inside the subprotocol.
    pub code: u32,
    /// Bytes of its payload.
    pub length: usize,
    /// When its last byte had arrived.
    pub at: Instant,
}

/// Why a read gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ReadError {
    /// The session is over and every message that came before was read.
    Closed(CloseReason),
    /// A message was larger than the inbox, the protocol's limit, or the buffer; its payload is lost. The session goes on.
    Oversize {
        /// Its code inside the subprotocol.
        code: u32,
        /// Bytes of its payload.
        length: u32,
    },
}

impl core::fmt::Display for ReadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
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

impl core::error::Error for ReadError {}

/// The receiving direction of a [`Guard`].
pub struct Reader<'a, M: RawMutex, const N: usize>(Side<'a, M, N>);

impl<M: RawMutex, const N: usize> Reader<'_, M, N> {
    /// Waits for the next message and copies its payload to the front of `buffer`. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ReadError::Closed`] at the end; [`ReadError::Oversize`] for a message larger than inbox, limit or `buffer`, which
    /// is lost.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<Incoming, ReadError> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Waits for the next message and lends it to `f`; a message that was too large has no payload. Other tasks of other
    /// executors wait meanwhile. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ReadError::Closed`] at the end.
    pub async fn read_with<R>(
        &mut self,
        f: impl FnOnce(&Message<'_>) -> R,
    ) -> Result<R, ReadError> {
        let mut f = Some(f);
        poll_fn(|cx| {
            self.poll_message(Some(cx), |message| f.take().map(|f| f(message)))
                .map(|result| result.transpose())
                .map(|result| result.unwrap_or(Err(ReadError::Closed(UNREACHED))))
        })
        .await
    }

    /// As [`read`](Self::read), for tasks that poll.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<Incoming, ReadError>> {
        self.poll_message(Some(cx), |message| copy(message, buffer))
            .map(|result| result?)
    }

    /// The next message if one waits, its payload copied to the front of `buffer`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<Incoming>, ReadError> {
        match self.poll_message(None, |message| copy(message, buffer)) {
            Poll::Ready(result) => result?.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    fn poll_message<R>(
        &mut self,
        cx: Option<&mut Context<'_>>,
        f: impl FnOnce(&Message<'_>) -> R,
    ) -> Poll<Result<R, ReadError>> {
        let side = self.0;
        let take = |inner: &mut Inner<'_, N>, cx: Option<&mut Context<'_>>| {
            if inner.generation != side.generation {
                return Poll::Ready(Err(ReadError::Closed(inner.ended)));
            }
            match inner.session.poll_readable(side.index, cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(reason)) => Poll::Ready(Err(ReadError::Closed(reason))),
                Poll::Ready(Ok(())) => {
                    let result = inner.session.peek(side.index).map(|message| f(&message));
                    inner.session.pop(side.index);
                    match result {
                        Some(result) => Poll::Ready(Ok(result)),
                        None => Poll::Pending,
                    }
                }
            }
        };
        match cx {
            Some(cx) => side
                .shared
                .poll_with(Who::Reader(side.index), cx, |inner, _, cx| {
                    take(inner, Some(cx))
                }),
            None => side
                .shared
                .try_with(|inner, _| take(inner, None))
                .unwrap_or(Poll::Pending),
        }
    }
}

/// Stands where the closure of a read was called already, which polling after completion alone can bring about.
const UNREACHED: CloseReason = CloseReason::WriteAbandoned;

fn copy(message: &Message<'_>, buffer: &mut [u8]) -> Result<Incoming, ReadError> {
    let code = message.meta.code.0;
    let room = message
        .payload
        .and_then(|payload| Some((payload, buffer.get_mut(..payload.len())?)));
    let Some((payload, to)) = room else {
        return Err(ReadError::Oversize {
            code,
            length: message.meta.length,
        });
    };
    to.copy_from_slice(payload);
    Ok(Incoming {
        code,
        length: payload.len(),
        at: message.meta.at,
    })
}

/// The sending direction of a [`Guard`].
pub struct Writer<'a, M: RawMutex, const N: usize>(Side<'a, M, N>);

impl<M: RawMutex, const N: usize> Writer<'_, M, N> {
    /// Writes one message: waits for the write token and for room, and seals. `Ok` means sealed, in order.
    ///
    /// Dropping the future before a byte of the frame is sealed loses nothing but the message. After it, the session ends
    /// as abandoned, since nothing can follow half a frame.
    ///
    /// # Errors
    /// [`WriteError::Closed`], [`WriteError::InvalidCode`] or [`WriteError::TooLarge`]: the message was not sent.
    pub async fn write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.write_vectored(code, &[payload]).await
    }

    /// Writes one message whose payload is these slices in a row. Dropping the future: as [`write`](Self::write).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_vectored(&mut self, code: u32, payload: &[&[u8]]) -> Result<(), WriteError> {
        let side = self.0;
        let mut writing = Writing {
            side,
            write: Write::new(side.index, LocalCode(code)),
            done: false,
        };
        poll_fn(|cx| writing.poll(cx, payload)).await
    }

    /// Writes one message if that can be done whole and at once.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if it would have to wait; else as [`write`](Self::write).
    pub fn try_write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        let side = self.0;
        let written = side.shared.try_with(|inner, now| match side.ended(inner) {
            Some(reason) => Err(WriteError::Closed(reason)),
            None => inner
                .session
                .try_write(now, side.index, LocalCode(code), &[payload]),
        });
        written.unwrap_or(Err(WriteError::WouldBlock { free: 0 }))
    }

    /// Waits until the transport took everything that was sealed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The cause, if the session closed first.
    pub async fn flush(&mut self) -> Result<(), CloseReason> {
        let side = self.0;
        poll_fn(|cx| {
            side.shared
                .poll_with(Who::Writer(side.index), cx, |inner, _, cx| {
                    match side.ended(inner) {
                        Some(reason) => Poll::Ready(Err(reason)),
                        None => inner.session.poll_flush(side.index, Some(cx)),
                    }
                })
        })
        .await
    }
}

/// A write in progress, which gives the token back if it is dropped.
struct Writing<'a, M: RawMutex, const N: usize> {
    side: Side<'a, M, N>,
    write: Write,
    done: bool,
}

impl<M: RawMutex, const N: usize> Writing<'_, M, N> {
    fn poll(&mut self, cx: &mut Context<'_>, payload: &[&[u8]]) -> Poll<Result<(), WriteError>> {
        let Self { side, write, done } = self;
        let result =
            side.shared
                .poll_with(Who::Writer(side.index), cx, |inner, now, cx| {
                    match side.ended(inner) {
                        Some(reason) => Poll::Ready(Err(WriteError::Closed(reason))),
                        None => inner.session.poll_write(now, write, payload, Some(cx)),
                    }
                });
        *done = result.is_ready();
        result
    }
}

impl<M: RawMutex, const N: usize> Drop for Writing<'_, M, N> {
    fn drop(&mut self) {
        if !self.done {
            self.side.shared.request_abandon(self.side.index);
        }
    }
}
