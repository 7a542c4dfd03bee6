//! The lines with messages on the wire: one way, duplex, shared by subprotocols, round trips, and processor time.

use serde_json::{Value, json};

use crate::ceiling::Ceiling;
use crate::child::{Child, Kind, Programs};
use crate::jobs::{self, Pattern};
use crate::options::Options;
use crate::row::{BARE, GETH, GETH_TO_OURS, OURS, OURS_TO_GETH, Row};

/// Both ends of a session.
struct Pair {
    who: &'static str,
    active: Child,
    passive: Child,
}

/// A job's result, and the processor time of both ends meanwhile.
struct Ran {
    seconds: f64,
    results: Vec<Value>,
    cpu: f64,
}

impl Pair {
    fn open(
        programs: &Programs,
        (who, active, passive): (&'static str, Kind, Kind),
        lanes: usize,
    ) -> Result<Self, String> {
        let passive = programs.start(passive, &json!({"lanes": lanes}))?;
        let mut active = programs.start(active, &json!({"lanes": lanes, "active": true}))?;
        active.ask(&json!({"cmd": "dial", "enode": passive.said("enode")}))?;
        Ok(Self {
            who,
            active,
            passive,
        })
    }

    /// All whom a line compares, each with `lanes` subprotocols.
    fn open_all(options: &Options, lanes: usize) -> Result<Vec<Self>, String> {
        let mut kinds = vec![
            (OURS, Kind::Ours, Kind::Ours),
            (GETH, Kind::Geth, Kind::Geth),
        ];
        if options.mixed {
            kinds.push((OURS_TO_GETH, Kind::Ours, Kind::Geth));
            kinds.push((GETH_TO_OURS, Kind::Geth, Kind::Ours));
        }
        let open = |kind| Self::open(&options.programs, kind, lanes);
        kinds.into_iter().map(open).collect()
    }

    fn run(&mut self, jobs: Value) -> Result<Ran, String> {
        let before = self.active.cpu() + self.passive.cpu();
        let answer = self.active.ask(&json!({"cmd": "run", "jobs": jobs}));
        let mut answer = answer.map_err(|error| format!("{}: {error}", self.who))?;
        let cpu = self.active.cpu() + self.passive.cpu() - before;
        let results = answer["results"].take();
        Ok(Ran {
            seconds: answer["seconds"].as_f64().unwrap_or(f64::NAN),
            results: results.as_array().cloned().unwrap_or_default(),
            cpu,
        })
    }

    /// The count that takes about `seconds`. Warms up as well.
    fn calibrate(&mut self, seconds: f64, jobs: impl Fn(u64) -> Value) -> Result<u64, String> {
        let mut count = 16;
        loop {
            let took = self.run(jobs(count))?.seconds;
            let fits = count as f64 * seconds / took;
            if took >= seconds / 4.0 {
                return Ok((fits as u64).max(1));
            }
            count = (fits as u64).clamp(2 * count, 16 * count);
        }
    }
}

/// Each in turn is the first of a round.
fn in_turn(pairs: &mut [Pair], round: usize) -> impl Iterator<Item = (usize, &mut Pair)> {
    let first = round % pairs.len().max(1);
    let (before, after) = pairs.split_at_mut(first);
    let after = after.iter_mut().enumerate();
    let after = after.map(move |(index, pair)| (index + first, pair));
    after.chain(before.iter_mut().enumerate())
}

/// Sizes as the table names them.
pub(crate) fn size_name(size: u64) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{} KiB", size / 1024),
        _ => format!("{} MiB", size / 1_048_576),
    }
}

/// Messages a second for small ones, megabytes of payload a second for others.
fn rate(size: u64) -> (&'static str, f64) {
    match size {
        0..1024 => ("messages/s", 1.0),
        _ => ("MB/s", size as f64 / 1e6),
    }
}

