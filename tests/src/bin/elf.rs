//! Looks into linked images: how large they are, and whether symbols are in them that must not be.
//!
//! `elf [--without allocator] [--without panic] IMAGE...` prints a line for each image, in bytes: `text` (code and constants),
//! `data` (initialised RAM, as large in flash), `bss` (zeroed RAM), so flash is text + data and static RAM data + bss. It fails
//! if a symbol of an unwanted kind is there, or if there are no symbols to judge by.

use std::process::ExitCode;
use std::{env, fmt, fs};

use object::elf::{SHF_ALLOC, SHF_WRITE, SHT_NOBITS};
use object::{File, Object, ObjectSection, ObjectSymbol, SectionFlags};

/// A kind of symbol that an image may have to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Rust's allocator interface, the `alloc` crate, or C's allocator.
    Allocator,
    /// The panic handler, which every panic leads to, and the core's functions on the way there.
    Panic,
}

impl Kind {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "allocator" => Some(Self::Allocator),
            "panic" => Some(Self::Panic),
            _ => None,
        }
    }

    /// Whether a symbol is of this kind, in the older or the newer way of mangling, or not mangled.
    fn includes(self, symbol: &str) -> bool {
        let (whole, parts): (&[&str], &[&str]) = match self {
            Self::Allocator => (
                &["malloc", "calloc", "realloc", "free"],
                &[
                    "__rust_alloc",
                    "__rust_dealloc",
                    "__rust_realloc",
                    "__rust_no_alloc",
                    "__rg_",
                    "__rdl_",
                    "_ZN5alloc",
                    "_5alloc",
                ],
            ),
            Self::Panic => (&[], &["rust_begin_unwind", "9panicking"]),
        };
        whole.contains(&symbol) || parts.iter().any(|part| symbol.contains(part))
    }
}

/// What one image holds; sizes in bytes.
#[derive(Debug, Default)]
struct Image {
    text: u64,
    data: u64,
    bss: u64,
    symbols: Vec<String>,
}

impl Image {
    fn parse(bytes: &[u8]) -> Result<Self, object::Error> {
        let file = File::parse(bytes)?;
        let mut image = Self::default();
        for section in file.sections() {
            let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else {
                continue;
            };
            if !sh_flags.contains(SHF_ALLOC) {
                continue;
            }
            let part = if sh_type == SHT_NOBITS {
                &mut image.bss
            } else if sh_flags.contains(SHF_WRITE) {
                &mut image.data
            } else {
                &mut image.text
            };
            *part += section.size();
        }
        for symbol in file.symbols() {
            image.symbols.push(symbol.name()?.to_owned());
        }
        Ok(image)
    }

    fn symbols_of(&self, kind: Kind) -> Vec<&str> {
        self.symbols
            .iter()
            .map(String::as_str)
            .filter(|symbol| kind.includes(symbol))
            .collect()
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            text, data, bss, ..
        } = self;
        write!(f, "text {text:>6}  data {data:>4}  bss {bss:>6}")
    }
}

/// Prints what is in the image at `path`; an error says what is wrong with it.
fn look(path: &str, without: &[Kind]) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let image = Image::parse(&bytes).map_err(|error| error.to_string())?;
    println!("{image}  {path}");
    if image.symbols.iter().all(String::is_empty) {
        return Err("no symbols: it was stripped, so nothing can be said of what is in it".into());
    }
    for &kind in without {
        let found = image.symbols_of(kind);
        if !found.is_empty() {
            return Err(format!("{kind:?} symbols: {}", found.join(" ")));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocators_are_told_from_other_symbols() {
        for symbol in [
            "__rust_alloc",
            "_RNvCs691rhTbG0Ee_7___rustc12___rust_alloc",
            "_RNvCs691rhTbG0Ee_7___rustc11___rg_dealloc",
            "_ZN5alloc7raw_vec12handle_error17h2c3b5a3b8cf0a3f1E",
            "_RNvNtCsh1_5alloc7raw_vec12handle_error",
            "malloc",
        ] {
            assert!(Kind::Allocator.includes(symbol), "{symbol}");
        }
        for symbol in ["_start", "memcpy", "_RNvNtCs1_11devp2p_core5inbox8allocate"] {
            assert!(!Kind::Allocator.includes(symbol), "{symbol}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_hosted_program_is_seen_to_allocate_and_to_panic() {
        let bytes = fs::read(env::current_exe().unwrap()).unwrap();
        let image = Image::parse(&bytes).unwrap();
        assert!(!image.symbols_of(Kind::Allocator).is_empty());
        assert!(!image.symbols_of(Kind::Panic).is_empty());
        assert!(image.text > 0 && image.data > 0 && image.bss > 0);
    }
}
