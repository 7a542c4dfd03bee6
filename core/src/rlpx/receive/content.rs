//! Where the payload of a frame goes, and what its MAC makes of it.

use super::{ReceiveHalf, Stage, Status};
use crate::code::{LocalCode, WireCode};
use crate::disconnect::Partial;
use crate::error::Violation;
use crate::hello::MAX_HELLO_LENGTH;
use crate::inbox::{Inboxes, Meta};
use crate::peer::BaseMessage;
use crate::ring::BLOCK;
use crate::rlp;
use crate::rlpx::sponge::Sponge;
use crate::router::{Route, route};
use crate::shared_capabilities::SharedCapabilities;
#[cfg(feature = "snappy")]
use crate::snappy;
use crate::time::Instant;

/// Where the payload of the frame in progress goes.
#[derive(Debug)]
pub(super) enum Sink<Slot> {
    /// Nowhere; this verdict is told after the MAC.
    Discard(Option<Verdict>),
    /// A Disconnect: its beginning is kept.
    Disconnect(Partial),
    /// An inbox.
    Slot {
        slot: Slot,
        code: LocalCode,
        length: u32,
        oversize: bool,
    },
    /// A message that its inbox drops.
    Drop {
        subprotocol: u8,
        code: LocalCode,
        length: u32,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    Violation(Violation),
    Refuse { subprotocol: u8 },
    Base(BaseMessage),
}

impl<Slot, S: Sponge> ReceiveHalf<Slot, S> {
    /// Reads code and length from the first block, in the stash, and routes the message.
    pub(super) fn begin_message<const N: usize>(
        &mut self,
        shared: &SharedCapabilities<N>,
    ) -> Stage<Slot> {
        let block = self.stash.get(..self.left.min(BLOCK)).unwrap_or_default();
        let discard = |verdict| Stage::Body(Sink::Discard(verdict));
        let violation = |violation| discard(Some(Verdict::Violation(violation)));
        let Ok((code, used)) = rlp::decode_code(block) else {
            return violation(Violation::MalformedCode);
        };
        self.code_length = used as u8;
        let is_large = self.left - used > MAX_HELLO_LENGTH;
        match route(shared, code) {
            Route::Base(WireCode::DISCONNECT) => Stage::Body(Sink::Disconnect(Partial::new())),
            Route::Base(_) | Route::Reserved if is_large => {
                violation(Violation::BaseMessageTooLarge)
            }
            Route::Base(WireCode::PING) => discard(Some(Verdict::Base(BaseMessage::Ping))),
            Route::Base(WireCode::PONG) => discard(Some(Verdict::Base(BaseMessage::Pong))),
            // A second Hello is ignored, as is every reserved code.
            Route::Base(_) | Route::Reserved => discard(None),
            Route::OutOfRange => violation(Violation::CodeOutOfRange),
            Route::Subprotocol { subprotocol, code } => {
                let (length, varint) =
                    match self.stated_length(block.get(used..).unwrap_or_default(), used) {
                        Ok(stated) => stated,
                        Err(error) => return violation(error),
                    };
                Stage::Opening {
                    subprotocol: subprotocol as u8,
                    code,
                    length,
                    skip: (used + varint) as u8,
                }
            }
        }
    }

    /// The uncompressed length of the payload that begins with `head`, and the bytes that state it.
    fn stated_length(&self, head: &[u8], used: usize) -> Result<(u32, usize), Violation> {
        #[cfg(feature = "snappy")]
        if self.compressed {
            return match snappy::parse_length(head) {
                Ok(Some((length, varint))) if length <= crate::MAX_MESSAGE_LENGTH => {
                    Ok((length, varint))
                }
                Ok(Some(_)) => Err(Violation::MessageTooLarge),
                // A code and a length always fit the first block.
                Ok(None) | Err(_) => Err(Violation::BadSnappy),
            };
        }
        let _ = head;
        Ok((self.wire_length - used as u32, 0))
    }

