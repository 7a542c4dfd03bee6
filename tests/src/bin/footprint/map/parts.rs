//! The parts of a firmware, and whose a source file or a symbol is.

use addr2line::demangle_auto;

const LANGUAGE: &str = "language and containers: formatting, memcpy, 64-bit arithmetic";
const PANICS: &str = "names of files, which panics tell";
const CONSTANTS: &str = "constants without a symbol";
const APPLICATION: &str = "application and board";

/// The parts of a firmware, with the crates that make them; a `*` stands for any end of a name.
const PARTS: [(&str, &[&str]); 9] = [
    ("devp2p: Embassy adapter", &["embassy-adapter"]),
    (
        "cryptography",
        &[
            "aes",
            "base16ct",
            "block-buffer",
            "cipher",
            "cmov",
            "const-oid",
            "cpubits",
            "crypto-*",
            "ctr",
            "ctutils",
            "der",
            "digest",
            "ecdsa",
            "elliptic-curve",
            "ff",
            "group",
            "hmac",
            "hybrid-array",
            "inout",
            "k256",
            "primefield",
            "primeorder",
            "rand_core",
            "rfc6979",
            "sec1",
            "sha2",
            "signature",
            "subtle",
            "typenum",
            "wnaf",
            "zeroize",
            "rustcrypto-*",
            "universal-hash",
        ],
    ),
    ("TCP/IP", &["embassy-net*", "managed", "smoltcp"]),
    (
        "executor and time",
        &[
            "cordyceps",
            "critical-section",
            "embassy-executor*",
            "embassy-futures",
            "embassy-sync",
            "embassy-time*",
        ],
    ),
    ("log", &["defmt*", "semihosting"]),
    (
        APPLICATION,
        &[
            "cortex-m*",
            "nb",
            "portable-atomic",
            "riscv*",
            "vcell",
            "examples",
        ],
    ),
    (
        LANGUAGE,
        &[
            "language",
            "byteorder",
            "embedded-io*",
            "hash32",
            "heapless",
            "static_cell",
        ],
    ),
    (PANICS, &["panics"]),
    (CONSTANTS, &["constants"]),
];

/// Whose code is told to count to the caller that it was inlined into.
const CONTAINERS: [&str; 7] = [
    "atomic-polyfill",
    "byteorder",
    "embedded-io*",
    "hash32",
    "heapless",
    "stable_deref_trait",
    "static_cell",
];

/// Who wrote some code: a crate, or a part of this repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner(pub(super) String);

impl Owner {
    /// The owner of a source file.
    pub(super) fn of_file(path: &str) -> Self {
        let name = if let Some((_, rest)) = path.split_once("/registry/src/") {
            let folder = rest.split('/').nth(1).unwrap_or(rest);
            match folder.rsplit_once('-') {
                Some((name, _version)) => name,
                None => folder,
            }
        } else if path.contains("/rustc/") || path.contains("/rustlib/src/rust/") {
            "language"
        } else {
            own_folder(path)
        };
        Self(name.to_owned())
    }

    /// The owner of a symbol that has no debug information.
    pub(super) fn of_symbol(name: &str) -> Self {
        let demangled = demangle_auto(name.into(), None);
        let root = demangled
            .trim_start_matches(['<', '&', '('])
            .split("::")
            .next()
            .unwrap_or_default()
            .replace('_', "-");
        let own = match &*root {
            "devp2p-core" => "core",
            "devp2p-embassy" => "embassy-adapter",
            other => other,
        };
        match PARTS.iter().any(|(_, crates)| includes(crates, own)) {
            true => Self(own.to_owned()),
            false => Self("language".to_owned()),
        }
    }

    pub(super) fn is_passed_on(&self) -> bool {
        self.0 == "language" || includes(&CONTAINERS, &self.0)
    }

    pub(super) fn part(&self) -> String {
        if let Some((part, _)) = PARTS.iter().find(|(_, crates)| includes(crates, &self.0)) {
            return (*part).to_owned();
        }
        match &*self.0 {
            "core/rlpx" | "core/session" => "devp2p: RLPx and the session over it".to_owned(),
            "core/snappy" => "devp2p: Snappy".to_owned(),
            own if own.starts_with("core") => "devp2p: peer".to_owned(),
            other => format!("other: {other}"),
        }
    }
}

/// The part of this repository that a file belongs to.
fn own_folder(path: &str) -> &'static str {
    const FOLDERS: [(&str, &str); 6] = [
        ("embassy-adapter/", "embassy-adapter"),
        ("examples/qemu/", "examples"),
        ("core/src/rlpx", "core/rlpx"),
        ("core/src/session", "core/session"),
        ("core/src/snappy", "core/snappy"),
        ("core/src/", "core"),
    ];
    FOLDERS
        .iter()
        .find(|(folder, _)| path.contains(folder))
        .map_or("examples", |(_, owner)| owner)
}

fn includes(crates: &[&str], name: &str) -> bool {
    crates
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_belongs_to_the_crate_of_its_file() {
        let registry = "/home/x/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
        for (path, part) in [
            (format!("{registry}/k256-0.14.0/src/lib.rs"), "cryptography"),
            (
                format!("{registry}/crypto-bigint-0.7.0/src/lib.rs"),
                "cryptography",
            ),
            (format!("{registry}/smoltcp-0.13.0/src/a.rs"), "TCP/IP"),
            (
                format!("{registry}/embassy-time-0.5.1/src/a.rs"),
                "executor and time",
            ),
            (
                "/x/core/src/rlpx/mac.rs".into(),
                "devp2p: RLPx and the session over it",
            ),
            (
                "/x/core/src/session.rs".into(),
                "devp2p: RLPx and the session over it",
            ),
            ("/x/core/src/peer.rs".into(), "devp2p: peer"),
            ("/x/core/src/snappy/encode.rs".into(), "devp2p: Snappy"),
            (
                "/x/embassy-adapter/src/runner.rs".into(),
                "devp2p: Embassy adapter",
            ),
            ("/x/examples/qemu/app/src/lib.rs".into(), APPLICATION),
            ("/rustc/0123/library/core/src/rlp.rs".into(), LANGUAGE),
            (
                format!("{registry}/unheard-of-1.0.0/src/a.rs"),
                "other: unheard-of",
            ),
        ] {
            assert_eq!(Owner::of_file(&path).part(), part, "{path}");
        }
    }

    #[test]
    fn containers_count_to_their_caller() {
        assert!(Owner("heapless".into()).is_passed_on());
        assert!(Owner("language".into()).is_passed_on());
        assert!(!Owner("k256".into()).is_passed_on());
    }
}
