//! Driving the receiving direction: the thread that waits for a message does it, or the [background](super::background).

use std::mem;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Instant;

use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::inbox::Hold;
use devp2p_core::rlpx::receive::Status;
use devp2p_core::shared_capabilities::SharedCapabilities;
use devp2p_core::time::PollAt;

use super::{Fill, Frames, SMALL_READ, Told};
use crate::block::{block_on, block_until};
use crate::busy_poll::BusyPoll;
use crate::host::MAX_PROTOCOLS;
use crate::inbox::Arrived;
use crate::lead::SLICE;
use crate::link::Link;
use crate::peer::PeerHandle;
use crate::queue::{Queue, Queues};
use crate::time::to_core_duration;

/// What reads the frames of an active session into its inboxes.
pub(crate) struct Driver {
    pub(super) frames: Box<Frames>,
    pub(super) inboxes: Queues<Told>,
    shared: SharedCapabilities<MAX_PROTOCOLS>,
}

/// Bytes handled at a time: the readers of what came in them are woken before the next ones are.
const PART: usize = 16 * 1024;

/// What one [`Driver::pump`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Bytes came and were handled.
    Bytes,
    /// None came in time.
    Nothing,
    /// There is no room for what comes next.
    Held,
    /// The session is closing, or the stream has ended.
    Over,
}

impl Driver {
    pub(super) fn new(frames: Box<Frames>, peer: &PeerHandle) -> Self {
        let link = &frames.link;
        let weak = Weak::clone(&link.this);
        let evict = move || {
            if let Some(link) = weak.upgrade() {
                link.close(CloseReason::MemoryFull);
            }
        };
        let account = link.host.memory.account(evict);
        link.set_account(&account);
        Self {
            shared: link.with_peer(|peer| peer.shared().clone()),
            inboxes: Queues::new(link.queues(), account, Told(peer.clone())),
            frames,
        }
    }

    /// Whether reads of the transport shall end after a [`SLICE`]; false if the transport cannot do that.
    pub(super) fn slice(&mut self, sliced: bool) -> bool {
        let frames = &mut self.frames;
        if frames.sliced != sliced {
            frames.sliced = frames.link.limit_reads(sliced.then_some(SLICE)) && sliced;
        }
        frames.sliced == sliced
    }

    /// Polls the transport, so that the next [`pump`](Self::pump) need not sleep for bytes that come soon.
    fn poll(&mut self, busy_poll: &mut BusyPoll) {
        let frames = &mut *self.frames;
        if frames.buffer.unread.is_empty() && !frames.receive.is_held() {
            frames.poll(busy_poll);
        }
    }

    /// Handles what was read; reads more when that is done.
    pub(super) fn pump(&mut self) -> Pumped {
        let Frames {
            link,
            keys,
            receive,
            ..
        } = &mut *self.frames;
        let link = Arc::clone(link);
        if link.close_reason().is_some() {
            return Pumped::Over;
        }
        // A message that waited for room is opened even if nothing of it is unread yet.
        let held = receive.is_held();
        let keys = Arc::clone(keys);
        if self.frames.buffer.unread.is_empty() && !held {
            match self.frames.fill() {
                Fill::Bytes => {}
                Fill::Late => return Pumped::Nothing,
                Fill::End => return Pumped::Over,
            }
        }
        let Frames {
            receive, buffer, ..
        } = &mut *self.frames;
        self.inboxes.on_arrived(buffer.unread.len());
        let (n, status) = receive.handle(
            &keys,
            link.now(),
            buffer.unread(PART),
            &self.shared,
            &mut self.inboxes,
        );
        buffer.unread.start += n;
        let received = receive.take_received();
        link.change(|peer, now| {
            match status {
                Status::NeedInput | Status::Held(_) => {}
                Status::Base(message) => peer.handle_base(now, message),
                Status::Violation(violation) => peer.handle_violation(now, violation),
                Status::Refused { subprotocol } => {
                    peer.close(now, CloseReason::Stalled { subprotocol })
                }
                Status::Broken(error) => peer.handle_end(now, error),
            }
            peer.on_receive(now, received);
        });
        match status {
            Status::Held(_) => Pumped::Held,
            _ => Pumped::Bytes,
        }
    }

    /// Waits until there is room in what holds back, or the session ends.
    pub(super) fn wait_for_room(&mut self) {
        let link = Arc::clone(&self.frames.link);
        let Frames { receive, keys, .. } = &mut *self.frames;
        block_on(|cx| {
            loop {
                // The end of the session wakes those of every inbox.
                let index = match receive.held() {
                    Some(Hold::Inbox(subprotocol)) => subprotocol.into(),
                    Some(Hold::Memory) => 0,
                    None => return Poll::Ready(()),
                };
                link.queue(index).wait_for_room(cx.waker());
                if link.close_reason().is_some() || !link.can_send() {
                    return Poll::Ready(());
                }
                // Without bytes it can only begin or go on with its message, not end it.
                let inboxes = &mut self.inboxes;
                receive.handle(keys, link.now(), &mut [], &self.shared, inboxes);
                let received = receive.take_received();
                link.change(|peer, now| peer.on_receive(now, received));
                match receive.held() {
                    None => return Poll::Ready(()),
                    Some(Hold::Memory) if !self.inboxes.account().wait(cx.waker()) => {}
                    _ => return Poll::Pending,
                }
            }
        });
        self.inboxes.account().stop_waiting();
        if !link.can_send() {
            link.on_input_end(TransportError::Io);
        }
    }
}

