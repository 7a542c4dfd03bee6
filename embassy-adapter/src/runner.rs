//! Drives one session at a time over the two halves of a connection.

use core::convert::Infallible;
use core::future::poll_fn;
use core::task::Poll;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::Entropy;
use devp2p_core::session::Event;
use devp2p_core::time::{Instant, PollAt};
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_futures::yield_now;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_time::Timer;
use embedded_io_async::{ErrorType, Read, Write};
use rand_core::CryptoRng;

use crate::event::PeerEvent;
use crate::resources::CHUNK;
use crate::shared::{Inner, Shared, Who, tick};

/// Ends the sending direction of a connection whose receiving direction goes on.
///
/// A closing session says Disconnect, half-closes, and then reads to the end of the stream: dropped at once, the connection
/// would be reset, and the reason lost with it.
pub trait Close: Write {
    /// Lets the transport send what was written, and then the end of the stream. Does not wait for the remote.
    ///
    /// Dropping the future loses nothing that was written; whether the end is announced is then open, and the call can be
    /// repeated.
    ///
    /// # Errors
    /// The transport's own, if the connection is gone already.
    fn close_write(&mut self) -> impl Future<Output = Result<(), Self::Error>>;
}

impl<T: Close + ?Sized> Close for &mut T {
    fn close_write(&mut self) -> impl Future<Output = Result<(), Self::Error>> {
        T::close_write(self)
    }
}

/// A sending half that cannot end alone, such as that of embassy-net's split socket: at the end it flushes, and the session
/// then waits until the remote, which was told, closes, or until the closing deadline.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FlushOnly<W>(pub W);

impl<W: ErrorType> ErrorType for FlushOnly<W> {
    type Error = W::Error;
}

impl<W: Write> Write for FlushOnly<W> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, W::Error> {
        self.0.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), W::Error> {
        self.0.flush().await
    }
}

impl<W: Write> Close for FlushOnly<W> {
    async fn close_write(&mut self) -> Result<(), W::Error> {
        self.0.flush().await
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ended<R, W> {
    /// Why.
    pub reason: CloseReason,
    /// The error of the reading half, if it had one.
    pub read_error: Option<R>,
    /// The error of the writing half, if it had one.
    pub write_error: Option<W>,
}

/// Drives sessions, one at a time. It has to run for anything to happen.
pub struct Runner<'a, M: RawMutex, const N: usize> {
    shared: &'a Shared<'a, M, N>,
    input: &'a mut [u8; CHUNK],
    output: &'a mut [u8; CHUNK],
    /// Of the random bytes of the session before.
    fingerprint: Option<u64>,
}

impl<'a, M: RawMutex, const N: usize> Runner<'a, M, N> {
    pub(crate) fn new(
        shared: &'a Shared<'a, M, N>,
        input: &'a mut [u8; CHUNK],
        output: &'a mut [u8; CHUNK],
    ) -> Self {
        Self {
            shared,
            input,
            output,
            fingerprint: None,
        }
    }

    /// Runs one session with `remote` over a connection that we dialled, to its end. `rng` gives
    /// [`Entropy::LENGTH`] bytes.
    ///
    /// A generator that gives what cannot be random, or the bytes of the session before again, ends the session before anything
    /// is sent, with [`TransportError::Entropy`].
    ///
    /// Dropping the future ends the session without a Disconnect, with [`TransportError::Io`] as its cause; the halves may
    /// then be in the middle of a frame, so the connection is to be dropped too. The next session can begin at once.
    pub async fn dial<R: Read, W: Close>(
        &mut self,
        remote: NodeId,
        rng: &mut impl CryptoRng,
        reader: &mut R,
        writer: &mut W,
    ) -> Ended<R::Error, W::Error> {
        let entropy = || draw(rng);
        self.run(Some(remote), entropy, reader, writer, |_| Ok(()))
            .await
    }

    /// [`dial`](Self::dial) with the random bytes at hand, from any generator: [`Entropy::try_fill_with`].
    pub async fn dial_with<R: Read, W: Close>(
        &mut self,
        remote: NodeId,
        entropy: Entropy,
        reader: &mut R,
        writer: &mut W,
    ) -> Ended<R::Error, W::Error> {
        let entropy = || entropy;
        self.run(Some(remote), entropy, reader, writer, |_| Ok(()))
            .await
    }

