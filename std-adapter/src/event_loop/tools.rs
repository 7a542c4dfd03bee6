//! What the sessions of one loop share: buffers that only the session in work needs.

use std::sync::Arc;

use super::Host;
use super::inbox::Pool;
use super::lane::Lane;

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
            encoder: snap::raw::Encoder::new(),
            joined: Vec::new(),
        }
    }

    /// Appends `payload`, at most 16 777 215 bytes, to `frame`, compressed.
    pub(super) fn compress(&mut self, payload: &[&[u8]], frame: &mut Vec<u8>) {
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
        let start = frame.len();
        frame.resize(start + snap::raw::max_compress_len(whole.len()), 0);
        // It has room enough, and the payload is not too large: it cannot fail.
        let length = self.encoder.compress(whole, &mut frame[start..]);
        frame.truncate(start + length.unwrap_or(0));
        self.joined.clear();
        self.joined.shrink_to(KEPT);
    }
}
