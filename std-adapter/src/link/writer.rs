//! The thread that writes when no subprotocol does: control messages, and what others left. It is there while it has work.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use devp2p_core::lifecycle::State;
use devp2p_core::peer::Peer;

use super::burst::{Rest, WATCH_BYTES};
use super::{Link, lock};
use crate::time::to_std_duration;

/// How long a Hello that waits for the remote's does so: well within the handshake deadline of either side.
const HELLO_WAIT: Duration = Duration::from_secs(2);

/// How long the thread stays without work: longer than those pauses that are part of a conversation.
const LINGER: Duration = Duration::from_millis(100);

/// The same once only control messages were sent: the next one is due after a ping interval.
const LINGER_AFTER_CONTROL: Duration = Duration::from_millis(5);

/// Stack of the thread, in bytes. Other than that of threads that stay, which shall not be given pages used by this one.
const STACK: usize = 256 * 1024;

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
    /// The thread looks at all this again before it ends.
    runs: bool,
    /// Nothing will ever be sent again.
    ended: bool,
    thread: Option<JoinHandle<()>>,
}

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    Work,
    Watch,
    Late,
}

impl Kick {
    /// Whether there was nothing to do and nobody at it: then the thread must be started.
    #[must_use]
    fn tell(&self, can_start: bool, set: impl FnOnce(&mut Told)) -> bool {
        let mut told = lock(&self.told);
        let is_told = told.work || told.watch;
        set(&mut told);
        if !told.runs {
            told.runs = can_start && !told.ended;
            return told.runs;
        }
        drop(told);
        if !is_told {
            self.changed.notify_one();
        }
        false
    }

    /// Nothing will be sent any more.
    pub(super) fn end(&self) {
        lock(&self.told).ended = true;
        self.changed.notify_one();
    }

    /// Whether there is nothing more to do; then the next one who has something starts the thread.
    fn retire(&self) -> bool {
        let mut told = lock(&self.told);
        told.runs = told.work || told.watch;
        if !told.runs {
            // A thread that can be joined keeps its stack.
            told.thread = None;
        }
        !told.runs
    }

    /// Waits to be told, or until `until`.
    fn wait(&self, until: Instant) -> Woken {
        let mut told = lock(&self.told);
        loop {
            if mem::take(&mut told.work) || told.ended {
                return Woken::Work;
            }
            if mem::take(&mut told.watch) {
                return Woken::Watch;
            }
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
        if self.kick.tell(self.can_send(), |told| told.work = true) {
            self.start_writer();
        }
    }

    /// Has the writer thread look after the bytes that a burst leaves in the output.
    pub(super) fn watch_burst(&self) {
        if self.kick.tell(self.can_send(), |told| told.watch = true) {
            self.start_writer();
        }
    }

    fn start_writer(&self) {
        // Whoever calls holds it.
        let Some(link) = self.this.upgrade() else {
            return;
        };
        let thread = thread::Builder::new()
            .name("devp2p-write".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| link.run_writer())).is_err() {
                    log::error!("the writer of a transport panicked");
                    lock(&link.kick.told).runs = false;
                    link.on_write_failed();
                }
            });
        match thread {
            // The one before it has ended, or does nothing more.
            Ok(thread) => lock(&self.kick.told).thread = Some(thread),
            Err(error) => {
                log::error!("no thread for a session: {error}");
                lock(&self.kick.told).runs = false;
                self.on_write_failed();
            }
        }
    }

    /// Waits for the end of the writer thread of a closed session.
    pub(crate) fn join_writer(&self) {
        let thread = lock(&self.kick.told).thread.take();
        if let Some(thread) = thread {
            // A panic was caught in there.
            let _ = thread.join();
        }
    }

    /// Sends control messages and what others left, until there is nothing to do. A Hello that waits for the remote's does so
    /// for [`HELLO_WAIT`].
    fn run_writer(&self) {
        let hello_at = Instant::now() + HELLO_WAIT;
        // How long until the next look after a burst.
        let mut look = None;
        let mut linger = LINGER_AFTER_CONTROL;
        loop {
            let until = match self.is_offered() {
                false => hello_at,
                true => Instant::now() + look.map_or(linger, to_std_duration),
            };
            match self.kick.wait(until) {
                Woken::Work => {
                    if !lock(&self.output).bytes.is_empty() {
                        linger = LINGER;
                    }
                }
                Woken::Watch => {
                    (look, linger) = (Some(WATCH_BYTES), LINGER);
                    continue;
                }
                Woken::Late if look.is_some() => match self.look_after_rest() {
                    Rest::None => {
                        look = None;
                        continue;
                    }
                    Rest::Moves(after) => {
                        look = Some(after);
                        continue;
                    }
                    Rest::Lies => look = Some(WATCH_BYTES),
                },
                Woken::Late if !self.is_offered() => self.offer(Vec::new()),
                Woken::Late => match self.kick.retire() {
                    true => return,
                    false => continue,
                },
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
                lock(&self.kick.told).runs = false;
                return;
            }
        }
    }
}
