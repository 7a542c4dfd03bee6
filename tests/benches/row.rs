//! What was measured: rows of values, one for each round, and goals on them.

use serde::Serialize;
use serde_json::{Value, json};

/// The names of those who are compared.
pub(crate) const OURS: &str = "ours";
pub(crate) const GETH: &str = "go-ethereum";
pub(crate) const BARE: &str = "bare TCP";
pub(crate) const OURS_TO_GETH: &str = "ours to go-ethereum";
pub(crate) const GETH_TO_OURS: &str = "go-ethereum to ours";

/// A unit of which less is not better by itself.
pub(crate) const THREADS: &str = "threads";

/// Widths of the table's columns.
const NAME: usize = 44;
const VALUE: usize = 26;

/// One thing measured of several.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) line: &'static str,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) series: Vec<(&'static str, Vec<f64>)>,
    pub(crate) goals: Vec<Goal>,
    /// Said beside the values.
    pub(crate) notes: Vec<String>,
    /// Further facts, for the JSON.
    pub(crate) facts: Value,
}

/// Something that is to be reached.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Goal {
    /// What is compared, such as "x go-ethereum".
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) target: f64,
    /// Whether the value should be at least the target; else at most.
    pub(crate) at_least: bool,
}

impl Goal {
    pub(crate) fn is_met(&self) -> bool {
        match self.at_least {
            true => self.value >= self.target,
            false => self.value <= self.target,
        }
    }

    /// The target, and whether it is met.
    fn verdict(&self) -> String {
        let sign = if self.at_least { ">=" } else { "<=" };
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        format!("{sign} {} {verdict}", number(self.target))
    }

    /// All of it in words.
    pub(crate) fn text(&self) -> String {
        format!(
            "{} {}, goal {}",
            number(self.value),
            self.what,
            self.verdict()
        )
    }
}

/// A quotient of two rounds, or of medians.
pub(crate) const GETH_TIMES: &str = "x go-ethereum";

impl Row {
    pub(crate) fn new(line: &'static str, name: impl Into<String>, unit: &'static str) -> Self {
        Self {
            line,
            name: name.into(),
            unit,
            series: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
            facts: Value::Null,
        }
    }

    /// Adds a value of one round.
    pub(crate) fn add(&mut self, who: &'static str, value: f64) {
        match self.series.iter_mut().find(|(known, _)| *known == who) {
            Some((_, values)) => values.push(value),
            None => self.series.push((who, vec![value])),
        }
    }

    /// The values of all rounds.
    pub(crate) fn values(&self, who: &str) -> &[f64] {
        let found = self.series.iter().find(|(known, _)| *known == who);
        found.map_or(&[], |(_, values)| values)
    }

    pub(crate) fn median(&self, who: &str) -> Option<f64> {
        median(self.values(who))
    }

    /// Whether a greater value is a better one: rates, not times or costs.
    pub(crate) fn more_is_better(&self) -> bool {
        ["messages/s", "MB/s", "handshakes/s"].contains(&self.unit)
    }

    /// The median of one over the median of the other.
    pub(crate) fn ratio(&self, who: &str, to: &str) -> Option<f64> {
        Some(self.median(who)? / self.median(to)?)
    }

    /// Ours should be at least so many times go-ethereum's.
    pub(crate) fn at_least(mut self, target: f64) -> Self {
        self.compare(GETH, GETH_TIMES, target, true);
        self
    }

    /// Ours should be at most so many times go-ethereum's.
    pub(crate) fn at_most(mut self, target: f64) -> Self {
        self.compare(GETH, GETH_TIMES, target, false);
        self
    }

    /// Ours should be at least, or at most, so many times that of another.
    pub(crate) fn compare(&mut self, to: &str, what: &str, target: f64, at_least: bool) {
        if let Some(ratio) = self.ratio(OURS, to) {
            self.goal(what, ratio, target, at_least);
        }
    }

    /// Notes the ceiling, and which part of it ours should be.
    pub(crate) fn ceiling(&mut self, ceiling: f64, part: Option<f64>) {
        if let (Some(part), Some(ours)) = (part, self.median(OURS)) {
            self.goal("of the ceiling", ours / ceiling, part, true);
        }
        self.notes.push(format!("ceiling {}", number(ceiling)));
    }

    pub(crate) fn goal(&mut self, what: &str, value: f64, target: f64, at_least: bool) {
        self.goals.push(Goal {
            what: what.to_owned(),
            value,
            target,
            at_least,
        });
    }

