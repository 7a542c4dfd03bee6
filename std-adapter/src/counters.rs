//! Traffic of one capability, in fixed counters.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters that sessions add to and anyone reads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    wire_bytes_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_out: AtomicU64,
    wire_bytes_out: AtomicU64,
    dropped: AtomicU64,
}

/// What the counters of one capability show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Traffic {
    /// Messages received.
    pub messages_in: u64,
    /// Bytes of payload received, uncompressed.
    pub bytes_in: u64,
    /// Bytes of payload received, as they were on the wire.
    pub wire_bytes_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Bytes of payload sent, uncompressed.
    pub bytes_out: u64,
    /// Bytes of payload sent, as they were on the wire.
    pub wire_bytes_out: u64,
    /// Messages dropped because their inbox was full.
    pub dropped: u64,
}

impl Counters {
    pub(crate) fn received(&self, bytes: u32, wire_bytes: u32) {
        self.messages_in.fetch_add(1, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes.into(), Ordering::Relaxed);
        self.wire_bytes_in
            .fetch_add(wire_bytes.into(), Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u32, wire_bytes: u32) {
        self.messages_out.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes.into(), Ordering::Relaxed);
        self.wire_bytes_out
            .fetch_add(wire_bytes.into(), Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The sum over the protocols of a session.
    pub(crate) fn total(all: &[Self]) -> Traffic {
        all.iter()
            .map(Self::traffic)
            .fold(Traffic::default(), |sum, one| Traffic {
                messages_in: sum.messages_in + one.messages_in,
                bytes_in: sum.bytes_in + one.bytes_in,
                wire_bytes_in: sum.wire_bytes_in + one.wire_bytes_in,
                messages_out: sum.messages_out + one.messages_out,
                bytes_out: sum.bytes_out + one.bytes_out,
                wire_bytes_out: sum.wire_bytes_out + one.wire_bytes_out,
                dropped: sum.dropped + one.dropped,
            })
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            messages_in: get(&self.messages_in),
            bytes_in: get(&self.bytes_in),
            wire_bytes_in: get(&self.wire_bytes_in),
            messages_out: get(&self.messages_out),
            bytes_out: get(&self.bytes_out),
            wire_bytes_out: get(&self.wire_bytes_out),
            dropped: get(&self.dropped),
        }
    }
}
