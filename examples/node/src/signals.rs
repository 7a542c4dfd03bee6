//! The signals that end the program.

use std::fs;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::failure::Failure;

/// From here on these signals end the program only as the caller does. SIGHUP is not among them where whoever started the
/// program had it ignored, as `nohup` does.
pub(crate) fn ending() -> Result<Signals, Failure> {
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))
        .map_err(|error| Failure::system("signals cannot be handled", error))
}

pub(crate) fn name(signal: i32) -> &'static str {
    signal_name(signal).unwrap_or("a signal")
}

/// As Linux tells it (proc_pid_status(5), SigIgn); elsewhere it is taken not to be.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
