//! What the system tells of this process, and the figures of one step.

use std::fmt;
use std::fs;
use std::time::Duration;

use serde::Serialize;

use crate::Failure;

/// What this process uses, by what Linux says of it.
pub(crate) struct Usage {
    /// Bytes.
    pub(crate) resident: u64,
    /// Of all threads, user and system.
    pub(crate) cpu: Duration,
    pub(crate) threads: usize,
}

/// Ticks of a second in `/proc`: the same on every Linux (`getconf CLK_TCK`).
const TICKS: u64 = 100;

impl Usage {
    pub(crate) fn now() -> Result<Self, Failure> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let mut lines = status.lines();
            let line = lines.find_map(|line| line.strip_prefix(name));
            let digits = line.and_then(|line| line.split_whitespace().next());
            digits.and_then(|digits| digits.parse::<u64>().ok())
        };
        let stat = fs::read_to_string("/proc/self/stat")?;
        // After the name in parentheses; user and system time are the fields 14 and 15 of all: proc(5).
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        let (Some(Ok(user)), Some(Ok(system))) = (times.next(), times.next()) else {
            return Err("/proc/self/stat is not as expected".into());
        };
        let missing = "/proc/self/status is not as expected: this runs on Linux";
        Ok(Self {
            resident: field("VmRSS:").ok_or(missing)? * 1024,
            cpu: Duration::from_millis((user + system) * 1000 / TICKS),
            threads: field("Threads:").ok_or(missing)? as usize,
        })
    }
}

/// Median, 99th percentile and maximum, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn millis([median, p99, max]: [Duration; 3]) -> Self {
        let millis = |span: Duration| span.as_secs_f64() * 1000.0;
        Self {
            median: millis(median),
            p99: millis(p99),
            max: millis(max),
        }
    }

    pub(crate) fn of(mut spans: Vec<Duration>) -> Self {
        spans.sort_unstable();
        let at = |share: usize| {
            let index = (spans.len() * share).div_ceil(100).saturating_sub(1);
            spans.get(index).copied().unwrap_or_default()
        };
        Self::millis([at(50), at(99), at(100)])
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, p99, max } = self;
        write!(f, "{median:6.2} {p99:7.2} {max:7.2}")
    }
}

/// The figures of one step.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) sessions: usize,
    pub(crate) resident_bytes: u64,
    /// What the sessions added to the resident memory of the node without any, for each.
    pub(crate) bytes_per_session: u64,
    /// CPU seconds of a second.
    pub(crate) cpu_per_second: f64,
    pub(crate) threads: usize,
    /// Deadlines that came, and how late they were looked at: most are Pings to send.
    pub(crate) deadlines: u64,
    pub(crate) late_ms: Spread,
    /// The last round trip of Ping and Pong of each session.
    pub(crate) pong_ms: Spread,
    /// Messages of 1 KiB that came back, and how long it took.
    pub(crate) echoes: usize,
    pub(crate) echo_ms: Spread,
    pub(crate) seconds: f64,
}

impl Row {
    pub(crate) const HEAD: &'static str = "sessions  threads  KiB/session  CPU s/s  deadlines  late ms: median p99 max  pong ms: median p99 max   echoes  echo ms: median p99 max";
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:8}  {:7}  {:11.1}  {:7.3}  {:9}  {:>23}  {:>23}  {:7}  {:>23}",
            self.sessions,
            self.threads,
            self.bytes_per_session as f64 / 1024.0,
            self.cpu_per_second,
            self.deadlines,
            self.late_ms.to_string(),
            self.pong_ms.to_string(),
            self.echoes,
            self.echo_ms.to_string(),
        )
    }
}
