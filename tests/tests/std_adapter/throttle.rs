use std::net::{IpAddr, Ipv4Addr};

use devp2p_core::time::{Duration, Instant};
use devp2p_std::throttle::{InboundThrottle, is_local_net};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn secs(n: u64) -> Instant {
    Instant::ZERO.saturating_add(Duration::from_secs(n))
}

#[test]
fn one_attempt_per_address_in_30_seconds() {
    let mut throttle = InboundThrottle::default();
    assert!(throttle.admit(ip("8.8.8.8"), secs(100)));
    assert!(!throttle.admit(ip("8.8.8.8"), secs(100)));
    assert!(throttle.admit(ip("8.8.4.4"), secs(101)));
    assert!(throttle.admit(ip("2001:4860::1"), secs(101)));
    assert!(!throttle.admit(ip("2001:4860::1"), secs(102)));
    // One who has an address of IPv6 has its /64.
    assert!(!throttle.admit(ip("2001:4860::2:3:4:5"), secs(102)));
    assert!(throttle.admit(ip("2001:4860:0:1::1"), secs(102)));
    // The refused attempts did not prolong the wait.
    assert!(!throttle.admit(ip("8.8.8.8"), secs(129)));
    assert!(throttle.admit(ip("8.8.8.8"), secs(130)));
}

#[test]
fn both_forms_of_an_ipv4_address_are_one() {
    let mut throttle = InboundThrottle::default();
    assert!(throttle.admit(ip("8.8.8.8"), secs(0)));
    assert!(!throttle.admit(ip("::ffff:8.8.8.8"), secs(1)));
}

#[test]
fn eight_attempts_per_range_of_ipv4_in_30_seconds() {
    let mut throttle = InboundThrottle::default();
    let of_range = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0808_0800 + n));
    for n in 0..InboundThrottle::PER_RANGE {
        assert!(throttle.admit(of_range(n), secs(u64::from(n))));
    }
    assert!(!throttle.admit(of_range(100), secs(10)));
    assert!(throttle.admit(of_range(256), secs(10)));
    // The first of them is forgotten, and no other.
    assert!(throttle.admit(of_range(100), secs(30)));
    assert!(!throttle.admit(of_range(101), secs(30)));
}

#[test]
fn local_nets_are_not_throttled() {
    let mut throttle = InboundThrottle::default();
    for address in [
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.1.1",
        "::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "::ffff:192.168.1.1",
    ] {
        assert!(is_local_net(ip(address)), "{address}");
        for _ in 0..3 {
            assert!(throttle.admit(ip(address), secs(0)), "{address}");
        }
    }
    assert!(throttle.is_empty());
    for address in [
        "172.32.0.1",
        "11.0.0.1",
        "192.169.0.1",
        "2001:db8::1",
        "fec0::1",
        "0.0.0.0",
    ] {
        assert!(!is_local_net(ip(address)), "{address}");
    }
}

#[test]
fn memory_is_bounded_and_the_oldest_is_forgotten_first() {
    let mut throttle = InboundThrottle::new(Duration::from_secs(30), 100);
    let public = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0800_0000 + (n << 8)));
    for n in 0..10_000 {
        assert!(throttle.admit(public(n), secs(0)));
        assert!(throttle.len() <= 100);
    }
    assert!(!throttle.admit(public(9_900), secs(1)));
    assert!(throttle.admit(public(0), secs(1)));
    assert!(throttle.admit(public(9_900), secs(1)));
}

#[test]
fn a_throttle_without_memory_lets_everyone_through() {
    let mut throttle = InboundThrottle::new(Duration::from_secs(30), 0);
    assert!(throttle.admit(ip("8.8.8.8"), secs(0)));
    assert!(throttle.admit(ip("8.8.8.8"), secs(0)));
    assert!(throttle.is_empty());
}
