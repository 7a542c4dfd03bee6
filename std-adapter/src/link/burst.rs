//! When sealed messages go out at once, and when they wait for more to go with them in one write.

use std::mem;

use devp2p_core::time::{Duration, Instant};

/// Bytes that a burst gathers before the one who sealed the last of them writes.
const CORK: usize = 64 * 1024;

/// A message that follows the one before it, or a write to the wire, so closely is one of a burst.
const CLOSE: Duration = Duration::from_micros(20);

/// Sealing itself takes time, which is not part of the pause: no more than this, even on slow machines.
const SEALING_PER_KIB: Duration = Duration::from_micros(4);

/// How long the first message of those gathered waits while others follow.
const GATHER: Duration = Duration::from_micros(200);

/// How often the writer thread looks after bytes that a burst may leave in the output, and after room that it keeps.
pub(super) const WATCH_BYTES: Duration = Duration::from_micros(400);
const WATCH_ROOM: Duration = Duration::from_millis(10);

/// Room for output is kept while writes of so many bytes follow each other so closely: given back and taken again each time,
/// it costs page faults.
const LARGE: usize = 4 * 1024;
const BUSY: Duration = Duration::from_millis(10);

/// The output, as it is once a message was sealed into it or when it is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// Bytes that wait for the wire; of those, the ones of the message sealed just now.
    pub(super) waiting: usize,
    pub(super) newest: usize,
    /// Bytes sealed in all.
    pub(super) sealed: u64,
    /// A thread is writing to the wire, and looks at the output again when it has done.
    pub(super) draining: bool,
}

/// Tells bursts from lone messages.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// When a message was last sealed or bytes last written; nothing once a thread waited for the remote since.
    last: Option<Instant>,
    /// When the bytes that wait began to.
    began: Instant,
    /// What the writer thread looks after, and how many bytes were sealed in all when it last did.
    watched: Watched,
    seen: u64,
    /// Bytes were left in the output since.
    gathered: bool,
}

/// What the writer thread looks after, the more urgent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Watched {
    #[default]
    Nothing,
    /// Room for output that is given back when it is not needed any more.
    Room,
    /// Bytes that are left in the output when a burst ends.
    Bytes,
}

/// What follows from sealing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Next {
    /// The one who sealed it writes; else someone does who is at it, or who looks after the burst.
    pub(super) drain: bool,
    /// The writer thread must be told to look after a burst.
    pub(super) watch: bool,
}

/// What the writer thread finds of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing more comes, or another thread is at it: there is nothing to look after.
    None,
    /// Bytes come and go: it is to look again after this time.
    Moves(Duration),
    /// Bytes lie there, and nothing follows them, or nobody takes them.
    Lies,
}

impl Burst {
    /// A message was sealed: a lone one goes out at once, those of a burst gather until they are worth a write.
    pub(super) fn on_sealed(&mut self, now: Instant, level: Level) -> Next {
        let pause = self.last.replace(now).map(|at| now.saturating_since(at));
        if level.waiting <= level.newest {
            self.began = now;
        }
        let close = CLOSE.saturating_add(sealing(level.newest));
        let closely = pause.is_some_and(|pause| pause < close);
        let enough = level.waiting >= CORK || now.saturating_since(self.began) >= GATHER;
        let drain = !level.draining && (!closely || enough);
        let gathers = !level.draining && !drain;
        let goes_on = level.waiting >= LARGE && pause.is_some_and(|pause| pause < BUSY);
        self.gathered |= gathers;
        let wanted = match (gathers, goes_on) {
            (true, _) => Watched::Bytes,
            (false, true) => Watched::Room,
            (false, false) => Watched::Nothing,
        };
        let watch = wanted > self.watched;
        self.watched = self.watched.max(wanted);
        Next { drain, watch }
    }

