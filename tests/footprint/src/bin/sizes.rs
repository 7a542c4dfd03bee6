//! Sizes of types on this target, as words in flash that are read from the image; it need not run.
//!
//! `unsafe`: a symbol's name is fixed, so that it can be found.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

#[path = "../../../link/src/start.rs"]
mod start;

use core::hint::black_box;
use core::panic::PanicInfo;

use devp2p_core::MAX_PROTOCOLS;
use devp2p_core::arena::{Arena, Slot};
use devp2p_core::peer::Peer;
use devp2p_core::rlpx::receive::ReceiveHalf;
use devp2p_core::rlpx::transmit::TransmitHalf;
use devp2p_core::rlpx::{Established, Handshake, NodeKey};
use devp2p_core::session::{MIN_INBOX_MEMORY, MIN_RING, Session, Write};
use devp2p_embassy::{Guard, Resources, Runner, Subprotocol};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;

/// `NAME = size` each: a static of its own, and all of them in a list that `main` looks at, so that the linker keeps them.
macro_rules! words {
    ($($name:ident = $value:expr;)*) => {
        $(
            // SAFETY: no other symbol has this name.
            #[unsafe(no_mangle)]
            static $name: u32 = $value as u32;
        )*
        static ALL: &[&u32] = &[$(&$name),*];
    };
}

words! {
    SIZE_SESSION_4 = size_of::<Session<'_, 4>>();
    SIZE_PEER_4 = size_of::<Peer<4>>();
    SIZE_ARENA_4 = size_of::<Arena<'_, 4>>();
    SIZE_RECEIVE_HALF = size_of::<ReceiveHalf<Slot>>();
    SIZE_TRANSMIT_HALF = size_of::<TransmitHalf>();
    SIZE_HANDSHAKE = size_of::<Handshake>();
    SIZE_ESTABLISHED = size_of::<Established>();
    SIZE_NODE_KEY = size_of::<NodeKey>();
    SIZE_WRITE = size_of::<Write>();
    SIZE_RUNNER_4 = size_of::<Runner<'_, NoopRawMutex, 4>>();
    SIZE_SUBPROTOCOL_4 = size_of::<Subprotocol<'_, NoopRawMutex, 4>>();
    SIZE_GUARD_4 = size_of::<Guard<'_, NoopRawMutex, 4>>();
    LEAST_INBOXES = MIN_INBOX_MEMORY;
    LEAST_RING = MIN_RING;
    // As the configuration of the emulated boards, and others: what the calculation is compared with.
    RESOURCES_2_4394_1024_256 = resources::<2, 4394, 1024, 256>();
    RESOURCES_1_2048_1024_0 = resources::<1, 2048, 1024, 0>();
    RESOURCES_4_8192_1024_512 = resources::<4, 8192, 1024, 512>();
    RESOURCES_7_10001_2047_1024 = resources::<7, 10_001, 2047, 1024>();
}

const fn resources<const N: usize, const INBOX: usize, const RING: usize, const TABLE: usize>()
-> usize {
    size_of::<Resources<'_, NoopRawMutex, N, INBOX, RING, TABLE>>()
}

/// A table by the number of protocols, from 1.
macro_rules! by_protocols {
    ($name:ident, $size:ident, $($n:literal)*) => {
        // SAFETY: no other symbol has this name.
        #[unsafe(no_mangle)]
        static $name: [u32; MAX_PROTOCOLS] = [$($size::<$n>() as u32),*];
    };
}

const fn session<const N: usize>() -> usize {
    size_of::<Session<'_, N>>()
}

const fn peer<const N: usize>() -> usize {
    size_of::<Peer<N>>() + size_of::<Arena<'_, N>>()
}

/// Without its inboxes, ring and table: the least ones, which leave no padding, are taken off.
const fn embassy<const N: usize>() -> usize {
    const INBOX: usize = MIN_INBOX_MEMORY.next_multiple_of(8);
    const RING: usize = MIN_RING.next_multiple_of(8);
    resources::<N, INBOX, RING, 0>() - INBOX - RING
}

by_protocols!(TABLE_SESSION, session, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
by_protocols!(TABLE_MESSAGE, peer, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
by_protocols!(TABLE_EMBASSY, embassy, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);

fn main() -> ! {
    black_box(ALL);
    black_box([&TABLE_SESSION, &TABLE_MESSAGE, &TABLE_EMBASSY]);
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
