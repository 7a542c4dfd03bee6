//! When static peers are dialled, in virtual time.
use std::net::SocketAddr;

use devp2p_core::hello::NodeId;
use devp2p_core::time::{Duration, Instant, PollAt};
use devp2p_std::backoff::BackoffConfig;
use devp2p_std::enode::Enode;
use devp2p_std::node::schedule::DialSchedule;

fn enode(seed: u8) -> Enode {
    let address: SocketAddr = "10.0.0.1:30303".parse().expect("an address");
    Enode::new(NodeId([seed; 64]), address)
}

fn schedule() -> DialSchedule {
    DialSchedule::new(BackoffConfig::new())
}

fn secs(n: u64) -> Instant {
    Instant::from_micros(n * 1_000_000)
}

/// The one moment at which something is due.
fn due(schedule: &DialSchedule) -> Instant {
    match schedule.poll_at() {
        PollAt::At(at) => at,
        other => panic!("{other:?}"),
    }
}

fn assert_between(at: Instant, from: Instant, to: Instant) {
    assert!(from <= at && at <= to, "{at:?} is not in {from:?}..={to:?}");
}

#[test]
fn a_new_peer_is_due_at_once_and_only_once() {
    let mut schedule = schedule();
    assert_eq!(schedule.poll_at(), PollAt::Idle);
    schedule.add(enode(1), secs(7));
    assert_eq!(due(&schedule), secs(7));
    assert_eq!(schedule.next_due(secs(6)), None);
    assert_eq!(schedule.next_due(secs(7)), Some(enode(1)));
    assert_eq!(schedule.next_due(secs(7)), None);
    assert_eq!(schedule.poll_at(), PollAt::Idle);
}

#[test]
fn failures_are_followed_by_waits_that_double_up_to_the_longest() {
    let mut schedule = schedule();
    schedule.add(enode(1), secs(0));
    let mut now = secs(0);
    for wait in [1, 2, 4, 8, 16, 32, 40, 40] {
        assert_eq!(schedule.next_due(now), Some(enode(1)));
        schedule.dial_failed(&enode(1).id, now);
        let at = due(&schedule);
        let wait = Duration::from_secs(wait);
        let jitter = Duration::from_micros(wait.as_micros() / 4);
        let from = now.saturating_add(wait);
        assert_between(at, from, from.saturating_add(jitter));
        assert_eq!(
            schedule.next_due(Instant::from_micros(at.as_micros() - 1)),
            None
        );
        now = at;
    }
}

#[test]
fn a_peer_in_a_session_is_not_dialled_and_again_after_it() {
    let mut schedule = schedule();
    schedule.add(enode(1), secs(0));
    assert!(schedule.next_due(secs(0)).is_some());
    schedule.connected(&enode(1).id, secs(1));
    assert_eq!(schedule.poll_at(), PollAt::Idle);
    // A late report of a dial that gave way to the session.
    schedule.dial_failed(&enode(1).id, secs(2));
    assert_eq!(schedule.poll_at(), PollAt::Idle);
    schedule.session_ended(&enode(1).id, secs(100));
    assert!(due(&schedule) >= secs(101) && due(&schedule) <= secs(102));
    assert_eq!(schedule.next_due(secs(102)), Some(enode(1)));
}

#[test]
fn a_session_that_the_remote_dialled_counts_too() {
    let mut schedule = schedule();
    schedule.add(enode(1), secs(10));
    schedule.connected(&enode(1).id, secs(5));
    assert_eq!(schedule.next_due(secs(10)), None);
    schedule.session_ended(&enode(1).id, secs(50));
    assert!(due(&schedule) > secs(50));
}

#[test]
fn short_sessions_back_off_and_a_long_one_starts_over() {
    let mut schedule = schedule();
    let id = enode(1).id;
    schedule.add(enode(1), secs(0));
    let mut now = secs(0);
    let mut waits = Vec::new();
    for lasted in [1, 1, 1, 30] {
        assert!(schedule.next_due(now).is_some());
        schedule.connected(&id, now);
        let end = now.saturating_add(Duration::from_secs(lasted));
        schedule.session_ended(&id, end);
        now = due(&schedule);
        waits.push(now.saturating_since(end).as_micros() / 1_000_000);
    }
    assert!(
        waits[1] >= 2 && waits[2] >= 4 && waits[3] <= 1,
        "{waits:?} s"
    );
}

#[test]
fn a_removed_peer_is_not_dialled() {
    let mut schedule = schedule();
    schedule.add(enode(1), secs(0));
    schedule.add(enode(2), secs(1));
    schedule.remove(&enode(1).id);
    assert!(!schedule.contains(&enode(1).id) && schedule.contains(&enode(2).id));
    assert_eq!(due(&schedule), secs(1));
    // Reports of its end do not bring it back.
    schedule.session_ended(&enode(1).id, secs(2));
    schedule.dial_failed(&enode(1).id, secs(2));
    assert_eq!(schedule.next_due(secs(100)), Some(enode(2)));
    assert_eq!(schedule.next_due(secs(100)), None);
}

#[test]
fn adding_a_peer_again_changes_its_address_only() {
    let mut schedule = schedule();
    schedule.add(enode(1), secs(0));
    assert!(schedule.next_due(secs(0)).is_some());
    schedule.dial_failed(&enode(1).id, secs(0));
    let at = due(&schedule);
    let moved = Enode {
        tcp: 30304,
        ..enode(1)
    };
    schedule.add(moved.clone(), secs(0));
    assert_eq!(due(&schedule), at);
    assert_eq!(schedule.next_due(at), Some(moved));
}

#[test]
fn every_peer_that_is_due_is_dialled() {
    let mut schedule = schedule();
    for seed in 1..=20 {
        schedule.add(enode(seed), secs(u64::from(seed)));
    }
    let mut seen = Vec::new();
    while let Some(enode) = schedule.next_due(secs(10)) {
        seen.push(enode.id.0[0]);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());
    assert_eq!(due(&schedule), secs(11));
}
