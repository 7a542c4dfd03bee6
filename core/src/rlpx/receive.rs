//! The receive half: takes the bytes of frames as they come, decrypts them in place, and writes each payload into its inbox.
//!
//! # Contract
//! Whatever the bytes are, a call consumes them or holds back; it never panics, allocates or buffers a frame. Nothing of a
//! frame is believed before its MAC was verified: a verdict on its content is latched and told after that.

mod content;
mod first;

pub use first::First;

use content::{Sink, Verdict};

use super::cipher::{FrameCipher, FrameKeys};
use super::mac::{Mac, tags_match};
use super::sponge::{Keccak256, Sponge};
use super::transmit::{HEADER_LENGTH, MAC_LENGTH, padded};
use crate::code::LocalCode;
use crate::error::{TransportError, Violation};
use crate::hello::MAX_HELLO_LENGTH;
use crate::inbox::{Admit, Hold, Inboxes};
use crate::peer::BaseMessage;
use crate::ring::BLOCK;
use crate::shared_capabilities::SharedCapabilities;
use crate::time::Instant;
use crate::watch::Received;

#[cfg(feature = "snappy")]
use crate::snappy;

/// The bytes that the first frame needs: [`ReceiveHalf::handle_first`] is lent as many.
pub const FIRST_FRAME_BUFFER: usize = padded(MAX_HELLO_LENGTH + 1) + MAC_LENGTH;

/// Bytes decrypted at a time, so that the decoder finds them in the cache.
const CHUNK: usize = 16 * 1024;

/// What made [`ReceiveHalf::handle`] return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Status {
    /// Every byte is consumed.
    NeedInput,
    /// There is no room for what comes next: pass the rest again once there is.
    Held(Hold),
    /// A message of the base protocol; pass the rest at once.
    Base(BaseMessage),
    /// The remote broke the protocol; nothing more is taken.
    Violation(Violation),
    /// An inbox is full and its subprotocol prefers an end to waiting; nothing more is taken.
    Refused {
        /// Index in the registered list.
        subprotocol: u8,
    },
    /// The transport broke; nothing more is taken.
    Broken(TransportError),
}

#[derive(Debug)]
enum Stage<Slot> {
    Header,
    FirstBlock,
    /// The first block is decrypted and waits for its inbox.
    Opening {
        subprotocol: u8,
        code: LocalCode,
        length: u32,
        skip: u8,
    },
    Body(Sink<Slot>),
    Mac(Sink<Slot>),
    Failed(Status),
}

/// Cipher, MAC and progress of the direction that we receive. `Slot` is the open slot of the inboxes it writes into.
///
/// Drive it so: [`handle_first`](Self::handle_first) until the first frame is whole; then
/// [`set_compressed`](Self::set_compressed), and [`handle`](Self::handle) with every byte that arrives.
#[derive(Debug)]
pub struct ReceiveHalf<Slot, S: Sponge = Keccak256> {
    cipher: FrameCipher,
    mac: Mac<S>,
    stage: Stage<Slot>,
    /// Bytes of a header or block that is not whole yet.
    stash: [u8; HEADER_LENGTH],
    stashed: usize,
    compressed: bool,
    /// Bytes of the frame's body: all, those still to come, and the padding after them.
    wire_length: u32,
    left: usize,
    padding: usize,
    /// Bytes of the frame's message code.
    code_length: u8,
    #[cfg(feature = "snappy")]
    decoder: snappy::Decoder,
    received: Received,
}

impl<Slot, S: Sponge> ReceiveHalf<Slot, S> {
    /// The direction whose MAC state the handshake left as `mac`.
    pub fn new(mac: Mac<S>) -> Self {
        Self {
            cipher: FrameCipher::default(),
            mac,
            stage: Stage::Header,
            stash: [0; HEADER_LENGTH],
            stashed: 0,
            compressed: false,
            wire_length: 0,
            left: 0,
            padding: 0,
            code_length: 0,
            #[cfg(feature = "snappy")]
            decoder: snappy::Decoder::new(0),
            received: Received {
                messages: 0,
                partial: false,
                held: None,
            },
        }
    }

    /// Whether payloads are compressed from here on: after Hello, if both sides speak version 5.
    pub fn set_compressed(&mut self, compressed: bool) {
        self.compressed = compressed;
    }

    /// What was received since this was last asked: pass it to
    /// [`Peer::on_receive`](crate::peer::Peer::on_receive).
    pub fn take_received(&mut self) -> Received {
        let received = self.received;
        self.received.messages = 0;
        received
    }

