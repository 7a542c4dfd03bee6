//! The ping scheduler: when a Ping is due, how many Pongs are owed, and when silence has lasted too long.

use devp2p_core::ping::{MAX_PONGS_OWED, PingScheduler};
use devp2p_core::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_micros(1_000);
const TIMEOUT: Duration = Duration::from_micros(300);

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

/// Started at 0.
fn started() -> PingScheduler {
    let mut ping = PingScheduler::new(INTERVAL, TIMEOUT);
    ping.start(at(0));
    ping
}

/// A Ping went out at `now`.
fn awaiting(now: u64) -> PingScheduler {
    let mut ping = started();
    ping.request();
    assert!(ping.take_ping(at(now)));
    ping
}

#[test]
fn nothing_happens_before_the_start() {
    let mut ping = PingScheduler::new(INTERVAL, TIMEOUT);
    assert_eq!(ping.deadline(), Instant::MAX);
    ping.request();
    ping.on_ping();
    assert!(!ping.handle_timeout(Instant::MAX));
    assert!(!ping.wants_to_send());
    assert!(!ping.take_ping(at(0)) && !ping.take_pong());
}

#[test]
fn a_ping_is_due_one_interval_after_the_start_exactly() {
    let mut ping = started();
    assert_eq!(ping.deadline(), at(1_000));
    assert!(!ping.handle_timeout(at(999)));
    assert!(!ping.wants_to_send() && !ping.take_ping(at(999)));
    assert!(!ping.handle_timeout(at(1_000)), "a due Ping is no timeout");
    assert!(ping.wants_to_send());
    assert_eq!(
        ping.deadline(),
        Instant::MAX,
        "that it waits to be sent is no matter of time"
    );
    assert!(ping.take_ping(at(1_000)));
    assert!(!ping.take_ping(at(1_000)), "one at a time");
}

#[test]
fn the_pong_deadline_counts_from_when_the_ping_left() {
    let mut ping = started();
    assert!(!ping.handle_timeout(at(1_000)));
    assert!(
        !ping.handle_timeout(at(50_000)),
        "a Ping that cannot leave is not unanswered"
    );
    assert!(ping.take_ping(at(50_000)));
    assert_eq!(ping.deadline(), at(50_300));
    assert!(!ping.handle_timeout(at(50_299)));
    assert!(ping.handle_timeout(at(50_300)));
    assert!(!ping.handle_timeout(at(50_300)), "told once");
    assert_eq!(ping.deadline(), Instant::MAX);
}

#[test]
fn any_message_ends_the_wait_and_the_next_ping_is_one_interval_later() {
    let mut ping = awaiting(10);
    ping.on_message(at(309));
    assert_eq!(ping.deadline(), at(1_309));
    assert!(!ping.handle_timeout(at(310)));
    assert_eq!(ping.pongs(), 0, "life, but no Pong");
    assert_eq!(ping.round_trip(), None);
}

#[test]
fn traffic_without_a_ping_in_the_air_does_not_put_off_the_next() {
    let mut ping = started();
    for now in 0..1_000 {
        ping.on_message(at(now));
    }
    assert_eq!(ping.deadline(), at(1_000));
}

#[test]
fn a_pong_gives_the_round_trip_and_an_unasked_one_nothing() {
    let mut ping = started();
    ping.on_pong(at(5));
    assert_eq!((ping.pongs(), ping.round_trip()), (0, None));
    ping.request();
    assert!(ping.take_ping(at(10)));
    ping.on_pong(at(47));
    ping.on_message(at(47));
    assert_eq!(ping.pongs(), 1);
    assert_eq!(ping.round_trip(), Some(Duration::from_micros(37)));
    ping.on_pong(at(99));
    assert_eq!(ping.pongs(), 1);
    assert_eq!(ping.round_trip(), Some(Duration::from_micros(37)));
}

