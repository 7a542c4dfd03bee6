//! One subprotocol's handle, which outlives sessions, and its side of one session.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use devp2p_core::arena::Message;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use embassy_sync::blocking_mutex::raw::RawMutex;

use crate::reader::{Incoming, ReadError, Reader};
use crate::shared::{Inner, Shared, Who};
use crate::writer::Writer;

/// The handle of one protocol. It outlives sessions and gives a [`Guard`] for each.
pub struct Subprotocol<'a, M: RawMutex, const N: usize> {
    shared: &'a Shared<'a, M, N>,
    index: usize,
    /// The last session that was asked for.
    epoch: u32,
}

/// A session became active whose remote does not share this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NotShared;

impl fmt::Display for NotShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the remote does not share this protocol")
    }
}

impl core::error::Error for NotShared {}

impl<'a, M: RawMutex, const N: usize> Subprotocol<'a, M, N> {
    pub(crate) fn new(shared: &'a Shared<'a, M, N>, index: usize) -> Self {
        Self {
            shared,
            index,
            epoch: 0,
        }
    }

    /// Its index in the list of registered protocols, as causes and counters name it.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Waits until a session is active that this handle was not told of; it is told of each once. One that has ended
    /// meanwhile still gives what it received; one after which another began is passed over.
    ///
    /// Dropping the future loses nothing: the next call is told of the same session.
    ///
    /// # Errors
    /// [`NotShared`] if the session is one without this protocol: call again for the next one.
    pub async fn session(&mut self) -> Result<Guard<'a, M, N>, NotShared> {
        poll_fn(|cx| self.poll_session(cx)).await
    }

    /// As [`session`](Self::session), for tasks that poll.
    pub fn poll_session(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Guard<'a, M, N>, NotShared>> {
        let (shared, index) = (self.shared, self.index);
        shared.poll_with(Who::Session(index), cx, |inner, _, cx| {
            let next = self.next(inner);
            if next.is_pending()
                && let Some(waiter) = inner.starts.get_mut(index)
            {
                waiter.register(Some(cx));
            }
            next
        })
    }

    /// The session that this handle was not told of yet, if one is active.
    ///
    /// # Errors
    /// As [`session`](Self::session).
    pub fn try_session(&mut self) -> Result<Option<Guard<'a, M, N>>, NotShared> {
        match self.shared.try_with(|inner, _| self.next(inner)) {
            Some(Poll::Ready(result)) => result.map(Some),
            Some(Poll::Pending) | None => Ok(None),
        }
    }

    fn next(&mut self, inner: &Inner<'a, N>) -> Poll<Result<Guard<'a, M, N>, NotShared>> {
        if !inner.active || inner.epoch == self.epoch {
            return Poll::Pending;
        }
        self.epoch = inner.epoch;
        let side = Side {
            shared: self.shared,
            index: self.index,
            epoch: inner.epoch,
        };
        Poll::Ready(if inner.session.peer().shared().is_shared(self.index) {
            Ok(Guard {
                reader: Reader { side },
                writer: Writer::new(side),
                failed: false,
            })
        } else {
            Err(NotShared)
        })
    }
}

/// What reader and writer have in common: which subprotocol of which session they belong to.
pub(crate) struct Side<'a, M: RawMutex, const N: usize> {
    pub(crate) shared: &'a Shared<'a, M, N>,
    pub(crate) index: usize,
    pub(crate) epoch: u32,
}

impl<M: RawMutex, const N: usize> Clone for Side<'_, M, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: RawMutex, const N: usize> Copy for Side<'_, M, N> {}

impl<'a, M: RawMutex, const N: usize> Side<'a, M, N> {
    /// Why this side's session is over, if another one has begun.
    pub(crate) fn ended(&self, inner: &Inner<'a, N>) -> Option<CloseReason> {
        (inner.epoch != self.epoch).then_some(inner.ended)
    }
}

/// One subprotocol's side of one session.
///
/// Dropping it means that the subprotocol's work is done: the session ends, and the remote is told that we are quitting
/// (0x08). [`fail`](Self::fail) ends it with another reason. A guard whose session is over does nothing to the next one.
pub struct Guard<'a, M: RawMutex, const N: usize> {
    reader: Reader<'a, M, N>,
    writer: Writer<'a, M, N>,
    failed: bool,
}

impl<'a, M: RawMutex, const N: usize> Guard<'a, M, N> {
    /// The two directions, for a `join` or a `select` of both.
    pub fn split(&mut self) -> (&mut Reader<'a, M, N>, &mut Writer<'a, M, N>) {
        (&mut self.reader, &mut self.writer)
    }

    /// The receiving direction.
    pub fn reader(&mut self) -> &mut Reader<'a, M, N> {
        &mut self.reader
    }

    /// The sending direction.
    pub fn writer(&mut self) -> &mut Writer<'a, M, N> {
        &mut self.writer
    }

    /// The subprotocol failed: the session ends, and the remote is told `reason`, by custom 0x10
    /// ([`SUBPROTOCOL_ERROR`](DisconnectReason::SUBPROTOCOL_ERROR)), or 0x02 for a message that could not be decoded.
    pub fn fail(mut self, reason: DisconnectReason) {
        let Side {
            shared,
            index,
            epoch,
        } = self.reader.side;
        self.failed = true;
        self.writer.abandon();
        shared.request_fail(epoch, index, reason);
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

    /// As [`Reader::try_read`].
    ///
    /// # Errors
    /// As [`Reader::try_read`].
    pub fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<Incoming>, ReadError> {
        self.reader.try_read(buffer)
    }

    /// As [`Writer::write`].
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.writer.write(code, payload).await
    }

    /// As [`Writer::try_write`].
    ///
    /// # Errors
    /// As [`Writer::try_write`].
    pub fn try_write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.writer.try_write(code, payload)
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
            epoch,
        } = self.reader.side;
        self.writer.abandon();
        if !self.failed {
            shared.request_return(epoch, index);
        }
    }
}

macro_rules! name_handles {
    ($($handle:ident: $($path:ident).+),* $(,)?) => {$(
        impl<M: RawMutex, const N: usize> fmt::Debug for $handle<'_, M, N> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($handle), " {}"), self.$($path).+)
            }
        }

        #[cfg(feature = "defmt")]
        impl<M: RawMutex, const N: usize> defmt::Format for $handle<'_, M, N> {
            fn format(&self, f: defmt::Formatter<'_>) {
                let index = self.$($path).+;
                defmt::write!(f, "{=str} {=usize}", stringify!($handle), index);
            }
        }
    )*};
}

name_handles!(Subprotocol: index, Guard: reader.side.index, Reader: side.index, Writer: side.index);
