//! What the sessions of one loop share: buffers that only the session in work needs.

use std::sync::Arc;

use super::inbox::Pool;
use super::lane::Lane;
use crate::host::Host;

/// Bytes read from a socket at a time.
const READ_BUFFER: usize = 64 * 1024;

/// Room that is kept for joining slices.
const KEPT: usize = 64 * 1024;

pub(super) struct Tools {
    pub(super) host: Arc<Host>,
    /// The loop's own.
    pub(super) lane: Arc<Lane>,
    /// Sealed bytes that may wait for the wire before writers are told to wait. An empty output takes any frame.
    pub(super) output_limit: usize,
    pub(super) read: Vec<u8>,
    pub(super) pool: Pool,
    /// An output buffer, for the next session that has something to send.
    pub(super) spare: Option<Vec<u8>>,
    pub(super) compressor: Compressor,
}

/// Compresses payloads before they are sealed.
pub(super) struct Compressor {
    encoder: snap::raw::Encoder,
    /// Slices joined, for the compressor.
    joined: Vec<u8>,
}

impl Tools {
    pub(super) fn new(host: Arc<Host>, lane: Arc<Lane>, output_limit: usize) -> Self {
        Self {
            host,
            lane,
            output_limit,
            read: vec![0; READ_BUFFER],
            pool: Pool::default(),
            spare: None,
            compressor: Compressor {
                encoder: snap::raw::Encoder::new(),
                joined: Vec::new(),
            },
        }
    }
}

impl Compressor {
    /// Writes the compressed form of `payload` to `room`; returns its length. The payload has at most 16 777 215 bytes, and the
    /// room is what Snappy can need for it: so it cannot fail.
    pub(super) fn compress(&mut self, payload: &[&[u8]], room: &mut [u8]) -> usize {
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
        let length = self.encoder.compress(whole, room);
        self.joined.clear();
        self.joined.shrink_to(KEPT);
        length.unwrap_or(0)
    }
}
