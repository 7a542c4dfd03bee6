//! The machine timer (CLINT): 10 MHz, 64 bits, and a time to wake at.
//!
//! `unsafe`: registers are memory at fixed addresses, read and written here only; and the bit that lets the timer wake.
#![allow(unsafe_code)]

use core::ptr;

use devp2p_core::time::{Instant, PollAt};

const TIME: usize = 0x0200_bff8;
const COMPARE: usize = 0x0200_4000;
const TICKS_PER_MICRO: u64 = 10;

fn read(register: usize) -> u32 {
    // SAFETY: an aligned half of a register of this peripheral.
    unsafe { ptr::read_volatile(register as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}

/// Lets the timer wake the processor.
pub(crate) fn start() {
    wake_at(PollAt::Idle);
    // SAFETY: interrupts are off in `mstatus`, so no handler runs.
    unsafe { riscv::register::mie::set_mtimer() };
}

pub(crate) fn now() -> Instant {
    loop {
        let (high, low) = (read(TIME + 4), read(TIME));
        // Unless the low half wrapped in between.
        if read(TIME + 4) == high {
            let ticks = u64::from(high) << 32 | u64::from(low);
            return Instant::from_micros(ticks / TICKS_PER_MICRO);
        }
    }
}

/// Sets the time to wake at; a time that has come wakes at once.
pub(crate) fn wake_at(at: PollAt) {
    let ticks = match at {
        PollAt::Now => 0,
        PollAt::At(at) => at.as_micros().saturating_mul(TICKS_PER_MICRO),
        PollAt::Idle => u64::MAX,
    };
    // In this order no half-written time is ever in the past.
    write(COMPARE + 4, u32::MAX);
    write(COMPARE, ticks as u32);
    write(COMPARE + 4, (ticks >> 32) as u32);
}
