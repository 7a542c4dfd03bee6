//! What a thread needs to compose a frame, kept from one message to the next.

use std::cell::RefCell;

struct Compressor {
    /// Slices joined, for the compressor.
    joined: Vec<u8>,
    encoder: snap::raw::Encoder,
}

/// Room that a thread keeps; a larger frame's is given back.
const KEPT: usize = 64 * 1024;

thread_local! {
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static COMPRESSOR: RefCell<Option<Compressor>> = const { RefCell::new(None) };
}

/// Lends the thread's frame buffer, empty.
pub(crate) fn with_frame<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    FRAME.with_borrow_mut(|frame| {
        frame.clear();
        let result = f(frame);
        frame.clear();
        frame.shrink_to(KEPT);
        result
    })
}

/// Appends `payload` to `frame`, compressed. It is at most 16 777 215 bytes, so it always can be.
pub(crate) fn compress(payload: &[&[u8]], frame: &mut Vec<u8>) {
    COMPRESSOR.with_borrow_mut(|slot| {
        let Compressor { joined, encoder } = slot.get_or_insert_with(|| Compressor {
            joined: Vec::new(),
            encoder: snap::raw::Encoder::new(),
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
        let start = frame.len();
        frame.resize(start + snap::raw::max_compress_len(whole.len()), 0);
        let length = encoder.compress(whole, &mut frame[start..]).unwrap_or(0);
        frame.truncate(start + length);
        joined.clear();
        joined.shrink_to(KEPT);
    });
}
