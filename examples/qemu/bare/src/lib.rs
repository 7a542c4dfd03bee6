//! A peer at message level over a serial line, driven by a poll loop: no executor, no RLPx, no allocator.
//!
//! [`line`] is a [`FramedSession`](devp2p_core::framed::FramedSession) over the checked frames of `qemu-framing`; [`node`] is what
//! the boards do with it; [`protocols`] is what both ends of the line agree on.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod boot;
pub mod drive;
pub mod line;
pub mod node;
pub mod protocols;

#[cfg(test)]
mod tests;
