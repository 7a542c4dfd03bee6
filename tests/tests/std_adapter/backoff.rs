use devp2p_core::time::{Duration, Instant};
use devp2p_std::backoff::{Backoff, BackoffConfig};

const NOW: Instant = Instant::from_micros(1_000_000_000);

fn waits(seed: u64, count: usize) -> Vec<u64> {
    let mut backoff = Backoff::new(BackoffConfig::new(), seed);
    let waits =
        std::iter::repeat_with(|| backoff.dial_failed(NOW).saturating_since(NOW).as_millis());
    waits.take(count).collect()
}

#[test]
fn waits_double_up_to_the_longest_with_a_quarter_of_jitter() {
    for seed in 0..1000 {
        let expected = [1, 2, 4, 8, 16, 32, 40, 40, 40];
        for (wait, seconds) in waits(seed, 9).into_iter().zip(expected) {
            let (least, most) = (seconds * 1_000, seconds * 1_250);
            assert!(
                (least..=most).contains(&wait),
                "{wait} ms, expected {least}..={most}"
            );
        }
    }
}

#[test]
fn jitter_differs_by_seed_and_is_reproducible() {
    assert_eq!(waits(1, 9), waits(1, 9));
    assert_ne!(waits(1, 9), waits(2, 9));
    let first: std::collections::HashSet<_> = (0..100).map(|seed| waits(seed, 1)).collect();
    assert!(first.len() > 50, "{} of 100 differ", first.len());
}

#[test]
fn a_session_that_lasted_begins_again_and_a_short_one_does_not() {
    let mut backoff = Backoff::new(BackoffConfig::new(), 7);
    for _ in 0..5 {
        backoff.dial_failed(NOW);
    }
    let after_short = backoff.session_ended(NOW, Duration::from_millis(29_999));
    assert!(after_short.saturating_since(NOW) >= Duration::from_secs(32));
    let after_long = backoff.session_ended(NOW, Duration::from_secs(30));
    assert!(after_long.saturating_since(NOW) <= Duration::from_millis(1_250));
    let then = backoff.dial_failed(NOW).saturating_since(NOW);
    assert!(then >= Duration::from_secs(2) && then <= Duration::from_millis(2_500));
}

#[test]
fn extreme_settings_do_not_overflow() {
    let mut config = BackoffConfig::new();
    (config.first, config.longest) = (Duration::MAX, Duration::MAX);
    let mut backoff = Backoff::new(config, u64::MAX);
    assert_eq!(backoff.dial_failed(NOW), Instant::MAX);
    (config.first, config.longest) = (Duration::ZERO, Duration::ZERO);
    assert_eq!(Backoff::new(config, 0).dial_failed(NOW), NOW);
}
