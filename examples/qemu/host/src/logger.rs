//! The log, as a board's looks: on standard output, with the seconds since the start.

use std::io::Write;
use std::sync::OnceLock;
use std::time::Instant;

use log::{LevelFilter, Log, Metadata, Record};

struct Stdout(Instant);

impl Log for Stdout {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let seconds = self.0.elapsed().as_secs_f64();
        let level = record.level().as_str().to_ascii_lowercase();
        // A log that nobody takes is nobody's loss.
        let _ = writeln!(
            std::io::stdout(),
            "{seconds:.6} {level:5} {}",
            record.args()
        );
    }

    fn flush(&self) {}
}

/// Logs from the level of `DEFMT_LOG` on.
pub(crate) fn start() {
    static LOGGER: OnceLock<Stdout> = OnceLock::new();
    let level = std::env::var("DEFMT_LOG")
        .ok()
        .and_then(|level| level.parse().ok());
    if log::set_logger(LOGGER.get_or_init(|| Stdout(Instant::now()))).is_ok() {
        log::set_max_level(level.unwrap_or(LevelFilter::Info));
    }
}
