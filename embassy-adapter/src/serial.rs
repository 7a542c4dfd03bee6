//! Sessions that follow each other on a line without connections: a UART, USB CDC, a pipe.
//!
//! Such a line has no beginning and no end of a connection, so each side makes up for that:
//! * before it dials, it [discards](LineReader::discard) what an earlier session left;
//! * before it accepts, it does the same, then waits until the other side [begins](LineReader::begun): the time that a handshake
//!   may take runs from the call of `accept`;
//! * its sending half is [`FlushOnly`](crate::FlushOnly): the side that ends a session waits for the closing timeout of its
//!   configuration, in which the other one, which was told, becomes quiet.
//!
//! A side that was reset in the middle of a session dials into the old session of the other one. That one finds a frame whose
//! MAC is wrong and ends its session; the handshake times out, and the next one succeeds.
//!
//! The line must be lossless: hardware flow control, or USB. A byte that is lost ends the session, as a bad MAC.

use embassy_time::{Duration, with_timeout};
use embedded_io_async::{ErrorType, Read};

/// The receiving half of a line.
#[derive(Debug)]
pub struct LineReader<R> {
    reader: R,
    /// The first byte of a session, which is still to be read.
    first: Option<u8>,
}

impl<R: Read> LineReader<R> {
    /// Over the line's own receiving half.
    pub const fn new(reader: R) -> Self {
        Self {
            reader,
            first: None,
        }
    }

    /// Reads and discards until nothing has come for so long; returns how many bytes that were. Dropping the future loses
    /// bytes, which were to be discarded.
    ///
    /// `silence` must be longer than a sender pauses inside a session's last words, and shorter than the other side waits
    /// before it dials again: some tens of milliseconds.
    ///
    /// # Errors
    /// The line's own. The end of the stream is none.
    pub async fn discard(&mut self, silence: Duration) -> Result<usize, R::Error> {
        let mut discarded = usize::from(self.first.take().is_some());
        let mut bytes = [0; 32];
        loop {
            match with_timeout(silence, self.reader.read(&mut bytes)).await {
                Ok(Ok(0)) | Err(_) => return Ok(discarded),
                Ok(Ok(n)) => discarded = discarded.saturating_add(n),
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// Waits until the other side begins a session: until there is a byte, which the next read gives. False if the stream
    /// ended. Dropping the future loses nothing that the line's own read does not lose.
    ///
    /// # Errors
    /// The line's own.
    pub async fn begun(&mut self) -> Result<bool, R::Error> {
        if self.first.is_none() {
            let mut byte = [0];
            if self.reader.read(&mut byte).await? > 0 {
                let [byte] = byte;
                self.first = Some(byte);
            }
        }
        Ok(self.first.is_some())
    }
}

impl<R: ErrorType> ErrorType for LineReader<R> {
    type Error = R::Error;
}

impl<R: Read> Read for LineReader<R> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, R::Error> {
        if let Some(to) = buffer.first_mut()
            && let Some(first) = self.first.take()
        {
            *to = first;
            return Ok(1);
        }
        self.reader.read(buffer).await
    }
}
