//! What makes messages of bytes, and frames of messages.

use crate::code::WireCode;
use crate::time::{Instant, PollAt};

/// The most bytes that a framing puts before a payload, after it, or between two frames.
pub const MAX_MARK: usize = 32;

/// Bytes that a framing hands out: a header, a trailer, or a mark of its own.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    bytes: [u8; MAX_MARK],
    length: u8,
}

impl Mark {
    /// No bytes.
    pub const EMPTY: Self = Self {
        bytes: [0; MAX_MARK],
        length: 0,
    };

    /// The same with `more` after them, as far as [`MAX_MARK`] bytes hold it.
    #[must_use]
    pub fn and(mut self, more: &[u8]) -> Self {
        let room = self.bytes.get_mut(usize::from(self.length)..);
        let taken = crate::inbox::copy(room.unwrap_or_default(), more);
        self.length += taken as u8;
        self
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

/// Frames of one link: how a message's code and length stand before its payload, and how damage is noticed.
///
/// A frame is a header, which states code and length, the payload, which the framing may alter in place but not lengthen, and a
/// trailer. Escaping of single bytes belongs below: apply it to what goes to the wire and comes from it.
///
/// On a transport with connections, where a session is one connection, the methods without a default are all there is. A
/// framing for a line without connections, over which one session follows the other, says where they begin and end:
/// [`delimits_sessions`](Self::delimits_sessions) is true, and it has the rest of the methods too.
pub trait Framing {
    /// Takes bytes from the front of `bytes` up to what makes something of them: returns how many it took, and what they say.
    /// Without the latter it took all, and has nothing more to say. What it said before is not asked for again: it may say
    /// several things of the same bytes, one a call. What is encrypted is decrypted in place.
    ///
    /// A length that these bytes state is only the remote's word: take no room for it, and refuse
    /// ([`Decoded::Damaged`]) what the framing itself cannot carry.
    fn decode<'a>(&mut self, bytes: &'a mut [u8]) -> (usize, Option<Decoded<'a>>);

    /// Whether a frame has begun to arrive and is not whole: then the message deadline runs.
    fn is_inside_frame(&self) -> bool;

    /// The most bytes of a header.
    fn header_length(&self) -> usize;

    /// The most bytes of a trailer.
    fn trailer_length(&self) -> usize;

    /// The most bytes of a frame with so many bytes of payload.
    fn frame_length(&self, payload: usize) -> usize {
        let overhead = self.header_length() + self.trailer_length();
        payload.saturating_add(overhead)
    }

    /// Begins a frame: what stands before the payload, or `None` if code or length are too large for this framing.
    fn begin(&mut self, code: WireCode, length: usize) -> Option<Mark>;

    /// The next piece of the payload, as it goes out: to be checksummed, or encrypted in place.
    fn payload(&mut self, piece: &mut [u8]) {
        let _ = piece;
    }

    /// Ends the frame: what stands after the payload. A frame that is not `intact` was filled up with zeros, since its writer
    /// went away: the remote must find it damaged. That happens only where the framing delimits sessions.
    fn finish(&mut self, intact: bool) -> Mark;

    /// Whether sessions follow each other on one transport.
    fn delimits_sessions(&self) -> bool {
        false
    }

    /// Whether the session has begun. Its deadline for Hello counts from there; before, no message is sent and whatever is
    /// decoded is ignored.
    fn is_begun(&self) -> bool {
        true
    }

    /// Begins the next session: the last one is over.
    fn restart(&mut self) {}

    /// That we say nothing more in this session. Called once a session.
    fn end(&mut self) -> Mark {
        Mark::EMPTY
    }

    /// What the framing itself has to say now, between two frames; called when [`poll_at`](Self::poll_at) says so.
    fn poll(&mut self, now: Instant) -> Mark {
        let _ = now;
        Mark::EMPTY
    }

    /// When [`poll`](Self::poll) has something to say, if nothing else happens first.
    fn poll_at(&self) -> PollAt {
        PollAt::Idle
    }
}

/// What bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A message begins.
    Message {
        /// Its code on the wire.
        code: u64,
        /// Bytes of payload.
        length: usize,
    },
    /// The next piece of its payload.
    Payload(&'a [u8]),
    /// The message is whole, and what was said of it holds.
    Complete,
    /// What came is not what was sent. A message may be lost, and a session without all its messages is none: it ends.
    Damaged,
    /// The session has begun: what follows belongs to it. Only from a framing that delimits sessions, as the following. If it
    /// was ended on our side before, it stays so: the remote is told, and nothing of it is taken.
    Begin,
    /// The remote says nothing more in this session.
    End,
    /// The remote has begun its next session, so this one is over. What follows is not taken before
    /// [`restart`](Framing::restart).
    Restart,
}
