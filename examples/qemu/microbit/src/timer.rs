//! TIMER0 of the nRF51 (reference manual, chapter 18): microseconds, and a time to wake at.
//!
//! `unsafe`: registers are memory at fixed addresses. They are read and written here only, through the one `Timer`.
#![allow(unsafe_code)]

use core::ptr;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use devp2p_core::time::{Instant, PollAt};

const BASE: usize = 0x4000_8000;
const START: usize = 0x000;
const CAPTURE: [usize; 2] = [0x040, 0x044];
const COMPARED: [usize; 2] = [0x140, 0x144];
const INTERRUPTS_ON: usize = 0x304;
const BIT_MODE: usize = 0x508;
const PRESCALER: usize = 0x510;
const COMPARE: [usize; 2] = [0x540, 0x544];

const INTERRUPT: Interrupt = Interrupt(8);
/// The longest sleep, in microseconds: the counter must be read more often than it wraps.
const LONGEST: u64 = 1 << 30;

/// An interrupt by its number.
#[derive(Clone, Copy)]
pub(crate) struct Interrupt(pub(crate) u16);

// SAFETY: the numbers in use are those of the chip, and do not change.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self.0
    }
}

fn read(register: usize) -> u32 {
    // SAFETY: an aligned register of this peripheral.
    unsafe { ptr::read_volatile((BASE + register) as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile((BASE + register) as *mut u32, value) }
}

/// The clock: 32 bits counted by the timer, and more here.
pub(crate) struct Timer {
    now: u64,
}

impl Timer {
    pub(crate) fn start() -> Self {
        write(BIT_MODE, 3);
        // 16 MHz by 2 to the 4th.
        write(PRESCALER, 4);
        write(INTERRUPTS_ON, 1 << 17);
        write(START, 1);
        // SAFETY: interrupts are off for good; it only wakes.
        unsafe { NVIC::unmask(INTERRUPT) };
        Self { now: 0 }
    }

    pub(crate) fn now(&mut self) -> Instant {
        write(CAPTURE[0], 1);
        let passed = read(COMPARE[0]).wrapping_sub(self.now as u32);
        self.now += u64::from(passed);
        Instant::from_micros(self.now)
    }

    /// Sets the time to wake at. Returns false if it has come already.
    pub(crate) fn wake_at(&mut self, at: PollAt) -> bool {
        let now = self.now().as_micros();
        let at = match at {
            PollAt::Now => now,
            PollAt::At(at) => at.as_micros().min(now + LONGEST),
            PollAt::Idle => now + LONGEST,
        };
        write(COMPARED[1], 0);
        write(COMPARE[1], at as u32);
        // Read again: a time that passed while it was set would be waited for until the counter wraps.
        self.now().as_micros() < at
    }

    /// Forgets what woke the processor.
    pub(crate) fn clear(&mut self) {
        write(COMPARED[1], 0);
        NVIC::unpend(INTERRUPT);
    }
}
