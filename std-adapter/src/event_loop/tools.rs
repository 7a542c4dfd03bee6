//! What the sessions of one loop share: buffers that only the session in work needs.

use std::sync::Arc;

use super::lane::Lane;
use crate::compressor::Compressor;
use crate::host::Host;
use crate::node::Service;
use crate::offer::Offer;

/// Bytes read from a socket at a time.
const READ_BUFFER: usize = 64 * 1024;

pub(crate) struct Tools<S: Service> {
    pub(crate) host: Arc<Host<S>>,
    /// What the session offers, if that is more than the host registers.
    pub(crate) offer: Option<Arc<Offer>>,
    /// The loop's own, if a loop drives the session.
    pub(crate) lane: Option<Arc<Lane>>,
    /// Sealed bytes that may wait for the wire before writers are told to wait. An empty output takes any frame.
    pub(crate) output_limit: usize,
    pub(crate) read: Vec<u8>,
    /// An output buffer, for the next session that has something to send.
    pub(crate) spare: Option<Vec<u8>>,
    pub(crate) compressor: Option<Box<Compressor>>,
}

impl<S: Service> Tools<S> {
    pub(crate) fn new(host: Arc<Host<S>>, lane: Option<Arc<Lane>>, output_limit: usize) -> Self {
        Self {
            host,
            offer: None,
            read: vec![0; if lane.is_some() { READ_BUFFER } else { 0 }],
            lane,
            output_limit,
            spare: None,
            compressor: None,
        }
    }
}
