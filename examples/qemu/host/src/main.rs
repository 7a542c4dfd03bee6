//! The application of the boards with a network card, on the host: Embassy's std executor, and the host's sockets in place of
//! embassy-net.
//!
//! `qemu-host NAME=VALUE...` takes the boot parameters of a board and exits with its status, so that a debugger, a sanitizer or a
//! profiler of the host can look at what runs on a board. It listens on 127.0.0.1 only; `listen=0` takes a free port.
//! `DEFMT_LOG` sets the level of the log, as it does for a board: `info` if it is not set.

mod logger;
mod sockets;

use std::process::exit;

use embassy_executor::{Executor, Spawner};
use log::{error, info};
use qemu_app::parameters::Shown;
use qemu_app::{Memory, Parameters, Status, network};
use sockets::Sockets;

#[embassy_executor::task]
async fn application(mut parameters: Parameters) {
    leave(run(&mut parameters).await);
}

async fn run(parameters: &mut Parameters) -> Status {
    let mut sockets = match Sockets::new(parameters.listen) {
        Ok(sockets) => sockets,
        Err(error) => {
            let port = parameters.listen.unwrap_or_default();
            error!("no listener on 127.0.0.1:{port}: {error}");
            return Status::Failure;
        }
    };
    let memory = Box::leak(Box::new(Memory::new()));
    network::run(
        &mut sockets,
        parameters,
        "devp2p-rs/host",
        memory,
        &mut entropy,
    )
    .await
}

/// Random bytes of the system.
fn entropy(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        error!("the system gives no random bytes: {error}");
        leave(Status::Failure);
    }
}

fn leave(status: Status) -> ! {
    info!("{status:?}");
    exit(i32::from(status.code()))
}

fn start(spawner: Spawner) {
    let line = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    info!("host:{}", Shown(&line));
    let parameters = match Parameters::parse(&line) {
        Ok(parameters) => parameters,
        Err(error) => {
            error!("{error:?}");
            leave(Status::BadParameters)
        }
    };
    match application(parameters) {
        Ok(application) => spawner.spawn(application),
        Err(_) => leave(Status::Failure),
    }
}

fn main() {
    logger::start();
    Box::leak(Box::new(Executor::new())).run(start)
}
