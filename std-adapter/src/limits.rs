//! What an inbox takes: one rule for the queues of threads and the inboxes of the event loop.

use std::sync::Arc;

use devp2p_core::capability::Overflow;
use devp2p_core::inbox::Admit;

use crate::memory::{MemoryCap, Reservation};

/// What an empty message is taken to cost, so that a flood of them is bounded too.
pub(crate) const MESSAGE_COST: usize = 64;

/// The limits of one inbox, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) inbox: usize,
    pub(crate) message: u32,
    pub(crate) overflow: Overflow,
}

impl Limits {
    /// Decides about a message of `length` bytes while `count` messages with `bytes` in all wait. `slot` is told what the
    /// message may hold so far, and whether it is too large for the inbox.
    pub(crate) fn admit<S>(
        &self,
        (count, bytes): (usize, usize),
        length: u32,
        memory: &Arc<MemoryCap>,
        slot: impl FnOnce(Reservation, bool) -> S,
    ) -> Admit<S> {
        let oversize = length > self.message;
        let room = MESSAGE_COST + if oversize { 0 } else { length as usize };
        let waiting = bytes.saturating_add(count.saturating_mul(MESSAGE_COST));
        // An empty inbox takes any message within the limit, so that one larger than the inbox can pass.
        let fits = count == 0 || waiting.saturating_add(room) <= self.inbox;
        let mut memory = Reservation::empty(Arc::clone(memory));
        if fits && memory.grow(MESSAGE_COST) {
            let slot = slot(memory, oversize);
            return if oversize {
                Admit::Oversize(slot)
            } else {
                Admit::Open(slot)
            };
        }
        match self.overflow {
            Overflow::Drop => Admit::Drop,
            Overflow::Disconnect => Admit::Refuse,
            _ => Admit::Hold,
        }
    }
}
