//! What was verified, and the table of the session.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_std::counters::Traffic;
use serde::Serialize;

use super::far::{Count, Seen};
use super::work::{BENCH_SIZE, Lane, SIZES, Work, line, lock};
use crate::show::{self, duration, number, percentile, table};

/// One thing that was verified, or not.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) ok: bool,
    pub(super) detail: String,
}

/// One protocol at the dialling end.
#[derive(Debug, Serialize)]
pub(super) struct Lived {
    pub(super) protocol: String,
    pub(super) offset: u32,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    pub(super) rtt_p50_us: Option<u64>,
    pub(super) rtt_p99_us: Option<u64>,
}

/// Rates and round trips of `bench/1`, with the session to itself.
#[derive(Debug, Serialize)]
pub(super) struct Rates {
    messages_per_second: f64,
    bytes_per_second: f64,
    rtt_p50_us: u64,
    rtt_p99_us: u64,
}

/// Everything known once the session is over.
pub(super) struct Facts<'a> {
    pub(super) work: &'a Work,
    pub(super) lived: &'a [Lived],
    pub(super) far_name: &'static str,
    pub(super) seen: &'a Seen,
    /// Our identity and the far end's, in hex: what was expected, and what the session proved.
    pub(super) own_id: String,
    pub(super) far_id: [String; 2],
    pub(super) pongs: u32,
    pub(super) ping: Option<Duration>,
    /// Whether every thread ended in time here.
    pub(super) joined: bool,
}

pub(super) fn rates(work: &Work) -> Rates {
    let (messages, took) = *lock(&work.alone_rate);
    let messages_per_second = messages as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    let trips = sorted(&lock(&work.alone_trips));
    Rates {
        messages_per_second,
        bytes_per_second: messages_per_second * BENCH_SIZE as f64,
        rtt_p50_us: micros(percentile(&trips, 50)),
        rtt_p99_us: micros(percentile(&trips, 99)),
    }
}

/// Median and 99th percentile of the round trips of a protocol.
pub(super) fn trips(work: &Work, protocol: &str) -> Option<(u64, u64)> {
    let trips = match protocol {
        "echo" => sorted(&lock(&work.echo_trips)),
        "bench" => sorted(&lock(&work.shared_trips)),
        _ => return None,
    };
    Some((
        micros(percentile(&trips, 50)),
        micros(percentile(&trips, 99)),
    ))
}

fn sorted(trips: &[Duration]) -> Vec<Duration> {
    let mut trips = trips.to_vec();
    trips.sort_unstable();
    trips
}

fn micros(span: Duration) -> u64 {
    span.as_micros() as u64
}

pub(super) fn checks(facts: &Facts<'_>) -> Vec<Check> {
    vec![
        identity(facts),
        codes(facts),
        echo(facts),
        bench(facts),
        chat(facts),
        at_once(facts),
        nothing_lost(facts),
        ping(facts),
        disconnect(facts),
    ]
}

pub(super) fn check(name: &'static str, ok: bool, detail: String) -> Check {
    Check { name, ok, detail }
}

/// The check of a lane that failed says why instead.
fn lane(name: &'static str, lane: &Lane, ok: bool, detail: String) -> Check {
    match (lane.failure(), lane.is_done()) {
        (Some(failure), _) => check(name, false, failure),
        (None, false) => check(name, false, "did not come to its end".to_owned()),
        (None, true) => check(name, ok, detail),
    }
}

fn identity(facts: &Facts<'_>) -> Check {
    let [expected, proved] = &facts.far_id;
    let ok = expected == proved && facts.own_id == facts.seen.dialler;
    let detail = match ok {
        true => "each end proved the key by which the other knows it",
        false => "the ends do not name the same two keys",
    };
    let detail = detail.to_owned();
    check("identity", ok, detail)
}

fn codes(facts: &Facts<'_>) -> Check {
    let agree = |lived: &Lived| {
        let far = facts.seen.counts.get(name_of(&lived.protocol));
        far.is_some_and(|far| far.offset == lived.offset)
    };
    let ok = facts.lived.len() == 3 && facts.lived.iter().all(agree);
    let lived = facts.lived.iter();
    let offsets: Vec<_> = lived
        .map(|l| format!("{} from {}", l.protocol, l.offset))
        .collect();
    let verb = if ok {
        "both ends number"
    } else {
        "the ends do not agree on"
    };
    check(
        "codes",
        ok,
        format!("{verb} the codes of {}", offsets.join(", ")),
    )
}

fn echo(facts: &Facts<'_>) -> Check {
    let work = facts.work;
    let count = work.echo.messages.load(Ordering::Relaxed);
    let most = SIZES.iter().max().copied().unwrap_or_default() as u64;
    lane(
        "echo",
        &work.echo,
        count >= SIZES.len() as u64,
        format!(
            "{} payloads of 0 B to {} came back byte-equal and in order, {} each way",
            number(count),
            show::bytes(most),
            show::bytes(work.echo.bytes.load(Ordering::Relaxed)),
        ),
    )
}

fn bench(facts: &Facts<'_>) -> Check {
    let work = facts.work;
    let rates = rates(work);
    let alone = lock(&work.alone_rate).0;
    lane(
        "bench",
        &work.bench,
        alone > 0,
        format!(
            "{} messages of {}; alone {}/s, {}, echo p50 {}, p99 {}",
            number(work.bench.messages.load(Ordering::Relaxed)),
            show::bytes(BENCH_SIZE as u64),
            number(rates.messages_per_second as u64),
            show::rate(rates.bytes_per_second),
            duration(Duration::from_micros(rates.rtt_p50_us)),
            duration(Duration::from_micros(rates.rtt_p99_us)),
        ),
    )
}

