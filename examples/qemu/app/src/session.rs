//! What happens on one connection.

use embassy_time::{Duration, Instant, with_timeout};
use embedded_io_async::{ErrorKind, Read, Write};

use crate::fmt::info;
use crate::transport::Writer;

/// Lines that are echoed before the session is done.
const LINES: u32 = 20;
/// How long an echo may take.
const BOUND: Duration = Duration::from_secs(10);

/// Why a session did not go as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SessionError {
    /// The connection broke.
    Transport,
    /// The remote ended its sending direction before the work was done.
    EndOfStream,
    /// What came back is not what was sent.
    Altered,
    /// Nothing came in time.
    TooLate,
}

/// Ends the sending direction of a connection.
pub trait HalfClose {
    /// After everything that was written.
    fn half_close(&mut self);
}

impl HalfClose for Writer<'_, '_> {
    fn half_close(&mut self) {
        self.close_write();
    }
}

/// Runs one session over the two halves of a connection, as the side that dialled or that was dialled.
///
/// For now: the dialling side sends lines, and the other one sends them back.
///
/// # Errors
/// [`SessionError`].
pub async fn run(
    mut reader: impl Read,
    mut writer: impl Write + HalfClose,
    dialled: bool,
) -> Result<(), SessionError> {
    if dialled {
        ask(&mut reader, &mut writer).await?;
        writer.half_close();
        drain(&mut reader).await
    } else {
        answer(&mut reader, &mut writer).await?;
        writer.half_close();
        Ok(())
    }
}

async fn ask(reader: &mut impl Read, writer: &mut impl Write) -> Result<(), SessionError> {
    let mut slowest = Duration::MIN;
    for i in 0..LINES {
        let mut line = *b"line 00 of an echo over TCP\n";
        line[5] += (i / 10) as u8;
        line[6] += (i % 10) as u8;
        let since = Instant::now();
        writer.write_all(&line).await.map_err(broken)?;
        let mut back = [0; 28];
        let mut have = 0;
        while let Some(rest) = back.get_mut(have..).filter(|rest| !rest.is_empty()) {
            let n = with_timeout(BOUND, reader.read(rest)).await;
            match n.map_err(|_| SessionError::TooLate)?.map_err(broken)? {
                0 => return Err(SessionError::EndOfStream),
                n => have += n,
            }
        }
        if back != line {
            return Err(SessionError::Altered);
        }
        slowest = slowest.max(since.elapsed());
    }
    info!(
        "{} lines came back, the slowest after {} us",
        LINES,
        slowest.as_micros()
    );
    Ok(())
}

async fn answer(reader: &mut impl Read, writer: &mut impl Write) -> Result<(), SessionError> {
    let mut buffer = [0; 256];
    loop {
        let n = reader.read(&mut buffer).await.map_err(broken)?;
        if n == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..n).unwrap_or_default();
        writer.write_all(bytes).await.map_err(broken)?;
    }
}

/// Reads to the end of the stream, so that the connection ends in order.
async fn drain(reader: &mut impl Read) -> Result<(), SessionError> {
    let mut buffer = [0; 64];
    let all = async {
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    with_timeout(BOUND, all)
        .await
        .map_err(|_| SessionError::TooLate)
}

fn broken(error: impl embedded_io_async::Error) -> SessionError {
    match error.kind() {
        ErrorKind::TimedOut => SessionError::TooLate,
        _ => SessionError::Transport,
    }
}
