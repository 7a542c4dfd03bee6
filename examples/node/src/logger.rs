//! What `-v` shows: the log, on standard error.

use std::io::Write;
use std::sync::OnceLock;
use std::time::Instant;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr {
    began: Instant,
    /// With the time and the source of each line.
    is_verbose: bool,
}

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let seconds = self.began.elapsed().as_secs_f64();
        let (level, target) = (record.level(), record.target());
        let mut out = std::io::stderr().lock();
        // A log that nobody takes is nobody's loss.
        let _ = match (self.is_verbose, level) {
            (true, _) => writeln!(out, "{seconds:9.3} {level:<5} {target}: {}", record.args()),
            (false, Level::Error) => writeln!(out, "error: {}", record.args()),
            (false, _) => writeln!(out, "warning: {}", record.args()),
        };
    }

    fn flush(&self) {}
}

/// Logs warnings; with `-v` what sessions do, with `-vv` everything.
pub(crate) fn start(verbose: u8) {
    static LOGGER: OnceLock<Stderr> = OnceLock::new();
    let logger = LOGGER.get_or_init(|| Stderr {
        began: Instant::now(),
        is_verbose: verbose > 0,
    });
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}
