//! What a [`Node`](super::Node) drives: a session over RLPx, or over a framing of its own.

use std::task::{Context, Poll, Waker};

use devp2p_core::arena::{InboxCounters, Message};
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::framed::{self, Fixed, FramedSession, Framing};
use devp2p_core::peer::Peer;
use devp2p_core::session::{self, Event, Session};
use devp2p_core::time::{Instant, PollAt};

use super::SLOTS;

/// A session as its driver sees it; each method is the session's own of that name.
#[expect(missing_docs, reason = "documented where they are")]
pub trait Machine {
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

/// Every method that both sessions have by the same name and signature.
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

impl Machine for Session<'_, SLOTS> {
    type Write = session::Write;

    fn write(subprotocol: usize, code: LocalCode) -> session::Write {
        session::Write::new(subprotocol, code)
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
}

impl<F: Framing> Machine for FramedSession<F, Fixed<'_, SLOTS>, SLOTS> {
    type Write = framed::Write;

    fn write(subprotocol: usize, code: LocalCode) -> framed::Write {
        framed::Write::new(subprotocol, code)
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
