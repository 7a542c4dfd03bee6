//! Which interrupt is whose.
//!
//! `unsafe`: the numbers are the board's, and enabling an interrupt could break a critical section if one were held; none is.
#![allow(unsafe_code)]

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

/// The tick of the time driver.
const TICK: Interrupt = Interrupt(19);
/// The network card.
const CARD: Interrupt = Interrupt(42);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Interrupt(u16);

// SAFETY: the numbers above are those of the board, and do not change.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self.0
    }
}

pub(crate) fn enable() {
    // SAFETY: no critical section is held.
    unsafe {
        NVIC::unmask(TICK);
        NVIC::unmask(CARD);
    }
}

#[cortex_m_rt::exception]
unsafe fn DefaultHandler(number: i16) {
    match u16::try_from(number).map(Interrupt) {
        Ok(TICK) => crate::time::on_tick(),
        Ok(CARD) => crate::ethernet::on_interrupt(),
        _ => panic!("unexpected interrupt"),
    }
}
