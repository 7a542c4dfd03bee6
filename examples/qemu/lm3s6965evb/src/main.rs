//! A node on the LM3S6965 evaluation board: Cortex-M3 at 12.5 MHz, 256 KB of flash, 64 KB of RAM, Ethernet on the chip.
#![no_std]
#![no_main]

mod ethernet;
mod time;

use embassy_executor::Spawner;
use qemu_app::{Parameters, Status, tcp};
use qemu_support::network::{leave, parameters};
use qemu_support::{entropy, executor, stack};
use static_cell::ConstStaticCell;

use crate::ethernet::Ethernet;

/// Bytes of a TCP connection's buffers, for each direction.
const TCP: usize = 2048;

static CARD: ConstStaticCell<Ethernet> = ConstStaticCell::new(Ethernet::new());
static MEMORY: ConstStaticCell<tcp::Memory<TCP, TCP>> = ConstStaticCell::new(tcp::Memory::new());

qemu_support::interrupts!(19 => time::on_tick, 42 => ethernet::on_interrupt);

#[embassy_executor::task]
async fn application(card: &'static mut Ethernet, parameters: &'static mut Parameters) {
    leave(
        tcp::serve(
            card,
            parameters,
            "devp2p-rs/lm3s6965evb",
            MEMORY.take(),
            entropy,
        )
        .await,
    )
}

fn start(spawner: Spawner) {
    let parameters = parameters("lm3s6965evb");
    let card = CARD.take();
    card.start();
    // Not before: until it is told otherwise, a card's interrupt line may be active.
    enable_interrupts();
    match application(card, parameters) {
        Ok(application) => spawner.spawn(application),
        Err(_) => leave(Status::Failure),
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    stack::paint();
    time::start();
    executor::run(start)
}
