//! One incoming message of a framing: where it goes, and what it means once the framing has verified it.
//!
//! A message is routed by its code and length before its payload arrives. The payload is then written into the inbox piece by
//! piece, and nothing of it counts before [`Peer::finish_message`](crate::peer::Peer::finish_message).

use crate::code::{LocalCode, WireCode};
use crate::error::Violation;
use crate::hello::MAX_HELLO_LENGTH;
use crate::inbox::{Admit, Hold, Inboxes, Meta};
use crate::lifecycle::State;
use crate::peer::BaseMessage;
use crate::router::{Route, route};
use crate::shared_capabilities::SharedCapabilities;
use crate::time::Instant;

/// A message in progress; `Slot` is the open slot of the inboxes it is written into.
///
/// [`Peer::begin_message`](crate::peer::Peer::begin_message) makes one. Then [`open`](Self::open) until it is not held,
/// [`push`](Self::push) the payload, and [`Peer::finish_message`](crate::peer::Peer::finish_message); or
/// [`abort`](Self::abort) if the payload does not arrive whole. The payload of a [Hello](Self::is_hello) or of a
/// [Disconnect](Self::is_disconnect) is the driver's to gather.
#[derive(Debug)]
pub struct Delivery<Slot>(pub(crate) Target<Slot>);

#[derive(Debug)]
pub(crate) enum Target<Slot> {
    /// Nowhere: its payload is skipped.
    Nowhere,
    /// An inbox that was not asked for room yet, or had none.
    Unopened(Head),
    /// A slot of an inbox; of an oversize message, whose payload is skipped, the slot reports it.
    Slot {
        slot: Slot,
        meta: Head,
        oversize: bool,
    },
    /// An inbox that drops it.
    Dropped(Head),
    /// A full inbox whose subprotocol prefers the end of the session.
    Refused { subprotocol: u8 },
    /// The session: Hello.
    Hello,
    /// The session: Disconnect.
    Disconnect,
    /// The session: another message of the base protocol.
    Base(BaseMessage),
    /// Nowhere: it breaks the protocol, if it is verified.
    Violation(Violation),
}

/// What a subprotocol's message states of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) subprotocol: u8,
    /// It is memory shared with others that it waits for, not room in its inbox.
    pub(crate) waits_for_memory: bool,
    pub(crate) code: LocalCode,
    pub(crate) length: u32,
}

impl Head {
    pub(crate) fn meta(self, at: Instant) -> Meta {
        Meta {
            code: self.code,
            length: self.length,
            wire_length: self.length,
            at,
        }
    }
}

impl<Slot> Delivery<Slot> {
    /// A message whose payload is skipped, and which means nothing.
    pub const fn ignored() -> Self {
        Self(Target::Nowhere)
    }

    /// A message that breaks the protocol, if it is verified.
    pub(crate) const fn violation(violation: Violation) -> Self {
        Self(Target::Violation(violation))
    }

    pub(crate) fn new<const N: usize>(
        state: State,
        shared: &SharedCapabilities<N>,
        code: u64,
        length: usize,
    ) -> Self {
        let is_large = length > MAX_HELLO_LENGTH;
        Self(match (state, route(shared, code)) {
            (State::Closing | State::Closed, _) => Target::Nowhere,
            (_, Route::Base(WireCode::DISCONNECT)) => Target::Disconnect,
            (State::AwaitingHello, Route::Base(WireCode::HELLO)) if is_large => {
                Target::Violation(Violation::HelloTooLarge)
            }
            (State::AwaitingHello, Route::Base(WireCode::HELLO)) => Target::Hello,
            (State::AwaitingHello, _) => Target::Violation(Violation::ExpectedHello),
            (_, Route::Base(_) | Route::Reserved) if is_large => {
                Target::Violation(Violation::BaseMessageTooLarge)
            }
            (_, Route::Base(WireCode::PING)) => Target::Base(BaseMessage::Ping),
            (_, Route::Base(WireCode::PONG)) => Target::Base(BaseMessage::Pong),
            // A second Hello too.
            (_, Route::Base(_) | Route::Reserved) => Target::Nowhere,
            (_, Route::OutOfRange) => Target::Violation(Violation::CodeOutOfRange),
            (_, Route::Subprotocol { subprotocol, code }) => match u32::try_from(length) {
                Ok(length) if length <= crate::MAX_MESSAGE_LENGTH => Target::Unopened(Head {
                    subprotocol: subprotocol as u8,
                    waits_for_memory: false,
                    code,
                    length,
                }),
                _ => Target::Violation(Violation::MessageTooLarge),
            },
        })
    }