#[test]
fn a_pong_behind_other_traffic_still_gives_the_round_trip() {
    let mut ping = awaiting(10);
    ping.on_message(at(20));
    ping.on_pong(at(30));
    assert_eq!(ping.round_trip(), Some(Duration::from_micros(20)));
}

#[test]
fn a_request_is_due_at_once_unless_a_ping_is_unanswered() {
    let mut ping = started();
    ping.request();
    assert!(ping.wants_to_send());
    assert!(ping.take_ping(at(3)));
    ping.request();
    assert!(!ping.wants_to_send());
    assert_eq!(ping.deadline(), at(303), "a request gives no more time");
}

#[test]
fn pongs_owed_saturate_at_sixteen() {
    assert_eq!(MAX_PONGS_OWED, 16);
    for pings in [0u32, 1, 15, 16, 17, 255, 256, 257, 100_000] {
        let mut ping = started();
        (0..pings).for_each(|_| ping.on_ping());
        let owed = std::iter::from_fn(|| ping.take_pong().then_some(())).count();
        assert_eq!(owed, pings.min(16) as usize, "{pings} Pings");
        assert!(!ping.wants_to_send());
        ping.on_ping();
        assert!(ping.take_pong(), "and the next one is answered again");
    }
}

#[test]
fn the_clock_of_silence_stands_still_while_we_hold_back() {
    let mut ping = awaiting(0);
    ping.hold(at(100));
    assert_eq!(ping.deadline(), Instant::MAX);
    assert!(!ping.handle_timeout(at(1_000_000)));
    ping.hold(at(500_000));
    ping.resume(at(1_000_100));
    assert_eq!(
        ping.deadline(),
        at(1_000_300),
        "200 of 300 were left when it stopped"
    );
    assert!(!ping.handle_timeout(at(1_000_299)));
    assert!(ping.handle_timeout(at(1_000_300)));
}

#[test]
fn held_time_adds_up_and_a_resume_without_a_hold_adds_nothing() {
    let mut ping = awaiting(0);
    for (hold, resume) in [(10, 20), (25, 30), (30, 30)] {
        ping.hold(at(hold));
        ping.resume(at(resume));
        ping.resume(at(resume + 1));
    }
    assert_eq!(ping.deadline(), at(315));
}

#[test]
fn a_ping_that_leaves_while_we_hold_back_has_its_whole_time_after() {
    let mut ping = started();
    ping.hold(at(400));
    assert!(!ping.handle_timeout(at(1_000)));
    assert!(ping.take_ping(at(1_000)), "our own Pings go out");
    assert!(!ping.handle_timeout(at(9_000)));
    ping.resume(at(10_000));
    assert_eq!(ping.deadline(), at(10_300));
}

#[test]
fn stopped_it_owes_and_asks_nothing() {
    let mut ping = awaiting(0);
    ping.on_ping();
    ping.stop();
    ping.on_ping();
    ping.request();
    assert!(!ping.wants_to_send() && !ping.take_pong() && !ping.take_ping(at(1)));
    assert!(!ping.handle_timeout(Instant::MAX));
    assert_eq!(ping.deadline(), Instant::MAX);
}

#[test]
fn at_the_far_end_of_time_deadlines_saturate() {
    let mut ping = PingScheduler::new(Duration::MAX, Duration::MAX);
    ping.start(at(7));
    assert_eq!(ping.deadline(), Instant::MAX);
    assert!(!ping.handle_timeout(at(u64::MAX - 1)));
    assert!(!ping.wants_to_send());
    ping.request();
    assert!(ping.take_ping(at(u64::MAX - 1)));
    ping.hold(at(u64::MAX - 1));
    ping.resume(Instant::MAX);
    assert_eq!(ping.deadline(), Instant::MAX);
    ping.on_message(Instant::MAX);
    ping.on_pong(at(0));
    assert_eq!(
        ping.round_trip(),
        Some(Duration::ZERO),
        "a clock that went back is no negative time"
    );
}
