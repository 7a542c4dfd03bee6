//! Messages in their form for the wire, made before the session is locked.

use std::cell::Cell;

use devp2p_core::rlpx::message::total;

use crate::connection::Encoded;

/// Room that is kept for joining and compressing; and by a thread that waits.
const KEPT: usize = 2 * 1024 * 1024;
const KEPT_WAITING: usize = 16 * 1024;

thread_local! {
    /// Taken out while it is in use, since a transport may itself write to a session.
    static COMPRESSOR: Cell<Option<Box<Compressor>>> = const { Cell::new(None) };
}

/// Passes `payload` to `f` in its form for the wire.
pub(crate) fn encode<R>(
    payload: &[&[u8]],
    compresses: bool,
    f: impl FnOnce(Encoded<'_>) -> R,
) -> R {
    let length = total(payload);
    if !compresses || length > devp2p_core::MAX_MESSAGE_LENGTH as usize {
        // What is too long is refused as such.
        return f(Encoded {
            payload,
            compressed_from: None,
        });
    }
    let mut compressor = COMPRESSOR.take().unwrap_or_default();
    let result = f(Encoded {
        payload: &[compressor.compress_apart(payload, length)],
        compressed_from: Some(length as u32),
    });
    if compressor.compressed.len() > KEPT {
        compressor.compressed = Vec::new();
    }
    COMPRESSOR.set(Some(compressor));
    result
}

/// The thread is about to wait: gives back what it kept for the next message, unless that is little.
pub(crate) fn on_wait() {
    if let Some(mut compressor) = COMPRESSOR.take() {
        if compressor.compressed.len() > KEPT_WAITING {
            compressor.compressed = Vec::new();
        }
        compressor.joined.shrink_to(KEPT_WAITING);
        COMPRESSOR.set(Some(compressor));
    }
}

/// Compresses payloads before they are sealed.
pub(crate) struct Compressor {
    encoder: snap::raw::Encoder,
    /// Slices joined, for the compressor.
    joined: Vec<u8>,
    /// Initialised bytes, for what is compressed before there is an output for it.
    compressed: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            encoder: snap::raw::Encoder::new(),
            joined: Vec::new(),
            compressed: Vec::new(),
        }
    }
}

impl Compressor {
    /// Compresses `payload`, which has at most 16 777 215 bytes, into `room`, which has
    /// [`max_compress_len`](snap::raw::max_compress_len) bytes or more; returns how many that makes.
    pub(crate) fn compress(&mut self, payload: &[&[u8]], room: &mut [u8]) -> usize {
        let whole = match payload {
            [] => &[][..],
            [one] => one,
            several => {
                for slice in several {
                    self.joined.extend_from_slice(slice);
                }
                &self.joined[..]
            }
        };
        // It has room enough, and the payload is not too large: it cannot fail.
        let length = self.encoder.compress(whole, room);
        self.joined.clear();
        self.joined.shrink_to(KEPT);
        length.unwrap_or(0)
    }

    /// The compressed form of `payload`, which has `length` bytes.
    fn compress_apart(&mut self, payload: &[&[u8]], length: usize) -> &[u8] {
        let mut room = std::mem::take(&mut self.compressed);
        let most = snap::raw::max_compress_len(length);
        if room.len() < most {
            room.resize(most, 0);
        }
        let length = self.compress(payload, &mut room);
        self.compressed = room;
        &self.compressed[..length]
    }
}
