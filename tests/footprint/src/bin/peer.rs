//! The image of a peer: at message level without features; with `rlpx`, and with `snappy`, a session over bytes. Its work is
//! that of `tests/link`.
#![no_std]
#![no_main]

/// Stands for what a remote sends.
static INPUT: [u8; 512] = [0x80; 512];

#[path = "../../../link/src/exercise.rs"]
mod exercise;
#[path = "../../../link/src/start.rs"]
mod start;

use core::hint::black_box;
use core::panic::PanicInfo;

fn main() -> ! {
    loop {
        let _ = black_box(exercise::exercise(black_box(&INPUT)));
    }
}

#[inline(never)]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