    /// Takes bytes, decrypting them in place, until all are consumed or something needs attention. Returns how many were
    /// consumed and what it was. Work is bounded by the bytes passed in.
    pub fn handle<I: Inboxes<Slot = Slot>, const N: usize>(
        &mut self,
        keys: &FrameKeys,
        now: Instant,
        bytes: &mut [u8],
        shared: &SharedCapabilities<N>,
        inboxes: &mut I,
    ) -> (usize, Status) {
        self.received.held = None;
        let mut consumed = 0;
        loop {
            let rest = bytes.get_mut(consumed..).unwrap_or_default();
            let (n, status) = self.step(keys, now, rest, shared, inboxes);
            consumed += n;
            if let Some(status) = status {
                if let Status::Violation(_) | Status::Refused { .. } | Status::Broken(_) = status {
                    self.abort(inboxes);
                    self.stage = Stage::Failed(status);
                }
                self.received.partial =
                    !matches!(self.stage, Stage::Header | Stage::Failed(_)) || self.stashed > 0;
                return (consumed, status);
            }
        }
    }

    /// Whether a message waits for room.
    pub fn is_held(&self) -> bool {
        self.received.held.is_some()
    }

    /// What a message waits for, if one does.
    pub fn held(&self) -> Option<Hold> {
        self.received.held
    }

    /// Whether the message that waits would find room now. If it would find it in its inbox, but not in memory, that is what
    /// [`take_received`](Self::take_received) tells from here on.
    pub fn could_go_on<I: Inboxes<Slot = Slot>>(&mut self, inboxes: &mut I) -> bool {
        let &Stage::Opening {
            subprotocol,
            length,
            ..
        } = &self.stage
        else {
            return self.reserve(BLOCK, inboxes);
        };
        match inboxes.open(usize::from(subprotocol), length) {
            Admit::Open(slot) | Admit::Oversize(slot) => {
                inboxes.abort(slot);
                true
            }
            Admit::Drop | Admit::Refuse => true,
            Admit::Hold => false,
            Admit::Wait => {
                self.received.held = Some(Hold::Memory);
                false
            }
        }
    }

    /// Gives an open slot back: the session ends inside a frame.
    pub fn abort<I: Inboxes<Slot = Slot>>(&mut self, inboxes: &mut I) {
        if let Stage::Body(Sink::Slot { slot, .. }) | Stage::Mac(Sink::Slot { slot, .. }) =
            core::mem::replace(&mut self.stage, Stage::Header)
        {
            inboxes.abort(slot);
        }
        self.received.held = None;
    }

    /// One step: `None` means there is more to do.
    fn step<I: Inboxes<Slot = Slot>, const N: usize>(
        &mut self,
        keys: &FrameKeys,
        now: Instant,
        bytes: &mut [u8],
        shared: &SharedCapabilities<N>,
        inboxes: &mut I,
    ) -> (usize, Option<Status>) {
        match &mut self.stage {
            Stage::Header => {
                let n = self.fill_stash(HEADER_LENGTH, bytes);
                if self.stashed < HEADER_LENGTH {
                    return (n, Some(Status::NeedInput));
                }
                let Some(length) = self.open_header(keys) else {
                    return (n, Some(Status::Broken(TransportError::BadMac)));
                };
                self.wire_length = length;
                self.left = length as usize;
                self.padding = padded(self.left) - self.left;
                self.stage = match length {
                    // A frame without a code: its MAC decides whose fault that is.
                    0 => Stage::Mac(Sink::Discard(Some(Verdict::Violation(
                        Violation::MalformedCode,
                    )))),
                    _ => Stage::FirstBlock,
                };
                (n, None)
            }
            Stage::FirstBlock => {
                let n = self.fill_stash(BLOCK, bytes);
                if self.stashed < BLOCK {
                    return (n, Some(Status::NeedInput));
                }
                self.open_stashed_block(keys);
                self.stage = self.begin_message(shared);
                (n, None)
            }
            &mut Stage::Opening {
                subprotocol,
                code,
                length,
                skip,
            } => {
                let sink = match inboxes.open(usize::from(subprotocol), length) {
                    Admit::Open(slot) => Sink::Slot {
                        slot,
                        code,
                        length,
                        oversize: false,
                    },
                    Admit::Oversize(slot) => Sink::Slot {
                        slot,
                        code,
                        length,
                        oversize: true,
                    },
                    Admit::Drop => Sink::Drop {
                        subprotocol,
                        code,
                        length,
                    },
                    Admit::Refuse => Sink::Discard(Some(Verdict::Refuse { subprotocol })),
                    Admit::Hold => return (0, self.hold(Hold::Inbox(subprotocol))),
                    Admit::Wait => return (0, self.hold(Hold::Memory)),
                };
                self.stage = Stage::Body(sink);
                #[cfg(feature = "snappy")]
                {
                    self.decoder = snappy::Decoder::new(length);
                }
                self.take_first_block(usize::from(skip), inboxes);
                (0, None)
            }
            Stage::Body(_) => self.step_body(keys, bytes, inboxes),
            Stage::Mac(_) => {
                let n = self.fill_stash(MAC_LENGTH, bytes);
                if self.stashed < MAC_LENGTH {
                    return (n, Some(Status::NeedInput));
                }
                self.stashed = 0;
                let tail = self
                    .stash
                    .first_chunk::<MAC_LENGTH>()
                    .copied()
                    .unwrap_or_default();
                if !tags_match(&self.mac.body(&keys.mac), &tail) {
                    return (n, Some(Status::Broken(TransportError::BadMac)));
                }
                self.received.messages = self.received.messages.saturating_add(1);
                (n, self.end_message(now, inboxes))
            }
            Stage::Failed(status) => (bytes.len(), Some(*status)),
        }
    }

