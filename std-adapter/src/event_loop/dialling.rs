//! A dial in progress, and how it ends.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::handle::Handle;
use crate::node::DialError;

type Outcome = Result<Handle, DialError>;

/// Where a loop tells the outcome of a dial; that nobody listens is no matter.
pub(super) struct Reply(Option<SyncSender<Outcome>>);

impl Reply {
    /// The other end of [`Dialling`].
    pub(super) fn new() -> (Self, Dialling) {
        let (sender, receiver) = sync_channel(1);
        (Self(Some(sender)), Dialling(receiver))
    }

    /// Tells it; the first call counts.
    pub(super) fn tell(&mut self, outcome: Outcome) {
        if let Some(sender) = self.0.take() {
            let _ = sender.try_send(outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.tell(Err(DialError::ShutDown));
    }
}

/// A dial in progress. Dropping it loses the answer only: the dial goes on.
#[derive(Debug)]
pub struct Dialling(Receiver<Outcome>);

impl Dialling {
    /// Waits for the session to be active.
    ///
    /// # Errors
    /// [`DialError`] says what happened and what to do.
    pub fn wait(self) -> Result<Handle, DialError> {
        // The reply says something before it goes.
        self.0.recv().unwrap_or(Err(DialError::ShutDown))
    }

    /// Waits so long for the outcome; `None` if it is not known by then.
    pub fn wait_timeout(&self, limit: Duration) -> Option<Result<Handle, DialError>> {
        match self.0.recv_timeout(limit) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(DialError::ShutDown)),
        }
    }
}