    /// Opens the inbox that the message goes to, if it goes to one, with room for all of it. Does nothing once that is done.
    ///
    /// # Errors
    /// [`Hold`] if there is no room now: ask again once there may be, and take no payload before.
    pub fn open<I: Inboxes<Slot = Slot>>(&mut self, inboxes: &mut I) -> Result<(), Hold> {
        let Target::Unopened(meta) = &mut self.0 else {
            return Ok(());
        };
        let subprotocol = meta.subprotocol;
        meta.waits_for_memory = false;
        let (slot, oversize) = match inboxes.open(usize::from(subprotocol), meta.length) {
            Admit::Open(mut slot) => {
                if !inboxes.reserve(&mut slot, meta.length as usize) {
                    inboxes.abort(slot);
                    meta.waits_for_memory = true;
                    return Err(Hold::Memory);
                }
                (slot, false)
            }
            Admit::Oversize(slot) => (slot, true),
            Admit::Drop => {
                self.0 = Target::Dropped(*meta);
                return Ok(());
            }
            Admit::Refuse => {
                self.0 = Target::Refused { subprotocol };
                return Ok(());
            }
            Admit::Hold => return Err(Hold::Inbox(subprotocol)),
            Admit::Wait => {
                meta.waits_for_memory = true;
                return Err(Hold::Memory);
            }
        };
        self.0 = Target::Slot {
            slot,
            meta: *meta,
            oversize,
        };
        Ok(())
    }

    /// Takes the next piece of payload.
    pub fn push<I: Inboxes<Slot = Slot>>(&mut self, inboxes: &mut I, piece: &[u8]) {
        let Target::Slot {
            slot,
            oversize: false,
            ..
        } = &mut self.0
        else {
            return;
        };
        inboxes.with(slot, |window| window.push(piece));
    }

    /// The message does not arrive whole: nothing of it was ever visible.
    pub fn abort<I: Inboxes<Slot = Slot>>(self, inboxes: &mut I) {
        if let Target::Slot { slot, .. } = self.0 {
            inboxes.abort(slot);
        }
    }

    /// What the message waits for, if it waits for room.
    pub fn held(&self) -> Option<Hold> {
        match self.0 {
            Target::Unopened(head) if head.waits_for_memory => Some(Hold::Memory),
            Target::Unopened(head) => Some(Hold::Inbox(head.subprotocol)),
            _ => None,
        }
    }

    /// Whether it is the remote's Hello, whose payload, of at most [`MAX_HELLO_LENGTH`] bytes, is to be passed to
    /// [`Peer::handle_hello`](crate::peer::Peer::handle_hello).
    pub const fn is_hello(&self) -> bool {
        matches!(self.0, Target::Hello)
    }

    /// Whether it is a Disconnect, whose reason is to be passed to
    /// [`Peer::finish_message`](crate::peer::Peer::finish_message). The first
    /// [`HEAD_LENGTH`](crate::disconnect::HEAD_LENGTH) bytes of its payload do
    /// ([`decode_head`](crate::disconnect::decode_head)).
    pub const fn is_disconnect(&self) -> bool {
        matches!(self.0, Target::Disconnect)
    }
}
