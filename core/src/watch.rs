//! The watches over one direction each: a message must arrive whole in time, an inbox or memory may hold back only so long,
//! and the wire must take our bytes in time.

use crate::config::Config;
use crate::fmt::debug;
use crate::inbox::Hold;
use crate::time::{Duration, Instant};

/// What one call to a receiver did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Received {
    /// Messages that were verified.
    pub messages: u32,
    /// Whether a part of a further message has arrived.
    pub partial: bool,
    /// What holds back, if something does.
    pub held: Option<Hold>,
}

/// Watches the receiving direction: the message in progress and what holds back.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ReceiveWatch {
    /// Whether a message is in progress, and when it began; moved later by the time that we ourselves held back.
    busy: bool,
    began: Instant,
    /// What holds back, and since when.
    held: Option<Hold>,
    since: Instant,
}

/// What a [`ReceiveWatch`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The message in progress is not whole in time.
    Message,
    /// This held back for too long.
    Held(Hold),
}

/// What holds back, as one number: the derived comparison of two options costs 78 bytes of flash.
#[inline(always)]
const fn number(held: Option<Hold>) -> u16 {
    match held {
        None => u16::MAX,
        Some(Hold::Memory) => 1 << 8,
        Some(Hold::Inbox(subprotocol)) => subprotocol as u16,
    }
}

impl ReceiveWatch {
    /// Nothing in progress.
    pub const fn new() -> Self {
        Self {
            busy: false,
            began: Instant::MAX,
            held: None,
            since: Instant::MAX,
        }
    }

    /// Takes note of what a call to the receiver did. Returns `Some(true)` if with it a message came to be in progress or
    /// held back, behind which no Pong can reach us, and `Some(false)` if that ended.
    pub fn update(&mut self, now: Instant, received: Received) -> Option<bool> {
        let (was_busy, was_held) = (self.busy, self.held);
        if received.messages > 0 || !received.partial {
            self.busy = false;
        }
        // A message that found room ends the wait of the one before it: a slow reader is not a stalled one.
        if received.messages > 0 || number(received.held) != number(self.held) {
            if self.held.is_some() {
                self.began = self.began.saturating_add(now.saturating_since(self.since));
            }
            self.held = None;
        }
        if received.partial && !self.busy {
            (self.busy, self.began) = (true, now);
        }
        if received.held.is_some() && self.held.is_none() {
            (self.held, self.since) = (received.held, now);
        }
        if number(was_held) != number(self.held) {
            match self.held {
                Some(Hold::Inbox(subprotocol)) => {
                    debug!("holding back: inbox {} is full", subprotocol);
                }
                Some(Hold::Memory) => debug!("holding back: no memory for a message"),
                None => debug!("no longer holding back"),
            }
        }
        (was_busy != self.busy).then_some(self.busy)
    }

    /// What comes in matters no more.
    pub(crate) fn stop(&mut self) {
        self.busy = false;
        self.held = None;
    }

    /// What holds back, if something does.
    pub const fn held(&self) -> Option<Hold> {
        self.held
    }

    /// The wire took bytes. A reader that is late may have waited for that, and is given its time anew.
    pub fn on_taken(&mut self, now: Instant, config: &Config) {
        if self.deadline(config) <= now {
            self.restart_wait(now);
        }
    }

    /// The wait for what holds back begins anew.
    pub(crate) fn restart_wait(&mut self, now: Instant) {
        self.since = now;
    }

    /// What is late once the [deadline](Self::deadline) has come.
    pub fn late(&self) -> Option<Late> {
        match self.held {
            Some(held) => Some(Late::Held(held)),
            None => self.busy.then_some(Late::Message),
        }
    }

    /// When something is late if nothing moves; [`Instant::MAX`] for never.
    pub fn deadline(&self, config: &Config) -> Instant {
        let (since, limit) = match self.held {
            Some(_) => (&self.since, &config.hold_back_limit),
            None if self.busy => (&self.began, &config.message_timeout),
            None => return Instant::MAX,
        };
        since.saturating_add(*limit)
    }
}

/// Watches the sending direction by marks: everything sealed when a mark is set must be taken within the deadline, then the
/// next mark is set. So a wire that moves is given time, and one that stands still is noticed. A frame that was begun counts
/// as waiting until it is whole: a writer that stops inside it stops everyone.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TransmitWatch {
    /// Bytes sealed and not yet taken.
    pending: usize,
    /// Of those, the bytes before the mark, and when the mark was set.
    mark: Option<(usize, Instant)>,
    /// A part of a frame is sealed, the rest is not.
    inside_frame: bool,
}

impl TransmitWatch {
    /// Nothing sealed.
    pub const fn new() -> Self {
        Self {
            pending: 0,
            mark: None,
            inside_frame: false,
        }
    }

    /// `bytes` more were sealed.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn on_sealed(&mut self, now: Instant, bytes: usize) {
        self.pending = self.pending.saturating_add(bytes);
        if bytes > 0 && self.mark.is_none_or(|(before, _)| before == 0) {
            self.mark = Some((self.pending, now));
        }
    }

    /// A frame was begun whose rest is still to be sealed, or that rest was sealed.
    pub fn set_inside_frame(&mut self, inside: bool) {
        self.inside_frame = inside;
        if !inside && self.pending == 0 {
            self.mark = None;
        }
    }

    /// The wire took `bytes`.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn on_taken(&mut self, now: Instant, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.pending = self.pending.saturating_sub(bytes);
        if let Some((before, since)) = &mut self.mark {
            *before = before.saturating_sub(bytes);
            if *before == 0 {
                (*before, *since) = (self.pending, now);
                if self.pending == 0 && !self.inside_frame {
                    self.mark = None;
                }
            }
        }
    }

    /// Whether the wire has yet to take bytes, or a frame to be sealed to its end.
    pub const fn is_waiting(&self) -> bool {
        self.mark.is_some()
    }

    /// Bytes sealed and not yet taken by the wire.
    pub const fn pending(&self) -> u64 {
        self.pending as u64
    }

    /// When the wire is too late, unless it moves.
    pub fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.mark.map(|(_, since)| since.saturating_add(timeout))
    }
}
