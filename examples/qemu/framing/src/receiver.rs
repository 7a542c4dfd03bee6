//! From bytes to frames, wherever the pieces were cut, and back into step after damage.

use crate::{Crc, HEADER_LENGTH, Header, SYNC, TRAILER_LENGTH};

/// What a [`Receiver`] found. Nothing of a frame is to be believed before its [`End`](Self::End).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A frame begins.
    Header(Header),
    /// A piece of its payload, not empty.
    Payload(&'a [u8]),
    /// The frame is whole, and its CRC holds.
    End,
    /// What came is not what was sent: the frame in progress, if there is one, is lost, and perhaps others are. Said once;
    /// the next header ends it.
    Damaged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first so many bytes of a header.
    Header(usize),
    /// So many bytes of payload are still to come.
    Payload(usize),
    /// The first so many bytes of a trailer.
    Trailer(usize),
}

/// Finds frames in a stream of bytes, in constant memory.
#[derive(Debug, Clone)]
pub struct Receiver {
    state: State,
    /// A header or a trailer, as far as it has come.
    bytes: [u8; HEADER_LENGTH],
    crc: Crc,
    /// Whether the bytes so far were frames: what comes first need not be the beginning of one.
    in_step: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// A receiver that knows nothing of the line yet: what it skips before the first header is not damage.
    pub const fn new() -> Self {
        Self {
            state: State::Header(0),
            bytes: [0; HEADER_LENGTH],
            crc: Crc::new(),
            in_step: false,
        }
    }

    /// Whether a frame has begun and is not whole.
    pub const fn is_inside_frame(&self) -> bool {
        !matches!(self.state, State::Header(0))
    }

    /// Takes bytes up to the next event: returns how many it took, and the event. Without one, it took all.
    pub fn handle<'a>(&mut self, bytes: &'a [u8]) -> (usize, Option<Event<'a>>) {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let (n, event) = self.advance(rest);
            taken += n;
            if event.is_some() {
                return (taken, event);
            }
        }
        (taken, None)
    }

    /// Takes at least one byte of `bytes`, which is not empty.
    fn advance<'a>(&mut self, bytes: &'a [u8]) -> (usize, Option<Event<'a>>) {
        match self.state {
            State::Header(have) => {
                let (n, have) = self.gather(have, HEADER_LENGTH, bytes);
                self.state = State::Header(have);
                (n, self.find_header(have))
            }
            State::Payload(left) => {
                let n = left.min(bytes.len());
                let piece = bytes.get(..n).unwrap_or_default();
                self.crc.update(piece);
                self.state = if n < left {
                    State::Payload(left - n)
                } else {
                    State::Trailer(0)
                };
                (n, Some(Event::Payload(piece)))
            }
            State::Trailer(have) => {
                let (n, have) = self.gather(have, TRAILER_LENGTH, bytes);
                self.state = State::Trailer(have);
                if have < TRAILER_LENGTH {
                    return (n, None);
                }
                self.state = State::Header(0);
                let holds = self.bytes.first_chunk() == Some(&self.crc.value());
                if !holds {
                    self.in_step = false;
                }
                let event = if holds { Event::End } else { Event::Damaged };
                (n, Some(event))
            }
        }
    }

    /// Appends to the `have` bytes of a header or trailer; returns how many bytes were taken, and are there now.
    fn gather(&mut self, have: usize, whole: usize, bytes: &[u8]) -> (usize, usize) {
        let to = self.bytes.get_mut(have..whole).unwrap_or_default();
        let n = to.len().min(bytes.len());
        to.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        (n, have + n)
    }

    /// Looks for a header in the first `have` bytes gathered, and drops those that cannot begin one.
    fn find_header(&mut self, have: usize) -> Option<Event<'static>> {
        let skip = self.skippable(have);
        if skip == 0 {
            let (header, crc) = Header::decode(&self.bytes).filter(|_| have == HEADER_LENGTH)?;
            self.crc = crc;
            self.in_step = true;
            self.state = match header.payload_length() {
                0 => State::Trailer(0),
                length => State::Payload(length),
            };
            return Some(Event::Header(header));
        }
        let kept = self.bytes;
        let kept = kept.get(skip..have).unwrap_or_default();
        self.gather(0, HEADER_LENGTH, kept);
        self.state = State::Header(have - skip);
        core::mem::take(&mut self.in_step).then_some(Event::Damaged)
    }

    /// How many of the first `have` bytes cannot begin a header.
    fn skippable(&self, have: usize) -> usize {
        let could_begin = |at: usize| {
            let found = self.bytes.get(at..have).unwrap_or_default();
            let begins = found.iter().zip(&SYNC).all(|(a, b)| a == b);
            begins && (found.len() < HEADER_LENGTH || Header::decode(&self.bytes).is_some())
        };
        (0..have).find(|&at| could_begin(at)).unwrap_or(have)
    }
}
