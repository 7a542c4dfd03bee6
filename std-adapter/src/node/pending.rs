//! Inbound connections that are not sessions yet: which may wait, which open next, and which give way. Decisions only.
//!
//! A connection is *silent* until its first byte, for which it has a deadline of its own and costs no more than its socket. Then
//! it *waits* for one of the places of those that *open*; and once the remote has sent a handshake packet that opens, its
//! identity is *claimed*. Where places are scarce, the oldest that is not that far gives way.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use devp2p_core::time::{Duration, Instant};

use crate::throttle::{Range, is_local_net};

/// How long a connection may be silent.
const FIRST_BYTE: Duration = Duration::from_secs(2);
/// How long a connection that is silent, or opens, is left alone though others need its place.
const GRACE: Duration = Duration::from_millis(500);
/// Sockets that are silent or wait, for each place of those that open.
const LOBBY: usize = 4;
/// One range of addresses has one in so many places, and one known address in so many is kept free.
const SHARE: usize = 4;
const RESERVE: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Silent,
    Waiting,
    Opening,
    Claimed,
}

#[derive(Debug)]
struct Entry {
    /// Of its address, unless that is of a local net.
    range: Option<Range>,
    /// Its address is that of a static or trusted peer: it does not give way.
    known: bool,
    /// When its stage began.
    since: Instant,
    stage: Stage,
}

/// A connection that opens now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) ticket: u64,
    /// The one that gives way to it.
    pub(super) evicted: Option<u64>,
}

/// Connections are named by tickets, which grow.
#[derive(Debug)]
pub(super) struct Pending {
    /// Places of those that open; beyond it some for known addresses.
    limit: usize,
    entries: HashMap<u64, Entry>,
    /// The tickets of each stage.
    stages: [BTreeSet<u64>; 4],
    ranges: HashMap<Range, usize>,
    /// Of known addresses.
    known: usize,
}

impl Pending {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            entries: HashMap::new(),
            stages: Default::default(),
            ranges: HashMap::new(),
            known: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn stage(&self, stage: Stage) -> &BTreeSet<u64> {
        &self.stages[stage as usize]
    }

    /// The oldest of this stage that others may push aside at `now`.
    fn oldest(&self, stage: Stage, now: Instant, range: Option<Range>) -> Option<u64> {
        let mut tickets = self.stage(stage).iter().copied();
        tickets.find(|ticket| {
            self.entries.get(ticket).is_some_and(|entry| {
                !entry.known
                    && (range.is_none() || entry.range == range)
                    && now.saturating_since(entry.since) >= GRACE
            })
        })
    }

    fn lobby_is_full(&self) -> bool {
        let used = self.stage(Stage::Silent).len() + self.stage(Stage::Waiting).len();
        used >= self.limit.saturating_mul(LOBBY)
    }

