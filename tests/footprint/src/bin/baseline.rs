//! The image that the others are compared with: the same start, the same input and output, and no peer.
#![no_std]
#![no_main]

/// As in the image with a peer.
static INPUT: [u8; 512] = [0x80; 512];

#[path = "../../../link/src/start.rs"]
mod start;

use core::hint::black_box;
use core::panic::PanicInfo;

fn main() -> ! {
    loop {
        let mut sum = 0u32;
        for chunk in black_box(&INPUT).chunks(64) {
            sum = sum.wrapping_add(chunk.first().map_or(0, |byte| u32::from(*byte)));
        }
        let _ = black_box(sum);
    }
}

#[inline(never)]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
