//! The cryptography that the std adapter uses, as it was built and as this processor has it.

pub(crate) use devp2p_core::rlpx::DefaultCurve as Curve;
use devp2p_std::keccak;
pub(crate) use devp2p_std::keccak::Keccak256 as Sponge;

/// What these are, for the report.
pub(crate) fn names() -> [&'static str; 2] {
    let curve = match cfg!(feature = "libsecp256k1") {
        true => "libsecp256k1",
        false => "k256",
    };
    [curve, keccak::description()]
}
