//! A node on Arm's MPS2 board with the image AN386: Cortex-M4 at 25 MHz, LAN9118.
#![no_std]
#![no_main]

mod lan9118;
mod time;

use embassy_executor::Spawner;
use qemu_app::{Parameters, Status, tcp};
use qemu_support::network::{leave, parameters};
use qemu_support::{entropy, executor, stack};
use static_cell::ConstStaticCell;

use crate::lan9118::Lan9118;

/// Bytes of a TCP connection's buffers, for each direction.
const TCP: usize = 4096;

static CARD: ConstStaticCell<Lan9118> = ConstStaticCell::new(Lan9118::new());
static MEMORY: ConstStaticCell<tcp::Memory<TCP, TCP>> = ConstStaticCell::new(tcp::Memory::new());

qemu_support::interrupts!(9 => time::on_alarm, 13 => lan9118::on_interrupt);

#[embassy_executor::task]
async fn application(card: &'static mut Lan9118, parameters: &'static mut Parameters) {
    leave(
        tcp::serve(
            card,
            parameters,
            "devp2p-rs/mps2-an386",
            MEMORY.take(),
            entropy,
        )
        .await,
    )
}

fn start(spawner: Spawner) {
    let parameters = parameters("mps2-an386");
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
