//! Which parts of a firmware take its flash and its RAM.
//!
//! Code counts to whoever wrote it: the debug information says for each instruction from which file it is, also where that
//! was inlined elsewhere. Code of the language itself and of generic containers counts to who called it, if that was
//! inlined, else to the language. Constants that have no symbol belong to nobody that could be told.

mod parts;

use std::collections::BTreeMap;
use std::fs;

use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use addr2line::{Context, demangle_auto};
use devp2p_tests::image::Memory;
use object::{File, Object, ObjectSection, ObjectSymbol, SectionKind};

use self::parts::Owner;
use super::report::grouped;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Thumb's instructions, and those of compressed RISC-V, start at even addresses.
const STEP: u64 = 2;
/// Statics smaller than this are told together.
const SMALL: u64 = 64;

/// Bytes by part, and in it by owner.
#[derive(Default)]
struct Tally(BTreeMap<String, BTreeMap<Owner, u64>>);

impl Tally {
    fn add(&mut self, owner: Owner, bytes: u64) {
        let part = self.0.entry(owner.part()).or_default();
        *part.entry(owner).or_default() += bytes;
    }

    fn print(&self) {
        let mut parts: Vec<_> = self
            .0
            .iter()
            .map(|(part, owners)| (owners.values().sum::<u64>(), part, owners))
            .collect();
        parts.sort_by_key(|(bytes, ..)| core::cmp::Reverse(*bytes));
        for (bytes, part, owners) in parts {
            println!("  {:>9}  {part}", grouped(bytes));
            let mut owners: Vec<_> = owners.iter().collect();
            owners.sort_by_key(|(_, bytes)| core::cmp::Reverse(**bytes));
            if owners.len() > 1 {
                for (owner, bytes) in owners {
                    println!("  {:>9}      {:>9}  {}", "", grouped(*bytes), owner.0);
                }
            }
        }
    }
}

struct Firmware<'a> {
    file: File<'a>,
    lines: Context<Reader<'a>>,
    /// Address, size, name; by address.
    symbols: Vec<(u64, u64, &'a str)>,
}

