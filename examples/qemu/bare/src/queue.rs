//! Bytes that wait for the wire, in one lent slice.

/// A queue of bytes. (The core's ring is for whole blocks, as RLPx seals them.)
#[derive(Debug)]
pub(crate) struct Queue<'a> {
    bytes: &'a mut [u8],
    read: usize,
    length: usize,
}

impl<'a> Queue<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes,
            read: 0,
            length: 0,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn free(&self) -> usize {
        self.capacity() - self.length
    }

    /// Appends all of `from`, or nothing if there is no room for it.
    #[must_use]
    pub(crate) fn push(&mut self, from: &[u8]) -> bool {
        if from.len() > self.free() {
            return false;
        }
        let at = self.read + self.length;
        let at = at.checked_sub(self.capacity()).unwrap_or(at);
        let (begin, end) = self.bytes.split_at_mut_checked(at).unwrap_or_default();
        let places = end.iter_mut().chain(begin);
        places.zip(from).for_each(|(to, from)| *to = *from);
        self.length += from.len();
        true
    }

    /// The next bytes: contiguous, perhaps not all.
    pub(crate) fn readable(&self) -> &[u8] {
        let end = self.capacity().min(self.read + self.length);
        self.bytes.get(self.read..end).unwrap_or_default()
    }

    /// Forgets the first `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        let n = n.min(self.length);
        self.length -= n;
        let read = self.read + n;
        self.read = read.checked_sub(self.capacity()).unwrap_or(read);
    }
}
