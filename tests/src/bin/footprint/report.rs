//! The table on standard output and the JSON beside it.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::budgets::{Budget, Standing};
use super::images::Values;

#[derive(Serialize)]
struct Row<'a> {
    of: &'a str,
    what: &'a str,
    unit: &'a str,
    value: u64,
    goal: Option<u64>,
    accepted: Option<u64>,
    standing: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

#[derive(Serialize)]
struct Report<'a> {
    budgets: Vec<Row<'a>>,
    values: &'a Values,
}

/// A number with its digits in groups.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Prints each budget with its number, and what else was measured; returns how many are over.
pub(crate) fn print(budgets: &[Budget], values: &Values) -> usize {
    let wide = budgets.iter().map(|b| b.what.len()).max().unwrap_or(0);
    println!("{:wide$}  {:>12}  {:>12}", "", "measured", "budget");
    let mut over = 0;
    for budget in budgets {
        let value = value_of(budget, values);
        let standing = budget.standing(value);
        over += usize::from(standing == Standing::Over);
        let goal = budget
            .goal
            .or(budget.accepted)
            .map_or(String::new(), grouped);
        let said = match (standing, budget.accepted) {
            (Standing::Met, _) if budget.goal.is_none() => "within its limit".to_owned(),
            (Standing::Met, _) => "met".to_owned(),
            (Standing::Missed, _) => format!("GOAL MISSED, {} accepted", grouped(budget.limit())),
            (Standing::Over, Some(accepted)) => {
                format!("OVER {}, which is accepted", grouped(accepted))
            }
            (Standing::Over, None) => "OVER BUDGET".to_owned(),
        };
        println!(
            "{:wide$}  {:>12}  {goal:>12}  {said} ({})",
            budget.what,
            grouped(value),
            budget.unit
        );
        if standing != Standing::Met
            && let Some(why) = &budget.why
        {
            println!("{:wide$}  {why}", "");
        }
    }
    println!("\neverything measured, in bytes or instructions:");
    for (name, value) in values {
        println!("  {name:32} {:>12}", grouped(*value));
    }
    over
}

fn value_of(budget: &Budget, values: &Values) -> u64 {
    values.get(&budget.of).copied().unwrap_or(u64::MAX)
}

/// Writes the same as JSON.
pub(crate) fn write(path: &Path, budgets: &[Budget], values: &Values) -> Result<(), String> {
    let budgets = budgets
        .iter()
        .map(|budget| {
            let value = value_of(budget, values);
            Row {
                of: &budget.of,
                what: &budget.what,
                unit: &budget.unit,
                value,
                goal: budget.goal,
                accepted: budget.accepted,
                standing: budget.standing(value),
                why: budget.why.as_deref(),
            }
        })
        .collect();
    let report = Report { budgets, values };
    let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
    fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1 000");
        assert_eq!(grouped(16_000_000), "16 000 000");
    }
}
