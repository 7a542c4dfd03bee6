use std::time::{self, Instant as StdInstant};

use devp2p_core::time::{Duration, Instant};
use devp2p_std::time::{Clock, to_core_duration, to_std_duration};

#[test]
fn instants_go_to_the_core_and_back() {
    let epoch = StdInstant::now();
    let clock = Clock::with_epoch(epoch);
    let at = epoch + time::Duration::from_micros(1_234_567);
    assert_eq!(clock.to_core(at), Instant::from_micros(1_234_567));
    assert_eq!(clock.to_std(Instant::from_micros(1_234_567)), Some(at));
    assert_eq!(clock.to_core(epoch), Instant::ZERO);
}

#[test]
fn a_deadline_that_was_slept_for_is_due() {
    let epoch = StdInstant::now();
    let clock = Clock::with_epoch(epoch);
    let deadline = Instant::from_micros(10);
    let woken = clock.to_std(deadline).unwrap();
    assert!(clock.to_core(woken) >= deadline);
    assert!(clock.to_core(woken - time::Duration::from_nanos(1)) < deadline);
}

#[test]
fn what_lies_before_the_epoch_is_the_epoch() {
    let before = StdInstant::now();
    let clock = Clock::with_epoch(before + time::Duration::from_secs(1));
    assert_eq!(clock.to_core(before), Instant::ZERO);
    assert_eq!(clock.until(Instant::MAX), None);
    assert_eq!(clock.to_std(Instant::MAX), None);
}

#[test]
fn a_passed_deadline_is_no_time_away() {
    let clock = Clock::new();
    assert_eq!(clock.until(Instant::ZERO), Some(time::Duration::ZERO));
}

#[test]
fn spans_saturate() {
    assert_eq!(to_core_duration(time::Duration::MAX), Duration::MAX);
    assert_eq!(
        to_core_duration(time::Duration::from_nanos(1_999)),
        Duration::from_micros(1)
    );
    assert_eq!(
        to_std_duration(Duration::from_millis(5)),
        time::Duration::from_millis(5)
    );
}
