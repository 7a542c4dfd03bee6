//! What comes in: bytes of the handshake, of the first frame, of every other frame, and the end.

use super::{Phase, Session};
use crate::code::WireCode;
use crate::disconnect;
use crate::error::{CloseReason, TransportError, Violation};
use crate::lifecycle::State;
use crate::peer::{BaseMessage, Peer};
use crate::rlpx::receive::{First, Status};
use crate::time::Instant;

impl<const N: usize> Session<'_, N> {
    /// Takes bytes from the transport, decrypting them in place. Returns how many were consumed; pass the rest again when
    /// [`wants_input`](Self::wants_input) is true. What arrives while closing is discarded.
    pub fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        if self.peer.is_closing() {
            return bytes.len();
        }
        match &mut self.phase {
            Phase::Dead => bytes.len(),
            Phase::Authenticated(_) => 0,
            Phase::Handshake {
                computes,
                gathered,
                wanted,
                ..
            } => {
                let n = bytes.len().min(wanted.saturating_sub(*gathered));
                let to = self.inboxes.scratch().get_mut(*gathered..*gathered + n);
                if let (Some(to), Some(from)) = (to, bytes.get(..n)) {
                    to.copy_from_slice(from);
                    *gathered += n;
                }
                *computes |= n > 0 && *gathered >= *wanted;
                n
            }
            Phase::Live(_) => self.handle_frames(now, bytes),
        }
    }

    fn handle_frames(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        let Phase::Live(live) = &mut self.phase else {
            return 0;
        };
        let mut consumed = 0;
        while (consumed < bytes.len() || live.receive.is_held()) && !self.peer.is_closing() {
            let Some(rest) = bytes.get_mut(consumed..) else {
                break;
            };
            let (n, goes_on) = if self.peer.state() == State::AwaitingHello {
                let (n, first) =
                    live.receive
                        .handle_first(&live.keys, rest, self.inboxes.scratch());
                match first {
                    First::NeedInput => {}
                    First::Message(code, payload) if code == u64::from(WireCode::HELLO.0) => {
                        self.peer.handle_hello(now, &self.local, payload);
                        self.is_active = self.peer.state() == State::Active;
                        live.receive.set_compressed(self.peer.decompresses());
                    }
                    First::Message(code, payload) if code == u64::from(WireCode::DISCONNECT.0) => {
                        self.peer
                            .handle_base(now, BaseMessage::Disconnect(disconnect::decode(payload)));
                    }
                    First::Message(..) => self.peer.handle_violation(now, Violation::ExpectedHello),
                    First::Violation(violation) => self.peer.handle_violation(now, violation),
                    First::Broken(error) => self.peer.handle_end(now, error),
                }
                (n, true)
            } else {
                let (n, status) = live.receive.handle(
                    &live.keys,
                    now,
                    rest,
                    self.peer.shared(),
                    &mut self.inboxes,
                );
                on_status(&mut self.peer, now, status);
                (n, !matches!(status, Status::Held(_)))
            };
            self.peer.on_receive(now, live.receive.take_received());
            consumed += n;
            if !goes_on {
                return consumed;
            }
        }
        if self.peer.is_closing() {
            bytes.len()
        } else {
            consumed
        }
    }

    /// Opens the inbox for the message that waits for room, if there is room now: this ends the holding back even if no
    /// byte is there to be passed.
    pub(super) fn resume_held(&mut self, now: Instant) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        if !core::mem::take(&mut self.may_resume)
            || self.peer.is_closing()
            || !live.receive.is_held()
            || !live.receive.could_go_on(&mut self.inboxes)
        {
            return;
        }
        let shared = self.peer.shared();
        let (_, status) = live
            .receive
            .handle(&live.keys, now, &mut [], shared, &mut self.inboxes);
        on_status(&mut self.peer, now, status);
        self.peer.on_receive(now, live.receive.take_received());
    }

    /// Whether bytes passed to [`handle_input`](Self::handle_input) would be consumed now.
    pub fn wants_input(&mut self) -> bool {
        if self.peer.is_closing() {
            return true;
        }
        match &mut self.phase {
            Phase::Dead => true,
            Phase::Authenticated(_) => false,
            Phase::Handshake {
                gathered, wanted, ..
            } => gathered < wanted,
            Phase::Live(live) => {
                !live.receive.is_held() || live.receive.could_go_on(&mut self.inboxes)
            }
        }
    }

    /// The transport's end: no more bytes come, or none can be written.
    pub fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.peer.handle_end(now, error);
    }
}

/// Tells the peer what the receiver came upon.
fn on_status<const N: usize>(peer: &mut Peer<N>, now: Instant, status: Status) {
    match status {
        Status::NeedInput | Status::Held(_) => {}
        Status::Base(message) => peer.handle_base(now, message),
        Status::Violation(violation) => peer.handle_violation(now, violation),
        Status::Refused { subprotocol } => peer.close(now, CloseReason::Stalled { subprotocol }),
        Status::Broken(error) => peer.handle_end(now, error),
    }
}
