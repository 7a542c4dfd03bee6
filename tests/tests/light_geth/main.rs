//! `devp2p light` and a stock go-ethereum node.

mod dialled;
mod follow;
mod proofs;
mod run;
