//! A node on the LM3S6965 evaluation board: Cortex-M3 at 12.5 MHz, 256 KB of flash, 64 KB of RAM, Ethernet on the chip.
#![no_std]
#![no_main]

mod ethernet;
mod interrupts;
mod time;

use core::mem::MaybeUninit;

use embassy_executor::Spawner;
use embassy_net::{Runner, Stack, StackResources};
use ethernet::Ethernet;
use qemu_app::parameters::{self, Shown};
use qemu_app::{Memory, Parameters, Status, session, tcp};
use qemu_support::{command_line, entropy, executor, exit, stack};
use static_cell::{ConstStaticCell, StaticCell};
use zeroize::Zeroize;

/// Bytes of a TCP connection's buffers, for each direction.
const TCP: usize = 2048;

static PARAMETERS: StaticCell<Parameters> = StaticCell::new();
static CARD: ConstStaticCell<Ethernet> = ConstStaticCell::new(Ethernet::new());
static RESOURCES: ConstStaticCell<StackResources<2>> = ConstStaticCell::new(StackResources::new());
static PEER: ConstStaticCell<session::Resources> = ConstStaticCell::new(session::Resources::new());
static MEMORY: ConstStaticCell<Memory<TCP, TCP>> = ConstStaticCell::new(Memory::new());

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, &'static mut Ethernet>) {
    runner.run().await;
}

#[embassy_executor::task]
async fn application(stack: Stack<'static>, parameters: &'static mut Parameters) {
    let Some(identity) = qemu_app::identity(parameters, "devp2p-rs/lm3s6965evb", entropy) else {
        leave(Status::BadParameters)
    };
    defmt::info!("this node is {}", identity.key.id());
    let memory = MEMORY.take();
    let status = tcp::run(stack, parameters, memory, PEER.take(), identity, entropy).await;
    leave(status);
}

fn leave(status: Status) -> ! {
    defmt::info!("{}, stack {=usize} bytes", status, stack::peak());
    exit(status.code())
}

fn start(spawner: Spawner) {
    let mut buffer = [MaybeUninit::uninit(); parameters::MAX_LENGTH];
    let line = command_line(&mut buffer);
    defmt::info!("lm3s6965evb:{}", Shown(line));
    let parameters = match Parameters::parse(line) {
        Ok(parameters) => PARAMETERS.init(parameters),
        Err(error) => {
            defmt::error!("{}", error);
            leave(Status::BadParameters)
        }
    };
    // There may be a key in it.
    buffer.zeroize();
    let card = CARD.take();
    card.start();
    // Not before: until it is told otherwise, a card's interrupt line may be active.
    interrupts::enable();
    let mut seed = [0; 8];
    entropy(&mut seed);
    let (stack, runner) = embassy_net::new(
        card,
        tcp::config(parameters),
        RESOURCES.take(),
        u64::from_le_bytes(seed),
    );
    match (network(runner), application(stack, parameters)) {
        (Ok(network), Ok(application)) => {
            spawner.spawn(network);
            spawner.spawn(application);
        }
        _ => leave(Status::Failure),
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    stack::paint();
    let Some(mut core) = cortex_m::Peripherals::take() else {
        exit(Status::Failure.code())
    };
    time::start(&mut core.SYST);
    executor::run(start)
}
