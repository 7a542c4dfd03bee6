//! A peer at message level on the BBC micro:bit: nRF51822, Cortex-M0, 16 KB of RAM. No executor, no interrupt handler.
#![no_std]
#![no_main]

mod timer;
mod uart;

use core::mem::MaybeUninit;

use devp2p_core::time::{Duration, Instant, PollAt};
use qemu_bare::boot::boot;
use qemu_bare::drive::Board;
use qemu_bare::node::{News, Status};
use qemu_support::stack;

use timer::Timer;
use uart::Uart;

struct Microbit {
    timer: Timer,
    uart: Uart,
}

impl Board for Microbit {
    fn now(&mut self) -> Instant {
        self.timer.now()
    }

    fn receive(&mut self, to: &mut [u8]) -> usize {
        self.uart.receive(to)
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.uart.send(bytes)
    }

    fn sleep(&mut self, until: PollAt, sends: bool) {
        // QEMU's UART does not interrupt when a byte left that had to wait for the host: then look again soon.
        let soon = sends.then(|| self.now().saturating_add(Duration::from_millis(1)));
        let until = until.min(soon.into());
        // Interrupts stay off for good: a pending one ends WFI all the same, and the loop looks for itself.
        if self.timer.wake_at(until) {
            cortex_m::asm::wfi();
        }
        self.timer.clear();
        self.uart.clear();
    }

    fn tell(&mut self, news: News) {
        defmt::info!("{}", news);
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    stack::paint();
    cortex_m::interrupt::disable();
    let mut parameters = [MaybeUninit::uninit(); 64];
    let parameters = qemu_support::command_line(&mut parameters);
    defmt::info!("microbit: {=str}", parameters);
    let mut board = Microbit {
        timer: Timer::start(),
        uart: Uart::start(),
    };
    let status = boot(&mut board, parameters, b'M');
    defmt::info!(
        "{}, stack {=usize} of {=usize} bytes",
        status,
        stack::peak(),
        stack::size()
    );
    qemu_support::exit(u8::from(status != Status::Success))
}
