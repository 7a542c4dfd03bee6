//! Looks into linked images: how large they are, and whether symbols are in them that must not be.
//!
//! `elf [--without allocator] [--without panic] IMAGE...` prints a line for each image, in bytes: `text` (code and constants),
//! `data` (initialised RAM, as large in flash), `bss` (zeroed RAM), so flash is text + data and static RAM data + bss. It fails
//! if a symbol of an unwanted kind is there, or if there are no symbols to judge by.

use std::process::ExitCode;
use std::{env, fs};

use devp2p_tests::image::{Image, Kind};

/// Prints what is in the image at `path`; an error says what is wrong with it.
fn look(path: &str, without: &[Kind]) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let image = Image::parse(&bytes).map_err(|error| error.to_string())?;
    println!("{image}  {path}");
    image.check_without(without)
}

/// The image paths and the unwanted kinds, or nothing if the arguments make no sense.
fn arguments(mut from: impl Iterator<Item = String>) -> Option<(Vec<String>, Vec<Kind>)> {
    let (mut paths, mut without) = (Vec::new(), Vec::new());
    while let Some(argument) = from.next() {
        match argument.as_str() {
            "--without" => without.push(Kind::from_name(&from.next()?)?),
            _ => paths.push(argument),
        }
    }
    (!paths.is_empty()).then_some((paths, without))
}

fn main() -> ExitCode {
    let Some((paths, without)) = arguments(env::args().skip(1)) else {
        eprintln!("usage: elf [--without allocator] [--without panic] IMAGE...");
        return ExitCode::from(2);
    };
    let mut code = ExitCode::SUCCESS;
    for path in paths {
        if let Err(error) = look(&path, &without) {
            eprintln!("{path}: {error}");
            code = ExitCode::FAILURE;
        }
    }
    code
}