    /// Runs one session with whoever dialled us, to its end. `admit` is asked once the remote has proved its identity; its
    /// reason is said in place of Hello.
    ///
    /// Of `rng`, and of dropping the future: as [`dial`](Self::dial).
    pub async fn accept<R: Read, W: Close>(
        &mut self,
        rng: &mut impl CryptoRng,
        reader: &mut R,
        writer: &mut W,
        admit: impl FnMut(NodeId) -> Result<(), DisconnectReason>,
    ) -> Ended<R::Error, W::Error> {
        self.run(None, || draw(rng), reader, writer, admit).await
    }

    /// [`accept`](Self::accept) with the random bytes at hand, from any generator: [`Entropy::try_fill_with`].
    pub async fn accept_with<R: Read, W: Close>(
        &mut self,
        entropy: Entropy,
        reader: &mut R,
        writer: &mut W,
        admit: impl FnMut(NodeId) -> Result<(), DisconnectReason>,
    ) -> Ended<R::Error, W::Error> {
        self.run(None, || entropy, reader, writer, admit).await
    }

    async fn run<R: Read, W: Close>(
        &mut self,
        remote: Option<NodeId>,
        entropy: impl FnOnce() -> Entropy,
        reader: &mut R,
        writer: &mut W,
        admit: impl FnMut(NodeId) -> Result<(), DisconnectReason>,
    ) -> Ended<R::Error, W::Error> {
        let shared = self.shared;
        // Not under the session's lock: a generator is the user's code. Not moved into a closure: the future would keep room for
        // each place.
        let mut entropy = Some(entropy());
        let fingerprint = entropy.as_ref().map(Entropy::fingerprint);
        let repeats = core::mem::replace(&mut self.fingerprint, fingerprint) == fingerprint;
        let is_bad = repeats || !entropy.as_ref().is_some_and(Entropy::is_sound);
        // A session whose runner was dropped while the lock was taken ends here: its tasks must be woken first.
        with(shared, |inner, now| {
            inner.session.handle_end(now, TransportError::Io)
        })
        .await;
        with(shared, |inner, now| {
            let Some(entropy) = entropy.take() else {
                return;
            };
            shared.begin(inner);
            match remote {
                Some(remote) => inner.session.start_dial(remote, entropy, now),
                None => inner.session.start_accept(entropy, now),
            }
            if is_bad {
                inner.session.handle_end(now, TransportError::Entropy);
            }
        })
        .await;
        let abort = Abort(shared);
        let (mut read_error, mut write_error) = (None, None);
        let transport = join(
            read_loop(shared, self.input, reader, &mut read_error),
            write_loop(shared, self.output, writer, &mut write_error),
        );
        // The transport's loops never end: they are dropped with the session that has ended.
        let reason = match select(drive_loop(shared, admit), transport).await {
            Either::First(reason) => reason,
            Either::Second(((), ())) => CloseReason::Transport(TransportError::Io),
        };
        core::mem::forget(abort);
        Ended {
            reason,
            read_error,
            write_error,
        }
    }
}

impl<M: RawMutex, const N: usize> core::fmt::Debug for Runner<'_, M, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Runner")
    }
}

#[cfg(feature = "defmt")]
impl<M: RawMutex, const N: usize> defmt::Format for Runner<'_, M, N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Runner");
    }
}

/// Not inlined: the bytes are on its stack only.
#[inline(never)]
fn draw(rng: &mut impl CryptoRng) -> Entropy {
    let drawn = Entropy::try_fill_with(|bytes| {
        rng.fill_bytes(bytes);
        Ok::<_, Infallible>(())
    });
    match drawn {
        Ok(entropy) => entropy,
        Err(never) => match never {},
    }
}

/// Ends the session if the runner's future is dropped inside it.
struct Abort<'s, 'a, M: RawMutex, const N: usize>(&'s Shared<'a, M, N>);

impl<M: RawMutex, const N: usize> Drop for Abort<'_, '_, M, N> {
    fn drop(&mut self) {
        self.0.request_drop();
    }
}

async fn with<'a, M: RawMutex, const N: usize, R>(
    shared: &Shared<'a, M, N>,
    f: impl FnOnce(&mut Inner<'a, N>, Instant) -> R,
) -> R {
    let mut f = Some(f);
    poll_fn(|cx| {
        shared.poll_with(Who::Runner, cx, |inner, now, _| match f.take() {
            Some(f) => Poll::Ready(f(inner, now)),
            None => Poll::Pending,
        })
    })
    .await
}

