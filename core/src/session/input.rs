//! What comes in: bytes of the handshake, of the first frame, of every other frame, and the end.

use core::num::NonZeroU16;

use super::buffers::Buffers;
use super::connection::{Activity, Connection, Live, Phase};
use crate::code::WireCode;
use crate::config::Local;
use crate::disconnect;
use crate::error::{CloseReason, TransportError, Violation};
use crate::lifecycle::State;
use crate::peer::{BaseMessage, Peer};
use crate::rlpx::Sponge;
use crate::rlpx::receive::{First, Status};
use crate::time::Instant;

impl<Slot, const N: usize, S: Sponge> Connection<Slot, N, S> {
    /// Takes bytes from the transport, decrypting them in place. Returns how many were consumed; pass the rest again when
    /// [`wants_input`](Self::wants_input) is true. What arrives while closing is discarded.
    pub fn handle_input<B: Buffers<Slot = Slot>>(
        &mut self,
        now: Instant,
        local: &Local<'_>,
        buffers: &mut B,
        bytes: &mut [u8],
    ) -> usize {
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
                let (_, to) = buffers.handshake();
                let to = to.get_mut(*gathered..*gathered + n);
                if let (Some(to), Some(from)) = (to, bytes.get(..n)) {
                    to.copy_from_slice(from);
                    *gathered += n;
                }
                *computes |= n > 0 && *gathered >= *wanted;
                n
            }
            Phase::Live(_) => self.handle_frames(now, local, buffers, bytes),
        }
    }

    fn handle_frames<B: Buffers<Slot = Slot>>(
        &mut self,
        now: Instant,
        local: &Local<'_>,
        buffers: &mut B,
        bytes: &mut [u8],
    ) -> usize {
        let Phase::Live(live) = &mut self.phase else {
            return 0;
        };
        let mut consumed = 0;
        while (consumed < bytes.len() || live.receive.is_held())
            && !self.peer.is_closing()
            && !(B::KEEPS_HELLO && self.kept_hello.is_some())
        {
            let Some(rest) = bytes.get_mut(consumed..) else {
                break;
            };
            let (n, goes_on) = if self.peer.state() == State::AwaitingHello {
                let (_, gathered) = buffers.handshake();
                let (n, first) = live.receive.handle_first(&live.keys, rest, gathered);
                self.is_authentic |= matches!(first, First::Message(..) | First::Violation(_));
                match first {
                    First::NeedInput => {}
                    First::Message(code, payload) if code == u64::from(WireCode::HELLO.0) => {
                        if B::KEEPS_HELLO {
                            self.kept_hello = NonZeroU16::new(payload.len() as u16 + 1);
                        } else {
                            self.activity = accept(&mut self.peer, live, now, local, payload);
                        }
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
                let shared = self.peer.shared();
                let inboxes = buffers.inboxes();
                let (n, status) = live.receive.handle(&live.keys, now, rest, shared, inboxes);
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

    /// The remote's Hello, if it waits to be judged ([`Buffers::KEEPS_HELLO`]): the bytes of its payload.
    pub fn kept_hello<'b, B: Buffers<Slot = Slot>>(&self, buffers: &'b mut B) -> Option<&'b [u8]> {
        kept(self.kept_hello?, buffers)
    }

    /// Judges the Hello that was kept: the session is active then, or closing. Does nothing if there is none.
    pub fn handle_hello<B: Buffers<Slot = Slot>>(
        &mut self,
        now: Instant,
        local: &Local<'_>,
        buffers: &mut B,
    ) {
        if let Phase::Live(live) = &mut self.phase
            && let Some(length) = self.kept_hello.take()
        {
            let payload = kept(length, buffers).unwrap_or_default();
            self.activity = accept(&mut self.peer, live, now, local, payload);
        }
    }

    /// Opens the inbox for the message that waits for room, if there is room now: this ends the holding back even if no
    /// byte is there to be passed.
    pub(super) fn resume_held<B: Buffers<Slot = Slot>>(&mut self, now: Instant, buffers: &mut B) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        if !core::mem::take(&mut self.may_resume)
            || self.peer.is_closing()
            || !live.receive.is_held()
            || !live.receive.could_go_on(buffers.inboxes())
        {
            return;
        }
        let (shared, inboxes) = (self.peer.shared(), buffers.inboxes());
        let (_, status) = live
            .receive
            .handle(&live.keys, now, &mut [], shared, inboxes);
        on_status(&mut self.peer, now, status);
        self.peer.on_receive(now, live.receive.take_received());
    }

    /// Whether bytes passed to [`handle_input`](Self::handle_input) would be consumed now.
    pub fn wants_input<B: Buffers<Slot = Slot>>(&mut self, buffers: &mut B) -> bool {
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
                !(B::KEEPS_HELLO && self.kept_hello.is_some())
                    && (!live.receive.is_held() || live.receive.could_go_on(buffers.inboxes()))
            }
        }
    }

    /// The transport's end: no more bytes come, or none can be written.
    pub fn handle_end(&mut self, now: Instant, error: TransportError) {
        self.peer.handle_end(now, error);
    }
}

/// The payload of the Hello that was kept. Its code, the zero, takes one byte.
fn kept<B: Buffers>(length: NonZeroU16, buffers: &mut B) -> Option<&[u8]> {
    let (_, gathered) = buffers.handshake();
    gathered.get(1..usize::from(length.get()))
}

/// Judges the remote's Hello.
fn accept<Slot, const N: usize, S: Sponge>(
    peer: &mut Peer<N>,
    live: &mut Live<Slot, S>,
    now: Instant,
    local: &Local<'_>,
    payload: &[u8],
) -> Activity {
    peer.handle_hello(now, local, payload);
    live.receive.set_compressed(peer.decompresses());
    match peer.state() {
        State::Active => Activity::Untold,
        _ => Activity::Opening,
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
