//! What happens in one devp2p session: two subprotocols, `echo/1` and `sensor/1`.

use devp2p_core::arena::RECORD_OVERHEAD;
use devp2p_core::capability::{InvalidName, Protocol};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_embassy::{Guard, NotShared, ReadError, Subprotocol};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_time::{Duration, Timer};

use crate::fmt::{info, warning};

/// How many subprotocols there are.
pub const PROTOCOLS: usize = 2;
/// The largest payload that the board's echo inbox holds, in bytes.
pub const LARGEST: usize = 2048;
/// Bytes of inbox: echo's and sensor's.
pub const INBOX: usize = ECHO_INBOX + SENSOR_INBOX;
const ECHO_INBOX: usize = 2 * (LARGEST + RECORD_OVERHEAD);
const SENSOR_INBOX: usize = 128;
/// Bytes of transmit ring: smaller than the largest frame, which goes through it in pieces.
pub const RING: usize = 1024;
/// Entries for compression.
pub const TABLE: usize = 256;

/// The memory of the board's peer.
pub type Resources =
    devp2p_embassy::Resources<'static, NoopRawMutex, PROTOCOLS, INBOX, RING, TABLE>;
type Handle = Subprotocol<'static, NoopRawMutex, PROTOCOLS>;
type Session = Guard<'static, NoopRawMutex, PROTOCOLS>;

/// Payloads that the board sends, in bytes; the last fills its inbox when it comes back.
const SIZES: [usize; 9] = [0, 1, 55, 56, 255, 256, 1023, 1025, LARGEST];
/// One that comes back too large for the inbox.
const TOO_LARGE: usize = LARGEST + 1000;
/// Readings that the sensor sends, and how far apart.
const READINGS: u32 = 5;
const PERIOD: Duration = Duration::from_millis(200);

/// Codes of `echo/1`: code 0 is answered by code 1 with the same payload.
const ASK: u32 = 0;
const ANSWER: u32 = 1;

/// What the board registers.
///
/// # Errors
/// None: both names are valid.
pub fn protocols() -> Result<[Protocol; PROTOCOLS], InvalidName> {
    Ok([
        Protocol::new("echo", 1, 2, ECHO_INBOX)?,
        Protocol::new("sensor", 1, 1, SENSOR_INBOX)?,
    ])
}

/// Why a session did not go as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Failure {
    /// The session ended before the work was done.
    Closed(CloseReason),
    /// A message could not be written.
    Write(WriteError),
    /// What came back is not what was sent.
    Altered,
    /// What was too large came back all the same, or something else was lost.
    Oversize,
    /// The remote does not share `echo/1`.
    NotShared,
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed(reason) => Self::Closed(reason),
            ReadError::Oversize { .. } => Self::Oversize,
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Closed(reason) => Self::Closed(reason),
            error => Self::Write(error),
        }
    }
}

impl From<NotShared> for Failure {
    fn from(_: NotShared) -> Self {
        Self::NotShared
    }
}

fn byte(index: usize, size: usize) -> u8 {
    (index.wrapping_mul(31) ^ (index >> 8) ^ size) as u8
}

/// The side that dialled: sends every size, expects each back, then one that is too large for its own inbox. Dropping the
/// session's guard at the end is what ends the session.
///
/// # Errors
/// [`Failure`].
pub async fn ask(echo: &mut Handle, hold: Duration, buffer: &mut [u8]) -> Result<(), Failure> {
    let mut session = echo.session().await?;
    for size in SIZES {
        send(&mut session, size, buffer).await?;
        let incoming = next_answer(&mut session, buffer).await?;
        let back = buffer.get(..incoming).unwrap_or_default();
        if back.len() != size || back.iter().enumerate().any(|(i, b)| *b != byte(i, size)) {
            return Err(Failure::Altered);
        }
    }
    send(&mut session, TOO_LARGE, buffer).await?;
    match session.read(buffer).await {
        Err(ReadError::Oversize { length, .. }) if length as usize == TOO_LARGE => {}
        // The remote is a board too, and has no more room than we have.
        Ok(incoming) if incoming.code == ANSWER && incoming.length == 0 => {}
        Err(ReadError::Closed(reason)) => return Err(Failure::Closed(reason)),
        _ => return Err(Failure::Oversize),
    }
    // The session lives on after it.
    send(&mut session, 1, buffer).await?;
    next_answer(&mut session, buffer).await?;
    info!(
        "echo: {} sizes came back, and {} bytes were too large",
        SIZES.len(),
        TOO_LARGE
    );
    Timer::after(hold).await;
    session.flush().await.map_err(Failure::Closed)?;
    Ok(())
}

