//! Inbound attempts of one address, and of one range of addresses, kept apart in time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use devp2p_core::time::{Duration, Instant};

/// Addresses that one owner is likely to have many of: an IPv6 /64, an IPv4 /24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Range(IpAddr);

impl Range {
    /// The range of this address; an IPv4 address in IPv6 form is one of IPv4.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !0xff).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }
}

/// Lets one attempt per address in each interval through, from anywhere but the local nets; and from each IPv4 /24 at most
/// [`PER_RANGE`](Self::PER_RANGE).
///
/// As go-ethereum's, a refused attempt does not prolong the wait. Unlike there an IPv6 /64 counts as one address, since who has
/// one address of it usually has all. Memory is bounded: at the capacity the oldest address is forgotten early, so that a flood
/// of addresses cannot shut newcomers out.
#[derive(Debug)]
pub struct InboundThrottle {
    interval: Duration,
    capacity: usize,
    waiting: HashSet<IpAddr>,
    /// How many of them each range has.
    ranges: HashMap<Range, u32>,
    /// The same addresses with the end of their wait. One interval for all, so the oldest ends first.
    by_age: VecDeque<(Instant, IpAddr)>,
}

impl InboundThrottle {
    /// The interval that go-ethereum keeps.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
    /// Attempts of one IPv4 /24 in each interval.
    pub const PER_RANGE: u32 = 8;
    /// Addresses remembered unless told otherwise: about 400 KiB.
    pub const DEFAULT_CAPACITY: usize = 4096;

    /// One attempt per address each `interval`, remembering at most `capacity` addresses. Takes no memory yet.
    pub fn new(interval: Duration, capacity: usize) -> Self {
        Self {
            interval,
            capacity,
            waiting: HashSet::new(),
            ranges: HashMap::new(),
            by_age: VecDeque::new(),
        }
    }

    /// Whether the attempt from `address` at `now` may go on. Takes constant time on average.
    #[must_use]
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> bool {
        if is_local_net(address) {
            return true;
        }
        self.expire(now);
        let range = Range::of(address);
        let address = match address.to_canonical() {
            IpAddr::V6(_) => range.0,
            address => address,
        };
        let of_range = self.ranges.get(&range).copied().unwrap_or_default();
        if self.waiting.contains(&address) || of_range >= Self::PER_RANGE {
            return false;
        }
        if self.capacity == 0 {
            return true;
        }
        if self.by_age.len() >= self.capacity {
            self.forget_oldest();
        }
        self.waiting.insert(address);
        *self.ranges.entry(range).or_default() += 1;
        self.by_age
            .push_back((now.saturating_add(self.interval), address));
        true
    }

    /// How many addresses are remembered.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether no address is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    fn expire(&mut self, now: Instant) {
        while self.by_age.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, address)) = self.by_age.pop_front() else {
            return;
        };
        self.waiting.remove(&address);
        let range = Range::of(address);
        if let Some(count) = self.ranges.get_mut(&range) {
            *count -= 1;
            if *count == 0 {
                self.ranges.remove(&range);
            }
        }
    }
}

impl Default for InboundThrottle {
    fn default() -> Self {
        Self::new(Self::DEFAULT_INTERVAL, Self::DEFAULT_CAPACITY)
    }
}

/// Whether `address` is of this host or of a local net: loopback, private (RFC 1918, RFC 4193) or link-local.
pub fn is_local_net(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}
