//! Micro-benchmarks in this process, whose instructions can be counted too.
//!
//! Each prepares what `count` operations need, and does them only if told so: what preparing costs, in time or in
//! instructions, can then be left out.

mod coding;
mod frames;
mod message_level;

use std::time::{Duration, Instant};

use crate::console::Answer;

/// Prepares so many operations and, if the flag is set, does them; how long only that took.
type Work = Box<dyn Fn(u64, bool) -> Duration>;

pub(crate) struct Micro {
    pub(crate) name: String,
    /// Operations whose instructions are counted.
    pub(crate) counted: u64,
    work: Work,
}

impl Micro {
    fn new(
        name: impl Into<String>,
        counted: u64,
        work: impl Fn(u64, bool) -> Duration + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            counted,
            work: Box::new(work),
        }
    }

    /// One that needs no preparation beyond what stays the same.
    fn repeated<F: FnMut()>(
        name: impl Into<String>,
        counted: u64,
        prepare: impl Fn() -> F + 'static,
    ) -> Self {
        Self::new(name, counted, move |count, go| {
            let mut operation = prepare();
            time(go, || (0..count).for_each(|_| operation()))
        })
    }

    /// Nanoseconds that one takes: the fastest of some batches.
    pub(crate) fn nanoseconds(&self, span: Duration) -> f64 {
        let (mut least, mut count) = (f64::MAX, 1);
        let began = Instant::now();
        loop {
            let took = (self.work)(count, true);
            least = least.min(took.as_nanos() as f64 / count as f64);
            if began.elapsed() >= span {
                return least;
            }
            if took < Duration::from_millis(1) && count < 1 << 16 {
                count *= 2;
            }
        }
    }
}

/// Does the work and tells how long it took, if it is to be done.
fn time(go: bool, work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    if !go {
        return Duration::ZERO;
    }
    work();
    began.elapsed()
}

pub(crate) fn all() -> Vec<Micro> {
    let mut all = message_level::all();
    all.extend(frames::all());
    all.extend(coding::all());
    all
}

/// The process whose instructions are counted: NAME COUNT, and `prepare` to leave the work out.
pub(crate) fn run(arguments: &[String]) -> Answer {
    let [name, count, rest @ ..] = arguments else {
        return Err("usage: bench micro NAME COUNT [prepare]".to_owned());
    };
    let count = count.parse().map_err(|_| "COUNT is no number")?;
    let micro = all().into_iter().find(|micro| micro.name == *name);
    let micro = micro.ok_or_else(|| format!("there is no micro-benchmark {name:?}"))?;
    (micro.work)(count, rest.is_empty());
    Ok(serde_json::Value::Null)
}
