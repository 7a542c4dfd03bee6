//! What the command line asks for.

use std::path::PathBuf;

use crate::child::Programs;

/// The lines that can be asked for alone.
pub(crate) const LINES: [&str; 8] = [
    "one-way",
    "duplex",
    "shared",
    "echo",
    "handshakes",
    "core",
    "micro",
    "idle",
];

pub(crate) const USAGE: &str = "\
usage: bench --geth PROGRAM [OPTION...]

  --quick         fewer and shorter rounds, no mixed pairs, fewer idle sessions: two minutes
  --only LINE     one line of one-way (with the processor time), duplex, shared, echo, handshakes, core, micro,
                  idle; repeatable
  --rounds N      rounds of each measurement
  --json FILE     writes all that was measured there
  --svg FILE      draws the ratios there
  --go-bench DIR  the folder of go-ethereum's benchmark, for the line core
  --smoke         everything once and tiny: shows that it works, measures nothing";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) programs: Programs,
    pub(crate) only: Vec<String>,
    pub(crate) quick: bool,
    pub(crate) smoke: bool,
    pub(crate) rounds: usize,
    /// How long one job lasts, about.
    pub(crate) job_seconds: f64,
    /// Round trips of one job.
    pub(crate) echoes: u64,
    /// Bytes that the bare copy moves at a time.
    pub(crate) copied: u64,
    /// Handshakes of one round.
    pub(crate) handshakes: u64,
    pub(crate) idle_sessions: u64,
    /// How long idle sessions are watched; a multiple of the ping interval.
    pub(crate) idle_seconds: u64,
    /// Whether go-ethereum and we are measured with each other too.
    pub(crate) mixed: bool,
    pub(crate) cores: usize,
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) go_bench: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.peekable();
        let mut geth = None;
        let (mut quick, mut smoke, mut rounds) = (false, false, None);
        let (mut only, mut json, mut svg, mut go_bench) = (Vec::new(), None, None, None);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => quick = true,
                "--smoke" => smoke = true,
                "--only" => {
                    for line in value()?.split(',') {
                        if !LINES.contains(&line) {
                            return Err(format!("there is no line {line:?}\n{USAGE}"));
                        }
                        only.push(line.to_owned());
                    }
                }
                "--rounds" => {
                    let count: usize = value()?.parse().map_err(|_| "--rounds takes a number")?;
                    rounds = Some(count.max(1));
                }
                "--geth" => geth = Some(PathBuf::from(value()?)),
                "--json" => json = Some(PathBuf::from(value()?)),
                "--svg" => svg = Some(PathBuf::from(value()?)),
                "--go-bench" => go_bench = Some(PathBuf::from(value()?)),
                _ => return Err(format!("there is no option {argument:?}\n{USAGE}")),
            }
        }
        let pick = |full, short, tiny| match (smoke, quick) {
            (true, _) => tiny,
            (_, true) => short,
            _ => full,
        };
        Ok(Self {
            programs: Programs {
                geth: geth.ok_or(USAGE)?,
            },
            rounds: rounds.unwrap_or(pick(5, 3, 1) as usize),
            job_seconds: pick(500, 150, 5) as f64 / 1000.0,
            echoes: pick(3000, 1000, 20),
            copied: pick(256, 128, 1) << 20,
            handshakes: pick(1000, 300, 3),
            idle_sessions: pick(1000, 200, 5),
            idle_seconds: pick(30, 0, 0),
            mixed: smoke || !quick,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            only,
            quick,
            smoke,
            json,
            svg,
            go_bench,
        })
    }

    pub(crate) fn wants(&self, line: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == line)
    }
}
