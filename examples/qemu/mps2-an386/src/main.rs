//! A node on Arm's MPS2 board with the image AN386: Cortex-M4 at 25 MHz, LAN9118.
#![no_std]
#![no_main]

mod interrupts;
mod lan9118;
mod time;

use core::mem::MaybeUninit;

use cortex_m::peripheral::syst::SystClkSource;
use embassy_executor::Spawner;
use embassy_net::{Runner, Stack, StackResources};
use lan9118::Lan9118;
use qemu_app::parameters::{self, Shown};
use qemu_app::{Memory, Parameters, Status, session, tcp};
use qemu_support::{command_line, entropy, executor, exit, stack};
use static_cell::{ConstStaticCell, StaticCell};
use zeroize::Zeroize;

/// Bytes of a TCP connection's buffers, for each direction.
const TCP: usize = 4096;
const CLOCK: u32 = 25_000_000;

static PARAMETERS: StaticCell<Parameters> = StaticCell::new();
static CARD: ConstStaticCell<Lan9118> = ConstStaticCell::new(Lan9118::new());
static RESOURCES: ConstStaticCell<StackResources<2>> = ConstStaticCell::new(StackResources::new());
static PEER: ConstStaticCell<session::Resources> = ConstStaticCell::new(session::Resources::new());
static MEMORY: ConstStaticCell<Memory<TCP, TCP>> = ConstStaticCell::new(Memory::new());

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, &'static mut Lan9118>) {
    runner.run().await;
}

#[embassy_executor::task]
async fn application(stack: Stack<'static>, parameters: &'static mut Parameters) {
    let Some(identity) = qemu_app::identity(parameters, "devp2p-rs/mps2-an386", entropy) else {
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
    defmt::info!("mps2-an386:{}", Shown(line));
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
    time::start();
    // An empty tick, 1000 times a second: QEMU's user network looks at its own timers only when the guest gives it occasion.
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(CLOCK / 1000 - 1);
    core.SYST.clear_current();
    core.SYST.enable_interrupt();
    core.SYST.enable_counter();
    executor::run(start)
}
