//! What a peer costs on a Cortex-M4: flash, RAM, stack and instructions.
//!
//! * `footprint` builds the images of `tests/footprint`, runs those that measure in QEMU, prints a table, writes
//!   `footprint.json` into cargo's target folder, and fails if a number is over its budget in `tests/budgets.toml`.
//! * `footprint --configure [OPTION...]` works out RAM and flash of a configuration of one's own, from the same numbers.
//! * `footprint --map IMAGE...` prints which parts of a firmware take its flash and its RAM.

mod budgets;
mod configure;
mod images;
mod map;
mod report;
mod sizes;

use std::env;
use std::process::ExitCode;

use configure::Configuration;
use images::Folders;
use sizes::Sizes;

/// Measures everything, and compares it with the budgets.
fn measure() -> Result<(), String> {
    let folders = Folders::new();
    let mut values = images::flash(&folders)?;
    values.extend(Sizes::read(&folders)?.values().clone());
    values.extend(images::run(&folders)?);
    let budgets = budgets::read(&folders, &values)?;
    report::write(&folders.target.join("footprint.json"), &budgets, &values)?;
    match report::print(&budgets, &values) {
        0 => Ok(()),
        over => Err(format!("{over} over budget")),
    }
}

fn usage(what: &str) -> ExitCode {
    eprintln!("footprint: {what}\nusage: footprint [--configure OPTION... | --map IMAGE...]");
    eprintln!("{}", configure::USAGE);
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let result = match arguments.next().as_deref() {
        None => measure(),
        Some("--configure") => match Configuration::parse(arguments) {
            Ok(asked) => configure::print(&Folders::new(), asked),
            Err(what) => return usage(&what),
        },
        Some("--map") => arguments.try_for_each(|image| map::print(&image)),
        Some(other) => return usage(&format!("there is no option {other}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("footprint: {error}");
            ExitCode::FAILURE
        }
    }
}
