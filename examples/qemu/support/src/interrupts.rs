//! Which interrupt is whose.
//!
//! `unsafe`: the numbers are the board's, and enabling an interrupt could break a critical section if one were held; none is.
#![allow(unsafe_code)]

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

#[derive(Clone, Copy)]
struct Interrupt(u16);

// SAFETY: the caller's numbers are those of its board, and do not change.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self.0
    }
}

/// Enables the interrupts of these numbers. Not in a critical section.
pub fn enable(numbers: &[u16]) {
    for &number in numbers {
        // SAFETY: no critical section is held.
        unsafe { NVIC::unmask(Interrupt(number)) };
    }
}

/// A function `enable_interrupts`, and the handler that calls what stands beside each number.
#[macro_export]
macro_rules! interrupts {
    ($($number:literal => $handler:path),+ $(,)?) => {
        fn enable_interrupts() {
            $crate::interrupts::enable(&[$($number),+]);
        }

        // The exception's name is its symbol; nothing else in an image has it.
        #[allow(unsafe_code)]
        #[cortex_m_rt::exception]
        unsafe fn DefaultHandler(number: i16) {
            match number {
                $($number => $handler(),)+
                _ => panic!("unexpected interrupt"),
            }
        }
    };
}