fn chat(facts: &Facts<'_>) -> Check {
    let (work, far) = (facts.work, facts.far_name);
    let expected = |who: &str| (0..work.lines).map(|n| line(who, n)).collect::<Vec<_>>();
    let ok = *lock(&work.heard) == expected(far) && facts.seen.lines == expected("dialler");
    let detail = match ok {
        true => format!("{} lines each way, each once and in order", work.lines),
        false => format!(
            "of {} lines each way, the dialler heard {} and the {far} {}, or not in order",
            work.lines,
            lock(&work.heard).len(),
            facts.seen.lines.len()
        ),
    };
    lane("chat", &work.chat, ok, detail)
}

/// How long all three used the session together.
fn at_once(facts: &Facts<'_>) -> Check {
    let work = facts.work;
    let times: Option<Vec<_>> = [&work.echo, &work.bench, &work.chat]
        .iter()
        .map(|lane| lane.times())
        .collect();
    let span = times.and_then(|times| {
        let began = times.iter().map(|(began, _)| *began).max()?;
        let ended = times.iter().map(|(_, ended)| *ended).min()?;
        ended.checked_duration_since(began)
    });
    match span {
        Some(span) => check(
            "at once",
            !span.is_zero(),
            format!(
                "echo, bench and chat shared the session for {}",
                duration(span)
            ),
        ),
        None => check(
            "at once",
            false,
            "they did not share the session at any time".to_owned(),
        ),
    }
}

fn nothing_lost(facts: &Facts<'_>) -> Check {
    let mut wrong = Vec::new();
    let (mut there, mut back) = (0, 0);
    for lived in facts.lived {
        let near = lived.traffic;
        let far = facts.seen.counts.get(name_of(&lived.protocol)).copied();
        let Count { sent, received, .. } = far.unwrap_or_default();
        there += received;
        back += near.messages_in;
        if (near.messages_out, near.messages_in) != (received, sent) {
            wrong.push(format!(
                "{}: {} of {} arrived there, {} of {sent} here",
                lived.protocol, received, near.messages_out, near.messages_in
            ));
        }
    }
    match wrong.is_empty() {
        true => check(
            "no loss",
            there > 0 && back > 0,
            format!(
                "every message counted at both ends: {} there, {} back",
                number(there),
                number(back)
            ),
        ),
        false => check("no loss", false, wrong.join("; ")),
    }
}

fn ping(facts: &Facts<'_>) -> Check {
    let round_trip = facts.ping.map_or_else(|| "none".to_owned(), duration);
    check(
        "ping",
        facts.pongs >= 2,
        format!(
            "{} Pings answered, round trip of the last {round_trip}",
            facts.pongs
        ),
    )
}

fn disconnect(facts: &Facts<'_>) -> Check {
    let ok = facts.seen.reason == Some(DisconnectReason::CLIENT_QUITTING) && facts.joined;
    let threads = if facts.joined {
        "every thread ended"
    } else {
        "not every thread ended"
    };
    let detail = format!(
        "{} saw \"{}\"; {threads} here",
        facts.far_name, facts.seen.end
    );
    check("disconnect", ok, detail)
}

fn name_of(protocol: &str) -> &str {
    protocol.split('/').next().unwrap_or_default()
}

/// The sessions as a table: a row for each protocol at each end; of the board's, at our end.
pub(super) fn session_table(
    lived: &[Lived],
    far_name: &str,
    counts: &BTreeMap<String, Count>,
    board: Option<(&'static str, &[Lived])>,
) -> Vec<String> {
    let span = |micros: Option<u64>| {
        micros.map_or_else(String::new, |us| duration(Duration::from_micros(us)))
    };
    let row = |[end, with]: [&str; 2], protocol: &str, count: Count| {
        let bytes = |of: fn(&Traffic) -> u64| {
            let traffic = count.traffic.as_ref();
            traffic.map_or_else(String::new, |traffic| show::bytes(of(traffic)))
        };
        vec![
            end.to_owned(),
            with.to_owned(),
            protocol.to_owned(),
            number(count.sent),
            bytes(|t| t.bytes_out),
            bytes(|t| t.wire_bytes_out),
            number(count.received),
            bytes(|t| t.bytes_in),
        ]
    };
    let near = |with: &str, one: &Lived| {
        let count = Count {
            offset: one.offset,
            sent: one.traffic.messages_out,
            received: one.traffic.messages_in,
            traffic: Some(one.traffic),
        };
        let mut cells = row(["dialler", with], &one.protocol, count);
        cells.extend([span(one.rtt_p50_us), span(one.rtt_p99_us)]);
        cells
    };
    let mut rows: Vec<_> = lived.iter().map(|one| near(far_name, one)).collect();
    for one in lived {
        if let Some(far) = counts.get(name_of(&one.protocol)) {
            rows.push(row([far_name, "dialler"], &one.protocol, *far));
        }
    }
    if let Some((name, lived)) = board {
        rows.extend(lived.iter().map(|one| near(name, one)));
    }
    let header = [
        "end", "with", "protocol", "sent", "payload", "wire", "received", "payload", "rtt p50",
        "rtt p99",
    ];
    table(&header, 3, &rows)
}
