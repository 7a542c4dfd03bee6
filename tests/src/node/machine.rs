//! What a [`Node`](super::Node) drives: a session over RLPx, in memory that is fixed or that grows, or over a framing of its own.

use std::task::{Context, Poll, Waker};

use devp2p_core::arena::{InboxCounters, Message};
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::framed::{self, Fixed, FramedSession, Framing};
use devp2p_core::hello::{MAX_HELLO_LENGTH, NodeId};
use devp2p_core::peer::{Expected, Peer};
use devp2p_core::rlpx::Handshake;
use devp2p_core::session::{self, Event, MIN_INBOX_MEMORY, Session, Storage};
use devp2p_core::time::{Instant, PollAt};

use super::{SLOTS, Spec, leak};
use crate::fixture;
use crate::growable::Growable;

/// A session as its driver sees it; each method is the session's own of that name.
#[expect(missing_docs, reason = "documented where they are")]
pub trait Machine: Sized {
    /// A session that dials, or is dialled.
    fn start(spec: &Spec, dials: Option<NodeId>) -> Self;

    type Write;
    fn write(subprotocol: usize, code: LocalCode) -> Self::Write;

    fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize;
    fn handle_end(&mut self, now: Instant, error: TransportError);
    fn wants_input(&mut self) -> bool;
    fn output(&self) -> &[u8];
    fn output_length(&self) -> usize;
    fn consume_output(&mut self, now: Instant, n: usize);

    fn poll(&mut self, now: Instant) -> Option<Event>;
    fn poll_at(&self) -> PollAt;
    fn next_wake(&mut self) -> Option<Waker>;

    fn peek(&self, subprotocol: usize) -> Option<Message<'_>>;
    fn pop(&mut self, subprotocol: usize);
    fn poll_readable(
        &mut self,
        subprotocol: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>>;
    fn counters(&self, subprotocol: usize) -> InboxCounters;

    fn poll_write(
        &mut self,
        now: Instant,
        write: &mut Self::Write,
        payload: &[&[u8]],
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), WriteError>>;
    fn try_write(
        &mut self,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
    ) -> Result<(), WriteError>;
    fn abandon(&mut self, now: Instant, write: &Self::Write);
    fn poll_flush(
        &mut self,
        subprotocol: usize,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), CloseReason>>;

    fn admit(&mut self);
    fn reject(&mut self, now: Instant, reason: DisconnectReason);
    fn close(&mut self, now: Instant, cause: CloseReason);
    fn request_ping(&mut self);
    fn peer(&self) -> &Peer<SLOTS>;
}

/// Every method that the sessions have by the same name and signature.
macro_rules! forwarded {
    () => {
        fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
            self.handle_input(now, bytes)
        }
        fn handle_end(&mut self, now: Instant, error: TransportError) {
            self.handle_end(now, error);
        }
        fn output(&self) -> &[u8] {
            self.output()
        }
        fn output_length(&self) -> usize {
            self.output_length()
        }
        fn consume_output(&mut self, now: Instant, n: usize) {
            self.consume_output(now, n);
        }
        fn poll_at(&self) -> PollAt {
            self.poll_at()
        }
        fn next_wake(&mut self) -> Option<Waker> {
            self.next_wake()
        }
        fn peek(&self, subprotocol: usize) -> Option<Message<'_>> {
            self.peek(subprotocol)
        }
        fn pop(&mut self, subprotocol: usize) {
            self.pop(subprotocol);
        }
        fn poll_readable(
            &mut self,
            subprotocol: usize,
            cx: Option<&mut Context<'_>>,
        ) -> Poll<Result<(), CloseReason>> {
            self.poll_readable(subprotocol, cx)
        }
        fn counters(&self, subprotocol: usize) -> InboxCounters {
            self.counters(subprotocol)
        }
        fn poll_write(
            &mut self,
            now: Instant,
            write: &mut Self::Write,
            payload: &[&[u8]],
            cx: Option<&mut Context<'_>>,
        ) -> Poll<Result<(), WriteError>> {
            self.poll_write(now, write, payload, cx)
        }
        fn try_write(
            &mut self,
            now: Instant,
            subprotocol: usize,
            code: LocalCode,
            payload: &[&[u8]],
        ) -> Result<(), WriteError> {
            self.try_write(now, subprotocol, code, payload)
        }
        fn abandon(&mut self, now: Instant, write: &Self::Write) {
            self.abandon(now, write);
        }
        fn poll_flush(
            &mut self,
            subprotocol: usize,
            cx: Option<&mut Context<'_>>,
        ) -> Poll<Result<(), CloseReason>> {
            self.poll_flush(subprotocol, cx)
        }
        fn close(&mut self, now: Instant, cause: CloseReason) {
            self.close(now, cause);
        }
        fn request_ping(&mut self) {
            self.request_ping();
        }
        fn peer(&self) -> &Peer<SLOTS> {
            self.peer()
        }
    };
}

