//! From awaiting Hello to closed: one deadline at a time, and the first cause of an end wins.

use crate::disconnect::DisconnectReason;
use crate::error::CloseReason;
use crate::fmt::debug;
use crate::time::{Duration, Instant};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// The remote's Hello has not come yet.
    AwaitingHello,
    /// Subprotocols exchange messages.
    Active,
    /// The end is decided; the Disconnect, if any, is on its way, and what still arrives is discarded.
    Closing,
    /// Nothing more happens.
    Closed,
}

/// The session's state, its deadline, and why it ends.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Lifecycle {
    state: State,
    /// Of Hello, then of closing.
    deadline: Instant,
    cause: Option<CloseReason>,
    /// The Disconnect that is still to be sent.
    disconnect: Option<DisconnectReason>,
}

impl Lifecycle {
    /// A session whose Hello must have come at `deadline`.
    pub const fn new(deadline: Instant) -> Self {
        Self {
            state: State::AwaitingHello,
            deadline,
            cause: None,
            disconnect: None,
        }
    }

    /// Where the session stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why the session ends; `None` while it lives.
    pub const fn close_reason(&self) -> Option<CloseReason> {
        self.cause
    }

    /// Hello was accepted.
    pub fn activate(&mut self) {
        if self.state == State::AwaitingHello {
            self.state = State::Active;
            debug!("active");
        }
    }

    /// Ends the session for `cause`, unless it is ending already. Returns whether this cause is the one that counts.
    ///
    /// With a Disconnect to send the session closes within `timeout`; without one it is closed at once.
    pub fn close(&mut self, now: Instant, cause: CloseReason, timeout: Duration) -> bool {
        if self.cause.is_some() {
            return false;
        }
        self.cause = Some(cause);
        self.disconnect = cause.disconnect();
        self.deadline = now.saturating_add(timeout);
        self.state = if self.disconnect.is_some() {
            State::Closing
        } else {
            debug!("closed");
            State::Closed
        };
        true
    }

    /// The transport is gone, or closing is done: nothing can be sent or read any more.
    pub fn finish(&mut self) {
        if self.cause.is_some() {
            if self.state != State::Closed {
                debug!("closed");
            }
            self.state = State::Closed;
            self.disconnect = None;
        }
    }

    /// Whether a Disconnect is still to be sent.
    pub const fn wants_to_send(&self) -> bool {
        self.disconnect.is_some()
    }

    /// Takes the Disconnect to send.
    #[must_use]
    pub fn take_disconnect(&mut self) -> Option<DisconnectReason> {
        self.disconnect.take()
    }

    /// Lets time pass. Returns true when Hello is too late; a closing session whose deadline passed is closed.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.deadline > now {
            return false;
        }
        match self.state {
            State::AwaitingHello => true,
            State::Closing => {
                self.finish();
                false
            }
            State::Active | State::Closed => false,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; [`Instant::MAX`] for never.
    pub const fn deadline(&self) -> Instant {
        match self.state {
            State::AwaitingHello | State::Closing => self.deadline,
            State::Active | State::Closed => Instant::MAX,
        }
    }
}
