//! `qemu-framing`'s frames as the std adapter's framing.

use std::mem;

use devp2p_core::code::WireCode;
use devp2p_core::time::{Duration, Instant, PollAt};
use devp2p_std::framed::{Decoded, Framing};
use qemu_framing::{Begun, Event, Header, Opening, Receiver};

/// How often this side says that it would begin a session.
const REPEAT: Duration = Duration::from_millis(500);

/// Frames of one line, session after session.
#[derive(Debug)]
pub(crate) struct Line {
    receiver: Receiver,
    header: Option<Header>,
    payload: Vec<u8>,
    opening: Opening,
    say: Say,
    /// A message came in this session, so the remote heard that it began.
    heard: bool,
    /// The number of the remote's next session, once it began.
    next: u16,
}

/// When to say `Begin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    Now,
    At(Instant),
    No,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self {
            receiver: Receiver::new(),
            header: None,
            payload: Vec::new(),
            opening: Opening::new(),
            say: Say::Now,
            heard: false,
            next: 0,
        }
    }

    /// What a whole frame says.
    fn complete(&mut self) -> Option<Decoded> {
        match self.header.take()? {
            Header::Message { code, .. } => {
                self.heard |= self.opening.is_begun();
                Some(Decoded::Message {
                    code: code.into(),
                    payload: mem::take(&mut self.payload),
                })
            }
            Header::End => Some(Decoded::End),
            Header::Begin { sender, receiver } => {
                match self.opening.handle(sender, receiver, !self.heard) {
                    Begun::No { say } => {
                        if say {
                            self.say = Say::Now;
                        }
                        None
                    }
                    Begun::Now { say } => {
                        self.say = if say { Say::Now } else { Say::No };
                        Some(Decoded::Begin)
                    }
                    Begun::Anew => {
                        self.next = sender;
                        Some(Decoded::Restart)
                    }
                }
            }
        }
    }
}

impl Framing for Line {
    fn decode(&mut self, bytes: &[u8]) -> (usize, Option<Decoded>) {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let (n, event) = self.receiver.handle(rest);
            taken += n;
            let decoded = match event {
                None => None,
                Some(Event::Header(header)) => {
                    self.header = Some(header);
                    self.payload.clear();
                    None
                }
                Some(Event::Payload(piece)) => {
                    self.payload.extend_from_slice(piece);
                    None
                }
                Some(Event::End) => self.complete(),
                Some(Event::Damaged) => Some(Decoded::Damaged),
            };
            if decoded.is_some() {
                return (taken, decoded);
            }
        }
        (taken, None)
    }

    fn is_inside_message(&self) -> bool {
        self.receiver.is_inside_frame()
    }

    fn encode(&mut self, code: WireCode, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let (Ok(code), Ok(length)) = (u16::try_from(code.0), u16::try_from(payload.len())) else {
            return false;
        };
        frame(Header::Message { code, length }, payload, out);
        true
    }

    fn delimits_sessions(&self) -> bool {
        true
    }

    fn is_begun(&self) -> bool {
        self.opening.is_begun()
    }

    fn restart(&mut self) {
        self.opening.restart(mem::take(&mut self.next));
        (self.say, self.heard) = (Say::Now, false);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        frame(Header::End, &[], out);
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<u8>) {
        if !self.poll_at().is_due(now) {
            return;
        }
        frame(self.opening.begin(), &[], out);
        self.say = match self.opening.is_begun() {
            true => Say::No,
            false => Say::At(now.saturating_add(REPEAT)),
        };
    }

    fn poll_at(&self) -> PollAt {
        match self.say {
            Say::Now => PollAt::Now,
            Say::At(at) => PollAt::At(at),
            Say::No => PollAt::Idle,
        }
    }
}

fn frame(header: Header, payload: &[u8], out: &mut Vec<u8>) {
    let (bytes, mut crc) = header.encode();
    crc.update(payload);
    out.extend_from_slice(&bytes);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc.value());
}
