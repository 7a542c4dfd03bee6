//! One message routed, one message written, without cryptography: a peer at message level, driven as its documentation asks.

use std::hint::black_box;
use std::task::Poll;

use devp2p_core::arena::Arena;
use devp2p_core::capability::Protocol;
use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::hello::{MAX_HELLO_LENGTH, NodeId};
use devp2p_core::lifecycle::State;
use devp2p_core::peer::{Expected, Peer};
use devp2p_core::time::Instant;
use devp2p_tests::fixture::protocol;

use super::Micro;

pub(super) const LANES: usize = 4;
/// The subprotocol whose messages are measured: the one that is found last.
pub(super) const LANE: usize = LANES - 1;
/// Its first code on the wire.
pub(super) const CODE: u32 = 16 + 8 * LANE as u32;

pub(super) fn protocols(inbox: usize) -> [Protocol; LANES] {
    ["bench", "bench2", "bench3", "bench4"].map(|name| protocol(name, 8, inbox))
}

pub(super) fn local(id: u8, protocols: &[Protocol]) -> Local<'_> {
    Local {
        id: NodeId([id; 64]),
        client_name: "bench",
        version: 5,
        listen_port: 0,
        protocols,
    }
}

/// A peer whose remote offers the same.
pub(super) fn active(protocols: &[Protocol]) -> Peer<LANES> {
    let own = local(1, protocols);
    let mut peer = Peer::new(
        Config::new(),
        &own,
        Expected::Anyone,
        Instant::from_micros(5_000_000),
    );
    peer.poll_control(Instant::ZERO).expect("Hello");
    let mut hello = [0; MAX_HELLO_LENGTH];
    let length = local(2, protocols).encode_hello(&mut hello);
    let length = length.expect("a short Hello");
    peer.handle_hello(Instant::ZERO, &own, &hello[..length]);
    assert_eq!(peer.state(), State::Active);
    peer
}

pub(super) fn all() -> Vec<Micro> {
    let each = |size| [route(size), token(size)];
    [0, 100].into_iter().flat_map(each).collect()
}

/// A message goes to its subprotocol's inbox, and is read there.
fn route(size: usize) -> Micro {
    Micro::repeated(format!("route {size} B"), 5000, move || {
        let protocols = protocols(4096);
        let protocols: &'static [Protocol] = Vec::leak(protocols.to_vec());
        let own = local(1, protocols);
        let mut peer = active(protocols);
        let memory = Vec::leak(vec![0; LANES * 4096]);
        let mut arena: Arena<'static, LANES> = Arena::new(memory, protocols).expect("room");
        let payload = vec![0x5a; size];
        let mut now = Instant::ZERO;
        move || {
            now = now.saturating_add(devp2p_core::time::Duration::from_micros(1));
            let code = black_box(u64::from(CODE));
            let taken = peer.handle_message(now, &own, code, black_box(&payload), &mut arena);
            assert_eq!(taken, Ok(()));
            while peer.next_wake().is_some() || arena.next_wake(false).is_some() {}
            let message = arena.peek(LANE).expect("it was routed here");
            assert_eq!(message.payload.map(<[u8]>::len), Some(size));
            black_box(message.payload);
            arena.pop(LANE);
        }
    })
}

/// A message is written through the token, into memory in place of a wire.
fn token(size: usize) -> Micro {
    Micro::repeated(format!("token {size} B"), 5000, move || {
        let protocols: &'static [Protocol] = Vec::leak(protocols(4096).to_vec());
        let mut peer = active(protocols);
        let payload = vec![0x5a; size];
        let mut wire = vec![0; size];
        let mut now = Instant::ZERO;
        move || {
            now = now.saturating_add(devp2p_core::time::Duration::from_micros(1));
            let granted = peer.poll_acquire(black_box(LANE), LocalCode(0), None);
            assert!(matches!(granted, Poll::Ready(Ok(code)) if code.0 == CODE));
            peer.begin_write(LANE);
            wire.copy_from_slice(black_box(&payload));
            black_box(&mut wire);
            peer.on_sealed(now, size);
            peer.complete_write(LANE);
            peer.on_taken(now, size);
            while peer.next_wake().is_some() {}
        }
    })
}
