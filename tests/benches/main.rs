//! Benchmarks of this project beside go-ethereum, in one run and alternating.
//!
//! One program for all: without a mode it measures, and starts itself as `end` (our end of a session) and `bare` (TCP
//! without a protocol), and the go-ethereum peer in its mode `bench`.

mod bare;
mod ceiling;
mod child;
mod console;
mod counting;
mod end;
mod end_loop;
mod fast;
mod handshakes;
mod jobs;
mod micro;
mod opening;
mod options;
mod report;
mod row;
mod svg;
mod traffic;

use std::env;
use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let result = match env::args().nth(1).as_deref() {
        Some("end") => end::run(&arguments.nth(1).unwrap_or_else(|| "{}".to_owned())).map(drop),
        Some("micro") => micro::run(&arguments.skip(1).collect::<Vec<_>>()).map(drop),
        Some("bare") => bare::run().map(drop),
        Some("--help" | "-h") => {
            println!("{}", options::USAGE);
            Ok(())
        }
        _ => Options::parse(arguments).and_then(|options| report::run(&options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
