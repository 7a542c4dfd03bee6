//! What becomes of the frame that is coming in: each message is written where it belongs as it arrives, and counts once its
//! CRC holds.

use devp2p_core::arena::{Arena, Slot};
use devp2p_core::code::{LocalCode, WireCode};
use devp2p_core::config::Local;
use devp2p_core::disconnect;
use devp2p_core::error::{TransportError, Violation};
use devp2p_core::hello::MAX_HELLO_LENGTH;
use devp2p_core::inbox::{Admit, Hold, Inboxes, Meta};
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{BaseMessage, Peer};
use devp2p_core::router::{Route, route};
use devp2p_core::time::Instant;
use devp2p_core::watch::Received;

/// Bytes kept of a Disconnect, whose reason stands at its beginning.
const DISCONNECT: usize = 32;

/// The message that is coming in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// None, or one that is of no interest.
    Nothing,
    /// It waits for room in its inbox, before its payload.
    Held {
        subprotocol: usize,
        code: LocalCode,
        length: u16,
    },
    /// It goes into its inbox.
    Open {
        slot: Slot,
        code: LocalCode,
        length: u16,
    },
    /// It is skipped and will be reported or counted.
    Oversize {
        slot: Slot,
        code: LocalCode,
        length: u16,
    },
    /// It is skipped and counted: its inbox is full.
    Drop {
        subprotocol: usize,
        code: LocalCode,
        length: u16,
    },
    /// It is skipped; its inbox is full, and the subprotocol prefers an end to a loss.
    Refuse { subprotocol: usize },
    /// The remote's Hello, gathered in the memory of the inboxes.
    Hello { gathered: usize },
    /// A Disconnect: its first bytes.
    Disconnect {
        bytes: [u8; DISCONNECT],
        gathered: usize,
    },
    /// Another message of the base protocol, whose payload says nothing.
    Base(BaseMessage),
    /// It breaks the protocol, if its CRC holds.
    Violation(Violation),
}

impl Incoming {
    /// What is to become of a message.
    pub(crate) fn new<const N: usize>(
        peer: &Peer<N>,
        inboxes: &mut Arena<'_, N>,
        code: u16,
        length: u16,
    ) -> Self {
        if peer.is_closing() {
            return Self::Nothing;
        }
        let disconnect = Self::Disconnect {
            bytes: [0; DISCONNECT],
            gathered: 0,
        };
        let (code, is_large) = (u32::from(code), usize::from(length) > MAX_HELLO_LENGTH);
        if peer.state() == State::AwaitingHello {
            return match WireCode(code) {
                WireCode::HELLO if is_large || usize::from(length) > inboxes.scratch().len() => {
                    Self::Violation(Violation::HelloTooLarge)
                }
                WireCode::HELLO => Self::Hello { gathered: 0 },
                WireCode::DISCONNECT => disconnect,
                _ => Self::Violation(Violation::ExpectedHello),
            };
        }
        match route(peer.shared(), u64::from(code)) {
            Route::Base(_) | Route::Reserved if is_large => {
                Self::Violation(Violation::BaseMessageTooLarge)
            }
            Route::Base(WireCode::DISCONNECT) => disconnect,
            Route::Base(WireCode::PING) => Self::Base(BaseMessage::Ping),
            Route::Base(WireCode::PONG) => Self::Base(BaseMessage::Pong),
            Route::Base(_) | Route::Reserved => Self::Nothing,
            Route::OutOfRange => Self::Violation(Violation::CodeOutOfRange),
            Route::Subprotocol { subprotocol, code } => {
                Self::open(inboxes, subprotocol, code, length)
            }
        }
    }

    fn open<const N: usize>(
        inboxes: &mut Arena<'_, N>,
        subprotocol: usize,
        code: LocalCode,
        length: u16,
    ) -> Self {
        match inboxes.open(subprotocol, u32::from(length)) {
            Admit::Open(slot) => Self::Open { slot, code, length },
            Admit::Oversize(slot) => Self::Oversize { slot, code, length },
            Admit::Hold | Admit::Wait => Self::Held {
                subprotocol,
                code,
                length,
            },
            Admit::Drop => Self::Drop {
                subprotocol,
                code,
                length,
            },
            Admit::Refuse => Self::Refuse { subprotocol },
        }
    }

    /// Tries again for a message that waits for room. Returns whether it still waits.
    pub(crate) fn is_held<const N: usize>(&mut self, inboxes: &mut Arena<'_, N>) -> bool {
        if let Self::Held {
            subprotocol,
            code,
            length,
        } = *self
        {
            *self = Self::open(inboxes, subprotocol, code, length);
        }
        matches!(self, Self::Held { .. })
    }

    /// What the receiver's watch is to know, when `messages` came whole.
    pub(crate) fn received(&self, messages: u32, is_inside_frame: bool) -> Received {
        let held = match self {
            Self::Held { subprotocol, .. } => Some(Hold::Inbox(*subprotocol as u8)),
            _ => None,
        };
        Received {
            messages,
            partial: is_inside_frame,
            held,
        }
    }

    /// Takes a piece of its payload.
    pub(crate) fn push<const N: usize>(&mut self, inboxes: &mut Arena<'_, N>, piece: &[u8]) {
        match self {
            Self::Open { slot, .. } => {
                inboxes.with(slot, |window| window.push(piece));
            }
            Self::Hello { gathered } => append(inboxes.scratch(), gathered, piece),
            Self::Disconnect { bytes, gathered } => append(bytes, gathered, piece),
            _ => {}
        }
    }

    /// The CRC holds: now it counts.
    pub(crate) fn complete<const N: usize>(
        self,
        now: Instant,
        local: &Local<'_>,
        peer: &mut Peer<N>,
        inboxes: &mut Arena<'_, N>,
    ) {
        let meta = |code: LocalCode, length: u16| Meta {
            code,
            length: u32::from(length),
            wire_length: u32::from(length),
            at: now,
        };
        match self {
            Self::Nothing | Self::Held { .. } => {}
            Self::Open { slot, code, length } | Self::Oversize { slot, code, length } => {
                inboxes.commit(slot, meta(code, length));
            }
            Self::Drop {
                subprotocol,
                code,
                length,
            } => inboxes.dropped(subprotocol, meta(code, length)),
            Self::Refuse { subprotocol } => {
                let subprotocol = subprotocol as u8;
                peer.close(
                    now,
                    devp2p_core::error::CloseReason::Stalled { subprotocol },
                );
            }
            Self::Hello { gathered } => {
                let payload = inboxes.scratch().get(..gathered).unwrap_or_default();
                peer.handle_hello(now, local, payload);
            }
            Self::Disconnect { bytes, gathered } => {
                let payload = bytes.get(..gathered).unwrap_or_default();
                peer.handle_base(now, BaseMessage::Disconnect(disconnect::decode(payload)));
            }
            Self::Base(message) => peer.handle_base(now, message),
            Self::Violation(violation) => peer.handle_violation(now, violation),
        }
    }

    /// Bytes were damaged: a message was lost, and a session without all its messages is none.
    pub(crate) fn damaged<const N: usize>(
        self,
        now: Instant,
        peer: &mut Peer<N>,
        inboxes: &mut Arena<'_, N>,
    ) {
        if let Self::Open { slot, .. } | Self::Oversize { slot, .. } = self {
            inboxes.abort(slot);
        }
        peer.handle_end(now, TransportError::BadMac);
    }
}

fn append(to: &mut [u8], have: &mut usize, piece: &[u8]) {
    let to = to.get_mut(*have..).unwrap_or_default();
    *have += to.len().min(piece.len());
    to.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
}