    /// Whether one more may be accepted at `now`.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        !self.lobby_is_full() || self.oldest(Stage::Silent, now, None).is_some()
    }

    /// A connection was accepted: which one gives way to it, if any. Where more come from known addresses than places are kept
    /// free for, they are as any others.
    ///
    /// # Errors
    /// There is no place for one more of its range.
    pub(super) fn arrive(
        &mut self,
        ticket: u64,
        address: IpAddr,
        known: bool,
        now: Instant,
    ) -> Result<Option<u64>, ()> {
        let known = known && self.known < self.limit.div_ceil(RESERVE);
        let range = (!is_local_net(address)).then(|| Range::of(address));
        let of_range = range.and_then(|range| self.ranges.get(&range));
        let mut evicted = None;
        if !known && of_range.is_some_and(|&count| count >= self.limit.div_ceil(SHARE)) {
            evicted = Some(self.oldest(Stage::Silent, now, range).ok_or(())?);
        } else if self.lobby_is_full() {
            evicted = self.oldest(Stage::Silent, now, None);
        }
        if let Some(evicted) = evicted {
            self.leave(evicted);
        }
        self.insert(ticket, range, known, Stage::Silent, now);
        Ok(evicted)
    }

    /// A connection opens at once, wherever it came from.
    pub(super) fn open(&mut self, ticket: u64, now: Instant) {
        self.insert(ticket, None, false, Stage::Opening, now);
    }

    fn insert(
        &mut self,
        ticket: u64,
        range: Option<Range>,
        known: bool,
        stage: Stage,
        now: Instant,
    ) {
        if let Some(range) = range {
            *self.ranges.entry(range).or_default() += 1;
        }
        self.known += usize::from(known);
        let entry = Entry {
            range,
            known,
            since: now,
            stage,
        };
        self.entries.insert(ticket, entry);
        self.stages[stage as usize].insert(ticket);
    }

    fn advance(&mut self, ticket: u64, stage: Stage, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&ticket) {
            self.stages[entry.stage as usize].remove(&ticket);
            self.stages[stage as usize].insert(ticket);
            (entry.stage, entry.since) = (stage, now);
        }
    }

    /// Its first byte is there: it waits for a place.
    pub(super) fn on_first_byte(&mut self, ticket: u64, now: Instant) {
        self.advance(ticket, Stage::Waiting, now);
    }

    /// The next that opens at `now`, if one waits and there is a place.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        let waiting = self.stage(Stage::Waiting);
        let is_known = |ticket: &&u64| self.entries.get(ticket).is_some_and(|entry| entry.known);
        let known = waiting.iter().find(is_known).copied();
        let ticket = known.or_else(|| waiting.first().copied())?;
        let used = self.stage(Stage::Opening).len() + self.stage(Stage::Claimed).len();
        let mut evicted = None;
        let reserve = if known.is_some() {
            self.limit.div_ceil(RESERVE)
        } else {
            0
        };
        if used >= self.limit + reserve {
            evicted = Some(self.oldest(Stage::Opening, now, None)?);
        }
        if let Some(evicted) = evicted {
            self.leave(evicted);
        }
        self.advance(ticket, Stage::Opening, now);
        Some(Next { ticket, evicted })
    }

    /// Its handshake came so far that its remote claims to be somebody.
    pub(super) fn on_claim(&mut self, ticket: u64, now: Instant) {
        self.advance(ticket, Stage::Claimed, now);
    }

    /// It became a session or ended; whether others may have waited for that.
    pub(super) fn leave(&mut self, ticket: u64) -> bool {
        let Some(entry) = self.entries.remove(&ticket) else {
            return false;
        };
        let was_full = self.lobby_is_full() || !self.stage(Stage::Waiting).is_empty();
        self.stages[entry.stage as usize].remove(&ticket);
        self.known -= usize::from(entry.known);
        if let Some(range) = entry.range
            && let Some(count) = self.ranges.get_mut(&range)
        {
            *count -= 1;
            if *count == 0 {
                self.ranges.remove(&range);
            }
        }
        was_full
    }

    /// One that was silent too long at `now`; it has left.
    pub(super) fn take_late(&mut self, now: Instant) -> Option<u64> {
        let ticket = *self.stage(Stage::Silent).first()?;
        let since = self.entries.get(&ticket)?.since;
        if now.saturating_since(since) < FIRST_BYTE {
            return None;
        }
        self.leave(ticket);
        Some(ticket)
    }

    /// When [`take_late`](Self::take_late), [`next`](Self::next) or [`has_room`](Self::has_room) may say otherwise by time alone
    /// than they do at `now`.
    pub(super) fn poll_at(&self, now: Instant) -> Option<Instant> {
        let oldest = |stage, known: bool, limit| {
            let mut entries = (self.stage(stage).iter()).filter_map(|t| self.entries.get(t));
            let entry = entries.find(|entry| known || !entry.known)?;
            Some(entry.since.saturating_add(limit))
        };
        let late = oldest(Stage::Silent, true, FIRST_BYTE);
        let gives_way = match self.stage(Stage::Waiting).is_empty() {
            true => None,
            false => oldest(Stage::Opening, false, GRACE),
        };
        let makes_room = match self.has_room(now) {
            false => oldest(Stage::Silent, false, GRACE),
            true => None,
        };
        [late, gives_way, makes_room].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO.saturating_add(Duration::from_millis(millis))
    }

    fn local() -> IpAddr {
        [127, 0, 0, 1].into()
    }

    /// With so many places, and connections of this host that are silent since the beginning.
    fn silent(limit: usize, count: u64) -> Pending {
        let mut pending = Pending::new(limit);
        for ticket in 1..=count {
            assert_eq!(pending.arrive(ticket, local(), false, at(0)), Ok(None));
        }
        pending
    }

    fn opens(ticket: u64, evicted: Option<u64>) -> Option<Next> {
        Some(Next { ticket, evicted })
    }

    #[test]
    fn silent_ones_take_no_place_and_give_way_in_the_order_of_their_age() {
        let mut pending = silent(2, 8);
        assert_eq!(pending.next(at(1)), None);
        assert!(!pending.has_room(at(499)));
        assert_eq!(pending.poll_at(at(499)), Some(at(500)));
        assert!(pending.has_room(at(500)));
        assert_eq!(pending.poll_at(at(500)), Some(at(2000)));
        assert_eq!(pending.arrive(9, local(), false, at(500)), Ok(Some(1)));
        assert_eq!(pending.arrive(10, local(), false, at(500)), Ok(Some(2)));
        pending.on_first_byte(10, at(501));
        assert_eq!(pending.next(at(501)), opens(10, None));
    }

    #[test]
    fn one_that_stays_silent_is_late_after_two_seconds() {
        let mut pending = silent(2, 1);
        assert_eq!(pending.poll_at(at(0)), Some(at(2000)));
        assert_eq!(pending.take_late(at(1999)), None);
        assert_eq!(pending.take_late(at(2000)), Some(1));
        assert!(pending.is_empty());
        assert_eq!(
            (pending.take_late(at(9999)), pending.poll_at(at(9999))),
            (None, None)
        );
    }

    #[test]
    fn the_oldest_without_a_packet_that_opens_gives_way() {
        let mut pending = silent(2, 4);
        for ticket in 1..=4 {
            pending.on_first_byte(ticket, at(10));
        }
        assert_eq!(pending.next(at(10)), opens(1, None));
        assert_eq!(pending.next(at(10)), opens(2, None));
        assert_eq!(pending.next(at(10)), None);
        pending.on_claim(1, at(20));
        assert_eq!(pending.poll_at(at(20)), Some(at(510)));
        assert_eq!(pending.next(at(509)), None);
        assert_eq!(pending.next(at(510)), opens(3, Some(2)));
        // The other one has claimed an identity: it keeps its place, until it becomes a session or ends.
        assert_eq!(pending.next(at(600)), None);
        assert!(pending.leave(1));
        assert_eq!(pending.next(at(600)), opens(4, None));
        assert!(!pending.leave(2), "it has left before");
    }

    #[test]
    fn a_known_address_comes_first_and_has_places_of_its_own() {
        let mut pending = silent(1, 2);
        assert_eq!(pending.arrive(3, local(), true, at(0)), Ok(None));
        for ticket in 1..=3 {
            pending.on_first_byte(ticket, at(1));
        }
        assert_eq!(pending.next(at(1)), opens(3, None));
        assert_eq!(pending.next(at(1)), None);
        // It does not give way.
        assert_eq!(pending.next(at(9999)), None);
        pending.leave(3);
        assert_eq!(pending.next(at(9999)), opens(1, None));
        pending.on_claim(1, at(9999));
        assert_eq!(pending.arrive(4, local(), true, at(9999)), Ok(None));
        pending.on_first_byte(4, at(9999));
        assert_eq!(pending.next(at(9999)), opens(4, None));
    }

    #[test]
    fn a_range_of_addresses_has_a_quarter_of_the_places() {
        for (one, other) in [
            (["8.8.8.1", "8.8.8.2", "8.8.8.3"], "8.8.9.1"),
            (
                ["2001:db8::1", "2001:db8::2:2", "2001:db8::3"],
                "2001:db8:0:1::1",
            ),
        ] {
            let [first, second, third] = one.map(|ip| ip.parse().expect("an address"));
            let other = other.parse().expect("an address");
            let mut pending = Pending::new(8);
            assert_eq!(pending.arrive(1, first, false, at(0)), Ok(None));
            assert_eq!(pending.arrive(2, second, false, at(0)), Ok(None));
            assert_eq!(pending.arrive(3, third, false, at(1)), Err(()));
            assert_eq!(pending.arrive(3, other, false, at(1)), Ok(None));
            assert_eq!(pending.arrive(4, third, true, at(1)), Ok(None));
            // One place is kept for known addresses, so another one is as any other.
            assert_eq!(pending.arrive(5, third, true, at(1)), Err(()));
            // What is silent gives way within its range; what is claimed counts until it ends.
            pending.on_claim(1, at(2));
            assert_eq!(pending.arrive(5, third, false, at(500)), Ok(Some(2)));
            pending.on_claim(5, at(501));
            pending.leave(4);
            assert_eq!(pending.arrive(6, third, false, at(9999)), Err(()));
            pending.leave(1);
            assert_eq!(pending.arrive(6, third, false, at(9999)), Ok(None));
        }
    }
}
