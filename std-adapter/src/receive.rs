//! The receiving direction of a session: from the transport into the inboxes.

mod background;
mod drive;

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use devp2p_core::code::WireCode;
use devp2p_core::disconnect;
use devp2p_core::error::{TransportError, Violation};
use devp2p_core::hello::Hello;
use devp2p_core::inbox::Meta;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{BaseMessage, Peer};
use devp2p_core::rlpx::FrameKeys;
use devp2p_core::rlpx::receive::{FIRST_FRAME_BUFFER, First};

use crate::busy_poll::BusyPoll;
use crate::counters::Counters;
use crate::events::PeerEvent;
use crate::keccak::ReceiveHalf;
use crate::link::Link;
use crate::peer::{HelloText, PeerHandle};
use crate::protocol::Protocol;
use crate::queue::{Observer, OpenSlot};
use crate::transport::Source;

pub(crate) use background::AtEnd;
pub(crate) use drive::Driver;

/// Bytes read from the transport at a time while much arrives.
const READ_BUFFER: usize = 64 * 1024;
/// The same while nearly nothing does, so that an idle session is small.
const SMALLEST_READ_BUFFER: usize = 1024;
/// By how much the buffer grows once a read fills it, and shrinks again after as many small reads in a row.
const STEP: usize = 8;
const SMALL_READS: u8 = 32;
/// Reads of more bytes are of much that arrives.
const SMALL_READ: usize = 4 * 1024;

/// Bytes read and not yet consumed, in a buffer that follows the traffic.
struct ReadBuffer {
    bytes: Vec<u8>,
    unread: Range<usize>,
    /// Bytes that the last read brought, and how many in a row were few.
    last: usize,
    small_reads: u8,
}

impl ReadBuffer {
    fn new() -> Self {
        Self {
            bytes: vec![0; SMALLEST_READ_BUFFER],
            unread: 0..0,
            last: 0,
            small_reads: 0,
        }
    }

    /// The next bytes, at most so many.
    fn unread(&mut self, most: usize) -> &mut [u8] {
        let unread = &mut self.bytes[self.unread.clone()];
        let n = unread.len().min(most);
        &mut unread[..n]
    }

    /// Reads more bytes, once all are consumed; false if none came, within the transport's limit or at once as `read` has it.
    fn fill(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<bool, TransportError> {
        let length = self.bytes.len();
        if self.last == length && length < READ_BUFFER {
            self.bytes = vec![0; length * STEP];
        } else if self.small_reads >= SMALL_READS && length > SMALLEST_READ_BUFFER {
            self.bytes = vec![0; length / STEP];
            self.small_reads = 0;
        }
        loop {
            match read(&mut self.bytes) {
                Ok(0) => return Err(TransportError::EndOfStream),
                Ok(n) => {
                    self.unread = 0..n.min(self.bytes.len());
                    self.last = n;
                    self.small_reads = match n < self.bytes.len() / STEP {
                        true => self.small_reads.saturating_add(1),
                        false => 0,
                    };
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(false);
                }
                Err(error) => {
                    log::debug!("reading failed: {error}");
                    return Err(TransportError::Io);
                }
            }
        }
    }
}

/// What a read of the transport brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    Bytes,
    /// None came within the transport's limit.
    Late,
    /// The end of the stream or of the session.
    End,
}

