//! When to send Ping, how many Pongs are owed, and when the silence has lasted too long.

use crate::fmt::trace;
use crate::time::{Duration, Instant};

/// The most Pongs owed at once: a flood of Pings grows neither memory nor output beyond it.
pub const MAX_PONGS_OWED: u8 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Stopped,
    /// The next Ping falls due at `at`.
    Idle,
    Due,
    /// The silence has lasted too long at `at`.
    AwaitingPong,
    TimedOut,
}

/// Schedules Pings and judges the silence after them.
///
/// Drive it in this order: [`start`](Self::start) when the session becomes active; [`on_message`](Self::on_message) for each
/// verified message; [`handle_timeout`](Self::handle_timeout) at its [`deadline`](Self::deadline);
/// [`take_pong`](Self::take_pong) and [`take_ping`](Self::take_ping) whenever a control message can be sent.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PingScheduler {
    state: State,
    at: Instant,
    interval: Duration,
    timeout: Duration,
    /// When the Ping that no Pong has answered yet went out.
    sent: Option<Instant>,
    /// Pings before that one which no Pong has answered either.
    overtaken: u8,
    round_trip: Option<Duration>,
    pongs: u32,
    held_since: Option<Instant>,
    pongs_owed: u8,
}

impl PingScheduler {
    /// A scheduler that stands still until [`start`](Self::start).
    pub const fn new(interval: Duration, timeout: Duration) -> Self {
        Self {
            state: State::Stopped,
            at: Instant::ZERO,
            interval,
            timeout,
            sent: None,
            overtaken: 0,
            round_trip: None,
            pongs: 0,
            held_since: None,
            pongs_owed: 0,
        }
    }

    /// Begins: the first Ping is due one interval from now.
    pub fn start(&mut self, now: Instant) {
        self.state = State::Idle;
        self.at = now.saturating_add(self.interval);
    }

    /// Ends: no Ping, no Pong, no timeout any more.
    pub fn stop(&mut self) {
        self.state = State::Stopped;
        self.pongs_owed = 0;
    }

    /// Asks for a Ping now rather than at the next interval. Does nothing while one is unanswered.
    pub fn request(&mut self) {
        if self.state == State::Idle {
            self.state = State::Due;
        }
    }

    /// A message of the remote was verified: it is alive, whatever the message was.
    pub fn on_message(&mut self, now: Instant) {
        if self.state == State::AwaitingPong {
            self.start(now);
        }
    }

    /// A Ping came: one more Pong is owed, up to [`MAX_PONGS_OWED`].
    pub fn on_ping(&mut self) {
        if self.state != State::Stopped {
            self.pongs_owed = self.pongs_owed.saturating_add(1).min(MAX_PONGS_OWED);
        }
    }

    /// A Pong came: if one of our Pings was unanswered, the round trip is known, unless an earlier Ping is unanswered too,
    /// which this may be the answer to. An unasked Pong is ignored.
    pub fn on_pong(&mut self, now: Instant) {
        let Some(sent) = self.sent else {
            return;
        };
        self.pongs = self.pongs.wrapping_add(1);
        if self.overtaken > 0 {
            self.overtaken -= 1;
        } else {
            self.sent = None;
            let round_trip = now.saturating_since(sent);
            trace!("Pong after {:?}", round_trip);
            self.round_trip = Some(round_trip);
        }
    }

    /// We stop taking bytes, or a message is in progress: the remote's answer cannot reach us before that is over, so the
    /// clock of its silence stands still.
    pub fn hold(&mut self, now: Instant) {
        self.held_since.get_or_insert(now);
    }

    /// The way is free again: the deadline moves by as long as it stood still.
    pub fn resume(&mut self, now: Instant) {
        if let Some(since) = self.held_since.take()
            && self.state == State::AwaitingPong
        {
            self.at = self.at.saturating_add(now.saturating_since(since));
        }
    }

    /// Lets time pass. Returns true once, when the pong deadline has passed in silence.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.at > now {
            return false;
        }
        match self.state {
            State::Idle => self.state = State::Due,
            State::AwaitingPong if self.held_since.is_none() => {
                self.state = State::TimedOut;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Whether a Ping or a Pong wants to be sent.
    pub fn wants_to_send(&self) -> bool {
        self.pongs_owed > 0 || self.state == State::Due
    }

    /// Takes one owed Pong: true means send it now.
    #[must_use]
    pub fn take_pong(&mut self) -> bool {
        let owed = self.pongs_owed > 0;
        self.pongs_owed = self.pongs_owed.saturating_sub(1);
        owed
    }

    /// Takes a due Ping: true means send it now; the pong deadline counts from here.
    #[must_use]
    pub fn take_ping(&mut self, now: Instant) -> bool {
        let due = self.state == State::Due;
        if due {
            self.state = State::AwaitingPong;
            self.at = now.saturating_add(self.timeout);
            if self.sent.replace(now).is_some() {
                self.overtaken = self.overtaken.saturating_add(1);
            }
            if self.held_since.is_some() {
                self.held_since = Some(now);
            }
        }
        due
    }

    /// How many of our Pings were answered by a Pong.
    pub fn pongs(&self) -> u32 {
        self.pongs
    }

    /// The last measured round trip of Ping and Pong.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; [`Instant::MAX`] for never.
    pub fn deadline(&self) -> Instant {
        if self.is_timed() {
            self.at
        } else {
            Instant::MAX
        }
    }

    fn is_timed(&self) -> bool {
        match self.state {
            State::Idle => true,
            State::AwaitingPong => self.held_since.is_none(),
            _ => false,
        }
    }
}
