//! What `-v` shows: the log, on standard error.

use std::sync::OnceLock;
use std::time::Instant;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::stderr;
use crate::text::plain;

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
        // A stranger's words may be in it.
        let text = plain(&record.args().to_string());
        stderr::say(match (self.is_verbose, level) {
            (true, _) => format!("{seconds:9.3} {level:<5} {target}: {text}"),
            (false, Level::Error) => format!("error: {text}"),
            (false, _) => format!("warning: {text}"),
        });
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
