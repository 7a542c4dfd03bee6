//! Handshakes, and what sessions cost that do nothing but ping.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::child::{Child, Kind};
use crate::fast;
use crate::options::Options;
use crate::row::{GETH, OURS, Row, THREADS};

const BOTH: [(&str, Kind); 2] = [(OURS, Kind::Ours), (GETH, Kind::Geth)];

/// RLPx handshakes one after the other over loopback, both sides in one process on one core.
pub(crate) fn handshakes(options: &Options, say: &mut impl FnMut(Row)) -> Result<(), String> {
    let mut row = Row::new("handshakes", "both sides on one core", "handshakes/s");
    let mut ends = Vec::new();
    let mut pinned = true;
    for (who, kind) in BOTH {
        let (mut child, is_pinned) = options.programs.start_on_one_core(kind)?;
        pinned &= is_pinned;
        let warm = options.handshakes.div_ceil(10);
        child.ask(&json!({"cmd": "handshakes", "count": warm}))?;
        ends.push((who, child));
    }
    for round in 0..options.rounds {
        ends.rotate_left(round % 2);
        for (who, child) in &mut ends {
            let ask = json!({"cmd": "handshakes", "count": options.handshakes});
            let answer = child.ask(&ask)?;
            let rate = answer["handshakes_per_second"].as_f64();
            row.add(who, rate.unwrap_or(f64::NAN));
        }
    }
    row.facts = json!({"on_one_core": pinned});
    if !pinned {
        row.name = "both sides (taskset is missing: any core)".to_owned();
    }
    say(row.at_least(1.5));
    Ok(())
}

/// What bounds any implementation, as each has it: the rate of keccak, a point multiplication.
pub(crate) fn limits(options: &Options) -> Result<Value, String> {
    let mut limits = json!({});
    for (who, kind) in BOTH {
        let mut child = options.programs.start(kind, &json!({}))?;
        let mut answer = child.ask(&json!({"cmd": "limits"}))?;
        if let Some(fields) = answer.as_object_mut() {
            fields.retain(|name, _| !["event", "cmd", "ok", "ms"].contains(&name.as_str()));
        }
        answer["made_with"] = match kind {
            Kind::Geth => json!([child.said("version"), child.said("go")]),
            _ => json!(fast::names()),
        };
        limits[who] = answer;
    }
    Ok(limits)
}

/// A way of driving sessions: its name in the table, who, the configuration of its listening end, the goal in KiB.
type Form = (&'static str, &'static str, Kind, Value, Option<f64>);

fn forms() -> Vec<Form> {
    vec![
        (
            "thread form",
            OURS,
            Kind::Ours,
            json!({"form": "threads"}),
            Some(24.0),
        ),
        (
            "event loop",
            OURS,
            Kind::Ours,
            json!({"form": "loop"}),
            Some(8.0),
        ),
        ("", GETH, Kind::Geth, json!({}), None),
    ]
}

/// Sessions before measuring, for what only the first ones cost.
const FIRST: u64 = 10;

/// Idle sessions: memory and threads of the listening end, and processor time for Pings.
pub(crate) fn idle(options: &Options, say: &mut impl FnMut(Row)) -> Result<(), String> {
    let sessions = options.idle_sessions;
    let forms = forms();
    let (mut memory, mut threads, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    // The first round also watches them ping.
    for round in 0..options.rounds.min(3) {
        for (index, (form, who, kind, config, _)) in forms.iter().enumerate() {
            let mut listens = options.programs.start(*kind, config)?;
            let mut crowd = options.programs.start(Kind::Ours, &json!({}))?;
            let enode = listens.said("enode");
            let open = |listens: &mut Child, crowd: &mut Child, count, live| {
                crowd.ask(&json!({"cmd": "crowd", "enode": enode, "count": count}))?;
                wait_for(listens, live)
            };
            open(&mut listens, &mut crowd, FIRST, FIRST)?;
            listens.ask(&json!({"cmd": "settle"}))?;
            let before = listens.resident();
            open(&mut listens, &mut crowd, sessions, FIRST + sessions)?;
            listens.ask(&json!({"cmd": "settle"}))?;
            let after = (listens.resident(), listens.threads());
            if round == 0 {
                let name = |what: &str| match form {
                    &"" => what.to_owned(),
                    form => format!("{what}, {form}"),
                };
                memory.push(Row::new("idle", name("memory"), "KiB/session"));
                let all = format!("all, {} sessions", FIRST + sessions);
                threads.push(Row::new("idle", name(&all), THREADS));
                cpu.push(Row::new(
                    "idle",
                    name(&format!("{sessions} sessions ping")),
                    "ms CPU/s",
                ));
                if options.idle_seconds > 0 {
                    let (began, used) = (Instant::now(), listens.cpu());
                    sleep(Duration::from_secs(options.idle_seconds));
                    let used = (listens.cpu() - used) * 1000.0;
                    cpu[index].add(who, used / began.elapsed().as_secs_f64());
                }
            }
            memory[index].add(who, (after.0 - before) / sessions as f64 / 1024.0);
            threads[index].add(who, after.1);
            let live = listens.ask(&json!({"cmd": "sessions"}))?["live"].clone();
            if live != FIRST + sessions {
                return Err(format!(
                    "{who}: {live} sessions are left of {}",
                    FIRST + sessions
                ));
            }
        }
    }
    for rows in [memory, threads, cpu] {
        say_beside(rows, &forms, sessions, say);
    }
    Ok(())
}

/// Tells each of our forms beside go-ethereum.
fn say_beside(rows: Vec<Row>, forms: &[Form], sessions: u64, say: &mut impl FnMut(Row)) {
    let theirs = rows
        .iter()
        .find(|row| !row.values(GETH).is_empty())
        .cloned();
    for (mut row, (.., goal)) in rows.into_iter().zip(forms) {
        if row.values(OURS).is_empty() {
            continue;
        }
        row.facts = json!({"sessions": sessions, "end": "the one that listens"});
        for value in theirs.iter().flat_map(|row| row.values(GETH)) {
            row.add(GETH, *value);
        }
        if let (Some(goal), Some(ours), "KiB/session") = (goal, row.median(OURS), row.unit) {
            row.goal("KiB", ours, *goal, false);
        }
        say(row);
    }
}

/// Waits until so many sessions live.
fn wait_for(child: &mut Child, live: u64) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = child.ask(&json!({"cmd": "sessions"}))?;
        if answer["live"].as_u64() >= Some(live) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!(
                "{} sessions live where {live} should",
                answer["live"]
            ));
        }
        sleep(Duration::from_millis(5));
    }
}
