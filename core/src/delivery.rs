//! One incoming message of a framing: where it goes, and what it means once the framing has verified it.
//!
//! A message is routed by its code and length before its payload arrives. The payload is then written into the inbox piece by
//! piece, and nothing of it counts before [`Peer::finish_message`](crate::peer::Peer::finish_message).

use crate::code::{LocalCode, WireCode};
use crate::error::Violation;
use crate::hello::MAX_HELLO_LENGTH;
use crate::inbox::{Admit, Inboxes, Meta};
use crate::lifecycle::State;
use crate::peer::{BaseMessage, Held};
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
                    code,
                    length,
                }),
                _ => Target::Violation(Violation::MessageTooLarge),
            },
        })
    }

    /// Opens the inbox that the message goes to, if it goes to one. Does nothing once that is done.
    ///
    /// # Errors
    /// [`Held`] if the inbox is full: ask again once it was read from, and take no payload before.
    pub fn open<I: Inboxes<Slot = Slot>>(&mut self, inboxes: &mut I) -> Result<(), Held> {
        let Target::Unopened(meta) = self.0 else {
            return Ok(());
        };
        let subprotocol = meta.subprotocol;
        self.0 = match inboxes.open(usize::from(subprotocol), meta.length) {
            Admit::Open(slot) => Target::Slot {
                slot,
                meta,
                oversize: false,
            },
            Admit::Oversize(slot) => Target::Slot {
                slot,
                meta,
                oversize: true,
            },
            Admit::Drop => Target::Dropped(meta),
            Admit::Refuse => Target::Refused { subprotocol },
            Admit::Hold => return Err(Held { subprotocol }),
        };
        Ok(())
    }

    /// Takes the next piece of payload.
    pub fn push<I: Inboxes<Slot = Slot>>(&mut self, inboxes: &mut I, mut piece: &[u8]) {
        let Target::Slot {
            slot,
            oversize: false,
            ..
        } = &mut self.0
        else {
            return;
        };
        while !piece.is_empty() {
            let taken = inboxes.with(slot, piece.len(), |window| window.push(piece));
            if taken == 0 {
                return;
            }
            piece = piece.get(taken..).unwrap_or_default();
        }
    }

    /// The message does not arrive whole: nothing of it was ever visible.
    pub fn abort<I: Inboxes<Slot = Slot>>(self, inboxes: &mut I) {
        if let Target::Slot { slot, .. } = self.0 {
            inboxes.abort(slot);
        }
    }

    /// Whether the message waits for room in its inbox; which one that is.
    pub fn held(&self) -> Option<Held> {
        match self.0 {
            Target::Unopened(Head { subprotocol, .. }) => Some(Held { subprotocol }),
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
