//! The board: semihosting, a counter of instructions, and paint on the stack.
//!
//! `unsafe`: registers at fixed addresses, the debugger's breakpoint, and memory below the stack pointer, of which only the
//! linker knows where it ends. Nothing here runs in an interrupt, and there is none.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ptr;

/// The first CMSDK timer ("APB timer" of the Cortex-M System Design Kit).
const TIMER: usize = 0x4000_0000;
/// Instructions in one count of the timer: QEMU's `-icount shift=0` takes a nanosecond for each, and the timer runs at
/// 25 MHz.
const RESOLUTION: u32 = 40;
/// Coprocessor access control, which switches the FPU on.
const CPACR: usize = 0xE000_ED88;

const SYS_WRITE0: usize = 0x04;
const SYS_EXIT_EXTENDED: usize = 0x20;
const APPLICATION_EXIT: usize = 0x2_0026;

const PAINT: u32 = 0x5AFE_57AC;

unsafe extern "C" {
    /// The end of the statics: the stack has all that is above it.
    static _bss_end: u32;
}

fn write_register(register: usize, value: u32) {
    // SAFETY: an aligned register that nothing else uses.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}

/// Switches on what a chip's own start-up would, and starts the counter. Call first of all.
pub fn start() {
    write_register(CPACR, 0xF << 20);
    // It counts down from the largest value.
    for (offset, value) in [(0x8, u32::MAX), (0x4, u32::MAX), (0x0, 1)] {
        write_register(TIMER + offset, value);
    }
}

/// Instructions executed since some time or other; wraps.
fn instructions() -> u32 {
    // SAFETY: an aligned register.
    let count = unsafe { ptr::read_volatile((TIMER + 0x4) as *const u32) };
    (!count).wrapping_mul(RESOLUTION)
}

fn semihosting(operation: usize, argument: usize) {
    // SAFETY: the debugger, here QEMU, takes the call, writes no memory in these two, and returns the result in r0.
    unsafe {
        asm!("bkpt 0xab", inout("r0") operation => _, in("r1") argument, options(nostack));
    }
}

/// Prints `text`, of at most 127 bytes.
pub fn print(text: &str) {
    let mut line = [0u8; 128];
    for (to, from) in line.iter_mut().take(127).zip(text.bytes()) {
        *to = from;
    }
    semihosting(SYS_WRITE0, line.as_ptr().addr());
}

/// Ends the emulation with this status.
pub fn exit(status: u8) -> ! {
    let block = [APPLICATION_EXIT, usize::from(status)];
    semihosting(SYS_EXIT_EXTENDED, block.as_ptr().addr());
    loop {
        core::hint::spin_loop();
    }
}

/// What one call took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Bytes of stack below the caller's frame that it wrote to.
    pub stack: u32,
    /// Instructions, to the next 40.
    pub instructions: u32,
}

/// Calls `f` and measures it.
#[inline(never)]
pub fn measured<R>(f: impl FnOnce() -> R) -> (R, Cost) {
    let bottom = (&raw const _bss_end).addr();
    let top: usize;
    // SAFETY: writes words between the statics and the stack pointer, which belong to no frame; uses no stack itself.
    unsafe {
        asm!(
            "mov {top}, sp",
            "2:",
            "cmp {at}, {top}",
            "bhs 3f",
            "str {paint}, [{at}], #4",
            "b 2b",
            "3:",
            at = inout(reg) bottom => _,
            top = out(reg) top,
            paint = in(reg) PAINT,
            options(nostack),
        );
    }
    let before = instructions();
    let result = called(f);
    let after = instructions();
    let lowest: usize;
    // SAFETY: reads words between the statics and the stack pointer.
    unsafe {
        asm!(
            "2:",
            "cmp {at}, {top}",
            "bhs 3f",
            "ldr {word}, [{at}]",
            "cmp {word}, {paint}",
            "bne 3f",
            "adds {at}, #4",
            "b 2b",
            "3:",
            at = inout(reg) bottom => lowest,
            top = in(reg) top,
            paint = in(reg) PAINT,
            word = out(reg) _,
            options(nostack, readonly),
        );
    }
    let cost = Cost {
        stack: (top - lowest) as u32,
        instructions: after.wrapping_sub(before),
    };
    (result, cost)
}

/// A frame of its own, so that what is inlined here lies below the one that measures.
#[inline(never)]
fn called<R>(f: impl FnOnce() -> R) -> R {
    f()
}
