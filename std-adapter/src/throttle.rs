//! Inbound attempts of one address, kept apart in time.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

use devp2p_core::time::{Duration, Instant};

/// Lets one attempt per address in each interval through, from anywhere but the local nets.
///
/// As go-ethereum's: a refused attempt does not prolong the wait, and IPv6 addresses count one by one. Memory is bounded: at
/// the capacity the oldest address is forgotten early, so that a flood of addresses cannot shut newcomers out.
#[derive(Debug)]
pub struct InboundThrottle {
    interval: Duration,
    capacity: usize,
    waiting: HashSet<IpAddr>,
    /// The same addresses with the end of their wait. One interval for all, so the oldest ends first.
    by_age: VecDeque<(Instant, IpAddr)>,
}

impl InboundThrottle {
    /// The interval that go-ethereum keeps.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
    /// Addresses remembered unless told otherwise: about 200 KiB.
    pub const DEFAULT_CAPACITY: usize = 4096;

    /// One attempt per address each `interval`, remembering at most `capacity` addresses. Takes no memory yet.
    pub fn new(interval: Duration, capacity: usize) -> Self {
        Self {
            interval,
            capacity,
            waiting: HashSet::new(),
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
        let address = address.to_canonical();
        if self.waiting.contains(&address) {
            return false;
        }
        if self.capacity == 0 {
            return true;
        }
        if self.by_age.len() >= self.capacity {
            self.forget_oldest();
        }
        self.waiting.insert(address);
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
        if let Some((_, address)) = self.by_age.pop_front() {
            self.waiting.remove(&address);
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
