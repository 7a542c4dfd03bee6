//! What was verified of the board.

use std::time::Duration;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_std::counters::Traffic;
use serde_json::{Value, json};

use super::board::{Board, End};
use super::guest::Guest;
use super::report::{Check, Lived, check};
use crate::services::echo;
use crate::show::{duration, number, short_id};

/// All that is known of the board once it has ended.
pub(super) struct BoardFacts<'a> {
    pub(super) board: &'a Board,
    pub(super) guest: &'a Guest,
    /// The protocols of its session, at the node that it dialled.
    pub(super) lived: &'a [Lived],
}

/// What its log says.
struct Logged {
    id: Option<String>,
    /// Sizes that came back equal, where it also says that something was too large.
    sizes: Option<u64>,
    stack: Option<u64>,
}

impl Logged {
    fn of(lines: &[String]) -> Self {
        let after = |text: &str| lines.iter().find_map(|line| Some(line.split_once(text)?.1));
        let numbers = |text: &str| -> Vec<u64> {
            let words = text.split_whitespace();
            words.filter_map(|word| word.parse().ok()).collect()
        };
        let echoes = lines.iter().find_map(|line| {
            line.split_once("echo: ")
                .map(|(_, rest)| rest)
                .filter(|rest| rest.contains("sizes came back"))
        });
        let sizes = echoes
            .filter(|text| text.ends_with("were too large"))
            .and_then(|text| numbers(text).first().copied());
        Self {
            id: after("this node is ").map(str::to_owned),
            sizes,
            stack: after(", stack ").and_then(|text| numbers(text).first().copied()),
        }
    }
}

pub(super) fn checks(facts: &BoardFacts<'_>) -> Vec<Check> {
    let logged = Logged::of(&facts.board.log());
    vec![
        identity(facts, &logged),
        echoes(facts, &logged),
        sensor(facts),
        ping(facts),
        exit(facts, &logged),
    ]
}

fn identity(facts: &BoardFacts<'_>, logged: &Logged) -> Check {
    let peer = facts.guest.peer();
    let proved = peer.as_ref().map(|peer| peer.id());
    let ok = proved.is_some() && proved.map(|id| id.to_string()) == logged.id;
    let detail = match (&peer, &logged.id) {
        (None, _) => "there was no session with it".to_owned(),
        (Some(peer), _) if ok => format!(
            "{} {} proved in its encrypted session the key that it logged",
            peer.client_name(),
            short_id(&peer.id())
        ),
        (Some(peer), id) => format!(
            "{} proved the key {}, and logged {}",
            facts.board.name,
            peer.id(),
            id.as_deref().unwrap_or("none")
        ),
    };
    check("board key", ok, detail)
}

fn echoes(facts: &BoardFacts<'_>, logged: &Logged) -> Check {
    let Traffic {
        messages_in,
        messages_out,
        ..
    } = traffic(facts, echo::NAME);
    let Some(sizes) = logged.sizes else {
        let detail = format!(
            "it logged no echoes; {messages_in} payloads came from it and {messages_out} went back"
        );
        return check("board echo", false, detail);
    };
    // Beside the sizes, at least one payload that is too large for it, and one that shows that the session lives on.
    let ok = sizes > 0 && messages_in >= sizes + 2 && messages_out == messages_in;
    let detail = format!(
        "{} payloads from it, {} back; it saw {sizes} sizes byte-equal, {} as too large for its inbox, and went on",
        number(messages_in),
        number(messages_out),
        messages_in.saturating_sub(sizes + 1),
    );
    check("board echo", ok, detail)
}

fn traffic(facts: &BoardFacts<'_>, protocol: &str) -> Traffic {
    let lived = facts.lived.iter();
    let mut of = lived.filter(|lived| lived.protocol.split('/').next() == Some(protocol));
    of.next().map(|lived| lived.traffic).unwrap_or_default()
}

fn sensor(facts: &BoardFacts<'_>) -> Check {
    let readings = facts.guest.readings();
    let in_order = (0..).zip(&readings).all(|(n, reading)| reading.number == n);
    let last = readings.last();
    let detail = match last {
        Some(last) if in_order => format!(
            "{} readings of sensor/1, each once and in order, the last {:.2} °C",
            readings.len(),
            last.degrees()
        ),
        Some(_) => format!("{} readings of sensor/1, not in order", readings.len()),
        None => "no reading of sensor/1".to_owned(),
    };
    check("board sensor", last.is_some() && in_order, detail)
}

fn ping(facts: &BoardFacts<'_>) -> Check {
    let peer = facts.guest.peer();
    let pongs = peer.as_ref().map_or(0, |peer| peer.pongs());
    let trip = peer.and_then(|peer| peer.round_trip());
    let trip = trip.map_or_else(|| "none".to_owned(), duration);
    check(
        "board ping",
        pongs > 0,
        format!("{pongs} Pings answered, round trip of the last {trip}"),
    )
}

fn exit(facts: &BoardFacts<'_>, logged: &Logged) -> Check {
    let reason = facts.guest.peer().and_then(|peer| peer.close_reason());
    let quitting = CloseReason::RemoteRequested(Some(DisconnectReason::CLIENT_QUITTING));
    let (ok, mut detail) = match facts.board.end() {
        Some(End::Status(status)) => (
            status.success() && reason == Some(quitting),
            status.to_string(),
        ),
        Some(End::Stopped(after)) => (false, format!("stopped after {}", duration(after))),
        None => (false, "it has not ended".to_owned()),
    };
    if let Some(reason) = reason {
        detail += &format!("; the node saw \"{reason}\"");
    }
    if let Some(stack) = logged.stack {
        detail += &format!("; {} bytes of stack", number(stack));
    }
    if !ok {
        let log = facts.board.log();
        let last = &log[log.len().saturating_sub(3)..];
        detail += &format!("; its last words: {}", last.join(" | "));
    }
    check("board exit", ok, detail)
}

/// The board's part of the JSON object.
pub(super) fn json(facts: &BoardFacts<'_>) -> Value {
    let logged = Logged::of(&facts.board.log());
    let peer = facts.guest.peer();
    let status = match facts.board.end() {
        Some(End::Status(status)) => status.code(),
        _ => None,
    };
    let trip = peer.as_ref().and_then(|peer| peer.round_trip());
    json!({
        "name": facts.board.name,
        "form": if facts.board.is_host_form() { "host" } else { "qemu" },
        "why": facts.board.why,
        "id": peer.as_ref().map(|peer| peer.id().to_string()),
        "client": peer.as_ref().map(|peer| peer.client_name().to_owned()),
        "status": status,
        "stack": logged.stack,
        "readings": facts.guest.readings().len(),
        "ping_rtt_us": trip.as_ref().map(Duration::as_micros).map(|micros| micros as u64),
        "protocols": facts.lived,
        "log": facts.board.log(),
    })
}
