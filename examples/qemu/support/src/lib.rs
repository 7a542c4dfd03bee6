//! What the emulated boards share, and a real one does not have: the debugger's semihosting calls, answered by QEMU.
//!
//! The log goes out as `defmt` frames on QEMU's standard output; the boot parameters are QEMU's semihosting command line; the
//! board's status is QEMU's exit status; random bytes are the host's.
#![no_std]
#![cfg(target_os = "none")]

use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use defmt_semihosting as _;

#[cfg(feature = "executor")]
pub mod executor;
#[cfg(feature = "network")]
pub mod interrupts;
#[cfg(feature = "network")]
pub mod network;
pub mod stack;
#[cfg(feature = "executor")]
pub mod time;

/// The status of a firmware that panicked.
pub const PANICKED: u8 = 101;
/// The status of a firmware whose processor met a fault.
pub const FAULT: u8 = 102;

/// Ends the emulation with this status.
pub fn exit(status: u8) -> ! {
    semihosting::process::exit(i32::from(status))
}

/// Reads the boot parameters: what follows the program's name in `-semihosting-config arg=...`, parted by spaces. Empty if
/// there are none, or more than `buffer` holds.
pub fn command_line(buffer: &mut [MaybeUninit<u8>]) -> &str {
    let line = semihosting::sys::arm_compat::sys_get_cmdline_uninit(buffer).unwrap_or_default();
    let line = core::str::from_utf8(line).unwrap_or_default();
    line.split_once(' ').map_or("", |(_, rest)| rest)
}

/// Fills `bytes` from the host's random source. A real board has its own; see the README.
///
/// # Panics
/// If the host has none: a node without randomness must not run.
pub fn entropy(bytes: &mut [u8]) {
    if semihosting::experimental::random::fill_bytes(bytes).is_err() {
        panic!("the host gives no random bytes");
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A second panic, while the first is told, must not be told again.
    if !PANICKING.swap(true) {
        match info.location() {
            Some(at) => defmt::error!("panicked at {=str}:{=u32}", at.file(), at.line()),
            None => defmt::error!("panicked"),
        }
    }
    exit(PANICKED)
}

static PANICKING: Flag = Flag::new();

/// A flag that interrupts and the main program share, also where there is no atomic exchange.
#[derive(Debug)]
pub struct Flag(core::sync::atomic::AtomicBool);

impl Default for Flag {
    fn default() -> Self {
        Self::new()
    }
}

impl Flag {
    /// A flag that is not set.
    pub const fn new() -> Self {
        Self(core::sync::atomic::AtomicBool::new(false))
    }

    /// Sets or clears it; returns how it was.
    pub fn swap(&self, value: bool) -> bool {
        critical_section::with(|_| {
            let was = self.0.load(core::sync::atomic::Ordering::Relaxed);
            self.0.store(value, core::sync::atomic::Ordering::Relaxed);
            was
        })
    }
}

#[cfg(target_arch = "arm")]
mod fault {
    // The exception's name is its symbol; nothing else in an image has it.
    #![allow(unsafe_code)]

    #[cortex_m_rt::exception]
    unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
        defmt::error!("fault at {=u32:08x}", frame.pc());
        crate::exit(crate::FAULT)
    }
}