/// Makes protocols of a remote's Hello.
pub(crate) type Learn = dyn FnOnce(&Hello<'_>) -> Vec<Protocol> + Send;

/// Receives the frames of one session.
pub(crate) struct Frames {
    link: Arc<Link>,
    reader: Box<dyn Source>,
    keys: Arc<FrameKeys>,
    receive: ReceiveHalf<OpenSlot>,
    buffer: ReadBuffer,
    /// Whether reads of the transport end after a while without bytes.
    sliced: bool,
    /// A frame's MAC has held: the remote is who its handshake claims.
    authentic: bool,
}

impl Frames {
    pub(crate) fn new(
        link: Arc<Link>,
        reader: Box<dyn Source>,
        keys: Arc<FrameKeys>,
        receive: ReceiveHalf<OpenSlot>,
    ) -> Self {
        Self {
            link,
            reader,
            keys,
            receive,
            buffer: ReadBuffer::new(),
            sliced: false,
            authentic: false,
        }
    }

    /// Whether a frame has proved who the remote is.
    pub(crate) fn is_authentic(&self) -> bool {
        self.authentic
    }

    /// Reads more bytes.
    fn fill(&mut self) -> Fill {
        match self.buffer.fill(|bytes| self.reader.read(bytes)) {
            Ok(true) => Fill::Bytes,
            Ok(false) if self.sliced => Fill::Late,
            other => {
                self.on_end(other.err().unwrap_or(TransportError::Io));
                Fill::End
            }
        }
    }

    /// Reads more bytes if some come soon. Other threads that could run on this core do so meanwhile.
    fn poll(&mut self, busy_poll: &mut BusyPoll) {
        loop {
            let mut can_try = true;
            let filled = self.buffer.fill(|bytes| {
                let read = self.reader.try_read(bytes);
                can_try = read.is_some();
                read.unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))
            });
            if !can_try {
                return busy_poll.on_unsupported();
            }
            let now = self.link.now();
            match filled {
                Ok(false) if self.link.is_closing() => return,
                Ok(false) if busy_poll.on_nothing(now) => thread::yield_now(),
                Ok(false) => return,
                Ok(true) => return busy_poll.on_bytes(now),
                Err(error) => return self.on_end(error),
            }
        }
    }

    /// Nothing more arrives.
    fn on_end(&self, error: TransportError) {
        // A transport that fails to send is closed by us, so its end of stream is not the remote's.
        let cut = !self.link.can_send();
        let error = if cut { TransportError::Io } else { error };
        self.link.on_input_end(error);
    }

    /// The remote's Hello, once it was accepted; `None` if the session is closing.
    pub(crate) fn receive_hello(&mut self, mut learn: Option<Box<Learn>>) -> Option<HelloText> {
        let mut gathered = vec![0; FIRST_FRAME_BUFFER];
        loop {
            if self.link.close_reason().is_some() {
                return None;
            }
            if self.buffer.unread.is_empty() && self.fill() == Fill::End {
                return None;
            }
            let bytes = self.buffer.unread(usize::MAX);
            let (n, first) = self.receive.handle_first(&self.keys, bytes, &mut gathered);
            self.buffer.unread.start += n;
            self.authentic |= matches!(first, First::Message(..) | First::Violation(_));
            let text = match first {
                First::Message(code, payload) if code == u64::from(WireCode::HELLO.0) => {
                    Some(HelloText::read(payload))
                }
                _ => None,
            };
            if let First::Message(_, payload) = first
                && text.is_some()
                && let Some(learn) = learn.take()
            {
                let more = Hello::decode(payload).map_or_else(|_| vec![], |hello| learn(&hello));
                self.link.offer(more);
            }
            let local = self.link.local();
            let accepted = self.link.change(|peer, now| {
                match first {
                    First::NeedInput => {}
                    First::Message(_, payload) if text.is_some() => {
                        peer.handle_hello(now, &local, payload)
                    }
                    First::Message(code, payload) if code == u64::from(WireCode::DISCONNECT.0) => {
                        peer.handle_base(now, BaseMessage::Disconnect(disconnect::decode(payload)));
                    }
                    First::Message(..) => peer.handle_violation(now, Violation::ExpectedHello),
                    First::Violation(violation) => peer.handle_violation(now, violation),
                    First::Broken(error) => peer.handle_end(now, error),
                }
                (peer.state() == State::Active).then(|| peer.decompresses())
            });
            if let Some(compressed) = accepted {
                self.receive.set_compressed(compressed);
                return text;
            }
        }
    }

    /// While closing: what still arrives is read and discarded, so that our Disconnect is not lost to a reset.
    pub(crate) fn discard(&mut self) {
        while self.link.with_peer(Peer::state) != State::Closed && self.fill() != Fill::End {}
    }
}

/// Counts messages and tells subscribers of them.
#[derive(Debug)]
struct Told(PeerHandle);

impl Told {
    fn counters(&self, subprotocol: usize) -> impl Iterator<Item = &Counters> {
        let inner = &self.0.inner;
        [&inner.counters, &inner.link.host.counters]
            .into_iter()
            .filter_map(move |all| all.get(subprotocol))
    }
}

impl Observer for Told {
    fn received(&self, subprotocol: usize, meta: &Meta) {
        self.counters(subprotocol)
            .for_each(|counters| counters.received(meta.length, meta.wire_length));
        let link = &self.0.inner.link;
        let events = &link.host.events;
        if events.wants_messages()
            && let Some(protocol) = link.protocols().get(subprotocol)
        {
            events.send_message(|| PeerEvent::MessageReceived {
                peer: self.0.id(),
                capability: protocol.capability(),
                code: meta.code,
                length: meta.length,
            });
        }
    }

    fn dropped(&self, subprotocol: usize, _meta: &Meta) {
        self.counters(subprotocol).for_each(Counters::dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut ReadBuffer, bytes: usize) -> usize {
        let filled = buffer.fill(|room| Ok(bytes.min(room.len())));
        assert!(matches!(filled, Ok(true)));
        let read = buffer.unread(usize::MAX).len();
        buffer.unread = 0..0;
        read
    }

    #[test]
    fn the_buffer_is_large_while_much_arrives_and_small_again_after() {
        let mut buffer = ReadBuffer::new();
        let much = 1 << 20;
        let reads = [0; 4].map(|_| fill(&mut buffer, much));
        assert_eq!(reads, [1024, 8 * 1024, READ_BUFFER, READ_BUFFER]);
        for _ in 0..=2 * usize::from(SMALL_READS) {
            assert_eq!(fill(&mut buffer, 32), 32);
        }
        assert_eq!(buffer.bytes.len(), SMALLEST_READ_BUFFER);
    }
}
