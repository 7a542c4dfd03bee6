//! A bare-metal image that uses the core for real: linked with the memory layout of a microcontroller, without an allocator.
//!
//! `tests/run link` builds it for each target, without features and with all of them, and looks into the result.
#![no_std]
#![no_main]

/// Stands for what a remote sends.
static INPUT: [u8; 512] = [0x80; 512];

mod exercise;
#[cfg(feature = "light")]
mod light;
mod start;

use core::hint::black_box;
use core::panic::PanicInfo;

/// What runs once memory is set up. The reset code calls it; it has nowhere to return to.
fn main() -> ! {
    loop {
        let _ = black_box(exercise::exercise(black_box(&INPUT)));
        #[cfg(feature = "light")]
        black_box(light::exercise(black_box(&INPUT)));
    }
}

/// One place that every panic leads to. Not inlined, so that its symbol is in an image exactly if something can panic.
#[inline(never)]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
