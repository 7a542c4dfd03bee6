//! What a peer costs on a Cortex-M4: flash, RAM, stack and instructions, compared with `tests/budgets.toml`.
//!
//! * `footprint`: builds the images of `tests/footprint`, runs those that measure in QEMU, prints a table, writes
//!   `footprint.json` into cargo's target folder, and fails if a number is over its budget.

mod budgets;
mod images;
mod report;
mod sizes;

use std::env;
use std::process::ExitCode;

use images::Folders;
use sizes::Sizes;

/// Measures everything; the number of budgets that are exceeded.
fn measure() -> Result<usize, String> {
    let folders = Folders::new();
    let mut values = images::flash(&folders)?;
    let sizes = Sizes::read(&folders)?;
    sizes.check()?;
    values.extend(sizes.values());
    values.extend(images::run(&folders)?);
    let budgets = budgets::read(&folders, &values)?;
    report::write(&folders.target.join("footprint.json"), &budgets, &values)?;
    Ok(report::print(&budgets, &values))
}

fn main() -> ExitCode {
    if env::args().len() > 1 {
        eprintln!("usage: footprint");
        return ExitCode::from(2);
    }
    match measure() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(over) => {
            eprintln!("{over} over budget");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("footprint: {error}");
            ExitCode::FAILURE
        }
    }
}