impl Link {
    /// Wakes one who waits for a message and would read; those who come to wait only now find the half free by themselves.
    pub(super) fn wake_willing(&self) {
        if self.lead.has_willing() {
            let _ = self.queues().iter().any(Queue::wake_waiting_reader);
        }
    }

    /// Leaves the half to whoever waits for a message next. Unless much arrives, nobody who waits already is woken for it: the
    /// one that has its message most often comes back first, and a wake costs more than the whole of a round trip's rest.
    pub(super) fn leave(&self, driver: Box<Driver>) {
        let now = self.now();
        if let PollAt::At(at) = self.lead.leave(driver, now) {
            self.look_after_lead(at);
        }
    }

    /// Leaves the half to the reader of a message that has just come: woken only then, it finds it free.
    pub(super) fn pass_on(&self, driver: Box<Driver>, reader: Option<Waker>) {
        self.leave(driver);
        reader.into_iter().for_each(Waker::wake);
    }

    /// The next message of a subprotocol, or why there is none; `None` at `deadline`. Whoever waits reads from the transport
    /// itself, unless another thread does.
    pub(crate) fn next(
        &self,
        subprotocol: usize,
        deadline: Option<Instant>,
        busy_poll: &mut BusyPoll,
    ) -> Option<Result<Arrived, CloseReason>> {
        let queue = self.queue(subprotocol);
        if let Poll::Ready(next) = queue.poll_next(None) {
            return Some(next);
        }
        let for_reply = self.before_wait(deadline.is_none())
            && (deadline.is_none() || busy_poll.limit() <= to_core_duration(SLICE));
        let mut busy_poll = busy_poll.begin(for_reply).then_some(busy_poll);
        let (mut passed_on, mut gave_up) = (false, false);
        loop {
            // A read of the transport could outlast a shorter wait.
            let may_lead = !gave_up
                && deadline
                    .is_none_or(|at| at.saturating_duration_since(Instant::now()) > SLICE * 2);
            if may_lead && let Some(driver) = self.lead.try_take() {
                match self.read_for(queue, driver, busy_poll.take(), deadline.is_some()) {
                    Led::Next(next) => return Some(next),
                    Led::PassedOn => passed_on = true,
                    // Taken back, it would be handed over again and again. Free, there is no thread that could have it.
                    Led::HandedOver => gave_up = deadline.is_some() && !self.lead.is_free(),
                }
            }
            let willing = may_lead.then(|| self.lead.willing());
            let waited = block_until(deadline, |cx| match queue.poll_next(Some(cx)) {
                Poll::Ready(next) => Poll::Ready(Some(next)),
                // What was passed on is not taken back, unless by one who was woken for it.
                Poll::Pending if mem::take(&mut passed_on) => Poll::Pending,
                Poll::Pending if may_lead && self.lead.is_free() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            drop(willing);
            match waited {
                Some(Some(next)) => return Some(next),
                Some(None) => {}
                None => return None,
            }
        }
    }

    /// Reads from the transport until `queue` has a message, another reader's comes, or there is a reason to wait otherwise: if
    /// `limited`, also when none comes for a while.
    fn read_for(
        &self,
        queue: &Queue,
        driver: Box<Driver>,
        mut busy_poll: Option<&mut BusyPoll>,
        limited: bool,
    ) -> Led {
        let mut leading = Leading {
            link: self,
            driver: Some(driver),
        };
        loop {
            let Some(driver) = &mut leading.driver else {
                return Led::HandedOver;
            };
            if let Some(busy_poll) = busy_poll.take() {
                driver.poll(busy_poll);
            }
            let pumped = match driver.slice(limited) {
                true => driver.pump(),
                false => Pumped::Nothing,
            };
            let reader = driver.inboxes.take_readers();
            let goes_on = !driver.frames.buffer.unread.is_empty();
            if let Poll::Ready(next) = queue.poll_next(None) {
                // Before the half is left, for this thread goes on.
                reader.into_iter().for_each(Waker::wake);
                if let Some(driver) = leading.driver.take() {
                    let is_bulk = driver.frames.buffer.last > SMALL_READ;
                    self.leave(driver);
                    // Of more that was read too, others need not wait for this thread to come back.
                    if is_bulk || goes_on {
                        self.wake_willing();
                    }
                }
                return Led::Next(next);
            }
            if pumped == Pumped::Bytes && reader.is_some() && !goes_on {
                if let Some(driver) = leading.driver.take() {
                    self.pass_on(driver, reader);
                }
                return Led::PassedOn;
            }
            reader.into_iter().for_each(Waker::wake);
            if pumped != Pumped::Bytes {
                return Led::HandedOver;
            }
        }
    }
}

/// What one who read for itself ended with.
enum Led {
    /// Its message, or why none comes. The half is left.
    Next(Result<Arrived, CloseReason>),
    /// The half is left to another, whose message came.
    PassedOn,
    /// The half is the background thread's.
    HandedOver,
}

/// The half in the hands of a thread that waits for a message. When dropped it goes to the background thread.
struct Leading<'a> {
    link: &'a Link,
    driver: Option<Box<Driver>>,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            self.link.lead.hand_over(driver);
            self.link.call_background();
        }
    }
}
