//! What happens in one devp2p session: two subprotocols, `echo/1` and `sensor/1`.

use devp2p_core::arena::RECORD_OVERHEAD;
use devp2p_core::capability::Protocol;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_embassy::{Guard, Incoming, ReadError, Subprotocol};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_time::{Duration, Instant, TimeoutError, Timer, with_deadline};

use crate::fmt::{info, warning};

/// How many subprotocols there are.
pub const PROTOCOLS: usize = 2;
/// The largest payload that the board takes on `echo/1`, in bytes; its inbox holds two of them.
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
/// The handle on the board's peer.
pub type Peer = devp2p_embassy::Peer<'static, NoopRawMutex, PROTOCOLS>;

/// Payloads that the board sends, in bytes; the last is the largest that may come back.
const SIZES: [usize; 10] = [0, 1, 55, 56, 255, 256, 1023, 1025, LARGEST - 1, LARGEST];
/// Some that come back too large.
const TOO_LARGE: [usize; 2] = [LARGEST + 1, LARGEST + 1000];
/// Readings that the sensor sends, and how far apart.
const READINGS: u32 = 5;
const PERIOD: Duration = Duration::from_millis(200);

/// Codes of `echo/1`: code 0 is answered by code 1 with the same payload.
const ASK: u32 = 0;
const ANSWER: u32 = 1;

/// What the board registers. In flash: nothing of it changes.
pub static REGISTERED: [Protocol; PROTOCOLS] = {
    let (Ok(mut echo), Ok(sensor)) = (
        Protocol::new("echo", 1, 2, ECHO_INBOX),
        Protocol::new("sensor", 1, 1, SENSOR_INBOX),
    ) else {
        panic!("both names are valid");
    };
    echo.message_limit = LARGEST as u32;
    [echo, sensor]
};

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

fn byte(index: usize, size: usize) -> u8 {
    (index.wrapping_mul(31) ^ (index >> 8) ^ size) as u8
}

/// What this side does in a session once it is active, and how the session is to end.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Whether it asks first, as the side that dialled does.
    pub asks: bool,
    /// How long it answers then, before it ends the session; `None`: until the remote ends it.
    pub hold: Option<Duration>,
    /// What it gives as the reason; `None`: that its work is done.
    pub reason: Option<DisconnectReason>,
    /// The reason with which the remote is to end the session; `None`: any.
    pub until: Option<DisconnectReason>,
}

impl Plan {
    /// Whether the session was to end so.
    fn is_end(&self, cause: CloseReason) -> bool {
        let CloseReason::RemoteRequested(reason) = cause else {
            return false;
        };
        self.hold.is_none() && self.until.is_none_or(|until| reason == Some(until))
    }
}

/// The work of `echo/1` in the next session, to its end.
///
/// # Errors
/// [`Failure`]: that the session ended otherwise than planned is one.
pub async fn work(
    echo: &mut Handle,
    peer: Peer,
    plan: Plan,
    buffer: &mut [u8],
) -> Result<(), Failure> {
    let Ok(mut session) = echo.session().await else {
        // Without it a session is of no use.
        peer.disconnect(DisconnectReason::USELESS_PEER);
        return Err(Failure::NotShared);
    };
    info!("a session is active");
    match talk(&mut session, plan, buffer).await {
        Ok(()) => {
            if let Some(reason) = plan.reason {
                peer.disconnect(reason);
                peer.closed().await;
            }
            // Else it ends with the session's guard, which is dropped.
            Ok(())
        }
        Err(Failure::Closed(cause)) => Err(Failure::Closed(cause)),
        Err(error) => {
            session.fail(DisconnectReason::SUBPROTOCOL_ERROR);
            Err(error)
        }
    }
}

/// Everything that this side has to say in a session.
async fn talk(session: &mut Session, plan: Plan, buffer: &mut [u8]) -> Result<(), Failure> {
    if plan.asks {
        ask(session, buffer).await?;
    }
    match answer(session, plan.hold, buffer).await {
        Ok(()) => session.flush().await.map_err(Failure::Closed),
        Err(Failure::Closed(cause)) if plan.is_end(cause) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sends every size and expects each back, then some that are too large for our own inbox.
async fn ask(session: &mut Session, buffer: &mut [u8]) -> Result<(), Failure> {
    for size in SIZES {
        send(session, size, buffer).await?;
        let incoming = next_answer(session, buffer).await?;
        let back = buffer.get(..incoming).unwrap_or_default();
        if back.len() != size || back.iter().enumerate().any(|(i, b)| *b != byte(i, size)) {
            return Err(Failure::Altered);
        }
    }
    for size in TOO_LARGE {
        send(session, size, buffer).await?;
        match session.read(buffer).await {
            Err(ReadError::Oversize { length, .. }) if length as usize == size => {
                info!("echo: Oversize, {} bytes", length);
            }
            // The remote is a board too, and has no more room than we have.
            Ok(incoming) if incoming.code == ANSWER && incoming.length == 0 => {}
            Err(ReadError::Closed(reason)) => return Err(Failure::Closed(reason)),
            _ => return Err(Failure::Oversize),
        }
    }
    // The session lives on after it.
    send(session, 1, buffer).await?;
    next_answer(session, buffer).await?;
    info!(
        "echo: {} sizes came back, and {} were too large",
        SIZES.len(),
        TOO_LARGE.len()
    );
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

/// Answers questions for so long, or until the session ends, which is an error.
async fn answer(
    session: &mut Session,
    hold: Option<Duration>,
    buffer: &mut [u8],
) -> Result<(), Failure> {
    let end = hold.map(|hold| Instant::now() + hold);
    let mut answered = 0u32;
    let result = loop {
        // Only reading may be given up at any time: a write that is given up ends the session.
        let read = session.read(buffer);
        let read = match end {
            Some(end) => match with_deadline(end, read).await {
                Ok(read) => read,
                Err(TimeoutError) => break Ok(()),
            },
            None => read.await,
        };
        match next_question(read, session, buffer).await {
            Ok(is_question) => answered += u32::from(is_question),
            Err(error) => break Err(error),
        }
    };
    info!("echo: {} answered", answered);
    result
}

/// Answers what was read; whether it was a question.
async fn next_question(
    read: Result<Incoming, ReadError>,
    session: &mut Session,
    buffer: &[u8],
) -> Result<bool, Failure> {
    match read {
        Ok(incoming) if incoming.code == ASK => {
            let payload = buffer.get(..incoming.length).unwrap_or_default();
            session.write(ANSWER, payload).await?;
            Ok(true)
        }
        Ok(_) => Ok(false),
        Err(ReadError::Oversize { length, .. }) => {
            warning!("echo: a question of {} bytes is too large", length);
            // An empty answer, lest the remote wait for ever.
            session.write(ANSWER, &[]).await?;
            Ok(true)
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