    /// Makes sure that there is room for what the next `length` bytes of the body become.
    pub(super) fn reserve<I: Inboxes<Slot = Slot>>(
        &mut self,
        length: usize,
        inboxes: &mut I,
    ) -> bool {
        let Stage::Body(Sink::Slot {
            slot,
            oversize: false,
            ..
        }) = &mut self.stage
        else {
            return true;
        };
        let room = self.left.min(length);
        #[cfg(feature = "snappy")]
        let room = match self.compressed {
            true => self.decoder.room_for(room),
            false => room,
        };
        inboxes.reserve(slot, room)
    }

    /// Passes decrypted content, for which there is room, to its sink.
    pub(super) fn consume_content<I: Inboxes<Slot = Slot>>(
        &mut self,
        content: &[u8],
        inboxes: &mut I,
    ) {
        let Stage::Body(sink) = &mut self.stage else {
            return;
        };
        match sink {
            Sink::Discard(_) | Sink::Drop { .. } => {}
            Sink::Disconnect(partial) => {
                #[cfg(feature = "snappy")]
                partial.check(content, &mut self.decoder);
                partial.push(content);
            }
            #[cfg(feature = "snappy")]
            Sink::Slot { oversize: true, .. } if self.compressed => {
                if self.decoder.skip(content).is_err() {
                    self.condemn(inboxes);
                }
            }
            Sink::Slot { oversize: true, .. } => {}
            #[cfg(feature = "snappy")]
            Sink::Slot { slot, .. } if self.compressed => {
                let decoded = inboxes.with(slot, |window| self.decoder.decode(content, window));
                if decoded != Ok(content.len()) {
                    self.condemn(inboxes);
                }
            }
            Sink::Slot { slot, .. } => {
                let taken = inboxes.with(slot, |window| window.push(content));
                debug_assert_eq!(taken, content.len(), "room was reserved");
            }
        }
    }

    /// The content is not Snappy: the rest is skipped, and the MAC decides what to make of it.
    #[cfg(feature = "snappy")]
    fn condemn<I: Inboxes<Slot = Slot>>(&mut self, inboxes: &mut I) {
        let verdict = Sink::Discard(Some(Verdict::Violation(Violation::BadSnappy)));
        if let Stage::Body(Sink::Slot { slot, .. }) =
            core::mem::replace(&mut self.stage, Stage::Body(verdict))
        {
            inboxes.abort(slot);
        }
    }

    /// All content has passed; its MAC comes next.
    pub(super) fn end_body(&mut self) {
        if let Stage::Body(sink) = core::mem::replace(&mut self.stage, Stage::Header) {
            self.stage = Stage::Mac(sink);
        }
    }

    /// The MAC holds: what the frame brought is believed now.
    pub(super) fn end_message<I: Inboxes<Slot = Slot>>(
        &mut self,
        now: Instant,
        inboxes: &mut I,
    ) -> Option<Status> {
        let Stage::Mac(sink) = core::mem::replace(&mut self.stage, Stage::Header) else {
            return None;
        };
        let wire_length = self.wire_length.saturating_sub(u32::from(self.code_length));
        match sink {
            Sink::Discard(verdict) => verdict.map(|verdict| match verdict {
                Verdict::Violation(violation) => Status::Violation(violation),
                Verdict::Refuse { subprotocol } => Status::Refused { subprotocol },
                Verdict::Base(message) => Status::Base(message),
            }),
            Sink::Disconnect(partial) => {
                #[cfg(feature = "snappy")]
                let is_block = self.decoder.finish().is_ok();
                #[cfg(not(feature = "snappy"))]
                let is_block = false;
                let reason = partial.finish(is_block);
                Some(Status::Base(BaseMessage::Disconnect(reason)))
            }
            Sink::Slot {
                slot, code, length, ..
            } => {
                #[cfg(feature = "snappy")]
                if self.compressed && self.decoder.finish().is_err() {
                    inboxes.abort(slot);
                    return Some(Status::Violation(Violation::BadSnappy));
                }
                inboxes.commit(
                    slot,
                    Meta {
                        code,
                        length,
                        wire_length,
                        at: now,
                    },
                );
                None
            }
            Sink::Drop {
                subprotocol,
                code,
                length,
            } => {
                inboxes.dropped(
                    usize::from(subprotocol),
                    Meta {
                        code,
                        length,
                        wire_length,
                        at: now,
                    },
                );
                None
            }
        }
    }
}
