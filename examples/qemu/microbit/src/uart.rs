//! The UART of the nRF51 (reference manual, chapter 29).
//!
//! `unsafe`: registers are memory at fixed addresses. They are read and written here only, through the one `Uart`.
#![allow(unsafe_code)]

use core::ptr;

use cortex_m::peripheral::NVIC;

use crate::timer::Interrupt;

const BASE: usize = 0x4000_2000;
const START_RECEIVING: usize = 0x000;
const START_SENDING: usize = 0x008;
/// A byte came.
const RECEIVED: usize = 0x108;
/// A byte left.
const SENT: usize = 0x11c;
const INTERRUPTS_ON: usize = 0x304;
const ENABLE: usize = 0x500;
const PIN_SENDING: usize = 0x50c;
const PIN_RECEIVING: usize = 0x514;
const RECEIVE: usize = 0x518;
const SEND: usize = 0x51c;
const BAUD_RATE: usize = 0x524;

const INTERRUPT: Interrupt = Interrupt(2);

fn read(register: usize) -> u32 {
    // SAFETY: an aligned register of this peripheral.
    unsafe { ptr::read_volatile((BASE + register) as *const u32) }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile((BASE + register) as *mut u32, value) }
}

/// The serial port.
pub(crate) struct Uart {
    /// A byte is on its way.
    sending: bool,
}

impl Uart {
    pub(crate) fn start() -> Self {
        // As on the board: the pins to its USB side, 115 200 baud.
        write(PIN_SENDING, 24);
        write(PIN_RECEIVING, 25);
        write(BAUD_RATE, 0x01d7_e000);
        write(ENABLE, 4);
        write(START_SENDING, 1);
        write(START_RECEIVING, 1);
        write(INTERRUPTS_ON, 1 << 2 | 1 << 7);
        // SAFETY: interrupts are off for good; it only wakes.
        unsafe { NVIC::unmask(INTERRUPT) };
        Self { sending: false }
    }

    pub(crate) fn receive(&mut self, to: &mut [u8]) -> usize {
        let mut n = 0;
        for to in to {
            if read(RECEIVED) == 0 {
                break;
            }
            write(RECEIVED, 0);
            *to = read(RECEIVE) as u8;
            n += 1;
        }
        n
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        let mut n = 0;
        for &byte in bytes {
            if self.sending && read(SENT) == 0 {
                break;
            }
            write(SENT, 0);
            write(SEND, u32::from(byte));
            self.sending = true;
            n += 1;
        }
        n
    }

    /// Forgets what woke the processor; it comes again if there is more.
    pub(crate) fn clear(&mut self) {
        NVIC::unpend(INTERRUPT);
    }
}
