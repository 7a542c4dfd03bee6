//! What a bare board does: it echoes, and it sends a reading each second.

use core::task::Poll;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::framed::{Event, PendingWrite};
use devp2p_core::lifecycle::State;
use devp2p_core::time::{Duration, Instant, PollAt};

use crate::line::Line;
use crate::protocols::{
    ECHO, ECHO_REPLY, ECHO_REQUEST, LEAVE, OVERSIZE, READING, Reading, SENSOR, SET_INTERVAL,
};

/// How a board's work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Status {
    /// Every session ended as sessions should: it was asked for here or there, or the remote started anew.
    Success,
    /// One did not.
    Failure,
}

/// What there is to tell about a board's work, each as it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum News {
    /// A session is active.
    Active,
    /// A message was sent back.
    Echoed {
        /// Bytes of payload.
        length: u32,
    },
    /// A message was too large for the inbox of `echo/1`; the session goes on.
    Oversize {
        /// Bytes of payload.
        length: u32,
    },
    /// A session is over.
    Closed(CloseReason),
}

/// A bare board.
#[derive(Debug)]
pub struct Node<'a> {
    line: Line<'a>,
    sessions: u32,
    status: Status,
    interval: Duration,
    next_reading: Instant,
    number: u32,
    /// An oversize message that `sensor/1` is still to report.
    oversize: Option<u32>,
    /// The reply that was begun.
    reply: Option<PendingWrite>,
}

impl<'a> Node<'a> {
    /// A board at this line that is done after so many sessions.
    pub const fn new(line: Line<'a>, sessions: u32, now: Instant) -> Self {
        Self {
            line,
            sessions,
            status: Status::Success,
            interval: Duration::from_secs(1),
            next_reading: now,
            number: 0,
            oversize: None,
            reply: None,
        }
    }

    /// The line, to pass bytes in and out.
    pub fn line(&mut self) -> &mut Line<'a> {
        &mut self.line
    }

    /// Does what there is to do. `Some(Some(_))` is news, and there may be more; `Some(None)`: nothing, until something comes
    /// or [`poll_at`](Self::poll_at). `None`: the work is done, and all is said.
    pub fn poll(&mut self, now: Instant) -> Option<Option<News>> {
        match self.line.poll(now) {
            Some(Event::Active) => {
                self.next_reading = now;
                return Some(Some(News::Active));
            }
            Some(Event::Closed(reason)) => {
                (self.oversize, self.reply) = (None, None);
                let expected = matches!(
                    reason,
                    CloseReason::Local(_)
                        | CloseReason::RemoteRequested(_)
                        | CloseReason::Transport(TransportError::EndOfStream)
                );
                if !expected {
                    self.status = Status::Failure;
                }
                self.sessions = self.sessions.saturating_sub(1);
                if self.sessions > 0 {
                    self.line.restart(now);
                }
                return Some(Some(News::Closed(reason)));
            }
            // The framing says where a session ends.
            Some(Event::HalfClose) | None => {}
        }
        if self.sessions == 0 {
            return (!self.line.is_flushed()).then_some(None);
        }
        if self.line.peer().state() != State::Active {
            return Some(None);
        }
        self.sense(now);
        Some(self.echo(now))
    }

    fn echo(&mut self, now: Instant) -> Option<News> {
        let message = self.line.peek(ECHO)?;
        let (code, length) = (message.meta.code, message.meta.length);
        if message.is_oversize() {
            if self.oversize.is_some() {
                return None;
            }
            self.line.pop(ECHO);
            self.oversize = Some(length);
            return Some(News::Oversize { length });
        }
        if code != ECHO_REQUEST {
            self.line.pop(ECHO);
            return None;
        }
        let reply = self
            .reply
            .get_or_insert(PendingWrite::new(ECHO, ECHO_REPLY));
        match self.line.poll_reply(now, reply, None) {
            Poll::Ready(sent) => {
                self.reply = None;
                sent.ok().map(|_| News::Echoed { length })
            }
            Poll::Pending => None,
        }
    }

    fn sense(&mut self, now: Instant) {
        if let Some(message) = self.line.peek(SENSOR) {
            let payload = message.payload.unwrap_or_default();
            match (message.meta.code, payload) {
                (LEAVE, [reason]) => {
                    let reason = DisconnectReason(*reason);
                    self.line.disconnect(now, reason);
                }
                (SET_INTERVAL, [a, b, c, d]) => {
                    let millis = u32::from_le_bytes([*a, *b, *c, *d]);
                    self.interval = Duration::from_millis(u64::from(millis));
                    self.next_reading = now;
                }
                _ => {}
            }
            self.line.pop(SENSOR);
        }
        if let Some(length) = self.oversize {
            let payload = length.to_le_bytes();
            match self.line.try_write(now, SENSOR, OVERSIZE, &[&payload]) {
                Err(WriteError::WouldBlock { .. }) => {}
                _ => self.oversize = None,
            }
        }
        if self.interval > Duration::ZERO && self.next_reading <= now {
            let payload = Reading::take(self.number).encode();
            if self
                .line
                .try_write(now, SENSOR, READING, &[&payload])
                .is_ok()
            {
                self.number = self.number.wrapping_add(1);
                self.next_reading = now.saturating_add(self.interval);
            }
        }
    }

    /// When [`poll`](Self::poll) has something to do, if nothing else happens first.
    pub fn poll_at(&self) -> PollAt {
        let reads = self.interval > Duration::ZERO && self.line.peer().state() == State::Active;
        let reading = reads.then_some(self.next_reading);
        self.line.poll_at().min(reading.into())
    }

    /// How the work went so far.
    pub fn status(&self) -> Status {
        self.status
    }
}
