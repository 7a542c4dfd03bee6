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
use qemu_app::{Parameters, Status, network, session};
use sockets::Sockets;

#[embassy_executor::task]
async fn application(mut parameters: Parameters) {
    leave(run(&mut parameters).await);
}

async fn run(parameters: &mut Parameters) -> Status {
    let Some(identity) = qemu_app::identity(parameters, "devp2p-rs/host", entropy) else {
        return Status::BadParameters;
    };
    info!("this node is {}", identity.key.id());
    let mut sockets = match Sockets::new(parameters.listen) {
        Ok(sockets) => sockets,
        Err(error) => {
            let port = parameters.listen.unwrap_or_default();
            error!("no listener on 127.0.0.1:{port}: {error}");
            return Status::Failure;
        }
    };
    if let Some(addr) = sockets.local_addr() {
        info!("listening at {addr}");
    }
    let mut payload = vec![0; session::LARGEST];
    let resources = Box::leak(Box::new(session::Resources::new()));
    let network = &mut sockets;
    network::run(
        network,
        parameters,
        &mut payload,
        resources,
        identity,
        entropy,
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
