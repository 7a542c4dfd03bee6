//! The sending direction of one subprotocol.

use core::future::poll_fn;
use core::task::{Context, Poll};

use devp2p_core::code::LocalCode;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::session::PendingWrite;
use embassy_sync::blocking_mutex::raw::RawMutex;

use crate::shared::{Inner, Who};
use crate::subprotocol::Side;

/// The sending direction of a [`Guard`](crate::Guard).
pub struct Writer<'a, M: RawMutex, const N: usize> {
    pub(crate) side: Side<'a, M, N>,
    /// The write in progress and its code.
    writing: Option<(u32, PendingWrite)>,
}

impl<'a, M: RawMutex, const N: usize> Writer<'a, M, N> {
    pub(crate) fn new(side: Side<'a, M, N>) -> Self {
        Self {
            side,
            writing: None,
        }
    }

    /// Writes one message: waits for the write token and for room, and seals. `Ok` means sealed, in order.
    ///
    /// Dropping the future before a byte of the frame is sealed loses nothing but the message. After it, the session ends
    /// as abandoned, since nothing can follow half a frame. A `select` that drops the write it did not choose uses
    /// [`poll_write`](Self::poll_write), which goes on where it was.
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
        self.abandon();
        let writing = Writing(self);
        poll_fn(|cx| writing.0.poll_write_vectored(cx, code, payload)).await
    }

    /// As [`write`](Self::write), for tasks that poll: pass the same message until it is ready. Passing another code, any
    /// other write, [`abandon`](Self::abandon) and dropping the guard give the message up, as dropping the future of
    /// [`write`](Self::write) does.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        code: u32,
        payload: &[u8],
    ) -> Poll<Result<(), WriteError>> {
        self.poll_write_vectored(cx, code, &[payload])
    }

    /// As [`poll_write`](Self::poll_write), with a payload of these slices in a row.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        code: u32,
        payload: &[&[u8]],
    ) -> Poll<Result<(), WriteError>> {
        if self
            .writing
            .as_ref()
            .is_some_and(|(begun, _)| *begun != code)
        {
            self.abandon();
        }
        let Self { side, writing } = self;
        let (_, write) =
            writing.get_or_insert_with(|| (code, PendingWrite::new(side.index, LocalCode(code))));
        let result = side
            .shared
            .poll_with(Who::Writer(side.index), cx, |inner, now, cx| {
                if let Some(reason) = side.ended(inner) {
                    return Poll::Ready(Err(WriteError::Closed(reason)));
                }
                let result = inner.session.poll_write(now, write, payload, Some(cx));
                if result == Poll::Ready(Ok(())) {
                    count(inner, side.index, payload);
                }
                result
            });
        if result.is_ready() {
            self.writing = None;
        }
        result
    }

    /// Gives up the message that [`poll_write`](Self::poll_write) is writing, if one is. Before a byte of its frame is
    /// sealed nothing else is lost; after it the session ends as abandoned.
    pub fn abandon(&mut self) {
        if self.writing.take().is_some() {
            let Side {
                shared,
                index,
                epoch,
            } = self.side;
            shared.request_abandon(epoch, index);
        }
    }

    /// Writes one message if that can be done whole and at once.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if it would have to wait, also for another executor that uses the session;
    /// [`WriteError::TooLarge`] if its frame is larger than the transmit ring; else as [`write`](Self::write).
    pub fn try_write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.try_write_vectored(code, &[payload])
    }

    /// As [`try_write`](Self::try_write), with a payload of these slices in a row.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&mut self, code: u32, payload: &[&[u8]]) -> Result<(), WriteError> {
        self.abandon();
        let side = self.side;
        let written = side.shared.try_with(|inner, now| {
            if let Some(reason) = side.ended(inner) {
                return Err(WriteError::Closed(reason));
            }
            let code = LocalCode(code);
            inner.session.try_write(now, side.index, code, payload)?;
            count(inner, side.index, payload);
            Ok(())
        });
        written.unwrap_or(Err(WriteError::WouldBlock { free: 0 }))
    }

    /// Waits until the transport took everything that was sealed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The cause, if the session closed first.
    pub async fn flush(&mut self) -> Result<(), CloseReason> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// As [`flush`](Self::flush), for tasks that poll.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        let side = self.side;
        side.shared
            .poll_with(Who::Writer(side.index), cx, |inner, _, cx| {
                match side.ended(inner) {
                    Some(reason) => Poll::Ready(Err(reason)),
                    None => inner.session.poll_flush(side.index, Some(cx)),
                }
            })
    }
}

/// A write that is given up when it is dropped before it was ready.
struct Writing<'w, 'a, M: RawMutex, const N: usize>(&'w mut Writer<'a, M, N>);

impl<M: RawMutex, const N: usize> Drop for Writing<'_, '_, M, N> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn count<const N: usize>(inner: &mut Inner<'_, N>, subprotocol: usize, payload: &[&[u8]]) {
    if let Some(sent) = inner.sent.get_mut(subprotocol) {
        let bytes: usize = payload.iter().map(|slice| slice.len()).sum();
        sent.messages = sent.messages.wrapping_add(1);
        sent.bytes = sent.bytes.wrapping_add(bytes as u64);
    }
}
