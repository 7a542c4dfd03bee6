//! The protocols that `listen` and `demo` serve.
//!
//! * `echo/1`, length 2: code 0 is answered by code 1 with the same payload.
//! * `bench/1`, length 8: code 0 is taken and dropped; code 1 is sent back as code 1; code 2 is answered by code 2 once all
//!   before it were taken.
//! * `chat/1`, length 1: code 0 is a line of text for all.

use std::sync::atomic::{AtomicU64, Ordering};
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

/// Serves `chat/1`: each line goes to `on_line`, and the remote's next ones wait until that returns.
pub(crate) fn serve_chat(
    on_line: impl Fn(&PeerHandle, String) + Send + Sync + 'static,
) -> Protocol {
    let serve = move |subprotocol: &mut Subprotocol| hear(subprotocol, &on_line);
    chat_protocol(serve)
}

fn hear(
    subprotocol: &mut Subprotocol,
    on_line: &impl Fn(&PeerHandle, String),
) -> Result<(), Failure> {
    loop {
        match subprotocol.read() {
            Ok(message) => {
                let line = String::from_utf8_lossy(&message.payload).into_owned();
                on_line(subprotocol.peer(), line);
            }
            Err(ReadError::Closed(_)) => return Ok(()),
            // A book is no line.
            Err(ReadError::Oversize { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn chat_protocol(
    run: impl Fn(&mut Subprotocol) -> Result<(), Failure> + Send + Sync + 'static,
) -> Protocol {
    protocol(chat::NAME, chat::LENGTH, run)
        .message_limit(LINE_LIMIT)
        .inbox(2 * LINE_LIMIT as usize)
}

/// A line of chat at most, in bytes.
const LINE_LIMIT: u32 = 64 * 1024;

/// Everyone with whom this node has `chat/1`, and nobody else: who leaves is forgotten.
#[derive(Default)]
pub(crate) struct Room {
    members: Mutex<Vec<(u64, Writer)>>,
    next: AtomicU64,
}

impl Room {
    /// Serves `chat/1` as [`serve_chat`] does.
    pub(crate) fn serve(
        self: &Arc<Self>,
        on_line: impl Fn(&PeerHandle, String) + Send + Sync + 'static,
    ) -> Protocol {
        let room = Arc::clone(self);
        chat_protocol(move |subprotocol| {
            let number = room.next.fetch_add(1, Ordering::Relaxed);
            room.lock().push((number, subprotocol.writer()));
            let ended = hear(subprotocol, &on_line);
            room.lock().retain(|(member, _)| *member != number);
            ended
        })
    }

    /// Sends a line to all; returns how many took it.
    pub(crate) fn say(&self, line: &str) -> usize {
        // A write may take its time, so it is made without the lock.
        let members: Vec<_> = self.lock().iter().map(|(_, one)| one.clone()).collect();
        let took = members
            .iter()
            .filter(|writer| writer.write(chat::LINE, line.as_bytes()).is_ok());
        took.count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Writer)>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and drops messages until the session is closed.
pub(crate) fn discard(subprotocol: &mut Subprotocol) {
    while !matches!(subprotocol.read(), Err(ReadError::Closed(_))) {}
}
