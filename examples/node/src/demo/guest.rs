//! What the dialling node does for the board, which dials it: it echoes, and takes the readings of its sensor.

use std::sync::{Arc, Mutex};

use devp2p_std::handle::{ReadError, Subprotocol};
use devp2p_std::peer::PeerHandle;
use devp2p_std::protocol::{self, Protocol};

use super::work::lock;
use crate::services::{self, answer_echoes, discard, echo, sensor};

/// What is known of the board's session.
#[derive(Default)]
pub(super) struct Guest {
    peer: Mutex<Option<PeerHandle>>,
    readings: Mutex<Vec<Reading>>,
}

/// One message of `sensor/1`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) number: u32,
    /// Hundredths of a degree.
    pub(super) celsius: i32,
}

impl Reading {
    fn of(payload: &[u8]) -> Option<Self> {
        let (number, celsius) = payload.split_first_chunk()?;
        Some(Self {
            number: u32::from_be_bytes(*number),
            celsius: i32::from_be_bytes(celsius.try_into().ok()?),
        })
    }

    pub(super) fn degrees(self) -> f64 {
        f64::from(self.celsius) / 100.0
    }
}

impl Guest {
    /// Its session, as soon as there is one; also when it has ended.
    pub(super) fn peer(&self) -> Option<PeerHandle> {
        lock(&self.peer).clone()
    }

    pub(super) fn readings(&self) -> Vec<Reading> {
        lock(&self.readings).clone()
    }

    /// Serves one of the protocols that it shares with the node.
    pub(super) fn serve(&self, subprotocol: &mut Subprotocol) -> Result<(), protocol::Failure> {
        lock(&self.peer).get_or_insert_with(|| subprotocol.peer().clone());
        match subprotocol.capability().name.as_str() {
            echo::NAME => answer_echoes(subprotocol),
            _ => {
                discard(subprotocol);
                Ok(())
            }
        }
    }

    /// `sensor/1`, which only the board shares.
    pub(super) fn sensor(self: &Arc<Self>) -> Protocol {
        let guest = Arc::clone(self);
        services::protocol(sensor::NAME, sensor::LENGTH, move |subprotocol| {
            loop {
                match subprotocol.read() {
                    Ok(message) => {
                        let reading = Reading::of(&message.payload);
                        lock(&guest.readings).extend(reading.filter(|_| message.code == 0));
                    }
                    Err(ReadError::Closed(_)) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        })
    }
}
