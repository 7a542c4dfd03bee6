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
use devp2p_core::arena::Arena;
use devp2p_core::peer::Peer;

/// `NAME = size` each: a static of its own, and all of them in a list that `main` looks at, so that the linker keeps them.
macro_rules! words {
    ($($name:ident = $value:expr;)*) => {
        $(
            // SAFETY: no other symbol has this name.
            #[unsafe(no_mangle)]
            static $name: u32 = $value as u32;
        )*
        pub(crate) static ALL: &[&u32] = &[$(&$name),*];
    };
}

/// A table by the number of protocols, from 1.
macro_rules! by_protocols {
    ($name:ident, $size:ident) => {
        by_protocols!($name, $size,
            1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
    };
    ($name:ident, $size:ident, $($n:literal)*) => {
        // SAFETY: no other symbol has this name.
        #[unsafe(no_mangle)]
        pub(crate) static $name: [u32; MAX_PROTOCOLS] = [$($size::<$n>() as u32),*];
    };
}

words! {
    SIZE_PEER_4 = size_of::<Peer<4>>();
    SIZE_ARENA_4 = size_of::<Arena<'_, 4>>();
}

/// What a driver of messages keeps.
const fn message<const N: usize>() -> usize {
    size_of::<Peer<N>>() + size_of::<Arena<'_, N>>()
}

by_protocols!(TABLE_MESSAGE, message);

#[cfg(feature = "rlpx")]
mod bytes {
    use devp2p_core::MAX_PROTOCOLS;
    use devp2p_core::arena::Slot;
    use devp2p_core::rlpx::receive::ReceiveHalf;
    use devp2p_core::rlpx::transmit::TransmitHalf;
    use devp2p_core::rlpx::{Established, Handshake, NodeKey};
    use devp2p_core::session::{MIN_INBOX_MEMORY, MIN_RING, PendingWrite, Session};

    words! {
        SIZE_RECEIVE_HALF = size_of::<ReceiveHalf<Slot>>();
        SIZE_TRANSMIT_HALF = size_of::<TransmitHalf>();
        SIZE_HANDSHAKE = size_of::<Handshake>();
        SIZE_ESTABLISHED = size_of::<Established>();
        SIZE_NODE_KEY = size_of::<NodeKey>();
        SIZE_WRITE = size_of::<PendingWrite>();
        LEAST_INBOXES = MIN_INBOX_MEMORY;
        LEAST_RING = MIN_RING;
    }

    const fn session<const N: usize>() -> usize {
        size_of::<Session<'_, N>>()
    }

    by_protocols!(TABLE_SESSION, session);
}

#[cfg(feature = "embassy")]
mod embassy {
    use devp2p_core::MAX_PROTOCOLS;
    use devp2p_core::session::{MIN_INBOX_MEMORY, MIN_RING};
    use devp2p_embassy::{Guard, Resources, Runner, Subprotocol};
    use embassy_sync::blocking_mutex::raw::NoopRawMutex;

    words! {
        SIZE_RUNNER_4 = size_of::<Runner<'_, NoopRawMutex, 4>>();
        SIZE_SUBPROTOCOL_4 = size_of::<Subprotocol<'_, NoopRawMutex, 4>>();
        SIZE_GUARD_4 = size_of::<Guard<'_, NoopRawMutex, 4>>();
        // What the calculation for other configurations is compared with.
        RESOURCES_1_2048_1024_0 = resources::<1, 2048, 1024, 0>();
        RESOURCES_2_4266_1024_256 = resources::<2, 4266, 1024, 256>();
        RESOURCES_4_8192_1024_512 = resources::<4, 8192, 1024, 512>();
        RESOURCES_7_10001_2047_1024 = resources::<7, 10_001, 2047, 1024>();
    }

    const fn resources<
        const N: usize,
        const INBOX: usize,
        const RING: usize,
        const TABLE: usize,
    >() -> usize {
        size_of::<Resources<'_, NoopRawMutex, N, INBOX, RING, TABLE>>()
    }

    /// Without its inboxes, ring and table: the least ones, which leave no padding, are taken off.
    const fn besides<const N: usize>() -> usize {
        const INBOX: usize = MIN_INBOX_MEMORY.next_multiple_of(8);
        const RING: usize = MIN_RING.next_multiple_of(8);
        resources::<N, INBOX, RING, 0>() - INBOX - RING
    }

    by_protocols!(TABLE_EMBASSY, besides);
}

fn main() -> ! {
    black_box((ALL, &TABLE_MESSAGE));
    #[cfg(feature = "rlpx")]
    black_box((bytes::ALL, &bytes::TABLE_SESSION));
    #[cfg(feature = "embassy")]
    black_box((embassy::ALL, &embassy::TABLE_EMBASSY));
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
