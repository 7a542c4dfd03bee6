//! The two halves of a transport, each with its buffer. The thread that has one calls the transport without the lock.

use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use devp2p_core::error::TransportError;
use devp2p_core::time::Instant;

use crate::busy_poll::BusyPoll;
use crate::connection::output::InFlight;
use crate::sync::thread;
use crate::transport::{Closer, Source};

/// Bytes read from the transport at a time while much arrives.
const READ_BUFFER: usize = 64 * 1024;
/// The same while nearly nothing does, so that an idle session is small.
const SMALLEST_READ_BUFFER: usize = 1024;
/// By how much the buffer grows once a read fills it, and shrinks again after as many small reads in a row.
const STEP: usize = 8;
const SMALL_READS: u8 = 32;

/// Bytes handled under one holding of the lock, so that writers and readers have it in between.
const PART: usize = 16 * 1024;

/// Read timeout of a thread that cannot wait for ever.
pub(super) const SLICE: Duration = Duration::from_millis(20);

/// What a read of the transport brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    Bytes,
    /// None came within [`SLICE`].
    Nothing,
    End(TransportError),
}

/// The half that reads.
pub(crate) struct ReadHalf {
    source: Box<dyn Source>,
    closer: Arc<dyn Closer>,
    buffer: ReadBuffer,
    /// Reads return after a [`SLICE`] without bytes.
    sliced: bool,
}

impl ReadHalf {
    pub(crate) fn new(source: Box<dyn Source>, closer: Arc<dyn Closer>) -> Self {
        Self {
            source,
            closer,
            buffer: ReadBuffer::new(),
            sliced: false,
        }
    }

    /// Whether reads shall return after a [`SLICE`] without bytes; false if the transport cannot do that.
    pub(crate) fn slice(&mut self, sliced: bool) -> bool {
        if self.sliced != sliced {
            self.sliced = self.closer.limit_reads(sliced.then_some(SLICE)) && sliced;
        }
        self.sliced == sliced
    }

    /// Reads, unless bytes of the last read are left.
    pub(crate) fn fill(&mut self) -> Filled {
        if self.has_unread() {
            return Filled::Bytes;
        }
        match self.buffer.fill(|bytes| self.source.read(bytes)) {
            Ok(true) => Filled::Bytes,
            Ok(false) if self.sliced => Filled::Nothing,
            Ok(false) => Filled::End(TransportError::Io),
            Err(error) => Filled::End(error),
        }
    }

    /// Polls the transport for bytes that come soon. Other threads that could run on this core do so meanwhile.
    pub(crate) fn poll(&mut self, busy_poll: &mut BusyPoll, now: impl Fn() -> Instant) {
        if self.has_unread() {
            return;
        }
        loop {
            let mut can_try = true;
            let filled = self.buffer.fill(|bytes| {
                let read = self.source.try_read(bytes);
                can_try = read.is_some();
                read.unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))
            });
            if !can_try {
                return busy_poll.on_unsupported();
            }
            match filled {
                Ok(false) if busy_poll.on_nothing(now()) => thread::yield_now(),
                Ok(true) => return busy_poll.on_bytes(now()),
                // An end is found again by the read that follows.
                _ => return,
            }
        }
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.buffer.unread.is_empty()
    }

    /// The next bytes to handle.
    pub(crate) fn unread(&mut self) -> &mut [u8] {
        self.buffer.unread(PART)
    }

    /// `n` bytes of [`unread`](Self::unread) are handled.
    pub(crate) fn consume(&mut self, n: usize) {
        self.buffer.unread.start += n;
    }
}

/// Bytes read and not yet consumed, in a buffer that follows the traffic.
struct ReadBuffer {
    bytes: Vec<u8>,
    unread: Range<usize>,
    /// Bytes that the last read brought, and how many in a row were few.
    last: usize,
    small_reads: u8,
}

impl ReadBuffer {
    fn new() -> Self {
        Self {
            bytes: vec![0; SMALLEST_READ_BUFFER],
            unread: 0..0,
            last: 0,
            small_reads: 0,
        }
    }

    fn unread(&mut self, most: usize) -> &mut [u8] {
        let unread = &mut self.bytes[self.unread.clone()];
        let n = unread.len().min(most);
        &mut unread[..n]
    }

    /// Reads more bytes, once all are consumed; false if none came, within the transport's limit or at once as `read` has it.
    fn fill(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<bool, TransportError> {
        let length = self.bytes.len();
        if self.last == length && length < READ_BUFFER {
            self.bytes = vec![0; length * STEP];
        } else if self.small_reads >= SMALL_READS && length > SMALLEST_READ_BUFFER {
            self.bytes = vec![0; length / STEP];
            self.small_reads = 0;
        }
        loop {
            match read(&mut self.bytes) {
                Ok(0) => return Err(TransportError::EndOfStream),
                Ok(n) => {
                    self.unread = 0..n.min(self.bytes.len());
                    self.last = n;
                    self.small_reads = match n < self.bytes.len() / STEP {
                        true => self.small_reads.saturating_add(1),
                        false => 0,
                    };
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(false);
                }
                Err(error) => {
                    log::debug!("reading failed: {error}");
                    return Err(TransportError::Io);
                }
            }
        }
    }
}

/// The half that writes.
pub(crate) struct WriteHalf {
    writer: Box<dyn Write + Send>,
    /// The bytes being written, exchanged with the output so that both keep their room.
    pub(super) bytes: InFlight,
}

impl WriteHalf {
    pub(super) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self {
            writer,
            bytes: InFlight::default(),
        }
    }

    /// Writes all of the bytes; tells `taken` of each part that the transport took.
    pub(super) fn write_all(&mut self, mut taken: impl FnMut(usize)) -> io::Result<()> {
        let mut rest = self.bytes.readable();
        while !rest.is_empty() {
            match self.writer.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let n = n.min(rest.len());
                    rest = &rest[n..];
                    taken(n);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives back room that a burst took.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink();
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    fn fill(buffer: &mut ReadBuffer, bytes: usize) -> usize {
        let filled = buffer.fill(|room| Ok(bytes.min(room.len())));
        assert!(matches!(filled, Ok(true)));
        let read = buffer.unread(usize::MAX).len();
        buffer.unread = 0..0;
        read
    }

    #[test]
    fn the_buffer_is_large_while_much_arrives_and_small_again_after() {
        let mut buffer = ReadBuffer::new();
        let much = 1 << 20;
        let reads = [0; 4].map(|_| fill(&mut buffer, much));
        assert_eq!(reads, [1024, 8 * 1024, READ_BUFFER, READ_BUFFER]);
        for _ in 0..=2 * usize::from(SMALL_READS) {
            assert_eq!(fill(&mut buffer, 32), 32);
        }
        assert_eq!(buffer.bytes.len(), SMALLEST_READ_BUFFER);
    }
}
