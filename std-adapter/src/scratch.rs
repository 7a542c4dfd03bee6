//! What a thread needs to compose a frame, kept from one message to the next.

use std::cell::RefCell;
use std::mem;

struct Compressor {
    /// Slices joined, for the compressor.
    joined: Vec<u8>,
    encoder: snap::raw::Encoder,
}

/// Room that a thread keeps between messages, and while it waits; a larger frame's is given back.
const KEPT: usize = 2 * 1024 * 1024;
const KEPT_WAITING: usize = 16 * 1024;

thread_local! {
    static FRAME: RefCell<Frame> = const {
        RefCell::new(Frame {
            bytes: Vec::new(),
            is_used: false,
        })
    };
    /// Boxed, for what is thread-local is part of every thread's stack.
    static COMPRESSOR: RefCell<Option<Box<Compressor>>> = const { RefCell::new(None) };
}

/// Where a frame is composed: bytes that are initialised once, whatever they hold.
pub(crate) struct Frame {
    bytes: Vec<u8>,
    /// Since the thread last waited.
    is_used: bool,
}

impl Frame {
    /// At least `length` bytes, of which those asked for before keep what they hold.
    pub(crate) fn room(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
        &mut self.bytes
    }
}

/// Lends the thread's frame.
pub(crate) fn with_frame<R>(f: impl FnOnce(&mut Frame) -> R) -> R {
    FRAME.with_borrow_mut(|frame| {
        frame.is_used = true;
        let result = f(frame);
        if frame.bytes.len() > KEPT {
            frame.bytes = Vec::new();
        }
        result
    })
}

/// The thread is about to wait: gives back what it kept for the next message, unless that is little. Whether it has composed
/// one since it last waited.
pub(crate) fn rest() -> bool {
    FRAME.with_borrow_mut(|frame| {
        if frame.bytes.len() > KEPT_WAITING {
            frame.bytes = Vec::new();
        }
        mem::take(&mut frame.is_used)
    })
}

/// Puts `payload` into `frame` from `start` on, compressed; returns how many bytes that made. The payload is at most
/// 16 777 215 bytes, so it always can be.
pub(crate) fn compress(payload: &[&[u8]], frame: &mut Frame, start: usize) -> usize {
    COMPRESSOR.with_borrow_mut(|slot| {
        let Compressor { joined, encoder } = &mut **slot.get_or_insert_with(|| {
            Box::new(Compressor {
                joined: Vec::new(),
                encoder: snap::raw::Encoder::new(),
            })
        });
        let whole = match payload {
            [] => &[][..],
            [one] => one,
            several => {
                several
                    .iter()
                    .for_each(|slice| joined.extend_from_slice(slice));
                &joined[..]
            }
        };
        let room = frame.room(start + snap::raw::max_compress_len(whole.len()));
        let length = encoder.compress(whole, &mut room[start..]).unwrap_or(0);
        if !joined.is_empty() {
            joined.clear();
            joined.shrink_to(KEPT);
        }
        length
    })
}
