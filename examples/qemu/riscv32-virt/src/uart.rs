//! The serial port (NS16550A), and the interrupt controller (PLIC) as far as the port must wake the processor.
//!
//! `unsafe`: registers are memory at fixed addresses, read and written here only; and the bit that lets the port wake.
#![allow(unsafe_code)]

use core::ptr;

const PORT: usize = 0x1000_0000;
/// The byte to send, the byte that came.
const DATA: usize = PORT;
const INTERRUPTS_ON: usize = PORT + 1;
const FIFO_CONTROL: usize = PORT + 2;
const LINE_CONTROL: usize = PORT + 3;
const LINE_STATUS: usize = PORT + 5;
const CAME: u8 = 1 << 0;
const CAN_SEND: u8 = 1 << 5;
/// Bytes that the sending FIFO takes once it is empty.
const FIFO: usize = 16;

const CONTROLLER: usize = 0x0c00_0000;
const INTERRUPT: u32 = 10;
const ENABLES: usize = CONTROLLER + 0x2000;
const THRESHOLD: usize = CONTROLLER + 0x20_0000;
const CLAIM: usize = CONTROLLER + 0x20_0004;

fn read(register: usize) -> u8 {
    // SAFETY: a register of the port.
    unsafe { ptr::read_volatile(register as *const u8) }
}

fn write(register: usize, value: u8) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile(register as *mut u8, value) }
}

fn read_controller(register: usize) -> u32 {
    // SAFETY: an aligned register of the controller.
    unsafe { ptr::read_volatile(register as *const u32) }
}

fn write_controller(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}

pub(crate) fn start() {
    // 8 bits, no parity; both FIFOs on and empty.
    write(LINE_CONTROL, 3);
    write(FIFO_CONTROL, 7);
    write_controller(CONTROLLER + 4 * INTERRUPT as usize, 1);
    write_controller(ENABLES, 1 << INTERRUPT);
    write_controller(THRESHOLD, 0);
    // SAFETY: interrupts are off in `mstatus`, so no handler runs.
    unsafe { riscv::register::mie::set_mext() };
}

pub(crate) fn receive(to: &mut [u8]) -> usize {
    let mut n = 0;
    for to in to {
        if read(LINE_STATUS) & CAME == 0 {
            break;
        }
        *to = read(DATA);
        n += 1;
    }
    n
}

pub(crate) fn send(bytes: &[u8]) -> usize {
    if bytes.is_empty() || read(LINE_STATUS) & CAN_SEND == 0 {
        return 0;
    }
    let n = bytes.len().min(FIFO);
    bytes.iter().take(n).for_each(|byte| write(DATA, *byte));
    n
}

/// Lets the port wake the processor: when a byte came, and where `sends`, when it can take one.
pub(crate) fn wake(sends: bool) {
    write(INTERRUPTS_ON, 1 | u8::from(sends) << 1);
}

/// Forgets what woke the processor; it comes again if there is more.
pub(crate) fn clear() {
    write(INTERRUPTS_ON, 0);
    let claimed = read_controller(CLAIM);
    if claimed != 0 {
        write_controller(CLAIM, claimed);
    }
}
