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
        payload: &[compressor.compress(payload)],
        compressed_from: Some(length as u32),
    });
    COMPRESSOR.set(Some(compressor));
    result
}

/// The thread is about to wait: gives back what it kept for the next message, unless that is little.
pub(crate) fn on_wait() {
    if let Some(mut compressor) = COMPRESSOR.take() {
        if compressor.compressed.len() > KEPT_WAITING {
            compressor.compressed = Vec::new();
        }
        COMPRESSOR.set(Some(compressor));
    }
}

/// Compresses payloads before they are sealed.
pub(crate) struct Compressor {
    encoder: snap::raw::Encoder,
    /// Slices joined, for the compressor.
    joined: Vec<u8>,
    /// Initialised bytes, of which the first hold the last payload's compressed form.
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
    /// The compressed form of `payload`, which has at most 16 777 215 bytes.
    pub(crate) fn compress(&mut self, payload: &[&[u8]]) -> &[u8] {
        if self.compressed.len() > KEPT {
            self.compressed = Vec::new();
        }
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
        let most = snap::raw::max_compress_len(whole.len());
        if self.compressed.len() < most {
            self.compressed.resize(most, 0);
        }
        // It has room enough, and the payload is not too large: it cannot fail.
        let length = self.encoder.compress(whole, &mut self.compressed);
        self.joined.clear();
        self.joined.shrink_to(KEPT);
        &self.compressed[..length.unwrap_or(0)]
    }
}
