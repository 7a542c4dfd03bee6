//! What the image does with the core. Inputs and results pass through `black_box`, so that none of it is computed at build
//! time.

/// A peer at message level, without the encrypted transport.
#[cfg(not(feature = "rlpx"))]
mod message {
    use core::hint::black_box;
    use core::task::Poll;

    use devp2p_core::arena::Arena;
    use devp2p_core::capability::Protocol;
    use devp2p_core::code::LocalCode;
    use devp2p_core::config::{Config, Local};
    use devp2p_core::control::CONTROL_LENGTH;
    use devp2p_core::disconnect::DisconnectReason;
    use devp2p_core::error::TransportError;
    use devp2p_core::hello::NodeId;
    use devp2p_core::peer::{Expected, Peer};
    use devp2p_core::time::Instant;

    /// A session's whole life, as far as the remote in `input` lets it go on: codes and payloads in, a checksum out.
    pub(crate) fn exercise(input: &[u8]) -> u32 {
        let Ok(protocol) = Protocol::new(black_box("demo"), 1, 8, 512) else {
            return 0;
        };
        let protocols = [protocol];
        let local = Local {
            id: NodeId([0; 64]),
            client_name: "link",
            version: 4,
            listen_port: 0,
            protocols: &protocols,
        };
        let mut memory = [0; 512];
        let Ok(mut inboxes) = Arena::<2>::new(&mut memory, &protocols) else {
            return 0;
        };
        let mut now = Instant::from_micros(black_box(1));
        let deadline = now.saturating_add(Config::new().handshake_timeout);
        let mut peer = Peer::<2>::new(Config::new(), &local, Expected::Anyone, deadline);
        let mut sum = 0u32;
        let mut out = [0; 256];
        for (i, chunk) in input.chunks(64).enumerate() {
            now = Instant::from_micros(i as u64 * 1_000_000);
            let code = chunk.first().copied().map_or(0, u64::from);
            let held = peer.handle_message(now, &local, code, chunk, &mut inboxes);
            sum = sum.wrapping_add(u32::from(held.is_err()));
            while let Some(control) = peer.poll_control(now) {
                let length = control.encode(&local, peer.compresses(), &mut out);
                sum = sum.wrapping_add(length.map_or(CONTROL_LENGTH, |n| n) as u32);
            }
            if let Poll::Ready(Ok(code)) = peer.poll_acquire(0, LocalCode(1), None) {
                peer.begin_write(0);
                peer.on_sealed(now, 64);
                peer.complete_write(0);
                peer.on_taken(now, 64);
                sum = sum.wrapping_add(code.0);
            }
            if let Some(message) = inboxes.peek(0) {
                sum = sum.wrapping_add(message.meta.length);
            }
            inboxes.pop(0);
            peer.handle_timeout(now);
            sum = sum.wrapping_add(u32::from(peer.poll_at().is_due(now)));
            while let Some(waker) = peer.next_wake() {
                waker.wake();
            }
        }
        peer.disconnect(now, DisconnectReason::REQUESTED);
        sum = sum.wrapping_add(u32::from(peer.wants_half_close()));
        peer.handle_end(now, TransportError::EndOfStream);
        sum
    }
}

/// A session over bytes: handshake, frames, Snappy.
#[cfg(feature = "rlpx")]
mod bytes {
    use core::hint::black_box;

    use devp2p_core::capability::Protocol;
    use devp2p_core::code::LocalCode;
    use devp2p_core::config::{Config, Local};
    use devp2p_core::disconnect::DisconnectReason;
    use devp2p_core::error::{CloseReason, TransportError};
    use devp2p_core::hello::NodeId;
    use devp2p_core::rlpx::{Entropy, NodeKey};
    use devp2p_core::session::{Event, PendingWrite, Session, Storage};
    use devp2p_core::time::Instant;

    /// Both sides of a connection, each driven with what `input` holds.
    pub(crate) fn exercise(input: &[u8]) -> u32 {
        let (Ok(protocol), Ok(key)) = (
            Protocol::new(black_box("demo"), 1, 8, 1024),
            NodeKey::new(black_box(&[7; 32])),
        ) else {
            return 0;
        };
        let protocols = [protocol];
        let local = Local {
            id: *key.id(),
            client_name: "link",
            version: 5,
            listen_port: 0,
            protocols: &protocols,
        };
        let entropy = || Entropy::new(black_box(&[3; Entropy::LENGTH]));
        let (mut inboxes, mut ring, mut table) = ([0; 4096], [0; 1024], [0; 256]);
        let now = Instant::ZERO;
        let storage = Storage {
            inboxes: &mut inboxes,
            ring: &mut ring,
            table: &mut table,
        };
        let session = match black_box(input.len()) & 1 {
            0 => Session::<2>::accept(&key, local, Config::new(), storage, entropy(), now),
            _ => {
                let remote = black_box(NodeId([9; 64]));
                Session::dial(remote, &key, local, Config::new(), storage, entropy(), now)
            }
        };
        session.map_or(0, |mut session| drive(&mut session, input))
    }

    fn drive(session: &mut Session<'_, 2>, input: &[u8]) -> u32 {
        let mut sum = 0u32;
        let mut write = PendingWrite::new(0, LocalCode(1));
        for (i, chunk) in input.chunks(64).enumerate() {
            let now = Instant::from_micros(i as u64 * 1_000_000);
            let mut bytes = [0; 64];
            for (to, from) in bytes.iter_mut().zip(chunk) {
                *to = *from;
            }
            sum = sum.wrapping_add(session.handle_input(now, &mut bytes) as u32);
            match session.poll(now) {
                Some(Event::Authenticated(_)) => session.admit(),
                Some(Event::Closed(_)) => return sum,
                _ => {}
            }
            let taken = session.output().len();
            session.consume_output(now, taken);
            let written = session.poll_write(now, &mut write, &[chunk, input], None);
            sum = sum.wrapping_add(u32::from(written.is_ready()));
            sum = sum.wrapping_add(session.peek(0).map_or(0, |message| message.meta.length));
            session.pop(0);
            while let Some(waker) = session.next_wake() {
                waker.wake();
            }
            sum = sum.wrapping_add(u32::from(session.poll_at().is_due(now)));
        }
        session.abandon(Instant::ZERO, &write);
        session.close(
            Instant::ZERO,
            CloseReason::Local(DisconnectReason::REQUESTED),
        );
        session.handle_end(Instant::ZERO, TransportError::EndOfStream);
        sum
    }
}

#[cfg(feature = "rlpx")]
pub(crate) use bytes::exercise;
#[cfg(not(feature = "rlpx"))]
pub(crate) use message::exercise;