impl<'a> Firmware<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let file = File::parse(bytes).map_err(|error| error.to_string())?;
        let load = |id: SectionId| {
            let section = file.section_by_name(id.name());
            let data = section.map_or(Ok(&[][..]), |section| section.data())?;
            Ok::<_, object::Error>(EndianSlice::new(data, LittleEndian))
        };
        let dwarf = Dwarf::load(load).map_err(|error| error.to_string())?;
        let lines = Context::from_dwarf(dwarf).map_err(|error| error.to_string())?;
        let mut symbols: Vec<_> = file
            .symbols()
            .filter(|symbol| symbol.size() > 0)
            // The lowest bit of a function's address says that it is Thumb code.
            .filter_map(|s| Some((s.address() & !1, s.size(), s.name().ok()?)))
            .collect();
        symbols.sort_unstable();
        Ok(Self {
            file,
            lines,
            symbols,
        })
    }

    fn symbol(&self, address: u64) -> Option<&'a str> {
        let after = self.symbols.partition_point(|(at, ..)| *at <= address);
        let (at, size, name) = self.symbols.get(after.checked_sub(1)?)?;
        (address - at < *size).then_some(name)
    }

    /// Who wrote the instruction at an address.
    fn owner(&self, address: u64) -> Owner {
        let mut owner = None;
        if let Ok(mut frames) = self.lines.find_frames(address).skip_all_loads() {
            // From what is inlined to what it is inlined into.
            while let Ok(Some(frame)) = frames.next() {
                if let Some(file) = frame.location.and_then(|location| location.file) {
                    let of_file = Owner::of_file(file);
                    let passed_on = of_file.is_passed_on();
                    owner = Some(of_file);
                    if !passed_on {
                        break;
                    }
                }
            }
        }
        owner.unwrap_or_else(|| Owner::of_symbol(self.symbol(address).unwrap_or_default()))
    }

    fn flash(&self) -> Tally {
        let mut tally = Tally::default();
        for section in self.file.sections() {
            match Memory::of(&section) {
                Some(Memory::Flash) if section.kind() == SectionKind::Text => {
                    let end = section.address() + section.size();
                    for address in (section.address()..end).step_by(STEP as usize) {
                        tally.add(self.owner(address), STEP.min(end - address));
                    }
                }
                Some(Memory::Flash | Memory::Initialised) => self.constants(&section, &mut tally),
                Some(Memory::Zeroed) | None => {}
            }
        }
        tally
    }

    /// Constants with a symbol count to its crate.
    fn constants<'s>(&self, section: &impl ObjectSection<'s>, tally: &mut Tally) {
        let range = section.address()..section.address() + section.size();
        let mut named = 0;
        for (_, size, name) in self.symbols.iter().filter(|(at, ..)| range.contains(at)) {
            if name.contains("Lanon") {
                continue;
            }
            let owner = match name.starts_with("__") {
                true => Owner("examples".to_owned()),
                false => Owner::of_symbol(name),
            };
            tally.add(owner, *size);
            named += size;
        }
        let rest = section.size().saturating_sub(named);
        let files = file_names(section.data().unwrap_or_default()).min(rest);
        for (owner, bytes) in [("panics", files), ("constants", rest - files)] {
            if bytes > 0 {
                tally.add(Owner(owner.to_owned()), bytes);
            }
        }
    }

    /// Prints the statics, the largest first.
    fn print_ram(&self) {
        let ram: Vec<_> = self
            .file
            .sections()
            .filter(|s| matches!(Memory::of(s), Some(Memory::Zeroed | Memory::Initialised)))
            .map(|section| section.address()..section.address() + section.size())
            .collect();
        let whole: u64 = ram.iter().map(|range| range.end - range.start).sum();
        let mut statics: Vec<_> = self
            .symbols
            .iter()
            .filter(|(at, ..)| ram.iter().any(|range| range.contains(at)))
            .map(|(_, size, name)| (*size, demangle_auto((*name).into(), None)))
            .collect();
        statics.sort_by_key(|(size, _)| core::cmp::Reverse(*size));
        println!("RAM of statics: {} bytes", grouped(whole));
        let mut told = 0;
        for (size, name) in statics.iter().filter(|(size, _)| *size >= SMALL) {
            println!("  {:>9}  {}", grouped(*size), without_hash(name));
            told += size;
        }
        let rest = whole.saturating_sub(told);
        println!(
            "  {:>9}  the rest, and what alignment leaves",
            grouped(rest)
        );
    }
}

/// Bytes in names of Rust source files.
fn file_names(constants: &[u8]) -> u64 {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    constants
        .split(|byte| !belongs(byte))
        .filter_map(|word| word.windows(3).rposition(|end| end == b".rs"))
        .map(|at| at as u64 + 3)
        .sum()
}

/// A demangled name without the hash that the older mangling ends with.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 => path,
        _ => name,
    }
}

/// Prints the map of the image at `path`.
pub(crate) fn print(path: &str) -> Result<(), String> {
    let told = |error: String| format!("{path}: {error}");
    let bytes = fs::read(path).map_err(|error| told(error.to_string()))?;
    let firmware = Firmware::parse(&bytes).map_err(told)?;
    let flash = firmware.flash();
    let whole: u64 = flash.0.values().flat_map(BTreeMap::values).sum();
    println!("{path}\nflash: {} bytes", grouped(whole));
    flash.print();
    firmware.print_ram();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_told_from_other_constants() {
        assert_eq!(file_names(b"\x01\0core/src/peer.rs\x80some text"), 16);
        assert_eq!(file_names(b"a.rs\0b.rs!"), 8);
        assert_eq!(file_names(b"nothing here"), 0);
    }
}
