//! The node's secret key in a file: 64 hex digits, as in go-ethereum's `nodekey`, so that either can use the other's.
//!
//! A key is written whole or not at all, never over another, readable by its owner only (0600 on Unix, whatever the umask). On
//! Linux nothing stays of a write that is cut off, even by SIGKILL; elsewhere, and on file systems that need a name for each file,
//! a temporary file beside it may. A file that others can read, or that belongs to another user, is loaded all the same, with a
//! warning in the log: secrets that an orchestrator mounts are often so, and nothing can be done about them there.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Bytes of a secret key.
pub const KEY_LENGTH: usize = 32;
const DIGITS: usize = 2 * KEY_LENGTH;
/// Line ends after the key that go-ethereum takes, too.
const MAX_LINE_ENDS: usize = 2;
/// The order of secp256k1 (SEC 2, section 2.4.1): a secret key lies above zero and below it.
const CURVE_ORDER: [u8; KEY_LENGTH] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// A valid secret key of secp256k1. Zeroised on drop; not shown by `Debug`.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; KEY_LENGTH]>);

impl SecretKey {
    /// The key of these bytes, or `None` if they are zero or not below the curve's order.
    pub fn from_bytes(bytes: &[u8; KEY_LENGTH]) -> Option<Self> {
        let valid = bytes.iter().any(|byte| *byte != 0) && *bytes < CURVE_ORDER;
        valid.then(|| Self(Zeroizing::new(*bytes)))
    }

    /// A new key from the system's source of randomness.
    ///
    /// # Errors
    /// If that source fails.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        loop {
            getrandom::fill(&mut *bytes).map_err(|error| {
                io::Error::other(format!("the system's source of randomness failed: {error}"))
            })?;
            // Another round is as good as never needed: one in 2^127.
            if let Some(key) = Self::from_bytes(&bytes) {
                return Ok(key);
            }
        }
    }

    /// The bytes, most significant first. Copies of them are the caller's to zeroise.
    pub fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Loads the key in the file at `path`.
///
/// # Errors
/// If the file cannot be read, or holds something else than one key.
pub fn load(path: &Path) -> Result<SecretKey, KeyFileError> {
    let fail = |problem| KeyFileError::new(path, problem);
    let mut file = File::open(path).map_err(|error| fail(Problem::Read(error)))?;
    let (digits, length) = read_start(&mut file).map_err(|error| fail(Problem::Read(error)))?;
    warn_if_shared(path, &file);

    let content = digits.get(..length).unwrap_or_default();
    let (key, rest) = content
        .split_at_checked(DIGITS)
        .ok_or_else(|| fail(Problem::Malformed))?;
    let only_line_ends = rest.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
    if rest.len() > MAX_LINE_ENDS || !only_line_ends {
        return Err(fail(Problem::Malformed));
    }
    let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
    crate::hex::decode(key, &mut *bytes).ok_or_else(|| fail(Problem::Malformed))?;
    SecretKey::from_bytes(&bytes).ok_or_else(|| fail(Problem::InvalidKey))
}

/// Saves `key` in a new file at `path`.
///
/// # Errors
/// If there is a file already, which is left as it is, or if the new one cannot be written.
pub fn save(path: &Path, key: &SecretKey) -> Result<(), KeyFileError> {
    let mut digits = Zeroizing::new([0; DIGITS]);
    crate::hex::encode(key.as_bytes(), &mut *digits);
    write_new(path, &*digits).map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::AlreadyExists => Problem::Exists,
            _ => Problem::Write(error),
        };
        KeyFileError::new(path, problem)
    })
}

/// Loads the key at `path`; if there is no file, makes a key and saves it there. Two processes that do so at once end up with
/// the same key.
///
/// # Errors
/// As [`load`] and [`save`].
pub fn load_or_create(path: &Path) -> Result<SecretKey, KeyFileError> {
    match load(path) {
        Err(error) if error.is_not_found() => {}
        result => return result,
    }
    let key =
        SecretKey::generate().map_err(|error| KeyFileError::new(path, Problem::Random(error)))?;
    match save(path, &key) {
        Ok(()) => Ok(key),
        Err(error) if error.is_already_exists() => load(path),
        Err(error) => Err(error),
    }
}

/// As much of the file as a key can be, and one byte more; no other buffer sees it.
type Start = Zeroizing<[u8; DIGITS + MAX_LINE_ENDS + 1]>;

fn read_start(file: &mut File) -> io::Result<(Start, usize)> {
    let mut start = Zeroizing::new([0; _]);
    let mut length = 0;
    while let Some(room) = start.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((start, length))
}

/// Warns of everyone else who can use the key.
#[cfg(unix)]
fn warn_if_shared(path: &Path, file: &File) {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = file.metadata() else { return };
    let user = rustix::process::geteuid().as_raw();
    for warning in warnings(found.mode(), found.uid(), user) {
        log::warn!("the node key {} {warning}", path.display());
    }
}

