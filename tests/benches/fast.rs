//! The cryptography that the std adapter uses, as it was built.

pub(crate) use devp2p_core::rlpx::{DefaultCurve as Curve, Keccak256 as Sponge};

/// What these are, for the report.
pub(crate) const NAMES: [&str; 2] = [
    if cfg!(feature = "libsecp256k1") {
        "libsecp256k1"
    } else {
        "k256"
    },
    "keccak in Rust",
];
