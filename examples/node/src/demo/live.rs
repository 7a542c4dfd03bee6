//! What is seen while the work goes on: bars that move on a terminal, else a line each second.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

use super::board::Board;
use super::guest::Guest;
use super::work::{Lane, Work, lock};
use crate::show::{self, Output, duration, number};
use crate::stderr;

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Live {
    began: Instant,
    kind: Kind,
}

enum Kind {
    Quiet,
    Lines {
        next: Instant,
    },
    Bars {
        all: MultiProgress,
        time: ProgressBar,
        lanes: Vec<ProgressBar>,
    },
}

impl Live {
    /// With as many lines as [`update`](Self::update) will be given.
    pub(super) fn start(output: Output, work: &Work, lines: usize) -> Self {
        let began = Instant::now();
        let kind = match (output.json, output.is_live()) {
            (true, _) => Kind::Quiet,
            (false, false) => Kind::Lines {
                next: began + LINE_INTERVAL,
            },
            (false, true) => bars(work.span + work.alone, lines),
        };
        Self { began, kind }
    }

    /// Shows how far the work is, and the board if there is one; call some times a second.
    pub(super) fn update(&mut self, work: &Work, board: Option<String>, ping: Option<Duration>) {
        let past = self.began.elapsed();
        match &mut self.kind {
            Kind::Quiet => {}
            Kind::Lines { next } => {
                if Instant::now() >= *next {
                    *next += LINE_INTERVAL;
                    let texts: Vec<_> = texts(work, past)
                        .into_iter()
                        .chain(board)
                        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
                        .collect();
                    let texts = texts.join(" | ");
                    stderr::say(format_args!("  {:>4.1} s  {texts}", past.as_secs_f64()));
                }
            }
            Kind::Bars { time, lanes, .. } => {
                time.set_position(past.as_millis() as u64);
                time.set_message(
                    ping.map_or_else(String::new, |ping| format!("ping {}", duration(ping))),
                );
                for (bar, text) in lanes.iter().zip(texts(work, past).into_iter().chain(board)) {
                    bar.set_message(text);
                }
            }
        }
    }

    /// Leaves the screen as it was.
    pub(super) fn finish(self) {
        if let Kind::Bars { all, time, lanes } = self.kind {
            time.finish_and_clear();
            lanes.iter().for_each(ProgressBar::finish_and_clear);
            // A screen that cannot be cleared keeps the last state.
            let _ = all.clear();
        }
    }
}

fn bars(span: Duration, lines: usize) -> Kind {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    let time = all.add(ProgressBar::new(span.as_millis() as u64));
    time.set_style(show::bar("{elapsed}  {msg}"));
    let lane = || {
        let lane = all.add(ProgressBar::new(1));
        lane.set_style(show::line());
        lane
    };
    let lanes = (0..lines).map(|_| lane()).collect();
    Kind::Bars { all, time, lanes }
}

/// The board's line.
pub(super) fn board_text(board: &Board, guest: &Guest, echo: usize) -> String {
    let peer = guest.peer();
    let traffic = peer
        .as_ref()
        .map(|peer| peer.traffic(echo))
        .unwrap_or_default();
    let trip = peer.as_ref().and_then(|peer| peer.round_trip());
    let readings = guest.readings();
    let sensor = readings.last().map_or_else(String::new, |last| {
        format!("  {} readings, {:.2} °C", readings.len(), last.degrees())
    });
    format!(
        "{:<8} {:>9} echoes    {:>10} each way  {:>12}  rtt {:>9}{sensor}",
        if board.is_host_form() {
            "host"
        } else {
            "board"
        },
        number(traffic.messages_out),
        show::bytes(traffic.bytes_out),
        board.state(guest),
        trip.map_or_else(String::new, duration),
    )
}

/// One line for each of the three.
fn texts(work: &Work, past: Duration) -> [String; 3] {
    let seconds = past.as_secs_f64().max(0.001);
    let messages = |lane: &Lane| number(lane.messages.load(Ordering::Relaxed));
    let bytes = |lane: &Lane| lane.bytes.load(Ordering::Relaxed);
    let last =
        |trips: &std::sync::Mutex<Vec<Duration>>| lock(trips).last().copied().unwrap_or_default();
    let bench_trip = match last(&work.alone_trips) {
        Duration::ZERO => last(&work.shared_trips),
        alone => alone,
    };
    [
        format!(
            "echo/1   {:>9} messages  {:>10} each way  {:>12}  rtt {:>9}",
            messages(&work.echo),
            show::bytes(bytes(&work.echo)),
            show::rate(bytes(&work.echo) as f64 / seconds),
            duration(last(&work.echo_trips)),
        ),
        format!(
            "bench/1  {:>9} messages  {:>10} one way   {:>12}  rtt {:>9}",
            messages(&work.bench),
            show::bytes(bytes(&work.bench)),
            show::rate(bytes(&work.bench) as f64 / seconds),
            duration(bench_trip),
        ),
        format!(
            "chat/1   {:>9} said      {:>10} heard",
            messages(&work.chat),
            number(lock(&work.heard).len() as u64),
        ),
    ]
}
