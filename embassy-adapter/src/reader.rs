//! The receiving direction of one subprotocol.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use devp2p_core::arena::Message;
use devp2p_core::error::CloseReason;
use devp2p_core::time::Instant;
use embassy_sync::blocking_mutex::raw::RawMutex;

use crate::shared::{Inner, Who};
use crate::subprotocol::Side;

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

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// The receiving direction of a [`Guard`](crate::Guard).
pub struct Reader<'a, M: RawMutex, const N: usize> {
    pub(crate) side: Side<'a, M, N>,
}

impl<'a, M: RawMutex, const N: usize> Reader<'a, M, N> {
    /// Waits for the next message and copies its payload to the front of `buffer`. Dropping the future loses nothing: a
    /// message leaves its inbox only with the call that returns it.
    ///
    /// # Errors
    /// [`ReadError::Closed`] at the end; [`ReadError::Oversize`] for a message larger than inbox, limit or `buffer`, which
    /// is lost.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<Incoming, ReadError> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Waits for the next message and lends it to `f`; a message that was too large has no payload. Dropping the future
    /// loses nothing.
    ///
    /// `f` is to be short: meanwhile the session stands still, other executors that want it wait, and so does everything
    /// of this session that `f` itself would try.
    ///
    /// # Errors
    /// [`ReadError::Closed`] at the end.
    pub async fn read_with<R>(
        &mut self,
        f: impl FnOnce(&Message<'_>) -> R,
    ) -> Result<R, ReadError> {
        let mut f = Some(f);
        poll_fn(|cx| {
            let called = self.poll_read_with(cx, |message| f.take().map(|f| f(message)));
            match called {
                Poll::Ready(Ok(Some(result))) => Poll::Ready(Ok(result)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                // Only after it was ready is there nothing to call.
                Poll::Ready(Ok(None)) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// As [`read`](Self::read), for tasks that poll.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<Incoming, ReadError>> {
        self.poll_read_with(cx, |message| copy(message, buffer))
            .map(|result| result?)
    }

    /// As [`read_with`](Self::read_with), for tasks that poll.
    pub fn poll_read_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        f: impl FnOnce(&Message<'_>) -> R,
    ) -> Poll<Result<R, ReadError>> {
        let side = self.side;
        side.shared
            .poll_with(Who::Reader(side.index), cx, |inner, _, cx| {
                take(side, inner, Some(cx), f)
            })
    }

    /// The next message if one waits, its payload copied to the front of `buffer`. None waits either while another
    /// executor uses the session.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<Incoming>, ReadError> {
        self.try_read_with(|message| copy(message, buffer))?
            .transpose()
    }

    /// The next message if one waits, lent to `f`. None waits either while another executor uses the session.
    ///
    /// # Errors
    /// As [`read_with`](Self::read_with).
    pub fn try_read_with<R>(
        &mut self,
        f: impl FnOnce(&Message<'_>) -> R,
    ) -> Result<Option<R>, ReadError> {
        let side = self.side;
        let taken = side.shared.try_with(|inner, _| take(side, inner, None, f));
        match taken {
            Some(Poll::Ready(result)) => result.map(Some),
            Some(Poll::Pending) | None => Ok(None),
        }
    }
}

fn take<'a, M: RawMutex, const N: usize, R>(
    side: Side<'a, M, N>,
    inner: &mut Inner<'a, N>,
    cx: Option<&mut Context<'_>>,
    f: impl FnOnce(&Message<'_>) -> R,
) -> Poll<Result<R, ReadError>> {
    if let Some(reason) = side.ended(inner) {
        return Poll::Ready(Err(ReadError::Closed(reason)));
    }
    match inner.session.poll_readable(side.index, cx) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Err(reason)) => Poll::Ready(Err(ReadError::Closed(reason))),
        Poll::Ready(Ok(())) => {
            let result = inner.session.peek(side.index).map(|message| f(&message));
            inner.session.pop(side.index);
            result.map_or(Poll::Pending, |result| Poll::Ready(Ok(result)))
        }
    }
}

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