/// What there is to say of a key of `owner` with this mode, which `user` loads.
#[cfg(unix)]
fn warnings(mode: u32, owner: u32, user: u32) -> impl Iterator<Item = String> {
    let mode = mode & 0o777;
    let shared = (mode & 0o077 != 0)
        .then(|| format!("can be used by others than its owner (mode {mode:03o}): chmod 600 it"));
    // The superuser can read it anyhow.
    let foreign = (owner != user && owner != 0).then(|| {
        format!("belongs to user {owner}, who can use and replace it: chown it to user {user}")
    });
    shared.into_iter().chain(foreign)
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Path, _: &File) {}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    // Only saves work: the link decides.
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match write_nameless(path, content) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // Not on this system: or for a reason that shows again.
        Err(_) => write_beside(path, content)?,
    }
    sync_folder(path);
    Ok(())
}

/// Writes a file without a name, then gives it this one, which fails if it is taken.
#[cfg(target_os = "linux")]
fn write_nameless(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(open(folder_of(path), flags, Mode::RUSR | Mode::WUSR)?);
    fill(&mut file, content)?;
    // As open(2) advises, without the right that AT_EMPTY_PATH needs.
    let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, nameless, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn write_nameless(_: &Path, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes a file beside `path`, then gives it that name too, which fails if the name is taken.
fn write_beside(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(|error| io::Error::other(error.to_string()))?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}.tmp", u64::from_ne_bytes(suffix)));

    let beside = NewFile::write(path.with_file_name(name), content)?;
    match fs::hard_link(&beside.path, path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // This file system has no links: at least the name is taken by one only.
        Err(_) => NewFile::write(path.to_owned(), content).map(NewFile::keep),
    }
}

fn fill(file: &mut File, content: &[u8]) -> io::Result<()> {
    // The umask may have taken more than it should.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()
}

/// A file that did not exist before, removed again on drop unless it is kept.
struct NewFile {
    path: PathBuf,
    keep: bool,
}

impl NewFile {
    fn write(path: PathBuf, content: &[u8]) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        let new = Self { path, keep: false };
        fill(&mut file, content)?;
        Ok(new)
    }

    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Makes the new name last through a loss of power. Where folders cannot be synced, the system sees to it in its own time.
fn sync_folder(path: &Path) {
    if let Ok(folder) = File::open(folder_of(path)) {
        let _ = folder.sync_all();
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Why a key file could not be used: its path, what is wrong, and what to do.
#[derive(Debug)]
pub struct KeyFileError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Read(io::Error),
    Write(io::Error),
    Random(io::Error),
    Exists,
    Malformed,
    InvalidKey,
}

impl KeyFileError {
    fn new(path: &Path, problem: Problem) -> Self {
        Self {
            path: path.to_owned(),
            problem,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is no such file to load.
    pub fn is_not_found(&self) -> bool {
        matches!(&self.problem, Problem::Read(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether there is a file already where one should be saved.
    pub fn is_already_exists(&self) -> bool {
        matches!(self.problem, Problem::Exists)
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Read(error) if error.kind() == io::ErrorKind::NotFound => {
                write!(
                    f,
                    "there is no node key at {path}: make one or correct the path"
                )
            }
            Problem::Read(error) => write!(
                f,
                "cannot read the node key {path}: {error}; make it readable for this user"
            ),
            Problem::Write(error) if error.kind() == io::ErrorKind::NotFound => write!(
                f,
                "cannot save the node key {path}: its folder does not exist; create it first"
            ),
            Problem::Write(error) => write!(
                f,
                "cannot save the node key {path}: {error}; choose a folder where this user can write"
            ),
            Problem::Random(error) => write!(f, "cannot make a node key for {path}: {error}"),
            Problem::Exists => write!(
                f,
                "{path} exists and is not overwritten: use it, move it away, or choose another path"
            ),
            Problem::Malformed => write!(
                f,
                "{path} is no node key: expected 64 hex digits without prefix and nothing else; restore it or make a new one elsewhere"
            ),
            Problem::InvalidKey => write!(
                f,
                "the node key {path} is not a secret key of secp256k1: make a new one elsewhere"
            ),
        }
    }
}

impl std::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Read(error) | Problem::Write(error) | Problem::Random(error) => Some(error),
            Problem::Exists | Problem::Malformed | Problem::InvalidKey => None,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::warnings;

    #[test]
    fn everyone_else_who_can_use_a_key_is_named() {
        let none: [(u32, u32, u32); 3] = [(0o100_600, 5, 5), (0o400, 0, 5), (0o600, 0, 0)];
        for (mode, owner, user) in none {
            assert_eq!(warnings(mode, owner, user).count(), 0, "{mode:o}");
        }
        for mode in [0o640, 0o604, 0o620, 0o777] {
            let told: Vec<_> = warnings(mode, 5, 5).collect();
            assert!(told[0].contains(&format!("mode {mode:o}")), "{told:?}");
        }
        for user in [0, 6] {
            let told: Vec<_> = warnings(0o600, 5, user).collect();
            assert!(told[0].contains("belongs to user 5"), "{told:?}");
        }
        assert_eq!(warnings(0o666, 5, 6).count(), 2);
    }
}
