//! `tests/budgets.toml`: what each number may be.

use std::fs;

use serde::{Deserialize, Serialize};

use super::images::{Folders, Values};

/// One budget.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// The name of the number.
    pub(crate) of: String,
    /// What it is, in words.
    pub(crate) what: String,
    pub(crate) unit: String,
    /// What was set out to be reached.
    pub(crate) goal: Option<u64>,
    /// What is accepted instead, and may not be exceeded: larger than the goal, with a reason; or a limit where no goal was
    /// set.
    pub(crate) accepted: Option<u64>,
    pub(crate) why: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    budget: Vec<Budget>,
}

/// How a number stands to its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// Within the goal, or the limit where there is no goal.
    Met,
    /// Over the goal, within what is accepted.
    Missed,
    /// Over what is accepted.
    Over,
}

impl Budget {
    /// The number that may not be exceeded.
    pub(crate) fn limit(&self) -> u64 {
        self.accepted.or(self.goal).unwrap_or(0)
    }

    pub(crate) fn standing(&self, value: u64) -> Standing {
        if value > self.limit() {
            Standing::Over
        } else if self.goal.is_some_and(|goal| value > goal) {
            Standing::Missed
        } else {
            Standing::Met
        }
    }

    fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("tests/budgets.toml, {}: {what}", self.of));
        match (self.goal, self.accepted) {
            (None, None) => wrong("neither goal nor accepted"),
            (Some(goal), Some(accepted)) if accepted <= goal => {
                wrong("accepted is within the goal, so leave it out")
            }
            (_, Some(_)) if self.why.as_deref().unwrap_or_default().is_empty() => {
                wrong("accepted without a why")
            }
            (_, None) if self.why.is_some() => wrong("a why without accepted"),
            _ => Ok(()),
        }
    }
}

/// The budgets, of which each has its number among `values`.
pub(crate) fn read(folders: &Folders, values: &Values) -> Result<Vec<Budget>, String> {
    let path = folders.root.join("tests/budgets.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file: File =
        toml::from_str(&text).map_err(|error| format!("tests/budgets.toml: {error}"))?;
    for budget in &file.budget {
        budget.check()?;
        if !values.contains_key(&budget.of) {
            return Err(format!(
                "tests/budgets.toml: no number is called {}",
                budget.of
            ));
        }
    }
    Ok(file.budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(goal: Option<u64>, accepted: Option<u64>) -> Budget {
        Budget {
            of: "flash".into(),
            what: "flash".into(),
            unit: "bytes".into(),
            goal,
            accepted,
            why: accepted.map(|_| "because".into()),
        }
    }

    #[test]
    fn a_number_over_its_goal_is_missed_until_it_is_over_what_is_accepted() {
        let accepted = budget(Some(8), Some(10));
        assert_eq!(accepted.standing(8), Standing::Met);
        assert_eq!(accepted.standing(9), Standing::Missed);
        assert_eq!(accepted.standing(10), Standing::Missed);
        assert_eq!(accepted.standing(11), Standing::Over);
        assert_eq!(budget(Some(8), None).standing(9), Standing::Over);
        assert_eq!(budget(None, Some(8)).standing(8), Standing::Met);
        assert_eq!(budget(None, Some(8)).standing(9), Standing::Over);
    }

    #[test]
    fn what_is_accepted_has_a_reason_and_is_more_than_the_goal() {
        assert!(budget(Some(8), Some(9)).check().is_ok());
        assert!(budget(Some(8), None).check().is_ok());
        assert!(budget(Some(8), Some(8)).check().is_err());
        assert!(budget(None, None).check().is_err());
        let mut silent = budget(Some(8), Some(9));
        silent.why = None;
        assert!(silent.check().is_err());
    }
}
