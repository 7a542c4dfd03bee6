//! These frames as the framing of a session.

use devp2p_core::code::WireCode;
use devp2p_core::framed::{Decoded, Framing, Mark};
use devp2p_core::time::{Duration, Instant, PollAt};

use crate::{Begun, Crc, Event, HEADER_LENGTH, Header, Opening, Receiver, TRAILER_LENGTH};

/// How often a side says that it would begin a session.
const REPEAT: Duration = Duration::from_millis(500);

/// One end of a line, session after session.
#[derive(Debug)]
pub struct Line {
    receiver: Receiver,
    header: Option<Header>,
    /// Of the frame that goes out.
    crc: Crc,
    opening: Opening,
    say_begin: PollAt,
    /// A message came in this session, so the remote heard that it began.
    heard: bool,
    /// The number of the remote's next session, once it began.
    next: u16,
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    /// An end that would begin a session.
    pub const fn new() -> Self {
        Self {
            receiver: Receiver::new(),
            header: None,
            crc: Crc::new(),
            opening: Opening::new(),
            say_begin: PollAt::Now,
            heard: false,
            next: 0,
        }
    }

    /// What a whole frame says.
    fn complete(&mut self) -> Option<Decoded<'static>> {
        match self.header.take()? {
            Header::Message { .. } => {
                self.heard |= self.opening.is_begun();
                Some(Decoded::Complete)
            }
            Header::End => Some(Decoded::End),
            Header::Begin { sender, receiver } => {
                match self.opening.handle(sender, receiver, !self.heard) {
                    Begun::No { say } => {
                        if say {
                            self.say_begin = PollAt::Now;
                        }
                        None
                    }
                    Begun::Now { say } => {
                        self.say_begin = if say { PollAt::Now } else { PollAt::Idle };
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
    fn decode<'a>(&mut self, bytes: &'a mut [u8]) -> (usize, Option<Decoded<'a>>) {
        let (bytes, mut taken): (&'a [u8], _) = (bytes, 0);
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let (n, event) = self.receiver.handle(rest);
            taken += n;
            let decoded = match event {
                None => return (taken, None),
                Some(Event::Header(header)) => {
                    self.header = Some(header);
                    match header {
                        Header::Message { code, length } => Some(Decoded::Message {
                            code: code.into(),
                            length: length.into(),
                        }),
                        Header::Begin { .. } | Header::End => None,
                    }
                }
                Some(Event::Payload(piece)) => Some(Decoded::Payload(piece)),
                Some(Event::End) => self.complete(),
                Some(Event::Damaged) => Some(Decoded::Damaged),
            };
            if decoded.is_some() {
                return (taken, decoded);
            }
        }
    }

    fn is_inside_frame(&self) -> bool {
        self.receiver.is_inside_frame()
    }

    fn header_length(&self) -> usize {
        HEADER_LENGTH
    }

    fn trailer_length(&self) -> usize {
        TRAILER_LENGTH
    }

    fn begin(&mut self, code: WireCode, length: usize) -> Option<Mark> {
        let code = u16::try_from(code.0).ok()?;
        let length = u16::try_from(length).ok()?;
        let (header, crc) = Header::Message { code, length }.encode();
        self.crc = crc;
        Some(Mark::EMPTY.and(&header))
    }

    fn payload(&mut self, piece: &mut [u8]) {
        self.crc.update(piece);
    }

    fn finish(&mut self, intact: bool) -> Mark {
        let crc = self.crc.value();
        Mark::EMPTY.and(&if intact { crc } else { crc.map(|byte| !byte) })
    }

    fn delimits_sessions(&self) -> bool {
        true
    }

    fn is_begun(&self) -> bool {
        self.opening.is_begun()
    }

    fn restart(&mut self) {
        self.opening.restart(core::mem::take(&mut self.next));
        (self.say_begin, self.heard) = (PollAt::Now, false);
    }

    fn end(&mut self) -> Mark {
        whole(Header::End)
    }

    fn poll(&mut self, now: Instant) -> Mark {
        let begin = self.opening.begin();
        self.say_begin = match self.opening.is_begun() {
            true => PollAt::Idle,
            false => PollAt::At(now.saturating_add(REPEAT)),
        };
        whole(begin)
    }

    fn poll_at(&self) -> PollAt {
        self.say_begin
    }
}

/// A frame without a payload.
fn whole(header: Header) -> Mark {
    let (bytes, crc) = header.encode();
    Mark::EMPTY.and(&bytes).and(&crc.value())
}
