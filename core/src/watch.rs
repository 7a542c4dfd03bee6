//! The watches over one direction each: a message must arrive whole in time, an inbox may hold back only so long, and the
//! wire must take our bytes in time.

use crate::fmt::debug;
use crate::time::{Duration, Instant};

/// What one call to a receiver did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Received {
    /// Messages that were verified.
    pub messages: u32,
    /// Whether a part of a further message has arrived.
    pub partial: bool,
    /// The subprotocol whose inbox holds back, if one does.
    pub held: Option<u8>,
}

/// Watches the receiving direction: the message in progress and the inbox that holds back.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ReceiveWatch {
    /// Whether a message is in progress, and when it began; moved later by the time that we ourselves held back.
    busy: bool,
    began: Instant,
    /// Which inbox holds back, and since when.
    held: Option<u8>,
    since: Instant,
}

/// What a [`ReceiveWatch`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The message in progress is not whole in time.
    Message,
    /// The inbox of this subprotocol held back for too long.
    Inbox(u8),
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
        if received.messages > 0 || received.held.is_none() {
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
        if was_held != self.held {
            match self.held {
                Some(subprotocol) => debug!("holding back: inbox {} is full", subprotocol),
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

    /// Whether an inbox holds back.
    pub const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// What is late at `now`.
    pub fn check(&self, now: Instant, message: Duration, hold_back: Duration) -> Option<Late> {
        if self.deadline(message, hold_back) > now {
            return None;
        }
        match self.held {
            Some(subprotocol) => Some(Late::Inbox(subprotocol)),
            None => self.busy.then_some(Late::Message),
        }
    }

    /// When [`check`](Self::check) will find something if nothing moves; [`Instant::MAX`] for never.
    pub fn deadline(&self, message: Duration, hold_back: Duration) -> Instant {
        if self.held.is_some() {
            self.since.saturating_add(hold_back)
        } else if self.busy {
            self.began.saturating_add(message)
        } else {
            Instant::MAX
        }
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

    /// Bytes sealed and not yet taken by the wire.
    pub const fn pending(&self) -> u64 {
        self.pending as u64
    }

    /// When the wire is too late, unless it moves.
    pub fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.mark.map(|(_, since)| since.saturating_add(timeout))
    }
}
