//! The thread that reads while no subprotocol waits for a message, and that sees the session end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use devp2p_core::time::PollAt;

use super::Frames;
use super::drive::{Driver, Pumped};
use crate::link::Link;
use crate::peer::PeerHandle;

/// How long the thread stays when it is not asked for: longer than those pauses that are part of a conversation.
const LINGER: Duration = Duration::from_millis(100);

/// Stack of the thread, in bytes. Other than that of threads that stay, which shall not be given pages used by this one.
const STACK: usize = 256 * 1024;

/// What follows once the session has ended: is told whether reading panicked, and of the thread that calls it.
pub(crate) type AtEnd = dyn FnOnce(thread::Result<()>, Option<JoinHandle<()>>) + Send;

impl Link {
    /// The session is active: from here on the frames are read by whoever waits for a message, or by the background thread.
    pub(crate) fn begin_reading(&self, frames: Box<Frames>, peer: &PeerHandle) {
        let mut driver = Box::new(Driver::new(frames, peer));
        if driver.slice(true) {
            self.leave(driver);
            self.wake_willing();
        } else {
            self.lead.hand_over(driver);
        }
    }

    /// The part of a background thread that is there to the session's end: returns then.
    pub(crate) fn read_to_end(&self) {
        if let Some(mut frames) = self.attend(None) {
            frames.discard();
        }
    }

    /// The part of a background thread that need not stay: it ends when it is not asked for within `linger`, and another is
    /// started when one is. The one that sees the session end goes on with what was set by [`Link::at_end`].
    pub(crate) fn read_in_background(&self, linger: Duration) {
        let over = catch_unwind(AssertUnwindSafe(|| {
            let frames = self.attend(Some(linger));
            frames.map(|mut frames| frames.discard()).is_some()
        }));
        if !matches!(over, Ok(false))
            && let Some(at_end) = self.take_at_end()
        {
            at_end(over.map(drop), self.lead.take_thread());
        }
    }

    /// Sees to it that a background thread is there if one is wanted.
    pub(crate) fn call_background(&self) {
        let spawn = || {
            let link = self.this.upgrade();
            thread::Builder::new()
                .name("devp2p-read".to_owned())
                .stack_size(STACK)
                .spawn(move || link.iter().for_each(|link| link.read_in_background(LINGER)))
        };
        if let PollAt::At(at) = self.lead.start(self.now(), || self.is_closing(), spawn) {
            self.look_after_lead(at);
            self.wake_willing();
        }
    }

    /// Reads when asked to, until the session closes or the stream ends: then returns the frames. `None` if it was not asked
    /// within `linger`.
    fn attend(&self, linger: Option<Duration>) -> Option<Box<Frames>> {
        loop {
            let over = self.read_on(self.lead.wait(linger)?);
            if over.is_some() {
                return over;
            }
        }
    }

    /// Reads until another goes on, or until the session closes or the stream ends: then returns the frames.
    fn read_on(&self, mut driver: Box<Driver>) -> Option<Box<Frames>> {
        let can_leave = driver.slice(true);
        let mut is_idle = !can_leave;
        loop {
            driver.slice(!is_idle);
            let is_awaited = self.lead.has_willing();
            let pumped = driver.pump();
            let reader = driver.inboxes.take_readers();
            match pumped {
                Pumped::Nothing => is_idle = true,
                Pumped::Bytes => {}
                Pumped::Held => {
                    reader.into_iter().for_each(Waker::wake);
                    driver.wait_for_room();
                    continue;
                }
                Pumped::Over => {
                    reader.into_iter().for_each(Waker::wake);
                    driver.frames.receive.abort(&mut driver.inboxes);
                    return Some(driver.frames);
                }
            }
            // What was read is handled first: others may wait for what is in it.
            let can_leave = can_leave && driver.frames.buffer.unread.is_empty();
            // Whoever waited has its message, and reads the next one itself.
            if can_leave && is_awaited && reader.is_some() {
                self.pass_on(driver, reader);
                return None;
            }
            reader.into_iter().for_each(Waker::wake);
            // Whoever waits can do so at the transport as well.
            if can_leave && is_idle && self.lead.has_willing() {
                self.leave(driver);
                self.wake_willing();
                return None;
            }
        }
    }
}
