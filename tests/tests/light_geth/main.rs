//! `devp2p light` and a stock go-ethereum node.

mod follow;
mod proofs;
mod run;
