//! What the sessions of one loop share: buffers that only the session in work needs.

use std::sync::Arc;

use devp2p_core::config::Local;

use super::inbox::Pool;
use super::lane::Lane;
use crate::host::Host;
use crate::offer::Offer;

/// Bytes read from a socket at a time.
const READ_BUFFER: usize = 64 * 1024;

/// Room that is kept for joining slices.
const KEPT: usize = 64 * 1024;

pub(crate) struct Tools {
    pub(crate) host: Arc<Host>,
    /// The loop's own, if a loop drives the session.
    pub(crate) lane: Option<Arc<Lane>>,
    pub(crate) read: Vec<u8>,
    /// What the session offers, if that is more than the host registers.
    pub(crate) offer: Option<Arc<Offer>>,
    /// Sealed bytes that may wait for the wire before writers are told to wait. An empty output takes any frame.
    pub(crate) output_limit: usize,
    pub(crate) pool: Pool,
    /// An output buffer, for the next session that has something to send.
    pub(crate) spare: Option<Vec<u8>>,
    encoder: Box<snap::raw::Encoder>,
    /// Slices joined, for the compressor.
    joined: Vec<u8>,
}

impl Tools {
    pub(crate) fn new(host: Arc<Host>, lane: Option<Arc<Lane>>, output_limit: usize) -> Self {
        Self {
            host,
            read: vec![0; if lane.is_some() { READ_BUFFER } else { 0 }],
            lane,
            offer: None,
            output_limit,
            pool: Pool::default(),
            spare: None,
            encoder: Box::new(snap::raw::Encoder::new()),
            joined: Vec::new(),
        }
    }

    /// What this side says of itself.
    pub(crate) fn local(&self) -> Local<'_> {
        match &self.offer {
            None => self.host.local(),
            Some(offer) => Local {
                protocols: &offer.registered,
                ..self.host.local()
            },
        }
    }

    /// Appends `payload`, at most 16 777 215 bytes, to `frame`, compressed.
    pub(crate) fn compress(&mut self, payload: &[&[u8]], frame: &mut Vec<u8>) {
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
