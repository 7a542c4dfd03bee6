//! Keccak256 with the permutation that this processor does fastest: chosen when it first runs.

use devp2p_core::rlpx::permutation::{Block, Permutation, Portable, State};
use devp2p_core::rlpx::{self, DefaultCurve};
use devp2p_core::rlpx::{receive, transmit};
use multiversion::multiversion;
use multiversion::target::match_target;

#[cfg(target_arch = "x86_64")]
mod vector;

/// The sponge under the MACs of every session of this adapter.
pub type Keccak256 = rlpx::Keccak256<Native>;

pub(crate) type Handshake = rlpx::Handshake<DefaultCurve, Keccak256>;
pub(crate) type Established = rlpx::Established<Keccak256>;
pub(crate) type ReceiveHalf<Slot> = receive::ReceiveHalf<Slot, Keccak256>;
pub(crate) type TransmitHalf = transmit::TransmitHalf<Keccak256>;

/// The permutation in vector registers where the processor has AVX-512 for short ones (AMD since Zen 4, Intel's servers since
/// Skylake), else in plain Rust.
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
            "x86_64+avx512f+avx512vl" => "keccak in AVX-512",
            _ => "keccak in plain Rust",
        }
    }
    chosen()
}
