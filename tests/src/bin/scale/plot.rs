//! The figures as a drawing.

use std::fmt::Write;

use crate::measure::Row;

const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 180.0;
const MARGIN: (f64, f64) = (62.0, 46.0);

/// One curve: its name, its colour, and its value at each step.
type Curve<'a> = (&'a str, &'a str, Vec<f64>);

/// Three panels over the number of sessions, all axes logarithmic: memory of a session, CPU, punctuality.
pub(crate) fn draw(rows: &[Row]) -> String {
    let of = |value: fn(&Row) -> f64| rows.iter().map(value).collect::<Vec<_>>();
    let panels: [(&str, Vec<Curve<'_>>); 3] = [
        (
            "resident memory per session, KiB",
            vec![
                (
                    "measured",
                    "#1f6feb",
                    of(|row| row.bytes_per_session as f64 / 1024.0),
                ),
                ("goal", "#8b949e", of(|_| 8.0)),
            ],
        ),
        (
            "CPU, seconds per second",
            vec![("all threads", "#1f6feb", of(|row| row.cpu_per_second))],
        ),
        (
            "punctuality, ms",
            vec![
                (
                    "deadline late, median",
                    "#1f6feb",
                    of(|row| row.late_ms.median),
                ),
                ("deadline late, p99", "#8250df", of(|row| row.late_ms.p99)),
                ("Pong, median", "#1a7f37", of(|row| row.pong_ms.median)),
                ("Pong, p99", "#bf8700", of(|row| row.pong_ms.p99)),
            ],
        ),
    ];
    let (left, top) = MARGIN;
    let step = WIDTH + left + 16.0;
    let (width, height) = (step * 3.0, HEIGHT + top + 104.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (index, (title, curves)) in panels.iter().enumerate() {
        let x = index as f64 * step + left;
        let _ = writeln!(svg, "<g transform=\"translate({x} {top})\">");
        panel(&mut svg, title, curves, rows);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// The powers of ten around these values.
fn decades(values: impl Iterator<Item = f64>) -> (i32, i32) {
    let (mut low, mut high) = (f64::MAX, f64::MIN);
    for value in values.filter(|value| *value > 0.0) {
        (low, high) = (low.min(value), high.max(value));
    }
    if low > high {
        return (0, 1);
    }
    let low = low.log10().floor() as i32;
    (low, (high.log10().ceil() as i32).max(low + 1))
}

fn panel(svg: &mut String, title: &str, curves: &[Curve<'_>], rows: &[Row]) {
    let sessions = || rows.iter().map(|row| row.sessions as f64);
    let (x_low, x_high) = decades(sessions());
    let (y_low, y_high) = decades(curves.iter().flat_map(|(_, _, values)| values).copied());
    let place = |value: f64, low: i32, high: i32| {
        let low = f64::from(low);
        (value.max(1e-9).log10() - low) / (f64::from(high) - low)
    };
    let x = |value: f64| place(value, x_low, x_high) * WIDTH;
    let y = |value: f64| HEIGHT - place(value, y_low, y_high).max(0.0) * HEIGHT;
    let _ = writeln!(
        svg,
        "<text x=\"0\" y=\"-14\" font-size=\"13\">{title}</text>"
    );
    for power in x_low..=x_high {
        let (value, at) = (10f64.powi(power), x(10f64.powi(power)));
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{HEIGHT}\" stroke=\"#d0d7de\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
            HEIGHT + 16.0
        );
    }
    for power in y_low..=y_high {
        let (value, at) = (10f64.powi(power), y(10f64.powi(power)));
        let _ = writeln!(
            svg,
            "<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#d0d7de\"/>\
             <text x=\"-6\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            at + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">sessions</text>",
        WIDTH / 2.0,
        HEIGHT + 31.0
    );
    for (n, (name, colour, values)) in curves.iter().enumerate() {
        let points = sessions().zip(values).filter(|(_, value)| **value > 0.0);
        let points: Vec<_> = points.map(|(at, value)| (x(at), y(*value))).collect();
        let line: String = points.iter().fold(String::new(), |line, (x, y)| {
            line + &format!("{x:.1},{y:.1} ")
        });
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
            line.trim_end()
        );
        for (x, y) in points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.4\" fill=\"{colour}\"/>"
            );
        }
        let (column, row) = ((n % 2) as f64 * WIDTH / 2.0, (n / 2) as f64 * 15.0);
        let at = HEIGHT + 52.0 + row;
        let _ = writeln!(
            svg,
            "<line x1=\"{column}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{at:.1}\">{name}</text>",
            column + 14.0,
            at - 4.0,
            at - 4.0,
            column + 18.0
        );
    }
}
