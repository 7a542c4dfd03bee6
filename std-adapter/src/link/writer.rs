//! The thread that writes when no subprotocol does, and what it is told.

use std::mem;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use devp2p_core::lifecycle::State;
use devp2p_core::peer::Peer;

use super::output::Rest;
use super::{Link, lock};

/// How long a Hello that waits for the remote's does so: well within the handshake deadline of either side.
const HELLO_WAIT: Duration = Duration::from_secs(2);

/// How often the thread looks after bytes that a burst left in the output: what no one wrote since it last looked, it writes.
const WATCH: Duration = Duration::from_micros(200);

/// How the thread is told of work.
#[derive(Debug, Default)]
pub(super) struct Kick {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    /// Something is to be sent now.
    work: bool,
    /// A burst has begun, which leaves bytes in the output.
    watch: bool,
}

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    Work,
    Watch,
    Late,
}

impl Kick {
    fn tell(&self, set: impl FnOnce(&mut Told) -> bool) {
        if !set(&mut lock(&self.told)) {
            self.changed.notify_one();
        }
    }

    /// Waits to be told, or until `until`.
    fn wait(&self, until: Option<Instant>) -> Woken {
        let mut told = lock(&self.told);
        loop {
            if mem::take(&mut told.work) {
                return Woken::Work;
            }
            if mem::take(&mut told.watch) {
                return Woken::Watch;
            }
            let Some(until) = until else {
                let woken = self.changed.wait(told);
                told = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::Late;
            }
            let woken = self.changed.wait_timeout(told, left);
            told = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Link {
    /// Has the writer thread send what there is to send.
    pub(crate) fn kick(&self) {
        self.kick
            .tell(|told| mem::replace(&mut told.work, true) || told.watch);
    }

    /// Has the writer thread look after the bytes that a burst leaves in the output.
    pub(super) fn watch_burst(&self) {
        self.kick
            .tell(|told| mem::replace(&mut told.watch, true) || told.work);
    }

    /// Sends control messages and what others left, until the session is closed. A Hello that waits for the remote's does
    /// so for [`HELLO_WAIT`].
    pub(crate) fn run_writer(&self) {
        let hello_at = Instant::now() + HELLO_WAIT;
        let mut watching = false;
        loop {
            let until = match self.is_offered() {
                false => Some(hello_at),
                true => watching.then(|| Instant::now() + WATCH),
            };
            match self.kick.wait(until) {
                Woken::Work => {}
                Woken::Watch => {
                    watching = true;
                    self.look_after_rest();
                    continue;
                }
                Woken::Late if watching => match self.look_after_rest() {
                    Rest::None => {
                        watching = false;
                        continue;
                    }
                    Rest::Moves => continue,
                    Rest::Lies => {}
                },
                Woken::Late => self.offer(Vec::new()),
            }
            self.seal_control();
            self.drain(usize::MAX);
            // Asked first, for a change while something waits to be sent kicks this thread again.
            if self.with_peer(Peer::may_half_close) {
                if let Some(closer) = &*lock(&self.closer) {
                    closer.close_write();
                }
                self.change(|peer, _| peer.wants_half_close());
            }
            if self.with_peer(Peer::state) == State::Closed {
                return;
            }
        }
    }
}
