//! What the images that measure share: the board (QEMU's mps2-an386, Cortex-M4) and its measuring instruments.
#![no_std]

pub mod board;
pub mod measure;
