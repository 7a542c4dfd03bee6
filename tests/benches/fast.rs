//! The cryptography that the std adapter uses, as it was built.

pub(crate) use devp2p_core::rlpx::{K256 as Curve, Keccak256 as Sponge};
