//! Time from the two CMSDK timers (Cortex-M System Design Kit, "APB timer"): the first counts, the second is the alarm.
//!
//! `unsafe`: registers are memory at fixed addresses, read and written here only.
#![allow(unsafe_code)]

use core::ptr;

use cortex_m::Peripherals;
use cortex_m::peripheral::syst::SystClkSource;
use qemu_support::time::{Counter, TimeDriver};

const COUNTER: usize = 0x4000_0000;
const ALARM: usize = 0x4000_1000;
const CONTROL: usize = 0x0;
const VALUE: usize = 0x4;
const RELOAD: usize = 0x8;
const INTERRUPT: usize = 0xc;
const ENABLE: u32 = 1 << 0;
const INTERRUPT_ON: u32 = 1 << 3;

/// 25 MHz.
const COUNTS_PER_MICRO: u64 = 25;
/// The counter wraps after 171 s, so it is looked at each minute at least.
const LONGEST: u64 = 60_000_000;

fn read(register: usize) -> u32 {
    // SAFETY: an aligned register of a timer.
    unsafe { ptr::read_volatile(register as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}

struct Cmsdk;

impl Counter for Cmsdk {
    const MASK: u32 = u32::MAX;

    fn count() -> u32 {
        // It counts down from the largest value.
        !read(COUNTER + VALUE)
    }

    fn micros(counts: u64) -> u64 {
        counts / COUNTS_PER_MICRO
    }

    fn set_alarm(micros: u64) {
        let counts = micros.clamp(1, LONGEST) * COUNTS_PER_MICRO;
        write(ALARM + CONTROL, 0);
        write(ALARM + INTERRUPT, 1);
        // It goes on from the reload value, so a late alarm is only repeated.
        write(ALARM + RELOAD, counts as u32);
        write(ALARM + VALUE, counts as u32);
        write(ALARM + CONTROL, ENABLE | INTERRUPT_ON);
    }
}

embassy_time_driver::time_driver_impl!(static DRIVER: TimeDriver<Cmsdk> = TimeDriver::new());

/// Starts the clock, once.
pub(crate) fn start() {
    write(COUNTER + RELOAD, u32::MAX);
    write(COUNTER + VALUE, u32::MAX);
    write(COUNTER + CONTROL, ENABLE);
    DRIVER.start();
    // An empty tick, 1000 times a second: QEMU's user network looks at its own timers only when the guest gives it occasion.
    if let Some(Peripherals { mut SYST, .. }) = Peripherals::take() {
        SYST.set_clock_source(SystClkSource::Core);
        SYST.set_reload(1_000 * COUNTS_PER_MICRO as u32 - 1);
        SYST.clear_current();
        SYST.enable_interrupt();
        SYST.enable_counter();
    }
}

#[cortex_m_rt::exception]
fn SysTick() {}

pub(crate) fn on_alarm() {
    write(ALARM + INTERRUPT, 1);
    DRIVER.on_alarm();
}
