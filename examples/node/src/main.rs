//! The `devp2p` command: keys, ping, light, listen, bench and demo.

mod addr;
mod bench;
mod demo;
mod dial;
mod failure;
mod key;
mod light;
mod listen;
mod logger;
mod payload;
mod ping;
mod queue;
mod services;
mod show;
mod signals;
mod stderr;
mod stranger;
mod text;

use std::env;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::show::Output;

/// A devp2p peer: the session of Ethereum nodes, with RLPx, Snappy and multiplexed subprotocols
#[derive(Debug, Parser)]
#[command(
    name = "devp2p",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Arguments {
    /// Print JSON, one object a line, also for errors
    #[arg(long, global = true)]
    json: bool,
    /// Log to standard error; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make or show a key and its enode
    Key(key::Key),
    /// Ask a node what it offers, and measure round trips of Ping
    Ping(ping::Ping),
    /// Read the state of a chain from nodes that need not be trusted: verified headers, proved accounts
    Light(light::Light),
    /// Listen, and serve echo/1, bench/1 and chat/1 until SIGINT, SIGTERM or SIGHUP
    Listen(listen::Listen),
    /// Run two nodes against each other and verify what arrives: the main job
    Demo(demo::Demo),
    /// Measure messages and bytes per second to a node that serves bench/1, and round trips
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let _stderr = stderr::start();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    logger::start(arguments.verbose);
    let output = Output {
        json: arguments.json,
    };
    let result = match &arguments.command {
        Command::Key(args) => key::run(args, output),
        Command::Ping(args) => ping::run(args, output),
        Command::Light(args) => light::run(args, output),
        Command::Listen(args) => listen::run(args, output),
        Command::Demo(args) => demo::run(args, output),
        Command::Bench(args) => bench::run(args, output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure, output);
            ExitCode::FAILURE
        }
    }
}

/// Help that was asked for, or arguments that make no sense.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // One that reads only the first lines is no fault.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    stderr::say_surely(error.render());
    let json = env::args_os()
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json");
    if json {
        // Standard error has said it.
        let _ = Output { json }.object(&Failure::arguments(error));
    }
    ExitCode::from(2)
}

fn tell(failure: &Failure, output: Output) {
    stderr::say_surely(failure);
    if output.json && !failure.is_of_output {
        // If nobody reads it, standard error has said it.
        let _ = output.object(failure);
    }
}
