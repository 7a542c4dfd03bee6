//! Sealed bytes that wait for the wire, in a buffer that an idle session does not have.

/// Room that is kept for the next session; a larger buffer is given back.
const KEPT: usize = 256 * 1024;

/// Bytes that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    taken: usize,
}

impl Output {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that wait among the first `end` of the buffer.
    pub(super) fn waiting_before(&self, end: usize) -> usize {
        end.saturating_sub(self.taken)
    }

    pub(super) fn readable(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// The wire took `n` bytes.
    pub(super) fn consume(&mut self, n: usize) {
        self.taken += n.min(self.len());
        if self.is_empty() {
            self.bytes.clear();
            self.taken = 0;
        } else if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// The buffer, to append to: what stands in it already must stay.
    pub(super) fn buffer(&mut self, spare: &mut Option<Vec<u8>>) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = spare.take().unwrap_or_default();
        }
        &mut self.bytes
    }

    /// Gives an empty buffer back.
    pub(super) fn release(&mut self, spare: &mut Option<Vec<u8>>) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            let bytes = std::mem::take(&mut self.bytes);
            self.taken = 0;
            if spare.is_none() && bytes.capacity() <= KEPT {
                *spare = Some(bytes);
            }
        }
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
