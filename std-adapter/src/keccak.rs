//! Keccak256 with the permutation that this processor does fastest: chosen when it first runs.

use devp2p_core::rlpx::permutation::{Block, Permutation, Portable, State};
use devp2p_core::rlpx::{self, DefaultCurve};
use multiversion::multiversion;
use multiversion::target::match_target;

#[cfg(all(target_arch = "x86_64", not(target_feature = "avx512vbmi2")))]
mod vector;

/// A build for such processors alone (`-C target-cpu=native` on one, say) chooses nothing at run time, and without that choice
/// safe code cannot call what asks for their features.
#[cfg(all(target_arch = "x86_64", target_feature = "avx512vbmi2"))]
mod vector {
    use super::{Block, Permutation, Portable, State};

    pub(super) const DESCRIPTION: &str = super::PLAIN;

    pub(super) fn permute(state: &mut State) {
        Portable::permute(state);
    }

    pub(super) fn absorb(state: &mut State, blocks: &[Block]) {
        Portable::absorb(state, blocks);
    }
}

const PLAIN: &str = "keccak in plain Rust";

/// The sponge under the MACs of every session of this adapter.
pub type Keccak256 = rlpx::Keccak256<Native>;

pub(crate) type Handshake = rlpx::Handshake<DefaultCurve, Keccak256>;

/// The permutation in vector registers where the processor has AVX-512 of the second generation (AMD since Zen 4, Intel since Ice
/// Lake where it is on), else in plain Rust. A build for such processors alone has it in plain Rust too.
#[derive(Debug, Clone, Copy)]
pub enum Native {}

impl Permutation for Native {
    fn permute(state: &mut State) {
        permute(state);
    }

    fn absorb(state: &mut State, blocks: &[Block]) {
        absorb(state, blocks);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl"))]
fn permute(state: &mut State) {
    match_target! {
        "x86_64+avx512f+avx512vl" => vector::permute(state),
        _ => Portable::permute(state),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl"))]
fn absorb(state: &mut State, blocks: &[Block]) {
    match_target! {
        "x86_64+avx512f+avx512vl" => vector::absorb(state, blocks),
        _ => Portable::absorb(state, blocks),
    }
}

/// How keccak256 is computed here: for reports.
#[must_use]
pub fn description() -> &'static str {
    #[multiversion(targets("x86_64+avx512f+avx512vl"))]
    fn chosen() -> &'static str {
        match_target! {
            "x86_64+avx512f+avx512vl" => vector::DESCRIPTION,
            _ => PLAIN,
        }
    }
    chosen()
}