    /// Bytes were written.
    pub(super) fn on_written(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// A thread waits for the remote: what it writes after that is no part of a burst.
    pub(super) fn on_wait(&mut self) {
        self.last = None;
    }

    /// The writer thread looks after the burst.
    pub(super) fn look(&mut self, now: Instant, level: Level) -> Rest {
        let follows = mem::replace(&mut self.seen, level.sealed) != level.sealed;
        let goes_on = self.last.is_some_and(|at| now.saturating_since(at) < BUSY);
        let gathered = mem::take(&mut self.gathered);
        let (watched, rest) = match level.waiting {
            0 if !follows && !goes_on => (Watched::Nothing, Rest::None),
            0 if !gathered => (Watched::Room, Rest::Moves(WATCH_ROOM)),
            0 => (Watched::Bytes, Rest::Moves(WATCH_BYTES)),
            _ if level.draining => (Watched::Nothing, Rest::None),
            _ if !follows || now.saturating_since(self.began) >= GATHER => {
                (Watched::Bytes, Rest::Lies)
            }
            _ => (Watched::Bytes, Rest::Moves(WATCH_BYTES)),
        };
        self.watched = watched;
        rest
    }

    /// Whether the writer thread looks after the burst.
    pub(super) fn is_watched(&self) -> bool {
        self.watched != Watched::Nothing
    }
}

/// How long sealing so many bytes may have taken.
fn sealing(bytes: usize) -> Duration {
    Duration::from_micros(SEALING_PER_KIB.as_micros() * (bytes / 1024) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages sealed into an output, and writes that take all of it.
    struct Bench {
        size: usize,
        burst: Burst,
        now: u64,
        waiting: usize,
        sealed: u64,
        draining: bool,
    }

    impl Default for Bench {
        fn default() -> Self {
            Self {
                size: 100,
                burst: Burst::default(),
                now: 0,
                waiting: 0,
                sealed: 0,
                draining: false,
            }
        }
    }

    impl Bench {
        fn level(&self) -> Level {
            Level {
                waiting: self.waiting,
                newest: self.size,
                sealed: self.sealed,
                draining: self.draining,
            }
        }

        /// Seals a message `after` microseconds, and writes if it should.
        fn seal(&mut self, after: u64) -> Next {
            self.now += after;
            self.waiting += self.size;
            self.sealed += self.size as u64;
            let now = Instant::from_micros(self.now);
            let next = self.burst.on_sealed(now, self.level());
            if next.drain {
                self.waiting = 0;
                self.burst.on_written(now);
            }
            next
        }

        fn look(&mut self, after: u64) -> Rest {
            self.now += after;
            self.burst
                .look(Instant::from_micros(self.now), self.level())
        }
    }

    const OUT: Next = Next {
        drain: true,
        watch: false,
    };
    const STAYS: Next = Next {
        drain: false,
        watch: false,
    };
    const FIRST_TO_STAY: Next = Next {
        drain: false,
        watch: true,
    };

    #[test]
    fn messages_with_pauses_between_them_go_out_at_once() {
        let mut bench = Bench::default();
        for _ in 0..100 {
            assert_eq!(bench.seal(20), OUT);
        }
    }

    #[test]
    fn a_message_after_a_wait_for_the_remote_goes_out_at_once() {
        let mut bench = Bench::default();
        for _ in 0..100 {
            assert_eq!(bench.seal(5), OUT);
            bench.burst.on_wait();
        }
    }

    #[test]
    fn a_burst_gathers_until_its_first_message_has_waited_long_enough() {
        let mut bench = Bench::default();
        assert_eq!(bench.seal(0), OUT);
        assert_eq!(bench.seal(10), FIRST_TO_STAY);
        for _ in 0..19 {
            assert_eq!(bench.seal(10), STAYS);
        }
        assert_eq!(bench.seal(10), OUT, "200 us after the first of these");
        // The writer thread looks after it already.
        assert_eq!(bench.seal(10), STAYS);
        // A pause ends it.
        assert_eq!(bench.seal(20), OUT);
    }

    #[test]
    fn a_burst_gathers_until_it_is_worth_a_write() {
        let mut bench = Bench::default();
        let written = (0..3 * 657).filter(|_| bench.seal(0).drain).count();
        // The first at once, then each 656 messages of 100 bytes: more than 64 KiB.
        assert_eq!(written, 1 + 3);
    }

    #[test]
    fn what_lies_when_nothing_follows_is_found() {
        let mut bench = Bench::default();
        bench.seal(0);
        assert_eq!(bench.seal(1), FIRST_TO_STAY);
        assert_eq!(bench.look(5), Rest::Moves(WATCH_BYTES));
        assert_eq!(bench.look(5), Rest::Lies, "nothing has followed");
        assert_eq!(bench.seal(5), STAYS);
        assert_eq!(bench.look(400), Rest::Lies, "it is too old");
        bench.waiting = 0;
        assert_eq!(
            bench.look(400),
            Rest::Moves(WATCH_ROOM),
            "more may follow soon"
        );
        assert_eq!(bench.look(10_000), Rest::None);
        assert_eq!(bench.seal(1000), OUT);
        assert_eq!(bench.seal(1), FIRST_TO_STAY, "nobody looks any more");
    }

    #[test]
    fn large_messages_gather_although_sealing_them_takes_long() {
        let mut bench = Bench {
            size: 16 * 1024,
            ..Bench::default()
        };
        assert_eq!(bench.seal(0), OUT);
        assert_eq!(bench.seal(70), FIRST_TO_STAY);
        assert_eq!(bench.seal(70), STAYS);
        assert_eq!(bench.seal(70), STAYS);
        assert_eq!(bench.seal(70), OUT, "64 KiB");
        assert_eq!(bench.seal(84), OUT, "longer than sealing and a pause");
    }

    #[test]
    fn messages_that_each_are_worth_a_write_are_looked_after_for_the_room_alone() {
        let mut bench = Bench {
            size: 64 * 1024,
            ..Bench::default()
        };
        assert_eq!(bench.seal(0), OUT);
        let looks_after = Next {
            drain: true,
            watch: true,
        };
        assert_eq!(bench.seal(100), looks_after);
        assert_eq!(bench.seal(100), OUT, "it is looked after");
        assert_eq!(bench.look(300), Rest::Moves(WATCH_ROOM));
        // A small message that stays there is more urgent.
        bench.size = 100;
        assert_eq!(bench.seal(0), OUT);
        assert_eq!(bench.seal(0), FIRST_TO_STAY);
        assert_eq!(bench.look(5), Rest::Moves(WATCH_BYTES));
    }

    #[test]
    fn a_thread_that_writes_takes_what_comes_meanwhile() {
        let mut bench = Bench {
            draining: true,
            ..Bench::default()
        };
        assert_eq!(bench.seal(1000), STAYS);
        assert_eq!(bench.seal(1), STAYS);
        assert_eq!(bench.look(1000), Rest::None);
    }
}
