//! A peer at one end of a serial line: session after session, over the frames of `qemu-framing`.

use devp2p_core::config::{Config, Local};
use devp2p_core::framed::{Fixed, FramedSession};
use devp2p_core::peer::Expected;
use devp2p_core::time::Instant;

/// One end of a serial line, in lent memory.
pub type Line<'a> = FramedSession<qemu_framing::Line, Fixed<'a, 2>, 2>;

/// An end that says `local` of itself, with memory for the inboxes (the sum of the protocols' `inbox`) and for the bytes that
/// wait for the wire, a multiple of 16: at least a frame with our Hello.
///
/// `None` if either is too small.
pub fn line<'a>(
    local: Local<'a>,
    inboxes: &'a mut [u8],
    output: &'a mut [u8],
    now: Instant,
) -> Option<Line<'a>> {
    let memory = Fixed::new(local, inboxes, output).ok()?;
    let framing = qemu_framing::Line::new();
    FramedSession::new(framing, memory, Config::new(), Expected::Anyone, now).ok()
}
