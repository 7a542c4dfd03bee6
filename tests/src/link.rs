//! One direction of a connection, with faults from a seed.

use std::collections::VecDeque;

use devp2p_core::time::{Duration, Instant};

use crate::random::Random;

/// How the bytes are cut on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunking {
    /// Everything at once.
    Whole,
    /// Byte by byte.
    Bytes,
    /// Pieces of random sizes up to this.
    Random(usize),
}

/// From a byte on, the link stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// The first byte that is late, counted from the beginning.
    pub from: u64,
    /// For how long; `None` is for ever.
    pub span: Option<Duration>,
}

/// What goes wrong on a [`Link`].
#[derive(Debug, Clone)]
pub struct Faults {
    /// The shortest and the longest time that a piece is on its way.
    pub latency: (Duration, Duration),
    /// How the bytes are cut.
    pub chunking: Chunking,
    /// Bytes that can be on their way before the sender must wait.
    pub window: usize,
    /// Where the link stands still, in ascending order.
    pub stalls: Vec<Stall>,
    /// The stream ends before this byte, whatever is sent.
    pub cut: Option<u64>,
    /// This bit of this byte is flipped.
    pub corrupt: Option<(u64, u8)>,
}

impl Faults {
    /// A perfect link without any delay.
    pub const fn none() -> Self {
        Self {
            latency: (Duration::ZERO, Duration::ZERO),
            chunking: Chunking::Whole,
            window: usize::MAX,
            stalls: Vec::new(),
            cut: None,
            corrupt: None,
        }
    }

    /// A link that takes so long each way.
    pub fn latency(each_way: Duration) -> Self {
        Self {
            latency: (each_way, each_way),
            ..Self::none()
        }
    }
}

#[derive(Debug)]
struct Piece {
    arrival: Option<Instant>,
    bytes: VecDeque<u8>,
}

/// One direction: bytes go in, and come out in order, later.
#[derive(Debug)]
pub struct Link {
    faults: Faults,
    random: Random,
    pieces: VecDeque<Piece>,
    in_flight: usize,
    /// Bytes taken in all.
    taken: u64,
    /// When the last piece arrives: no piece overtakes another.
    last: Instant,
    stalled_for_ever: bool,
    end: Option<Instant>,
    ended: bool,
}

impl Link {
    /// An empty direction.
    pub fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            random: Random::new(seed),
            pieces: VecDeque::new(),
            in_flight: 0,
            taken: 0,
            last: Instant::ZERO,
            stalled_for_ever: false,
            end: None,
            ended: false,
        }
    }

    /// The faults, to be changed on the way.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Bytes that it took in all.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes bytes from the sender; returns how many.
    pub fn send(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let mut n = bytes
            .len()
            .min(self.faults.window.saturating_sub(self.in_flight));
        n = match self.faults.chunking {
            Chunking::Whole => n,
            Chunking::Bytes => n.min(1),
            Chunking::Random(most) => n.min(1 + self.random.index(most)),
        };
        let next_stall = self.faults.stalls.first().map(|stall| stall.from);
        let stalls = self.faults.stalls.iter().map(|stall| stall.from);
        for at in stalls.chain(self.faults.cut).filter(|at| *at > self.taken) {
            n = n.min(usize::try_from(at - self.taken).unwrap_or(usize::MAX));
        }
        if n == 0 {
            return 0;
        }
        if self.faults.cut.is_some_and(|at| at <= self.taken) {
            // Cut: the sender does not see it, the receiver sees the end.
            self.taken += n as u64;
            self.finish(now);
            return n;
        }
        if next_stall.is_some_and(|at| at <= self.taken) {
            match self.faults.stalls.remove(0).span {
                Some(span) => self.last = self.last.max(now).saturating_add(span),
                None => self.stalled_for_ever = true,
            }
        }
        let mut piece: VecDeque<u8> = bytes[..n].iter().copied().collect();
        if let Some((at, bit)) = self.faults.corrupt
            && let Some(at) = at.checked_sub(self.taken)
            && let Some(byte) = piece.get_mut(at as usize)
        {
            *byte ^= 1 << (bit % 8);
        }
        let arrival = self.arrival(now);
        self.pieces.push_back(Piece {
            arrival: (!self.stalled_for_ever).then_some(arrival),
            bytes: piece,
        });
        self.taken += n as u64;
        self.in_flight += n;
        n
    }

    /// The sender sends no more.
    pub fn finish(&mut self, now: Instant) {
        if self.end.is_none() && !self.stalled_for_ever {
            self.end = Some(self.arrival(now));
        }
    }

    fn arrival(&mut self, now: Instant) -> Instant {
        let (shortest, longest) = self.faults.latency;
        let spread = longest.as_micros().saturating_sub(shortest.as_micros());
        let latency = shortest.as_micros() + self.random.below(spread + 1);
        let at = now.saturating_add(Duration::from_micros(latency));
        self.last = self.last.max(at);
        self.last
    }

    /// Hands the next piece that has arrived to `take`, which returns how many bytes it took; returns that too.
    pub fn deliver(&mut self, now: Instant, take: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let Some(piece) = self.pieces.front_mut() else {
            return 0;
        };
        if piece.arrival.is_none_or(|at| at > now) {
            return 0;
        }
        let mut bytes: Vec<u8> = piece.bytes.iter().copied().collect();
        let n = take(&mut bytes);
        piece.bytes.drain(..n);
        if piece.bytes.is_empty() {
            self.pieces.pop_front();
        }
        self.in_flight -= n;
        n
    }

    /// Whether a piece has arrived that nobody took.
    pub fn has_arrived(&self, now: Instant) -> bool {
        let next = self.pieces.front().and_then(|piece| piece.arrival);
        next.is_some_and(|at| at <= now)
    }

    /// True once, when everything came and the end with it.
    pub fn take_end(&mut self, now: Instant) -> bool {
        let ends = !self.ended && self.pieces.is_empty() && self.end.is_some_and(|end| end <= now);
        self.ended |= ends;
        ends
    }

    /// When something arrives that lies ahead.
    pub fn next_arrival(&self, now: Instant) -> Option<Instant> {
        match self.pieces.front() {
            Some(piece) => piece.arrival.filter(|at| *at > now),
            None => self.end.filter(|end| *end > now && !self.ended),
        }
    }
}