/// What a payload takes on the wire, compressed.
fn wire_length(size: u64, pattern: Pattern) -> usize {
    let payload = jobs::payload(size as usize, pattern);
    let compressed = snap::raw::Encoder::new().compress_vec(&payload);
    compressed.map_or(payload.len(), |bytes| bytes.len())
}

/// Size, pattern, its name; the goals: times go-ethereum, and part of the ceiling.
type Case = (u64, Pattern, &'static str, Option<f64>, Option<f64>);

const CASES: [Case; 12] = [
    (100, Pattern::Random, "random", Some(4.5), None),
    (1 << 10, Pattern::Random, "random", Some(3.4), None),
    (16 << 10, Pattern::Random, "random", Some(1.6), Some(0.95)),
    (64 << 10, Pattern::Random, "random", Some(1.45), Some(0.95)),
    (1 << 20, Pattern::Random, "random", Some(1.35), Some(0.95)),
    (100, Pattern::Zero, "zero", None, None),
    (1 << 10, Pattern::Zero, "zero", Some(3.0), None),
    (16 << 10, Pattern::Zero, "zero", None, None),
    (64 << 10, Pattern::Zero, "zero", Some(1.8), None),
    (1 << 20, Pattern::Zero, "zero", None, None),
    (1 << 10, Pattern::Half, "half zero", Some(3.0), None),
    (64 << 10, Pattern::Half, "half zero", Some(1.8), None),
];

fn send(size: u64, pattern: Pattern) -> impl Fn(u64) -> Value {
    job("send", size, pattern)
}

fn job(work: &'static str, size: u64, pattern: Pattern) -> impl Fn(u64) -> Value {
    move |count| json!([{"do": work, "size": size, "count": count, "pattern": pattern}])
}

/// Throughput one way, and the processor time that it took.
pub(crate) fn one_way(options: &Options, say: &mut impl FnMut(Row)) -> Result<(), String> {
    let mut pairs = Pair::open_all(options, 1)?;
    let mut bare = Bare::open(&options.programs)?;
    let mut processor = Vec::new();
    for &(size, pattern, pattern_name, times, part) in &CASES {
        let (unit, scale) = rate(size);
        let name = format!("{} {pattern_name}", size_name(size));
        let mut row = Row::new("one-way", &name, unit);
        let mut cpu = Row::new("cpu", &name, "CPU s/GB");
        let jobs = send(size, pattern);
        let counts = calibrate(&mut pairs, options.job_seconds, &jobs)?;
        let wire = wire_length(size, pattern);
        let mut ceiling: Option<Ceiling> = None;
        for round in 0..options.rounds {
            for (index, pair) in in_turn(&mut pairs, round) {
                let ran = pair.run(jobs(counts[index]))?;
                let messages = counts[index] as f64;
                row.add(pair.who, messages * scale / ran.seconds);
                cpu.add(pair.who, ran.cpu / (messages * size as f64 / 1e9));
            }
            if pattern == Pattern::Random {
                let now = Ceiling::measure(wire, bare.copied_per_second(options)?);
                ceiling = Some(ceiling.map_or(now, |before| before.best(now)));
            }
        }
        row.facts = json!({"wire_bytes": wire, "job_seconds": options.job_seconds});
        if let Some(times) = times {
            row = row.at_least(times);
        }
        if let Some(ceiling) = ceiling {
            row.facts["ceiling"] = json!({
                "rate": ceiling.rate() * scale, "parts": ceiling,
                "reading": "keccak + AES + copy of one frame, in series",
            });
            row.ceiling(ceiling.rate() * scale, part);
        }
        if pattern == Pattern::Random {
            processor.push(cpu.at_most(0.6));
        }
        say(row);
    }
    processor.into_iter().for_each(say);
    Ok(())
}

fn calibrate(
    pairs: &mut [Pair],
    seconds: f64,
    jobs: &impl Fn(u64) -> Value,
) -> Result<Vec<u64>, String> {
    let each = pairs.iter_mut();
    each.map(|pair| pair.calibrate(seconds, jobs)).collect()
}

/// Both sides sending, beside one side sending in the same rounds.
pub(crate) fn duplex(options: &Options, say: &mut impl FnMut(Row)) -> Result<(), String> {
    let mut pairs = Pair::open_all(options, 1)?;
    for size in [1 << 10, 16 << 10, 64 << 10] {
        let (unit, scale) = rate(size);
        let name = format!("{} random, both ways", size_name(size));
        let mut row = Row::new("duplex", name, unit);
        let mut single = Row::new("duplex", "one way", unit);
        let one = send(size, Pattern::Random);
        let both = job("duplex", size, Pattern::Random);
        let counts = calibrate(&mut pairs, options.job_seconds, &both)?;
        for round in 0..options.rounds {
            for (index, pair) in in_turn(&mut pairs, round) {
                let messages = counts[index] as f64;
                let seconds = pair.run(both(counts[index]))?.seconds;
                row.add(pair.who, 2.0 * messages * scale / seconds);
                let seconds = pair.run(one(counts[index]))?.seconds;
                single.add(pair.who, messages * scale / seconds);
            }
        }
        let gain = |who| Some(row.median(who)? / single.median(who)?);
        if let (Some(ours), Some(geth)) = (gain(OURS), gain(GETH)) {
            row.facts = json!({"one_way": single.json()["values"]});
            let what = "x its one way; go-ethereum's gain is the goal";
            row.goal(what, ours, geth, true);
            if options.cores >= 4 {
                row.goal("x its one way", ours, 1.8, true);
            }
        }
        say(row);
    }
    Ok(())
}

/// Four subprotocols that send at once.
pub(crate) fn shared(options: &Options, say: &mut impl FnMut(Row)) -> Result<(), String> {
    const LANES: usize = 4;
    let mut pairs = Pair::open_all(options, LANES)?;
    for size in [1 << 10, 16 << 10, 64 << 10] {
        let (unit, scale) = rate(size);
        let name = format!("{} random, four at once", size_name(size));
        let mut row = Row::new("shared", name, unit);
        let jobs = |count: u64| {
            let lane = |lane| json!({"lane": lane, "do": "send", "size": size, "count": count, "pattern": "random"});
            (0..LANES).map(lane).collect::<Value>()
        };
        let counts = calibrate(&mut pairs, options.job_seconds, &jobs)?;
        for round in 0..options.rounds {
            for (index, pair) in in_turn(&mut pairs, round) {
                let seconds = pair.run(jobs(counts[index]))?.seconds;
                let messages = (LANES as u64 * counts[index]) as f64;
                row.add(pair.who, messages * scale / seconds);
            }
        }
        say(row);
    }
    Ok(())
}

/// What a small message costs through the threads of both ends, cryptography included: processor time. `apart` is what
/// sealing and opening one take in the core alone, in nanoseconds.
pub(crate) fn threads(
    options: &Options,
    apart: f64,
    say: &mut impl FnMut(Row),
) -> Result<(), String> {
    let mut pairs = Pair::open_all(options, 1)?;
    let name = "100 B through both ends, encrypted";
    let mut row = Row::new("core", name, "CPU ns/message");
    let jobs = send(100, Pattern::Random);
    let counts = calibrate(&mut pairs, options.job_seconds, &jobs)?;
    for round in 0..options.rounds {
        for (index, pair) in in_turn(&mut pairs, round) {
            let cpu = pair.run(jobs(counts[index]))?.cpu;
            row.add(pair.who, cpu * 1e9 / counts[index] as f64);
        }
    }
    if let Some(ours) = row.median(OURS) {
        let rest = ours - apart;
        row.facts = json!({"sealing_and_opening_ns": apart, "rest_ns": rest});
        row.notes.push(format!(
            "ours without sealing and opening: {}",
            crate::row::number(rest)
        ));
    }
    say(row);
    Ok(())
}

/// Payload of the echoes.
const ECHO_SIZE: u64 = 100;
/// Payload of what is sent beside them.
const BULK_SIZE: u64 = 16 << 10;

/// Round trips between subprotocols with nothing else on the wire, then beside another that sends in bulk.
pub(crate) fn echo(options: &Options, say: &mut impl FnMut(Row)) -> Result<(), String> {
    let mut pairs = Pair::open_all(options, 2)?;
    let mut bare = Bare::open(&options.programs)?;
    // What one such message takes on the wire, with its code.
    let wire = wire_length(ECHO_SIZE, Pattern::Random) + 1;
    let frame = devp2p_core::rlpx::transmit::frame_length(wire) as u64;
    let echo = json!({"do": "echo", "size": ECHO_SIZE, "count": options.echoes, "pattern": "random", "seconds": 2});
    let bulk = json!({"lane": 1, "do": "bulk", "size": BULK_SIZE, "pattern": "random"});
    for beside in [false, true] {
        let jobs = match beside {
            false => json!([echo]),
            true => json!([echo, bulk]),
        };
        let place = if beside {
            "beside 16 KiB bulk"
        } else {
            "alone"
        };
        let name = |what| format!("{ECHO_SIZE} B echo {place}, {what}");
        let mut median = Row::new("echo", name("median"), "us");
        let mut tail = Row::new("echo", name("p99"), "us");
        let mut rate = Row::new("echo", "bulk meanwhile", "MB/s");
        for pair in &mut pairs {
            pair.run(jobs.clone())?;
        }
        for round in 0..options.rounds {
            if !beside {
                let result = bare.echo(frame, options.echoes)?;
                add_times(&mut median, &mut tail, BARE, &result);
            }
            for (_, pair) in in_turn(&mut pairs, round) {
                let ran = pair.run(jobs.clone())?;
                let result = ran.results.first().unwrap_or(&Value::Null);
                add_times(&mut median, &mut tail, pair.who, result);
                if let Some(bulk) = ran.results.get(1) {
                    let sent = bulk["messages"].as_f64().unwrap_or(f64::NAN);
                    let seconds = bulk["seconds"].as_f64().unwrap_or(f64::NAN);
                    rate.add(pair.who, sent * BULK_SIZE as f64 / 1e6 / seconds);
                }
            }
        }
        for mut row in [median, tail] {
            row.facts = json!({"frame_bytes": frame, "echoes": options.echoes});
            if beside {
                row = row.at_most(0.5);
            } else {
                row.compare(BARE, "x bare TCP", 1.15, false);
                row = row.at_most(1.0);
            }
            say(row);
        }
        if beside {
            say(rate);
        }
    }
    Ok(())
}

fn add_times(median: &mut Row, tail: &mut Row, who: &'static str, result: &Value) {
    median.add(who, result["p50_us"].as_f64().unwrap_or(f64::NAN));
    tail.add(who, result["p99_us"].as_f64().unwrap_or(f64::NAN));
}

/// Two processes with nothing but a socket between them.
struct Bare {
    dials: Child,
    listens: Child,
}

impl Bare {
    fn open(programs: &Programs) -> Result<Self, String> {
        Ok(Self {
            dials: programs.start(Kind::Bare, &Value::Null)?,
            listens: programs.start(Kind::Bare, &Value::Null)?,
        })
    }

    fn echo(&mut self, size: u64, count: u64) -> Result<Value, String> {
        let address = self.listens.said("address");
        self.dials
            .ask(&json!({"cmd": "echo", "address": address, "size": size, "count": count}))
    }

    /// The best of two sizes of read and write.
    fn copied_per_second(&mut self, options: &Options) -> Result<f64, String> {
        let address = self.listens.said("address");
        let mut best = 0f64;
        for size in [64 << 10, 256 << 10] {
            let ask =
                json!({"cmd": "copy", "address": address, "size": size, "bytes": options.copied});
            let answer = self.dials.ask(&ask)?;
            best = best.max(answer["bytes_per_second"].as_f64().unwrap_or(0.0));
        }
        Ok(best)
    }
}
