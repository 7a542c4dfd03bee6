//! The run: all lines in turn, the table as it grows, then the goals and the JSON.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::options::Options;
use crate::row::{Goal, Row};
use crate::{counting, opening, svg, traffic};

/// What was measured.
struct Report {
    rows: Vec<Row>,
    limits: Value,
    seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let began = Instant::now();
    let mut rows = Vec::new();
    let mut line = "";
    let mut say = |row: Row| {
        if row.line != line {
            line = row.line;
            println!("{}", Row::head(line));
        }
        println!("{}", row.text());
        rows.push(row);
    };
    let limits = opening::limits(options)?;
    println!("limits of this machine, as each side has them");
    for (who, limits) in limits.as_object().into_iter().flatten() {
        println!("   {who}: {limits}");
    }
    if options.wants("one-way") {
        traffic::one_way(options, &mut say)?;
    }
    if options.wants("duplex") {
        traffic::duplex(options, &mut say)?;
    }
    if options.wants("shared") {
        traffic::shared(options, &mut say)?;
    }
    if options.wants("echo") {
        traffic::echo(options, &mut say)?;
    }
    if options.wants("handshakes") {
        opening::handshakes(options, &mut say)?;
    }
    if options.wants("core") {
        counting::core(options, &mut say)?;
    }
    if options.wants("micro") {
        counting::alone(options, &mut say)?;
    }
    if options.wants("idle") {
        opening::idle(options, &mut say)?;
    }
    let report = Report {
        rows,
        limits,
        seconds: began.elapsed().as_secs_f64(),
    };
    report.sum_up();
    if let Some(file) = &options.json {
        write(file, &format!("{:#}\n", report.json(options)))?;
        println!("all of it: {}", file.display());
    }
    if let Some(file) = &options.svg {
        write(file, &svg::draw(&report.rows, &report.under(options)))?;
        println!("the plot: {}", file.display());
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

impl Report {
    fn goals(&self) -> impl Iterator<Item = (&Row, &Goal)> {
        let each = self.rows.iter();
        each.flat_map(|row| row.goals.iter().map(move |goal| (row, goal)))
    }

    fn sum_up(&self) {
        let met = self.goals().filter(|(_, goal)| goal.is_met()).count();
        println!("{met} of {} goals are met", self.goals().count());
        for (row, goal) in self.goals().filter(|(_, goal)| !goal.is_met()) {
            println!("   missed: {}, {}: {}", row.line, row.name, goal.text());
        }
        println!("measured in {:.0} s", self.seconds);
    }

    /// What stands under the plot.
    fn under(&self, options: &Options) -> String {
        let machine = machine(options);
        let text = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
        format!(
            "{} rounds on {} cores of {}, {}; goals met: {} of {}",
            options.rounds,
            options.cores,
            text("processor"),
            text("system"),
            self.goals().filter(|(_, goal)| goal.is_met()).count(),
            self.goals().count(),
        )
    }

    fn json(&self, options: &Options) -> Value {
        json!({
            "options": {"rounds": options.rounds, "quick": options.quick, "smoke": options.smoke, "only": options.only},
            "machine": machine(options),
            "limits": self.limits,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "seconds": self.seconds,
        })
    }
}

/// What it was measured on.
fn machine(options: &Options) -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cores": options.cores,
        "processor": model.map(|model| model.trim_start_matches(['\t', ' ', ':'])),
        "kernel": kernel.trim(),
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "devp2p": env!("CARGO_PKG_VERSION"),
    })
}