    /// Its lines of the table.
    pub(crate) fn text(&self) -> String {
        let name = format!("{}, {}", self.name, self.unit);
        let [ours, geth] = [OURS, GETH].map(|who| spread(self.values(who)));
        let ratio = self.ratio(OURS, GETH).filter(|_| self.unit != THREADS);
        let ratio = ratio.map_or_else(String::new, number);
        let mut text = format!("   {name:<NAME$} {ours:<VALUE$} {geth:<VALUE$} {ratio:>6}");
        let (first, others): (Vec<_>, _) =
            self.goals.iter().partition(|goal| goal.what == GETH_TIMES);
        for goal in first {
            text += &format!("  {}", goal.verdict());
        }
        let mut more: Vec<_> = others.into_iter().map(Goal::text).collect();
        for (who, values) in &self.series {
            if ![OURS, GETH].contains(who) {
                more.push(format!("{who} {}", spread(values)));
            }
        }
        more.extend(self.notes.iter().cloned());
        let mut text = text.trim_end().to_owned();
        if !more.is_empty() {
            text += &format!("\n      {}", more.join("; "));
        }
        text
    }

    /// What stands over the table.
    pub(crate) fn head(line: &str) -> String {
        let width = NAME + 3;
        format!("{line:<width$} {OURS:<VALUE$} {GETH:<VALUE$}  ratio  goal")
    }

    pub(crate) fn json(&self) -> Value {
        let series = self.series.iter().map(|(who, values)| {
            let [least, most] = range(values);
            let entry =
                json!({"median": median(values), "least": least, "most": most, "rounds": values});
            ((*who).to_owned(), entry)
        });
        let goals = self.goals.iter().map(|goal| {
            json!({"what": goal.what, "value": goal.value, "target": goal.target,
                "at_least": goal.at_least, "met": goal.is_met()})
        });
        json!({
            "line": self.line, "name": self.name, "unit": self.unit,
            "values": series.collect::<serde_json::Map<_, _>>(),
            "ratio": self.ratio(OURS, GETH),
            "goals": goals.collect::<Vec<_>>(),
            "facts": self.facts,
        })
    }
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// Least and greatest.
pub(crate) fn range(values: &[f64]) -> [f64; 2] {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [least, most]
}

/// Median and range.
fn spread(values: &[f64]) -> String {
    let [least, most] = range(values);
    match median(values) {
        Some(median) if values.len() > 1 => {
            format!("{} ({}..{})", number(median), number(least), number(most))
        }
        Some(median) => number(median),
        None => String::new(),
    }
}

/// Three significant digits, or all before the point.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let plain = format!("{value:.digits$}");
    // Thousands apart.
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: &[f64], geth: &[f64]) -> Row {
        let mut row = Row::new("one-way", "a row", "MB/s");
        ours.iter().for_each(|value| row.add(OURS, *value));
        geth.iter().for_each(|value| row.add(GETH, *value));
        row
    }

    #[test]
    fn a_ratio_is_that_of_the_medians() {
        let row = row(&[9.0, 1.0, 6.0], &[2.0, 4.0, 1.0, 100.0]);
        assert_eq!(row.median(OURS), Some(6.0));
        assert_eq!(row.median(GETH), Some(3.0));
        assert_eq!(row.ratio(OURS, GETH), Some(2.0));
        assert_eq!(row.ratio(OURS, BARE), None);
    }

    #[test]
    fn a_goal_is_missed_on_its_wrong_side_and_by_what_is_no_number() {
        let met = |row: Row| row.goals.iter().map(Goal::is_met).collect::<Vec<_>>();
        assert_eq!(met(row(&[3.0], &[2.0]).at_least(1.5)), [true]);
        assert_eq!(met(row(&[3.0], &[2.0]).at_least(1.51)), [false]);
        assert_eq!(met(row(&[1.0], &[2.0]).at_most(0.5)), [true]);
        assert_eq!(met(row(&[1.0], &[1.9]).at_most(0.5)), [false]);
        for bad in [f64::NAN, f64::INFINITY] {
            assert_eq!(met(row(&[bad], &[bad]).at_least(1.0)), [false]);
            assert_eq!(met(row(&[bad], &[1.0]).at_most(1.0)), [false]);
        }
        // Nothing to compare with: no goal, rather than one that is met.
        assert!(met(row(&[3.0], &[]).at_least(1.0)).is_empty());
    }

    #[test]
    fn numbers_keep_three_digits_or_their_whole_part() {
        for (value, text) in [
            (0.0, "0"),
            (0.0021, "0.0021"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234_567.8, "1 234 568"),
            (-1234.0, "-1 234"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
