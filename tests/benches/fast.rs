//! The cryptography that the std adapter uses, as it was built.

pub(crate) use devp2p_core::rlpx::{K256 as Curve, Keccak256 as Sponge};

/// What these are, for the report.
pub(crate) const NAMES: [&str; 2] = ["k256", "keccak in Rust"];
