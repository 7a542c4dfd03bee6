//! How late a loop looks at its deadlines: whether it keeps up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Two to this many steps in each power of two.
const STEP_BITS: u32 = 3;
const STEPS: usize = 1 << STEP_BITS;
/// Up to 2^36 microseconds, some 19 hours.
const BUCKETS: usize = 36 * STEPS;

/// Counts in buckets that grow by an eighth of a power of two.
#[derive(Debug)]
pub(super) struct Lateness {
    buckets: [AtomicU64; BUCKETS],
    largest: AtomicU64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            largest: AtomicU64::new(0),
        }
    }
}

fn bucket(micros: u64) -> usize {
    let small = STEPS as u64;
    if micros < small {
        return micros as usize;
    }
    let power = micros.ilog2();
    let step = (micros >> (power - STEP_BITS)) as usize - STEPS;
    ((power - STEP_BITS + 1) as usize * STEPS + step).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn top(bucket: usize) -> u64 {
    let (power, step) = (bucket / STEPS, bucket % STEPS);
    if power == 0 {
        return step as u64;
    }
    (((STEPS + step + 1) as u64) << (power - 1)) - 1
}

impl Lateness {
    pub(super) fn record(&self, micros: u64) {
        if let Some(count) = self.buckets.get(bucket(micros)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.largest.fetch_max(micros, Ordering::Relaxed);
    }
}

/// How late deadlines of sessions (Pings, time limits, timers of handlers) were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Punctuality {
    counts: Vec<u64>,
    largest: u64,
}

impl Punctuality {
    pub(super) fn of<'a>(all: impl Iterator<Item = &'a Lateness>) -> Self {
        let mut sum = Self {
            counts: vec![0; BUCKETS],
            largest: 0,
        };
        for one in all {
            for (count, bucket) in sum.counts.iter_mut().zip(&one.buckets) {
                *count += bucket.load(Ordering::Relaxed);
            }
            sum.largest = sum.largest.max(one.largest.load(Ordering::Relaxed));
        }
        sum
    }

    /// Deadlines that came.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// So much of all deadlines were at most this late; `share` from 0 to 1. Exact to an eighth, and never less than the truth.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_micros(top(found.unwrap_or(0)).min(self.largest))
    }

    /// The latest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.largest)
    }

    /// What came since `earlier`, a former state of the same; its latest is exact to an eighth.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts);
        let counts: Vec<_> = counts
            .map(|(now, then)| now.saturating_sub(*then))
            .collect();
        let last = counts.iter().rposition(|count| *count > 0);
        Self {
            largest: last.map_or(0, top).min(self.largest),
            counts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_an_eighth_wide_at_most_and_cover_every_value() {
        let mut last = 0;
        for micros in 0..1_000_000 {
            let bucket = bucket(micros);
            assert!(bucket == last || bucket == last + 1, "{micros}");
            last = bucket;
            assert!(
                top(bucket) >= micros && top(bucket) <= micros + micros / 8,
                "{micros}"
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let lateness = Lateness::default();
        for micros in 1..=1000 {
            lateness.record(micros);
        }
        let all = Punctuality::of([&lateness].into_iter());
        assert_eq!(all.count(), 1000);
        assert_eq!(all.max(), Duration::from_micros(1000));
        for (share, exact) in [(0.0, 0), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let told = all.quantile(share).as_micros();
            assert!(
                told >= exact && told <= exact + exact / 8,
                "{share}: {told}"
            );
        }
        lateness.record(5000);
        let later = Punctuality::of([&lateness].into_iter()).since(&all);
        assert_eq!(later.count(), 1);
    }
}
