//! From reset to `main`: the stack pointer, then initialised and zeroed memory.
//!
//! Only the linker knows where memory is, and only at reset is nothing else using it: hence the `unsafe` of this file, and of
//! no other. The chip's own runtime crate does this in firmware; here it would only add to what is measured.
#![allow(unsafe_code)]

use core::arch::global_asm;
use core::ptr;

// The processor loads the stack pointer and the address of the first instruction from the first two words of its vector table;
// fourteen exceptions follow, none of which is expected.
#[cfg(target_arch = "arm")]
global_asm!(
    ".section .reset, \"a\", %progbits",
    ".word _stack_top",
    ".word _start",
    ".rept 14",
    ".word {halt}",
    ".endr",
    ".text",
    halt = sym halt,
);

// The processor begins at the first word of flash, with no stack pointer.
#[cfg(target_arch = "riscv32")]
global_asm!(
    ".section .reset, \"ax\", @progbits",
    "la sp, _stack_top",
    "j _start",
    ".text",
);

unsafe extern "C" {
    static mut _data_start: u32;
    static mut _data_end: u32;
    static _data_load: u32;
    static mut _bss_start: u32;
    static mut _bss_end: u32;
}

#[cfg(target_arch = "arm")]
extern "C" fn halt() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The entry of the image.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    // SAFETY: the linker script aligns these to words, orders them and puts them in RAM (`_data_load`: in flash, as long as
    // data is); nothing else runs yet, and no static is read before. Volatile, for a plain loop would become a call of memcpy.
    unsafe {
        let mut to = &raw mut _data_start;
        let mut from = &raw const _data_load;
        while to < &raw mut _data_end {
            ptr::write_volatile(to, ptr::read_volatile(from));
            to = to.wrapping_add(1);
            from = from.wrapping_add(1);
        }
        let mut to = &raw mut _bss_start;
        while to < &raw mut _bss_end {
            ptr::write_volatile(to, 0);
            to = to.wrapping_add(1);
        }
    }
    crate::main()
}
