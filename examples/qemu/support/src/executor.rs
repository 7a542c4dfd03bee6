//! An Embassy executor that sleeps by WFI: in QEMU, WFE does not sleep, so the stock one would spin.
//!
//! `unsafe`: the executor is to be polled by one caller only, which is this one, and `__pender` is the symbol by which it tells
//! that there is something to do.
#![allow(unsafe_code)]

use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

use crate::Flag;

static PENDING: Flag = Flag::new();

// SAFETY: the executor asks for exactly this symbol; no other is of this name.
#[unsafe(export_name = "__pender")]
fn pender(_context: *mut ()) {
    PENDING.swap(true);
}

/// Not inlined: what `init` has on the stack is given back before the tasks run.
#[inline(never)]
fn start(init: impl FnOnce(Spawner), spawner: Spawner) {
    init(spawner);
}

/// Runs the tasks that `init` spawns, for ever.
///
/// # Panics
/// On the second call: there is one executor.
pub fn run(init: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor: &'static raw::Executor = EXECUTOR.init(raw::Executor::new(core::ptr::null_mut()));
    start(init, executor.spawner());
    loop {
        // SAFETY: only here, and not from within itself: `init` ran before, and `pender` only sets a flag.
        unsafe { executor.poll() };
        // Interrupts are off between looking and sleeping, so that none is missed: WFI wakes for one that is pending, and it is
        // handled as soon as they are on again.
        while critical_section::with(|_| {
            let sleeps = !PENDING.swap(false);
            if sleeps {
                cortex_m::asm::wfi();
            }
            sleeps
        }) {}
    }
}
