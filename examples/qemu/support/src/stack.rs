//! How deep the stack has been: the free part of it is painted at the start, and what lost its paint was used.
//!
//! `unsafe`: the memory between the statics and the stack pointer belongs to nobody, which only the linker's symbols tell.
#![allow(unsafe_code)]

use core::ptr;

const PAINT: u32 = 0x5AFE_57AC;
/// Bytes below the caller's frame that stay unpainted: what painting itself uses.
const MARGIN: usize = 512;

unsafe extern "C" {
    /// The end of the stack, where it begins to grow down.
    static _stack_start: u32;
    /// The end of the statics.
    #[link_name = "__sheap"]
    static end_of_statics: u32;
}

fn bottom() -> *mut u32 {
    (&raw const end_of_statics).cast_mut()
}

/// Paints what is free of the stack. Call first of all.
pub fn paint() {
    let here = 0_u32;
    let end = (&raw const here).addr().saturating_sub(MARGIN);
    let mut at = bottom();
    while at.addr() < end {
        // SAFETY: aligned, in RAM, above the statics and below every frame in use; nothing else runs yet.
        unsafe { ptr::write_volatile(at, PAINT) };
        at = at.wrapping_add(1);
    }
}

/// The most bytes of stack in use since [`paint`].
pub fn peak() -> usize {
    let top = (&raw const _stack_start).addr();
    let mut at = bottom();
    // SAFETY: aligned and in RAM; the paint below the stack pointer is written by nobody but `paint` and the stack itself.
    while at.addr() < top && unsafe { ptr::read_volatile(at) } == PAINT {
        at = at.wrapping_add(1);
    }
    top - at.addr()
}

/// Bytes that the stack can have.
pub fn size() -> usize {
    (&raw const _stack_start).addr() - bottom().addr()
}