    fn hold(&mut self, hold: Hold) -> Option<Status> {
        self.received.held = Some(hold);
        Some(Status::Held(hold))
    }

    /// Verifies and decrypts the header in the stash; the length that it states, or `None` if its MAC does not fit.
    fn open_header(&mut self, keys: &FrameKeys) -> Option<u32> {
        self.stashed = 0;
        let (header, tail) = self.stash.split_at_mut(BLOCK);
        let header: &mut [u8; BLOCK] = header.first_chunk_mut()?;
        if !tags_match(&self.mac.header(&keys.mac, header), tail) {
            return None;
        }
        self.cipher.apply(&keys.frame, header);
        let [a, b, c, ..] = *header;
        Some(u32::from_be_bytes([0, a, b, c]))
    }

    /// Feeds what the first block, in the stash, holds after code and length.
    fn take_first_block<I: Inboxes<Slot = Slot>>(&mut self, skip: usize, inboxes: &mut I) {
        let block = self.stash;
        self.consume_content(
            block.get(skip..self.left.min(BLOCK)).unwrap_or_default(),
            inboxes,
        );
        self.pass_block();
    }

    /// One block of the frame is done with.
    fn pass_block(&mut self) {
        let content = self.left.min(BLOCK);
        self.left -= content;
        self.padding -= BLOCK - content;
    }

    fn step_body<I: Inboxes<Slot = Slot>>(
        &mut self,
        keys: &FrameKeys,
        bytes: &mut [u8],
        inboxes: &mut I,
    ) -> (usize, Option<Status>) {
        let mut consumed = 0;
        if let Stage::Body(Sink::Discard(_) | Sink::Disconnect(_)) = &self.stage
            && self.left == self.wire_length as usize
        {
            // The first block was routed without opening an inbox.
            self.take_first_block(usize::from(self.code_length), inboxes);
        }
        if self.left + self.padding == 0 {
            self.end_body();
            return (0, None);
        }
        // What is decrypted cannot be taken back: no more is than there is room for.
        if !self.reserve(BLOCK, inboxes) {
            return (0, self.hold(Hold::Memory));
        }
        if self.stashed == 0 && bytes.len() >= BLOCK {
            let mut whole = bytes.len().min(self.left + self.padding).min(CHUNK) / BLOCK * BLOCK;
            while whole > BLOCK && !self.reserve(whole, inboxes) {
                whole = whole / 2 / BLOCK * BLOCK;
            }
            let Some(chunk) = bytes.get_mut(..whole) else {
                return (0, None);
            };
            self.mac.update(chunk);
            self.cipher.apply(&keys.frame, chunk);
            let content = self.left.min(whole);
            self.consume_content(chunk.get(..content).unwrap_or_default(), inboxes);
            self.left -= content;
            self.padding -= whole - content;
            consumed = whole;
        } else {
            consumed += self.fill_stash(BLOCK, bytes);
            if self.stashed < BLOCK {
                return (consumed, Some(Status::NeedInput));
            }
            self.open_stashed_block(keys);
            self.take_first_block(0, inboxes);
        }
        (consumed, None)
    }

    /// Absorbs and decrypts the block in the stash.
    fn open_stashed_block(&mut self, keys: &FrameKeys) {
        self.stashed = 0;
        if let Some(block) = self.stash.get_mut(..BLOCK) {
            self.mac.update(block);
            self.cipher.apply(&keys.frame, block);
        }
    }

    /// Moves bytes into the stash until it holds `whole`; returns how many.
    fn fill_stash(&mut self, whole: usize, bytes: &[u8]) -> usize {
        let n = bytes.len().min(whole.saturating_sub(self.stashed));
        if let (Some(to), Some(from)) = (
            self.stash.get_mut(self.stashed..self.stashed + n),
            bytes.get(..n),
        ) {
            to.copy_from_slice(from);
            self.stashed += n;
        }
        n
    }
}
