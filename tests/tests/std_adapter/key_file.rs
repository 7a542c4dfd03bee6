use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use devp2p_std::key_file::{self, SecretKey};

/// A fresh folder, removed at the end of a test that held.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("key_file-{}-{count}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn file(&self) -> PathBuf {
        self.0.join("nodekey")
    }
    fn with(content: impl AsRef<[u8]>) -> Self {
        let folder = Self::new();
        fs::write(folder.file(), content).unwrap();
        folder
    }
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

const DIGITS: &str = "b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291";

fn key() -> SecretKey {
    let bytes = std::array::from_fn(|i| u8::from_str_radix(&DIGITS[2 * i..2 * i + 2], 16).unwrap());
    SecretKey::from_bytes(&bytes).unwrap()
}

#[test]
fn a_saved_key_is_64_hex_digits_and_loads_again() {
    let folder = Folder::new();
    key_file::save(&folder.file(), &key()).unwrap();
    assert_eq!(fs::read_to_string(folder.file()).unwrap(), DIGITS);
    assert_eq!(
        key_file::load(&folder.file()).unwrap().as_bytes(),
        key().as_bytes()
    );
    assert_eq!(folder.names(), ["nodekey"], "nothing else is left behind");
}

#[cfg(unix)]
#[test]
fn a_saved_key_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    key_file::save(&folder.file(), &key()).unwrap();
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_key_is_never_overwritten() {
    let folder = Folder::with("precious");
    let error = key_file::save(&folder.file(), &key()).unwrap_err();
    assert!(error.is_already_exists());
    assert!(
        error
            .to_string()
            .contains(&folder.file().display().to_string()),
        "{error}"
    );
    assert_eq!(fs::read_to_string(folder.file()).unwrap(), "precious");
    assert_eq!(folder.names(), ["nodekey"]);
}

#[cfg(unix)]
#[test]
fn a_dangling_link_is_not_followed() {
    let folder = Folder::new();
    std::os::unix::fs::symlink(folder.0.join("elsewhere"), folder.file()).unwrap();
    assert!(
        key_file::save(&folder.file(), &key())
            .unwrap_err()
            .is_already_exists()
    );
    assert_eq!(folder.names(), ["nodekey"]);
}

#[test]
fn line_ends_after_the_key_and_upper_case_are_taken() {
    for end in ["", "\n", "\r", "\r\n", "\n\n"] {
        let folder = Folder::with(DIGITS.to_uppercase() + end);
        assert_eq!(
            key_file::load(&folder.file()).unwrap().as_bytes(),
            key().as_bytes()
        );
    }
}

#[test]
fn what_is_no_key_is_refused_with_its_path() {
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    for content in [
        String::new(),
        DIGITS[1..].to_owned(),
        format!("{DIGITS}0"),
        format!("{DIGITS}\n\n\n"),
        format!("{DIGITS} "),
        format!("0x{DIGITS}"),
        format!(" {}", &DIGITS[1..]),
        format!("{}g", &DIGITS[1..]),
        "0".repeat(64),
        order.to_owned(),
        "f".repeat(64),
        "a".repeat(1 << 20),
    ] {
        let folder = Folder::with(&content);
        let error = key_file::load(&folder.file()).unwrap_err();
        assert_eq!(error.path(), folder.file());
        assert!(!error.is_not_found());
        assert!(
            error
                .to_string()
                .contains(&folder.file().display().to_string()),
            "{error}"
        );
    }
    let binary = Folder::with([0xff; 64]);
    assert!(key_file::load(&binary.file()).is_err());
    let below_order = Folder::with(order.replace("4141", "4140"));
    assert!(key_file::load(&below_order.file()).is_ok());
}

#[test]
fn what_is_not_there_is_told_apart() {
    let folder = Folder::new();
    assert!(key_file::load(&folder.file()).unwrap_err().is_not_found());
    let nowhere = folder.0.join("no folder").join("nodekey");
    let error = key_file::save(&nowhere, &key()).unwrap_err();
    assert!(error.to_string().contains("create it first"), "{error}");
}

#[test]
fn a_key_is_made_once() {
    let folder = Folder::new();
    let made = key_file::load_or_create(&folder.file()).unwrap();
    let loaded = key_file::load_or_create(&folder.file()).unwrap();
    assert_eq!(made.as_bytes(), loaded.as_bytes());
    let damaged = Folder::with("damaged");
    assert!(key_file::load_or_create(&damaged.file()).is_err());
    assert_eq!(fs::read_to_string(damaged.file()).unwrap(), "damaged");
}

#[test]
fn all_who_make_a_key_at_once_get_the_same() {
    let folder = Folder::new();
    let file = folder.file();
    let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
        let make = || *key_file::load_or_create(&file).unwrap().as_bytes();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(folder.names(), ["nodekey"]);
}

#[test]
fn generated_keys_differ_and_are_not_shown() {
    let (a, b) = (
        SecretKey::generate().unwrap(),
        SecretKey::generate().unwrap(),
    );
    assert_ne!(a.as_bytes(), b.as_bytes());
    assert_eq!(format!("{a:?}"), "SecretKey(..)");
}