/// Polls the session: handshake steps, deadlines, control messages, events. Returns when the session is closed.
async fn drive_loop<M: RawMutex, const N: usize>(
    shared: &Shared<'_, M, N>,
    mut admit: impl FnMut(NodeId) -> Result<(), DisconnectReason>,
) -> CloseReason {
    loop {
        let (event, added, at) = with(shared, |inner, now| {
            let event = inner.poll(now);
            let mut added = None;
            match event {
                Some(Event::Authenticated(id)) => match admit(id) {
                    Ok(()) => inner.session.admit(),
                    Err(reason) => inner.session.reject(now, reason),
                },
                Some(Event::Active) => added = inner.session.peer().remote(),
                Some(Event::HalfClose | Event::Closed(_)) | None => {}
            }
            (event, added, inner.drive_at())
        })
        .await;
        if let Some(remote) = added {
            shared.tell(PeerEvent::Added(remote.id));
        }
        match event {
            Some(Event::HalfClose) => shared.output.signal(()),
            Some(Event::Closed(reason)) => {
                shared.tell(PeerEvent::Dropped(reason));
                return reason;
            }
            Some(Event::Active | Event::Authenticated(_)) => {}
            None => match at {
                // One step of the handshake is done: others first.
                PollAt::Now => yield_now().await,
                PollAt::Idle => shared.drive.wait().await,
                PollAt::At(at) => match tick(at) {
                    Some(at) => {
                        select(Timer::at(at), shared.drive.wait()).await;
                    }
                    None => shared.drive.wait().await,
                },
            },
        }
    }
}

/// Passes what arrives to the session, until the end of the stream.
async fn read_loop<M: RawMutex, const N: usize, R: Read>(
    shared: &Shared<'_, M, N>,
    buffer: &mut [u8; CHUNK],
    reader: &mut R,
    error: &mut Option<R::Error>,
) {
    loop {
        let length = match reader.read(buffer).await {
            Ok(0) => return end(shared, TransportError::EndOfStream).await,
            Ok(length) => length,
            Err(read_error) => {
                *error = Some(read_error);
                return end(shared, TransportError::Io).await;
            }
        };
        let mut consumed = 0;
        while let Some(rest) = buffer.get_mut(consumed..length).filter(|r| !r.is_empty()) {
            let (n, wants) = with(shared, |inner, now| {
                let n = inner.session.handle_input(now, rest);
                (n, inner.session.wants_input())
            })
            .await;
            consumed += n;
            if n == 0 && !wants {
                shared.input.wait().await;
            }
        }
        // A transport that always has more would keep every other task, and the session's deadlines, from their turn.
        yield_now().await;
    }
}

/// Writes what the session holds, and ends the sending direction when everything is said.
async fn write_loop<M: RawMutex, const N: usize, W: Close>(
    shared: &Shared<'_, M, N>,
    buffer: &mut [u8; CHUNK],
    writer: &mut W,
    error: &mut Option<W::Error>,
) {
    let result = async {
        loop {
            let (length, is_said) = with(shared, |inner, _| {
                let output = inner.session.output();
                let length = output.len().min(CHUNK);
                if let (Some(to), Some(from)) = (buffer.get_mut(..length), output.get(..length)) {
                    to.copy_from_slice(from);
                }
                (length, inner.session.is_said())
            })
            .await;
            match buffer.get(..length) {
                Some(bytes) if length > 0 => match writer.write(bytes).await? {
                    // A transport that takes nothing never will.
                    0 => return Ok(()),
                    n => {
                        with(shared, |inner, now| inner.session.consume_output(now, n)).await;
                        yield_now().await;
                    }
                },
                _ if is_said => {
                    writer.close_write().await?;
                    core::future::pending::<()>().await;
                }
                // To flush can mean to wait for the remote's acknowledgement: what comes meanwhile goes out at once.
                _ => match select(writer.flush(), shared.output.wait()).await {
                    Either::First(flushed) => {
                        flushed?;
                        shared.output.wait().await;
                    }
                    Either::Second(()) => {}
                },
            }
        }
    };
    let result: Result<(), W::Error> = result.await;
    *error = result.err();
    end(shared, TransportError::Io).await;
}

async fn end<M: RawMutex, const N: usize>(shared: &Shared<'_, M, N>, error: TransportError) {
    with(shared, |inner, now| inner.session.handle_end(now, error)).await;
    // The drive loop finds the session closed and drops us.
    core::future::pending().await
}
