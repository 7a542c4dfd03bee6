//! The host's end of a bare board's serial line.
//!
//! `serial-host SOCKET [--quiet SECONDS]` listens at a Unix socket for QEMU, and goes through everything that the board can do:
//! echoes of every kind of size, Ping and Pong (also through SECONDS without another message), readings, a killed link, and
//! each Disconnect reason in both directions. It fails at the first thing that is not as it should be.
//! `serial-host --sessions` prints how many sessions that takes.

mod cable;
mod checks;
mod host;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use host::Host;

fn arguments() -> Option<(String, Duration)> {
    let mut arguments = env::args().skip(1);
    let socket = arguments.next()?;
    let mut quiet = Duration::ZERO;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quiet" => quiet = Duration::from_secs(arguments.next()?.parse().ok()?),
            _ => return None,
        }
    }
    Some((socket, quiet))
}

fn main() -> ExitCode {
    let Some((socket, quiet)) = arguments() else {
        eprintln!("usage: serial-host SOCKET [--quiet SECONDS] | serial-host --sessions");
        return ExitCode::from(2);
    };
    if socket == "--sessions" {
        println!("{}", checks::SESSIONS);
        return ExitCode::SUCCESS;
    }
    let result = Host::listen(&socket).and_then(|mut host| {
        checks::run(&mut host, quiet)?;
        host.leave()
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serial-host: {error}");
            ExitCode::FAILURE
        }
    }
}
