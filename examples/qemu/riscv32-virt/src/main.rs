//! A peer at message level on QEMU's RISC-V machine `virt`. No executor, no interrupt handler.
#![no_std]
#![no_main]

mod timer;
mod uart;

use core::mem::MaybeUninit;

use devp2p_core::time::{Instant, PollAt};
use qemu_bare::boot::boot;
use qemu_bare::drive::Board;
use qemu_bare::node::{News, Status};
use qemu_support::stack;

struct Virt;

impl Board for Virt {
    fn now(&mut self) -> Instant {
        timer::now()
    }

    fn receive(&mut self, to: &mut [u8]) -> usize {
        uart::receive(to)
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        uart::send(bytes)
    }

    fn sleep(&mut self, until: PollAt, sends: bool) {
        timer::wake_at(until);
        uart::wake(sends);
        // Interrupts stay off for good: a pending one ends WFI all the same, and the loop looks for itself.
        riscv::asm::wfi();
        uart::clear();
    }

    fn tell(&mut self, news: News) {
        defmt::info!("{}", news);
    }
}

/// The program.
#[riscv_rt::entry]
fn main() -> ! {
    stack::paint();
    let mut parameters = [MaybeUninit::uninit(); 64];
    let parameters = qemu_support::command_line(&mut parameters);
    defmt::info!("riscv32-virt: {=str}", parameters);
    timer::start();
    uart::start();
    let status = boot(&mut Virt, parameters, b'V');
    defmt::info!(
        "{}, stack {=usize} of {=usize} bytes",
        status,
        stack::peak(),
        stack::size()
    );
    qemu_support::exit(u8::from(status != Status::Success))
}