/// Sends a payload of `size` bytes in pieces, so that it may be larger than any buffer.
async fn send(session: &mut Session, size: usize, buffer: &mut [u8]) -> Result<(), Failure> {
    let half = size.div_ceil(2).min(buffer.len());
    let (first, _) = buffer.split_at_mut(half);
    first
        .iter_mut()
        .enumerate()
        .for_each(|(i, b)| *b = byte(i, size));
    let Some(rest) = size.checked_sub(half).filter(|rest| *rest > 0) else {
        return Ok(session.write(ASK, first).await?);
    };
    let mut tail = [0; LARGEST];
    let tail = tail.get_mut(..rest).ok_or(Failure::Oversize)?;
    tail.iter_mut()
        .enumerate()
        .for_each(|(i, b)| *b = byte(half + i, size));
    Ok(session.writer().write_vectored(ASK, &[first, tail]).await?)
}

/// The length of the next answer, which is at the front of `buffer`. Questions of the remote are answered meanwhile.
async fn next_answer(session: &mut Session, buffer: &mut [u8]) -> Result<usize, Failure> {
    loop {
        let incoming = session.read(buffer).await?;
        if incoming.code == ANSWER {
            return Ok(incoming.length);
        }
        let payload = buffer.get(..incoming.length).unwrap_or_default();
        session.write(ANSWER, payload).await?;
    }
}

/// The side that was dialled: answers until the session ends.
///
/// # Errors
/// [`Failure`], but not for an end that the remote asked for.
pub async fn answer(echo: &mut Handle, buffer: &mut [u8]) -> Result<(), Failure> {
    let mut session = echo.session().await?;
    let mut answered = 0u32;
    loop {
        match next_question(&mut session, buffer).await {
            Ok(()) => answered += 1,
            Err(Failure::Closed(CloseReason::RemoteRequested(_))) => break,
            Err(error) => return Err(error),
        }
    }
    info!("echo: {} answered", answered);
    Ok(())
}

async fn next_question(session: &mut Session, buffer: &mut [u8]) -> Result<(), Failure> {
    match session.read(buffer).await {
        Ok(incoming) if incoming.code == ASK => {
            let payload = buffer.get(..incoming.length).unwrap_or_default();
            Ok(session.write(ANSWER, payload).await?)
        }
        Ok(_) => Ok(()),
        Err(ReadError::Oversize { length, .. }) => {
            warning!("echo: a question of {} bytes is too large", length);
            // An empty answer, lest the remote wait for ever.
            Ok(session.write(ANSWER, &[]).await?)
        }
        Err(ReadError::Closed(reason)) => Err(Failure::Closed(reason)),
    }
}

/// Sends readings of a sensor, a number and a temperature in hundredths of a degree each, then waits for the end.
///
/// # Errors
/// [`Failure::Write`]. That the remote does not share `sensor/1` is none.
pub async fn sense(sensor: &mut Handle) -> Result<(), Failure> {
    let Ok(mut session) = sensor.session().await else {
        return Ok(());
    };
    for number in 0..READINGS {
        let celsius = 2150 + (number as i32 * 7) % 40;
        let mut reading = [0; 8];
        let (head, tail) = reading.split_at_mut(4);
        head.copy_from_slice(&number.to_be_bytes());
        tail.copy_from_slice(&celsius.to_be_bytes());
        match session.write(0, &reading).await {
            Ok(()) => {}
            Err(WriteError::Closed(_)) => return Ok(()),
            Err(error) => return Err(Failure::Write(error)),
        }
        Timer::after(PERIOD).await;
    }
    info!("sensor: {} readings sent", READINGS);
    // Whatever the remote has to say of them, until the end of the session.
    let mut heard = [0; 32];
    while !matches!(session.read(&mut heard).await, Err(ReadError::Closed(_))) {}
    Ok(())
}

/// What the other side is told when a board's work has failed.
pub const FAILED: DisconnectReason = DisconnectReason::SUBPROTOCOL_ERROR;
