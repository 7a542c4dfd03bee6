//! The two subprotocols of the examples.

use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;

/// Index of `echo/1` in [`protocols`].
pub const ECHO: usize = 0;
/// Index of `sensor/1` in [`protocols`].
pub const SENSOR: usize = 1;

/// `echo/1`: a message to be sent back.
pub const ECHO_REQUEST: LocalCode = LocalCode(0);
/// `echo/1`: the same payload, sent back.
pub const ECHO_REPLY: LocalCode = LocalCode(1);

/// `sensor/1`, from the sensor: a [`Reading`].
pub const READING: LocalCode = LocalCode(0);
/// `sensor/1`, to the sensor: milliseconds between two readings, a little-endian `u32`; 0 for none.
pub const SET_INTERVAL: LocalCode = LocalCode(1);
/// `sensor/1`, to the sensor: disconnect with this reason, one byte.
pub const LEAVE: LocalCode = LocalCode(2);
/// `sensor/1`, from the sensor: a message was too large for its inbox; its length, a little-endian `u32`.
pub const OVERSIZE: LocalCode = LocalCode(3);

/// Bytes of inbox for `sensor/1`: a few commands.
pub const SENSOR_INBOX: usize = 128;

/// The protocols, with `echo` bytes of inbox for `echo/1`.
///
/// # Panics
/// Never: the names are valid.
pub const fn protocols(echo: usize) -> [Protocol; 2] {
    match (
        Protocol::new("echo", 1, 2, echo),
        Protocol::new("sensor", 1, 4, SENSOR_INBOX),
    ) {
        (Ok(echo), Ok(sensor)) => [echo, sensor],
        _ => panic!("the names are valid"),
    }
}

/// What a sensor measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// How many readings the board took before this one.
    pub number: u32,
    /// Thousandths of a degree.
    pub value: i32,
}

impl Reading {
    /// Reading `number` of a sensor that sees a day go by in 64 steps.
    pub const fn take(number: u32) -> Self {
        let phase = (number % 64) as i32;
        let height = if phase < 32 { phase } else { 64 - phase };
        Self {
            number,
            value: 15_000 + 250 * height,
        }
    }

    /// Its payload.
    pub const fn encode(self) -> [u8; 8] {
        let [a, b, c, d] = self.number.to_le_bytes();
        let [e, f, g, h] = self.value.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// From its payload.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = *payload.first_chunk().filter(|_| payload.len() == 8)?;
        Some(Self {
            number: u32::from_le_bytes([a, b, c, d]),
            value: i32::from_le_bytes([e, f, g, h]),
        })
    }
}
