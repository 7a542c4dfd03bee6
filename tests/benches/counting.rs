//! The lines without a wire: the core alone beside go-ethereum's peer over its message pipe, and the micro-benchmarks.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::micro::{self, Micro};
use crate::options::Options;
use crate::row::{GETH, OURS, Row};
use crate::traffic;

/// The name of ours, that of go-ethereum's benchmark, what they do, and the goal in nanoseconds.
const COMPARED: [(&str, &str, &str, Option<f64>); 4] = [
    (
        "route 0 B",
        "Route/0",
        "empty message routed and read",
        Some(50.0),
    ),
    (
        "route 100 B",
        "Route/100",
        "100 B message routed and read",
        Some(50.0),
    ),
    (
        "token 0 B",
        "Token/0",
        "empty message through the token",
        Some(80.0),
    ),
    (
        "token 100 B",
        "Token/100",
        "100 B message through the token",
        Some(80.0),
    ),
];

/// How many times faster than go-ethereum each of these should be: as a quotient of times.
const TIMES_FASTER: f64 = 20.0;

/// Without cryptography, in the core.
pub(crate) fn core(options: &Options, say: &mut impl FnMut(Row)) -> Result<(), String> {
    let all = micro::all();
    let span = Duration::from_secs_f64(options.job_seconds / 5.0);
    let pipe = match &options.go_bench {
        Some(folder) => Some(Pipe::build(folder)?),
        None => None,
    };
    let mut rows = COMPARED.map(|(.., what, _)| Row::new("core", what, "ns"));
    for _ in 0..options.rounds {
        let theirs = match &pipe {
            Some(pipe) => pipe.run(options)?,
            None => HashMap::new(),
        };
        for ((name, their_name, ..), row) in COMPARED.iter().zip(&mut rows) {
            row.add(OURS, find(&all, name)?.nanoseconds(span));
            if let Some(time) = theirs.get(*their_name) {
                row.add(GETH, *time);
            }
        }
    }
    for ((name, .., goal), mut row) in COMPARED.into_iter().zip(rows) {
        if let Some(faster) = row.ratio(GETH, OURS) {
            row.goal("x faster than go-ethereum", faster, TIMES_FASTER, true);
        }
        if let (Some(ours), Some(goal)) = (row.median(OURS), goal) {
            row.goal("ns", ours, goal, false);
        }
        if !options.smoke {
            count(find(&all, name)?, &mut row);
        }
        say(row);
    }
    let seal = find(&all, "seal 100 B")?.nanoseconds(span);
    let open = find(&all, "open 100 B")?.nanoseconds(span);
    traffic::threads(options, seal + open, say)?;
    if pipe.is_none() {
        println!("   go-ethereum's peer is left out: --go-bench names its folder");
    }
    Ok(())
}

fn find<'a>(all: &'a [Micro], name: &str) -> Result<&'a Micro, String> {
    let found = all.iter().find(|micro| micro.name == name);
    found.ok_or_else(|| format!("there is no micro-benchmark {name:?}"))
}

/// Ours alone: seal, open, Snappy, RLP, handshake.
pub(crate) fn alone(options: &Options, say: &mut impl FnMut(Row)) -> Result<(), String> {
    let span = Duration::from_secs_f64(options.job_seconds / 5.0);
    for micro in micro::all() {
        if COMPARED.iter().any(|(name, ..)| *name == micro.name) {
            continue;
        }
        let mut row = Row::new("micro", &micro.name, "ns");
        for _ in 0..options.rounds {
            row.add(OURS, micro.nanoseconds(span));
        }
        if !options.smoke {
            count(&micro, &mut row);
        }
        say(row);
    }
    Ok(())
}

/// Notes how many instructions one operation takes, if valgrind is there.
fn count(micro: &Micro, row: &mut Row) {
    let collected = |extra: &[&str]| collected(&micro.name, micro.counted, extra);
    let (Some(whole), Some(preparing)) = (collected(&[]), collected(&["prepare"])) else {
        return;
    };
    let each = (whole as f64 - preparing as f64) / micro.counted as f64;
    row.notes
        .push(format!("{} instructions", crate::row::number(each)));
    row.facts = json!({"instructions": each});
}

/// Instructions of the process that does so many of these.
fn collected(name: &str, count: u64, extra: &[&str]) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .args(["micro", name, &count.to_string()])
        .args(extra)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    output.status.success().then_some(())?;
    line.rsplit(' ').next()?.parse().ok()
}

/// go-ethereum's benchmark, built in its own package.
struct Pipe {
    program: PathBuf,
}

impl Pipe {
    /// Copies the module beside this program, with what it depends on, and lays the benchmark over its package.
    fn build(module: &Path) -> Result<Self, String> {
        let own = env::current_exe().map_err(text)?;
        let folder = own
            .ancestors()
            .nth(2)
            .ok_or("no target folder")?
            .join("bench-p2p");
        fs::create_dir_all(&folder).map_err(text)?;
        let folder = folder.canonicalize().map_err(text)?;
        for entry in fs::read_dir(module).map_err(text)? {
            let path = entry.map_err(text)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_wanted =
                name.starts_with("go.") || (name.ends_with(".go") && !name.ends_with("_test.go"));
            if is_wanted {
                fs::copy(&path, folder.join(&*name)).map_err(text)?;
            }
        }
        let benchmark = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/p2p/pipe_test.go");
        let package = "github.com/ethereum/go-ethereum/p2p";
        let place = folder.join("vendor").join(package).join("pipe_test.go");
        let overlay = json!({"Replace": {place.to_string_lossy(): benchmark.to_string_lossy()}});
        fs::write(folder.join("overlay.json"), overlay.to_string()).map_err(text)?;
        go(&folder, &["mod", "vendor"])?;
        let program = folder.join("p2p.test");
        let to = program.to_string_lossy();
        let flags = [
            "-mod=vendor",
            "-overlay",
            "overlay.json",
            "-o",
            &*to,
            package,
        ];
        go(&folder, &[&["test", "-c"], &flags[..]].concat())?;
        Ok(Self { program })
    }

    /// Nanoseconds of each benchmark, by its name.
    fn run(&self, options: &Options) -> Result<HashMap<String, f64>, String> {
        let time = match options.smoke {
            true => "10x".to_owned(),
            false => format!("{}s", options.job_seconds / 2.0),
        };
        let output = Command::new(&self.program)
            .args([
                "-test.run",
                "^$",
                "-test.bench",
                ".",
                "-test.benchtime",
                &time,
            ])
            .output()
            .map_err(text)?;
        let out = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!("go-ethereum's benchmark failed:\n{out}"));
        }
        // BenchmarkRoute/100-2   203151   1760 ns/op
        let times = out.lines().filter_map(|line| {
            let mut fields = line.strip_prefix("Benchmark")?.split_whitespace();
            let (name, _cores) = fields.next()?.rsplit_once('-')?;
            Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
        });
        Ok(times.collect())
    }
}

fn go(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("go")
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|error| format!("go: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "go {}:\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
