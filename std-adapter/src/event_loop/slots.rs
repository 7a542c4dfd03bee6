//! The sessions of one loop, by index.

use super::entry::Entry;
use super::lane::Ticket;

/// What one index holds.
pub(super) enum Slot {
    Free,
    /// Taken out for its turn.
    Busy,
    Open(Box<Entry>),
}

/// Indices are used again; generations tell their holders apart.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<(u32, Slot)>,
    free: Vec<usize>,
    used: usize,
}

impl Slots {
    /// Takes an index; [`put`](Self::put) fills it, or [`release`](Self::release) gives it back.
    pub(super) fn reserve(&mut self) -> Ticket {
        self.used += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, Slot::Free));
            self.slots.len() - 1
        });
        let mut generation = 0;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.0 = slot.0.wrapping_add(1);
            slot.1 = Slot::Busy;
            generation = slot.0;
        }
        Ticket { index, generation }
    }

    pub(super) fn put(&mut self, index: usize, slot: Slot) {
        if let Some(old) = self.slots.get_mut(index) {
            old.1 = slot;
        }
    }

    pub(super) fn release(&mut self, index: usize) {
        if let Some(old) = self.slots.get_mut(index) {
            old.1 = Slot::Free;
            self.free.push(index);
            self.used -= 1;
        }
    }

    /// Takes out what an index holds, for its turn.
    pub(super) fn take(&mut self, index: usize) -> Slot {
        let slot = self.slots.get_mut(index);
        slot.map_or(Slot::Free, |slot| match slot.1 {
            Slot::Free => Slot::Free,
            _ => std::mem::replace(&mut slot.1, Slot::Busy),
        })
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index).map(|slot| &mut slot.1)
    }

    /// The session with this ticket, if it is still there.
    pub(super) fn entry(&mut self, ticket: Ticket) -> Option<&mut Entry> {
        match self.get_mut(ticket.index)? {
            Slot::Open(entry) if entry.is(ticket) => Some(entry),
            _ => None,
        }
    }

    pub(super) fn indices(&self) -> std::ops::Range<usize> {
        0..self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }
}
