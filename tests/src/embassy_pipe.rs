//! A connection in memory, of embedded-io-async halves, whose faults are set from outside.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use devp2p_embassy::Close;
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

/// The connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pipe broke")
    }
}

impl std::error::Error for Broken {}

impl embedded_io_async::Error for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ConnectionReset
    }
}

impl From<Infallible> for Broken {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    capacity: usize,
    chunk: usize,
    /// The sender has ended its direction.
    ended: bool,
    /// Every call fails.
    broken: bool,
    /// Nothing more is taken, nor given.
    stalled: bool,
    /// What is written is not read.
    unread: bool,
    /// Writes answer zero.
    refuses: bool,
    /// Bytes taken and given in all, and after how many taken the direction breaks.
    taken: u64,
    given: u64,
    breaks_at: Option<u64>,
    reader: Option<Waker>,
    writers: Vec<Waker>,
}

impl State {
    fn wakers(&mut self) -> Vec<Waker> {
        let mut wakers: Vec<Waker> = self.reader.take().into_iter().collect();
        wakers.append(&mut self.writers);
        wakers
    }

    fn wait_to_write(&mut self, cx: &Context<'_>) {
        if !self.writers.iter().any(|w| w.will_wake(cx.waker())) {
            self.writers.push(cx.waker().clone());
        }
    }
}

/// One direction, seen from outside.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<State>>);

impl Wire {
    fn new(capacity: usize, chunk: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            capacity,
            chunk,
            ..State::default()
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.lock();
            f(&mut state);
            state.wakers()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Every call on this direction fails from now on.
    pub fn break_off(&self) {
        self.change(|state| state.broken = true);
    }

    /// The direction breaks when so many bytes have gone through it in all.
    pub fn break_at(&self, bytes: u64) {
        self.change(|state| state.breaks_at = Some(bytes));
    }

    /// The receiver finds the end of the stream after what is on its way.
    pub fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Nothing moves any more, or everything again.
    pub fn stall(&self, stalled: bool) {
        self.change(|state| state.stalled = stalled);
    }

    /// What is written is not read any more, or again.
    pub fn leave_unread(&self, unread: bool) {
        self.change(|state| state.unread = unread);
    }

    /// Writes answer zero bytes from now on.
    pub fn refuse(&self) {
        self.change(|state| state.refuses = true);
    }

    /// Flips a bit of the last byte that is on its way; false if there is none.
    pub fn corrupt(&self) -> bool {
        let mut state = self.lock();
        state.bytes.back_mut().map(|byte| *byte ^= 1).is_some()
    }

    /// Bytes that went in so far.
    pub fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// Bytes that came out so far.
    pub fn given(&self) -> u64 {
        self.lock().given
    }

    /// Whether the sender has ended it.
    pub fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Puts bytes in as if the sender had written them.
    pub fn inject(&self, bytes: &[u8]) {
        self.change(|state| state.bytes.extend(bytes));
    }
}

/// The receiving half. Dropping a read loses nothing.
pub struct PipeReader(Wire);

/// The sending half. Dropping a write loses nothing; dropping the half ends the stream.
pub struct PipeWriter(Wire);

/// One end of a connection.
pub struct End {
    /// What comes in.
    pub reader: PipeReader,
    /// What goes out.
    pub writer: PipeWriter,
}

/// How a connection moves bytes.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Bytes on their way before the sender waits.
    pub capacity: usize,
    /// Bytes taken or given by one call.
    pub chunk: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            capacity: 4096,
            chunk: 4096,
        }
    }
}

/// Two ends, and the wires from the first to the second and back.
pub fn pipe(shape: Shape) -> (End, End, [Wire; 2]) {
    let there = Wire::new(shape.capacity, shape.chunk);
    let back = Wire::new(shape.capacity, shape.chunk);
    let first = End {
        reader: PipeReader(back.clone()),
        writer: PipeWriter(there.clone()),
    };
    let second = End {
        reader: PipeReader(there.clone()),
        writer: PipeWriter(back.clone()),
    };
    (first, second, [there, back])
}

impl ErrorType for PipeReader {
    type Error = Broken;
}

impl ErrorType for PipeWriter {
    type Error = Broken;
}

impl Read for PipeReader {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.broken {
                return Poll::Ready(Err(Broken));
            }
            let n = buffer.len().min(state.chunk).min(state.bytes.len());
            if state.stalled || state.unread || (n == 0 && !state.ended) {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            for (to, from) in buffer.iter_mut().zip(state.bytes.drain(..n)) {
                *to = from;
            }
            state.given += n as u64;
            let wakers = std::mem::take(&mut state.writers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(n))
        })
        .await
    }
}

impl Write for PipeWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            let until_break = state.breaks_at.map(|at| at.saturating_sub(state.taken));
            state.broken |= until_break == Some(0);
            if state.broken {
                let wakers = state.wakers();
                drop(state);
                wakers.into_iter().for_each(Waker::wake);
                return Poll::Ready(Err(Broken));
            }
            assert!(!state.ended, "written after the end");
            if state.refuses {
                return Poll::Ready(Ok(0));
            }
            let room = state.capacity.saturating_sub(state.bytes.len());
            let mut n = bytes.len().min(state.chunk).min(room);
            if let Some(left) = until_break {
                n = n.min(left as usize);
            }
            if state.stalled || n == 0 {
                state.wait_to_write(cx);
                return Poll::Pending;
            }
            state.bytes.extend(&bytes[..n]);
            state.taken += n as u64;
            let reader = state.reader.take();
            drop(state);
            if let Some(reader) = reader {
                reader.wake();
            }
            Poll::Ready(Ok(n))
        })
        .await
    }

    /// Waits until the other end has read everything, as a TCP socket waits for the acknowledgement.
    async fn flush(&mut self) -> Result<(), Broken> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.broken {
                return Poll::Ready(Err(Broken));
            }
            if state.bytes.is_empty() && !state.stalled {
                return Poll::Ready(Ok(()));
            }
            state.wait_to_write(cx);
            Poll::Pending
        })
        .await
    }
}

impl Close for PipeWriter {
    async fn close_write(&mut self) -> Result<(), Broken> {
        if self.0.lock().broken {
            return Err(Broken);
        }
        self.0.end();
        Ok(())
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.0.end();
    }
}
