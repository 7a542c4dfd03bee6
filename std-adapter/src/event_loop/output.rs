//! Sealed bytes that wait for the wire, in a buffer that an idle session does not have.

/// Room that is kept for the next session; a larger buffer is given back.
const KEPT: usize = 256 * 1024;

/// Room that a session with a buffer of its own keeps while it is idle.
const KEPT_IDLE: usize = 4 * 1024;

/// Bytes that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    taken: usize,
    /// Bytes that a thread has taken and the wire has not.
    in_flight: usize,
}

impl Output {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.taken + self.in_flight
    }

    /// Whether bytes wait that nobody has taken.
    pub(crate) fn has_unsent(&self) -> bool {
        self.taken < self.bytes.len()
    }

    /// Exchanges the bytes that wait for an empty buffer. They count as waiting until they are [consumed](Self::consume).
    pub(crate) fn take(&mut self, buffer: &mut Vec<u8>) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.in_flight += self.bytes.len();
        buffer.clear();
        std::mem::swap(&mut self.bytes, buffer);
    }

    /// Gives back room that a burst took.
    pub(crate) fn shrink(&mut self) {
        if !self.has_unsent() {
            self.bytes.clear();
            self.taken = 0;
            self.bytes.shrink_to(KEPT_IDLE);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that wait among the first `end` of the buffer.
    pub(super) fn waiting_before(&self, end: usize) -> usize {
        end.saturating_sub(self.taken) + self.in_flight
    }

    pub(super) fn readable(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// The wire took `n` bytes.
    pub(super) fn consume(&mut self, n: usize) {
        let in_flight = n.min(self.in_flight);
        self.in_flight -= in_flight;
        let n = n - in_flight;
        if n == 0 {
            return;
        }
        self.taken += n.min(self.bytes.len() - self.taken);
        if !self.has_unsent() {
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
