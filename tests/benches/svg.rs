//! The plot: how many times better than go-ethereum each line is, and where its goal lies.

use std::fmt::Write;

use crate::row::{GETH, OURS, Row, THREADS, number};

const LABEL: f64 = 290.0;
const BARS: f64 = 380.0;
const VALUES: f64 = 280.0;
const STEP: f64 = 21.0;
const TOP: f64 = 64.0;

/// What a line is called over its rows.
const TITLES: [(&str, &str); 8] = [
    (
        "one-way",
        "Throughput one way, one session over loopback TCP",
    ),
    ("cpu", "Processor time for a gigabyte, both ends"),
    ("duplex", "Both sides sending"),
    ("shared", "Four subprotocols sharing the session"),
    ("echo", "Round trip between subprotocols"),
    ("handshakes", "RLPx handshakes"),
    ("core", "Without cryptography, in the core"),
    ("idle", "Sessions that only ping"),
];

/// A bar: times better than go-ethereum, and where the hardest of its goals lies in the same measure.
struct Bar<'a> {
    row: &'a Row,
    better: f64,
    goal: Option<f64>,
}

impl<'a> Bar<'a> {
    fn of(row: &'a Row) -> Option<Self> {
        let ratio = row.ratio(OURS, GETH)?;
        let better = if row.more_is_better() {
            ratio
        } else {
            1.0 / ratio
        };
        // Each goal is on something that ours is a factor of, so that the bar would have to be longer by what is missing.
        let needed = row.goals.iter().map(|goal| match goal.at_least {
            true => better * goal.target / goal.value,
            false => better * goal.value / goal.target,
        });
        let goal = needed.reduce(f64::max).filter(|goal| goal.is_finite());
        (better.is_finite() && better > 0.0).then_some(Self { row, better, goal })
    }

    fn is_met(&self) -> bool {
        self.row.goals.iter().all(crate::row::Goal::is_met)
    }
}

/// Where so many times lie on the logarithmic axis, from 1/4 to 400.
fn place(times: f64) -> f64 {
    let (least, most) = (0.25f64.ln(), 400f64.ln());
    LABEL + BARS * ((times.clamp(0.25, 400.0).ln() - least) / (most - least))
}

pub(crate) fn draw(rows: &[Row], under: &str) -> String {
    let mut body = String::new();
    let mut y = TOP;
    for (line, title) in TITLES {
        let bars: Vec<_> = rows
            .iter()
            .filter(|row| row.line == line && row.unit != THREADS)
            .filter_map(Bar::of)
            .collect();
        if bars.is_empty() {
            continue;
        }
        y += STEP * 0.6;
        text(&mut body, (0.0, y), "title", title);
        y += STEP * 0.9;
        for bar in bars {
            draw_bar(&mut body, &bar, y);
            y += STEP;
        }
    }
    let width = LABEL + BARS + VALUES;
    let height = y + 40.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height:.0}\" \
         width=\"{width}\" height=\"{height:.0}\" role=\"img\" \
         aria-label=\"How many times better than go-ethereum\">\n{STYLE}"
    );
    text(
        &mut out,
        (0.0, 20.0),
        "head",
        "Times better than go-ethereum, median of rounds",
    );
    text(
        &mut out,
        (0.0, 40.0),
        "",
        "Right of 1x is better; the axis is logarithmic. A stroke: the hardest goal. Green: goals met, ochre: missed, blue: none.",
    );
    for times in [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0] {
        let x = place(times);
        let class = if times == 1.0 { "axis" } else { "grid" };
        let (from, to) = (TOP, y - STEP * 0.5);
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\"/>"
        );
        let name = format!("{times}x");
        text(&mut out, (x, TOP - 6.0), "middle", &name);
    }
    out += &body;
    text(&mut out, (0.0, height - 14.0), "", under);
    out + "</svg>\n"
}

fn draw_bar(out: &mut String, bar: &Bar<'_>, y: f64) {
    let row = bar.row;
    text(out, (LABEL - 8.0, y), "end", &row.name);
    let (from, to) = (place(bar.better.min(1.0)), place(bar.better.max(1.0)));
    let class = match (bar.goal, bar.is_met()) {
        (None, _) => "plain",
        (_, true) => "met",
        (_, false) => "missed",
    };
    let width = (to - from).max(1.0);
    let top = y - 11.0;
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"14\" rx=\"2\"/>"
    );
    if let Some(goal) = bar.goal {
        let (x, top, bottom) = (place(goal), y - 14.0, y + 6.0);
        let _ = writeln!(
            out,
            "<line class=\"goal\" x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>"
        );
    }
    let value = |who| row.median(who).map_or_else(String::new, number);
    let values = format!(
        "{}x: {} against {} {}",
        number(bar.better),
        value(OURS),
        value(GETH),
        row.unit
    );
    text(out, (LABEL + BARS + 10.0, y), "", &values);
}

fn text(out: &mut String, (x, y): (f64, f64), class: &str, content: &str) {
    let content = content
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{content}</text>"
    );
}

/// Legible on light and on dark ground.
const STYLE: &str = "<style>
text { font: 12px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #57606a }
.head { font-size: 16px; font-weight: 600 }
.title { font-weight: 600 }
.end { text-anchor: end }
.middle { text-anchor: middle }
.grid { stroke: #8b949e; stroke-opacity: .25 }
.axis { stroke: #8b949e }
.goal { stroke: #8250df; stroke-width: 3 }
.met { fill: #2da44e }
.missed { fill: #d29922 }
.plain { fill: #6e9bd1 }
@media (prefers-color-scheme: dark) { text { fill: #adb5bd } .goal { stroke: #c297ff } }
</style>
";
