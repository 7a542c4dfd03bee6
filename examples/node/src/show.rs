//! How results look: units, tables, colours, and the two kinds of output.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use devp2p_core::hello::NodeId;
use indicatif::ProgressStyle;
use serde::Serialize;

use crate::failure::Failure;
use crate::text;

/// Where results go: lines for people, or one JSON object a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// A line of text on standard output, at once.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        written.map_err(|error| {
            Failure::output(format_args!("standard output cannot be written: {error}"))
        })
    }

    /// An object on standard output, at once.
    pub(crate) fn object(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = text::json(value);
        self.line(&text.map_err(|error| Failure::system("no JSON", error))?)
    }

    /// Whether something may move on the screen: then on standard error, beside the results.
    pub(crate) fn is_live(self) -> bool {
        !self.json
            && io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

/// Colours, where they are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

/// Colours for a terminal, unless `NO_COLOR` is set (no-color.org).
pub(crate) fn paint() -> Paint {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Paint(io::stdout().is_terminal() && io::stderr().is_terminal() && !refused && !dumb)
}

impl Paint {
    pub(crate) fn is_on(self) -> bool {
        self.0
    }
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }
    pub(crate) fn green(self, text: &str) -> String {
        self.with("32", text)
    }
    pub(crate) fn red(self, text: &str) -> String {
        self.with("31", text)
    }
    fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// Bytes with a unit: `17 B`, `1.5 KiB`, `23.4 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Bytes a second.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", bytes(bytes_per_second.max(0.0) as u64))
}

/// A number in groups of three digits: `1 234 567`.
pub(crate) fn number(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    let groups: Vec<_> = groups
        .into_iter()
        .map(|group| String::from_utf8_lossy(group))
        .collect();
    groups.join(" ")
}

/// A span with a unit: `12 µs`, `1.23 ms`, `4.5 s`.
pub(crate) fn duration(span: Duration) -> String {
    let micros = span.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", span.as_secs_f64()),
    }
}

/// The beginning and the end of an identity.
pub(crate) fn short_id(id: &NodeId) -> String {
    let text = id.to_string();
    let (begin, end) = (text.get(..8), text.get(text.len() - 4..));
    format!("{}…{}", begin.unwrap_or_default(), end.unwrap_or_default())
}

/// The value below which `percent` of the sorted values lie.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

/// A bar, and what `rest` says after it.
pub(crate) fn bar(rest: &str) -> ProgressStyle {
    match paint().is_on() {
        true => style(&format!("  {{bar:36.cyan/black.bright}}  {rest}")),
        false => style(&format!("  {{bar:36}}  {rest}")),
    }
}

/// A line that is its message.
pub(crate) fn line() -> ProgressStyle {
    style("  {msg}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

/// Rows of cells in aligned columns; the first `left` columns begin at the left, the others end at the right.
pub(crate) fn table(header: &[&str], left: usize, rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(header.get(column).map_or(0, |cell| cell.chars().count()))
    };
    let widths: Vec<_> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).enumerate();
        let padded = padded.map(|(column, (cell, width))| match column < left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = paint().dim(&line(header.to_vec()));
    let body = rows
        .iter()
        .map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(head).chain(body).collect()
}