/// Those that the sessions over RLPx have besides.
macro_rules! forwarded_over_rlpx {
    () => {
        type Write = session::PendingWrite;

        fn write(subprotocol: usize, code: LocalCode) -> session::PendingWrite {
            session::PendingWrite::new(subprotocol, code)
        }
        fn wants_input(&mut self) -> bool {
            self.wants_input()
        }
        fn poll(&mut self, now: Instant) -> Option<Event> {
            self.poll(now)
        }
        fn admit(&mut self) {
            self.admit();
        }
        fn reject(&mut self, now: Instant, reason: DisconnectReason) {
            self.reject(now, reason);
        }
        forwarded!();
    };
}

impl Machine for Session<'static, SLOTS> {
    fn start(spec: &Spec, dials: Option<NodeId>) -> Self {
        let (key, local) = spec.leak();
        let storage = Storage {
            inboxes: leak(vec![0xa5; spec.inboxes().max(MIN_INBOX_MEMORY)]),
            ring: leak(vec![0x5a; spec.ring]),
            table: leak(vec![0xdead; spec.table]),
        };
        let (config, entropy) = (spec.config, fixture::entropy(spec.seed));
        let session = match dials {
            Some(remote) => Session::dial(remote, key, local, config, storage, entropy, spec.start),
            None => Session::accept(key, local, config, storage, entropy, spec.start),
        };
        session.expect("enough storage")
    }
    forwarded_over_rlpx!();
}

impl Machine for Growable {
    fn start(spec: &Spec, dials: Option<NodeId>) -> Self {
        let (key, local) = spec.leak();
        let entropy = fixture::entropy(spec.seed);
        let handshake = match dials {
            Some(remote) => Handshake::initiator(remote, entropy),
            None => Handshake::recipient(entropy),
        };
        let sizes = (spec.ring, spec.table);
        Self::new(handshake, key, local, spec.config, sizes, spec.start)
    }
    forwarded_over_rlpx!();
}

impl<F: Framing + Default> Machine for FramedSession<F, Fixed<'static, SLOTS>, SLOTS> {
    /// Both sides are alike, and speak the one version of a private framing.
    fn start(spec: &Spec, _dials: Option<NodeId>) -> Self {
        let (_, mut local) = spec.leak();
        local.version = framed::VERSION;
        let memory = Fixed::new(
            local,
            leak(vec![0xa5; spec.inboxes().max(MAX_HELLO_LENGTH)]),
            leak(vec![0x5a; spec.ring]),
        );
        let memory = memory.expect("enough memory");
        let (config, start) = (spec.config, spec.start);
        let session = Self::new(F::default(), memory, config, Expected::Anyone, start);
        session.expect("enough memory")
    }

    type Write = framed::PendingWrite;

    fn write(subprotocol: usize, code: LocalCode) -> framed::PendingWrite {
        framed::PendingWrite::new(subprotocol, code)
    }
    fn wants_input(&mut self) -> bool {
        FramedSession::wants_input(self)
    }
    fn poll(&mut self, now: Instant) -> Option<Event> {
        Some(match self.poll(now)? {
            framed::Event::Active => Event::Active,
            framed::Event::HalfClose => Event::HalfClose,
            framed::Event::Closed(reason) => Event::Closed(reason),
        })
    }
    /// An identity proves nothing here, so nobody is admitted before Hello.
    fn admit(&mut self) {}
    fn reject(&mut self, now: Instant, reason: DisconnectReason) {
        self.close(now, CloseReason::Rejected(reason));
    }
    forwarded!();
}
