//! Time from SysTick, which only counts, and a tick from timer 0 (LM3S6965 data sheet, chapter 10).
//!
//! QEMU's timers cannot be read, and ticks are lost when the emulator is late; so the tick only gives occasion to look at what
//! SysTick has counted. It comes 1000 times a second, which also lets QEMU's user network look at its own timers.
//!
//! `unsafe`: registers are memory at fixed addresses, read and written here only; SysTick's value is only read.
#![allow(unsafe_code)]

use core::ptr;

use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use qemu_support::time::{Counter, TimeDriver};

/// Counts in a millisecond: 12.5 MHz.
const COUNTS_PER_MILLI: u32 = 12_500;

const CLOCK_GATES: usize = 0x400f_e104;
const TIMER: usize = 0x4003_0000;
const CONFIG: usize = TIMER;
const MODE: usize = TIMER + 0x04;
const CONTROL: usize = TIMER + 0x0c;
const INTERRUPTS: usize = TIMER + 0x18;
const CLEAR: usize = TIMER + 0x24;
const RELOAD: usize = TIMER + 0x28;

fn read(register: usize) -> u32 {
    // SAFETY: an aligned register of this chip.
    unsafe { ptr::read_volatile(register as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}

struct SysTick;

impl Counter for SysTick {
    /// It wraps after 1.3 s.
    const MASK: u32 = 0xff_ffff;

    fn count() -> u32 {
        // It counts down from the largest value.
        !SYST::get_current() & Self::MASK
    }

    fn micros(counts: u64) -> u64 {
        counts * 1000 / u64::from(COUNTS_PER_MILLI)
    }

    /// The tick comes soon enough.
    fn set_alarm(_micros: u64) {}
}

embassy_time_driver::time_driver_impl!(static DRIVER: TimeDriver<SysTick> = TimeDriver::new());

/// Starts the clock, once.
pub(crate) fn start() {
    let Some(Peripherals {
        SYST: mut counter, ..
    }) = Peripherals::take()
    else {
        return;
    };
    counter.set_clock_source(SystClkSource::Core);
    counter.set_reload(SysTick::MASK);
    counter.clear_current();
    counter.enable_counter();
    // It takes up the reload value with the next count.
    while SYST::get_current() == 0 {}
    DRIVER.start();

    write(CLOCK_GATES, read(CLOCK_GATES) | 1 << 16);
    // One timer of 32 bits, periodic.
    write(CONTROL, 0);
    write(CONFIG, 0);
    write(MODE, 2);
    write(RELOAD, COUNTS_PER_MILLI - 1);
    write(CLEAR, 1);
    write(INTERRUPTS, 1);
    write(CONTROL, 1);
}

pub(crate) fn on_tick() {
    write(CLEAR, 1);
    DRIVER.on_alarm();
}
