//! The traffic of a tenth of the sessions: one message a second, to be echoed.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_std::event_loop::{Handle, Handler, Message, Session};
use devp2p_std::protocol::Failure;
use devp2p_tests::random::Random;

use crate::measure::Spread;

/// One session in so many has traffic.
const SAMPLE: usize = 10;
/// From one message of a session to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of a message.
pub(crate) const LENGTH: usize = 1024;

/// What all sessions have done.
#[derive(Default)]
pub(crate) struct Traffic {
    made: AtomicUsize,
    lost: AtomicUsize,
    ends: AtomicBool,
    trips: Mutex<Vec<Duration>>,
}

/// The echoes of one step.
pub(crate) struct Echoes {
    pub(crate) count: usize,
    pub(crate) spread: Spread,
}

impl Traffic {
    fn trips(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.trips.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step is measured from here on.
    pub(crate) fn begin(&self) {
        self.trips().clear();
    }

    /// The echoes since it began.
    pub(crate) fn end(&self) -> Echoes {
        let trips = mem::take(&mut *self.trips());
        Echoes {
            count: trips.len(),
            spread: Spread::of(trips),
        }
    }

    /// Sessions that ended, though nobody asked for it.
    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Relaxed)
    }

    /// From here on sessions end as they should.
    pub(crate) fn expect_end(&self) {
        self.ends.store(true, Relaxed);
    }
}

/// The handler of a session.
pub(crate) struct Watched {
    traffic: Arc<Traffic>,
    /// If it has traffic.
    asking: Option<Box<Asking>>,
}

struct Asking {
    payload: Vec<u8>,
    random: Random,
    sent: Option<Instant>,
}

impl Watched {
    pub(crate) fn new(traffic: &Arc<Traffic>) -> Self {
        let n = traffic.made.fetch_add(1, Relaxed);
        let asking = n.is_multiple_of(SAMPLE).then(|| {
            Box::new(Asking {
                payload: vec![0; LENGTH],
                random: Random::new(n as u64),
                sent: None,
            })
        });
        Self {
            traffic: Arc::clone(traffic),
            asking,
        }
    }
}

impl Handler for Watched {
    fn on_active(&mut self, session: &mut Session<'_>) {
        if self.asking.is_some() {
            session.set_timer(INTERVAL);
        }
    }

    fn on_timer(&mut self, session: &mut Session<'_>) {
        let Some(asking) = &mut self.asking else {
            return;
        };
        session.set_timer(INTERVAL);
        if asking.sent.is_some() {
            // The answer is late: it will show in the figures.
            return;
        }
        asking.random.fill(&mut asking.payload);
        asking.sent = Some(Instant::now());
        if let Err(error) = session.try_write(0, 0, &asking.payload) {
            eprintln!("scale: a message could not be sent: {error}");
            session.disconnect(DisconnectReason::SUBPROTOCOL_ERROR);
        }
    }

    fn on_message(
        &mut self,
        _session: &mut Session<'_>,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let reason = DisconnectReason::SUBPROTOCOL_ERROR;
        let Some(asking) = &mut self.asking else {
            return Err(Failure::new(reason, "a message that nobody asked for"));
        };
        if message.payload != asking.payload {
            return Err(Failure::new(reason, "the echo was altered"));
        }
        if let Some(sent) = asking.sent.take() {
            self.traffic.trips().push(sent.elapsed());
        }
        Ok(())
    }

    fn on_closed(&mut self, _handle: &Handle, reason: CloseReason) {
        if !self.traffic.ends.load(Relaxed) {
            eprintln!("scale: a session was lost: {reason}");
            self.traffic.lost.fetch_add(1, Relaxed);
        }
    }
}
