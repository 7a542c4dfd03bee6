//! The images of `tests/footprint`: built, looked into, and run in QEMU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use devp2p_tests::image::{Image, Kind};
use object::{File, Object, ObjectSection, ObjectSymbol};

const TARGET: &str = "thumbv7em-none-eabihf";
/// What firmware's final binary chooses: smaller cryptography.
const COMPACT: &str = "--cfg aes_backend_soft=\"compact\" --cfg sha2_backend_soft=\"compact\"";
/// Seconds after which an image that still runs has failed.
const BOUND: &str = "120";

/// Everything measured, by name.
pub(crate) type Values = BTreeMap<String, u64>;

/// One image to build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Build {
    /// What it is called in the results.
    pub(crate) name: &'static str,
    binary: &'static str,
    features: &'static str,
    compact: bool,
    /// Kinds of symbols that must not be in it.
    without: &'static [Kind],
}

const fn build(name: &'static str, binary: &'static str, features: &'static str) -> Build {
    Build {
        name,
        binary,
        features,
        compact: true,
        without: &[Kind::Allocator],
    }
}

/// Without a peer.
pub(crate) const BASELINE: Build = build("baseline", "baseline", "");
/// The peer without `rlpx` and `snappy`: no panic may be linked, for nothing there has a reason to.
pub(crate) const MESSAGE: Build = Build {
    without: &[Kind::Allocator, Kind::Panic],
    ..build("message", "peer", "")
};
/// With `rlpx` alone.
pub(crate) const RLPX: Build = build("rlpx", "peer", "rlpx");
/// With everything.
pub(crate) const EVERYTHING: Build = build("everything", "peer", "rlpx,snappy");
/// With everything, and with cryptography that is faster and larger.
const FAST: Build = Build {
    compact: false,
    ..build("everything-fast", "peer", "rlpx,snappy")
};
/// Whose words are sizes: of the peer alone, of sessions with `rlpx` alone, and of everything with the Embassy adapter.
pub(crate) const SIZES_MESSAGE: Build = build("sizes-message", "sizes", "");
pub(crate) const SIZES_RLPX: Build = build("sizes-rlpx", "sizes", "rlpx");
pub(crate) const SIZES: Build = build("sizes", "sizes", "embassy");
/// Those that are run.
const ROUTE: Build = build("route", "route", "");
const SESSION: Build = build("session", "session", "rlpx,snappy");

/// All whose flash is told.
pub(crate) const FLASH: [Build; 5] = [BASELINE, MESSAGE, RLPX, EVERYTHING, FAST];

/// The target folder of cargo, and the root of the sources.
pub(crate) struct Folders {
    pub(crate) target: PathBuf,
    pub(crate) root: PathBuf,
}

impl Folders {
    pub(crate) fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |folder| root.join(folder));
        Self { target, root }
    }
}

/// An image that is built, in memory.
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) image: Image,
}

impl Build {
    /// Builds the image, and looks for symbols that it must do without.
    pub(crate) fn build(&self, folders: &Folders) -> Result<Built, String> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(&folders.root)
            .args(["build", "--quiet", "--release", "--target", TARGET])
            .args(["--manifest-path", "tests/footprint/Cargo.toml"])
            .args(["--bin", self.binary, "--features", self.features])
            .env("CARGO_TARGET_DIR", &folders.target)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env(
                "CARGO_TARGET_THUMBV7EM_NONE_EABIHF_RUSTFLAGS",
                if self.compact { COMPACT } else { "" },
            );
        if env::var("CI").as_deref() == Ok("true") {
            cargo.arg("--locked");
        }
        let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err(format!("{}: cargo {status}", self.name));
        }
        let from = folders
            .target
            .join(TARGET)
            .join("release")
            .join(self.binary);
        let path = folders.target.join("footprint");
        fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        let path = path.join(self.name).with_extension("elf");
        let bytes = fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
        fs::write(&path, &bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let image = Image::parse(&bytes).map_err(|error| error.to_string())?;
        image
            .check_without(self.without)
            .map_err(|error| format!("{}: {error}", self.name))?;
        Ok(Built { path, bytes, image })
    }
}

/// Flash and static RAM of the images of a peer, and the flash that each takes over the image without one.
pub(crate) fn flash(folders: &Folders) -> Result<Values, String> {
    let mut values = Values::new();
    let mut baseline = 0;
    for build in FLASH {
        let image = build.build(folders)?.image;
        let name = build.name;
        values.insert(format!("flash.{name}.whole"), image.flash());
        values.insert(format!("static.{name}"), image.static_ram());
        if name == BASELINE.name {
            baseline = image.flash();
        } else {
            let over = image
                .flash()
                .checked_sub(baseline)
                .ok_or("an image with a peer is smaller than one without")?;
            values.insert(format!("flash.{name}"), over);
        }
    }
    Ok(values)
}

/// The words of a symbol in an image.
pub(crate) fn words(file: &File<'_>, symbol: &str) -> Result<Vec<u32>, String> {
    let missing = || format!("the image has no words {symbol}");
    let found = file
        .symbols()
        .find(|s| s.name() == Ok(symbol))
        .ok_or_else(missing)?;
    let section = found
        .section_index()
        .and_then(|index| file.section_by_index(index).ok())
        .ok_or_else(missing)?;
    let bytes = section
        .data_range(found.address(), found.size())
        .map_err(|error| error.to_string())?
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(missing)?;
    Ok(bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
        .collect())
}

/// Builds the images that measure, runs each twice, and takes what they tell.
pub(crate) fn run(folders: &Folders) -> Result<Values, String> {
    let mut values = Values::new();
    for build in [ROUTE, SESSION] {
        let path = build.build(folders)?.path;
        let told = emulate(&path)?;
        // Under -icount nothing depends on the host: a difference would mean that the numbers are worth nothing.
        if emulate(&path)? != told {
            return Err(format!("{}: two runs told different numbers", build.name));
        }
        for line in told.lines() {
            let (name, value) = line
                .split_once(' ')
                .and_then(|(name, value)| Some((name, value.parse().ok()?)))
                .ok_or_else(|| format!("{} told {line:?}", build.name))?;
            values.insert(name.to_owned(), value);
        }
    }
    Ok(values)
}

/// What an image prints.
fn emulate(image: &Path) -> Result<String, String> {
    let output = Command::new("timeout")
        .args(["--kill-after=5", BOUND, "qemu-system-arm"])
        .args(["-M", "mps2-an386", "-icount", "shift=0"])
        .args(["-display", "none", "-monitor", "none", "-serial", "null"])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
        .arg(image)
        .output()
        .map_err(|error| format!("qemu-system-arm: {error}"))?;
    // QEMU writes what an image prints to its standard error.
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    match output.status.code() {
        Some(0) => Ok(told),
        Some(124 | 137) => Err(format!("{}: stopped after {BOUND} s", image.display())),
        _ => Err(format!("{}: {}\n{told}", image.display(), output.status)),
    }
}
