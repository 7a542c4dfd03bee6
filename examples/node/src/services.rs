//! The protocols that `listen` and `demo` serve.
//!
//! * `echo/1`, length 2: code 0 is answered by code 1 with the same payload.
//! * `bench/1`, length 8: code 0 is taken and dropped; code 1 is sent back as code 1; code 2 is answered by code 2 once all
//!   before it were taken.
//! * `chat/1`, length 1: code 0 is a line of text for all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devp2p_std::handle::{ReadError, Subprotocol, Writer};
use devp2p_std::peer::PeerHandle;
use devp2p_std::protocol::{Failure, Protocol};

/// Codes of `echo/1`.
pub(crate) mod echo {
    pub(crate) const NAME: &str = "echo";
    pub(crate) const LENGTH: u32 = 2;
    pub(crate) const REQUEST: u32 = 0;
    pub(crate) const ANSWER: u32 = 1;
}

/// Codes of `bench/1`.
pub(crate) mod bench {
    pub(crate) const NAME: &str = "bench";
    pub(crate) const LENGTH: u32 = 8;
    pub(crate) const DROP: u32 = 0;
    pub(crate) const ECHO: u32 = 1;
    pub(crate) const SYNC: u32 = 2;
}

/// Codes of `chat/1`.
pub(crate) mod chat {
    pub(crate) const NAME: &str = "chat";
    pub(crate) const LENGTH: u32 = 1;
    pub(crate) const LINE: u32 = 0;
}

/// Codes of `sensor/1`, which boards speak: code 0 is a number and a temperature, four bytes each, big endian.
pub(crate) mod sensor {
    pub(crate) const NAME: &str = "sensor";
    pub(crate) const LENGTH: u32 = 1;
}

/// Registers version 1 of one of the protocols above.
pub(crate) fn protocol(
    name: &str,
    length: u32,
    run: impl Fn(&mut Subprotocol) -> Result<(), Failure> + Send + Sync + 'static,
) -> Protocol {
    Protocol::new(name, 1, length, run).expect("the names here are short and ASCII")
}

/// Serves `echo/1`.
pub(crate) fn serve_echo() -> Protocol {
    protocol(echo::NAME, echo::LENGTH, answer_echoes)
}

/// Answers `echo/1` until the session is closed.
pub(crate) fn answer_echoes(subprotocol: &mut Subprotocol) -> Result<(), Failure> {
    loop {
        let message = match subprotocol.read() {
            Ok(message) => message,
            Err(ReadError::Closed(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if message.code == echo::REQUEST {
            subprotocol.write(echo::ANSWER, &message.payload)?;
        }
    }
}

/// Serves `bench/1`.
pub(crate) fn serve_bench() -> Protocol {
    protocol(bench::NAME, bench::LENGTH, |subprotocol| {
        loop {
            let message = match subprotocol.read() {
                Ok(message) => message,
                Err(ReadError::Closed(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if matches!(message.code, bench::ECHO | bench::SYNC) {
                subprotocol.write(message.code, &message.payload)?;
            }
        }
    })
}

/// Everyone with whom this node has `chat/1`.
#[derive(Default)]
pub(crate) struct Room {
    writers: Mutex<Vec<Writer>>,
}

impl Room {
    /// Serves `chat/1`: each line goes to `on_line`.
    pub(crate) fn serve(
        self: &Arc<Self>,
        on_line: impl Fn(&PeerHandle, &str) + Send + Sync + 'static,
    ) -> Protocol {
        let room = Arc::clone(self);
        let serve = move |subprotocol: &mut Subprotocol| {
            room.lock().push(subprotocol.writer());
            loop {
                match subprotocol.read() {
                    Ok(message) => {
                        let line = String::from_utf8_lossy(&message.payload);
                        on_line(subprotocol.peer(), &line);
                    }
                    Err(ReadError::Closed(_)) => return Ok(()),
                    // A book is no line.
                    Err(ReadError::Oversize { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        };
        protocol(chat::NAME, chat::LENGTH, serve).message_limit(64 * 1024)
    }

    /// Sends a line to all whose sessions live; returns how many those are.
    pub(crate) fn say(&self, line: &str) -> usize {
        let mut writers = self.lock();
        writers.retain(|writer| writer.write(chat::LINE, line.as_bytes()).is_ok());
        writers.len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Writer>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and drops messages until the session is closed.
pub(crate) fn discard(subprotocol: &mut Subprotocol) {
    while !matches!(subprotocol.read(), Err(ReadError::Closed(_))) {}
}
