//! Linked images: how large they are, and which symbols are in them.

use std::fmt;

use object::elf::{SHF_ALLOC, SHF_WRITE, SHT_NOBITS};
use object::{File, Object, ObjectSection, ObjectSymbol, SectionFlags};

/// A kind of symbol that an image may have to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rust's allocator interface, the `alloc` crate, or C's allocator.
    Allocator,
    /// The panic handler, which every panic leads to, and the core's functions on the way there.
    Panic,
}

impl Kind {
    /// The kind that is called so.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "allocator" => Some(Self::Allocator),
            "panic" => Some(Self::Panic),
            _ => None,
        }
    }

    /// Whether a symbol is of this kind, in the older or the newer way of mangling, or not mangled.
    pub fn includes(self, symbol: &str) -> bool {
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
pub struct Image {
    /// Code and constants.
    pub text: u64,
    /// Initialised RAM, which is as large in flash.
    pub data: u64,
    /// Zeroed RAM.
    pub bss: u64,
    /// Every symbol's name.
    pub symbols: Vec<String>,
}

impl Image {
    /// Looks into an ELF file.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, object::Error> {
        let file = File::parse(bytes)?;
        let mut image = Self::default();
        for section in file.sections() {
            match Memory::of(&section) {
                Some(Memory::Flash) => image.text += section.size(),
                Some(Memory::Initialised) => image.data += section.size(),
                Some(Memory::Zeroed) => image.bss += section.size(),
                None => {}
            }
        }
        for symbol in file.symbols() {
            image.symbols.push(symbol.name()?.to_owned());
        }
        Ok(image)
    }

    /// Bytes of flash.
    pub fn flash(&self) -> u64 {
        self.text + self.data
    }

    /// Bytes of RAM that statics take.
    pub fn static_ram(&self) -> u64 {
        self.data + self.bss
    }

    /// The symbols of one kind.
    pub fn symbols_of(&self, kind: Kind) -> Vec<&str> {
        self.symbols
            .iter()
            .map(String::as_str)
            .filter(|symbol| kind.includes(symbol))
            .collect()
    }

    /// That there are symbols, and none of these kinds.
    ///
    /// # Errors
    /// What is there, or that nothing can be said.
    pub fn check_without(&self, kinds: &[Kind]) -> Result<(), String> {
        if self.symbols.iter().all(String::is_empty) {
            return Err(
                "no symbols: it was stripped, so nothing can be said of what is in it".into(),
            );
        }
        for &kind in kinds {
            let found = self.symbols_of(kind);
            if !found.is_empty() {
                return Err(format!("{kind:?} symbols: {}", found.join(" ")));
            }
        }
        Ok(())
    }
}

/// Where a section of an image lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Code and constants.
    Flash,
    /// RAM whose first content is in flash.
    Initialised,
    /// RAM that is zeroed at the start.
    Zeroed,
}

impl Memory {
    /// Of this section; `None` for one that is only in the file.
    pub fn of<'a>(section: &impl ObjectSection<'a>) -> Option<Self> {
        let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else {
            return None;
        };
        if !sh_flags.contains(SHF_ALLOC) {
            None
        } else if sh_type == SHT_NOBITS {
            Some(Self::Zeroed)
        } else if sh_flags.contains(SHF_WRITE) {
            Some(Self::Initialised)
        } else {
            Some(Self::Flash)
        }
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

#[cfg(test)]
mod tests {
    use std::{env, fs};

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
