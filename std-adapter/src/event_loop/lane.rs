//! The way into a loop from other threads.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use devp2p_core::hello::NodeId;
use mio::Waker;

use super::lateness::Lateness;

/// Names one session of a loop, and none that comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) index: usize,
    pub(super) generation: u32,
}

/// What a loop is asked to do.
pub(super) enum Command {
    /// Begin a session over the connection with this number, with the node that was dialled or with whoever dialled us.
    Open(u64, TcpStream, Option<NodeId>),
    /// End the connection with this number, if it is here and opens still.
    Abort(u64),
    /// Look at what the handles of this session ask for.
    Look(Ticket),
    /// There may be memory for what this session receives.
    Resume(Ticket),
    /// End this session: of those that share the memory it holds most.
    Evict(Ticket),
}

#[derive(Default)]
struct Commands {
    waiting: Vec<Command>,
    /// The loop has ended: what comes is dropped.
    closed: bool,
}

/// One loop, as other threads see it.
pub(crate) struct Lane {
    commands: Mutex<Commands>,
    waker: Waker,
    /// Connections that are or will be driven by this loop.
    pub(super) load: AtomicUsize,
    pub(super) lateness: Lateness,
}

impl Lane {
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            commands: Mutex::default(),
            waker,
            load: AtomicUsize::new(0),
            lateness: Lateness::default(),
        }
    }

    pub(super) fn push(&self, command: Command) {
        let mut commands = self.lock();
        if commands.closed {
            // What it holds is dropped after unlocking.
            drop(commands);
            return drop(command);
        }
        commands.waiting.push(command);
        let is_first = commands.waiting.len() == 1;
        drop(commands);
        if is_first {
            self.wake();
        }
    }

    /// Moves what waits into `to`, which is empty.
    pub(super) fn take(&self, to: &mut Vec<Command>) {
        std::mem::swap(&mut self.lock().waiting, to);
    }

    /// The loop has ended.
    pub(super) fn close(&self) {
        let mut commands = self.lock();
        commands.closed = true;
        let waiting = std::mem::take(&mut commands.waiting);
        drop(commands);
        drop(waiting);
    }

    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("an event loop could not be woken: {error}");
        }
    }

    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Commands> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that waits for memory.
pub(super) struct Waiting {
    pub(super) lane: Arc<Lane>,
    pub(super) ticket: Ticket,
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.lane.push(Command::Resume(self.ticket));
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}
