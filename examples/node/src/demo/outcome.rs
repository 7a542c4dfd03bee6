//! What the demo prints at its end.

use serde_json::{Value, json};

use super::Dialled;
use super::board_report::{self, BoardFacts};
use super::far::Seen;
use super::report::{self, Check, Lived};
use super::work::Work;
use crate::failure::Failure;
use crate::show::{Output, duration, paint};

pub(super) struct Outcome<'a> {
    pub(super) far_name: &'static str,
    pub(super) dialled: &'a Dialled,
    pub(super) work: &'a Work,
    pub(super) seen: &'a Seen,
    /// The protocols of the session with the far end.
    pub(super) lived: &'a [Lived],
    pub(super) board: Option<BoardFacts<'a>>,
    /// Why there was no board, if there should have been one.
    pub(super) left_out: Option<String>,
    pub(super) checks: &'a [Check],
}

impl Outcome<'_> {
    pub(super) fn print(&self, output: Output) -> Result<(), Failure> {
        if output.json {
            return output.object(&self.json());
        }
        let board = self.board.as_ref();
        let board = board.map(|board| (board.board.name, board.lived));
        for row in report::session_table(self.lived, self.far_name, &self.seen.counts, board) {
            output.line(&format!("  {row}"))?;
        }
        self.summary(output)
    }

    fn json(&self) -> Value {
        let peer = &self.dialled.peer;
        json!({
            "ok": self.checks.iter().all(|check| check.ok),
            "far": self.far_name,
            "enode": self.dialled.enode.to_string(),
            "client": peer.client_name(),
            "seconds": self.dialled.began.elapsed().as_secs_f64(),
            "set_up_us": self.dialled.set_up.as_micros() as u64,
            "ping_rtt_us": peer.round_trip().map(|span| span.as_micros() as u64),
            "checks": self.checks,
            "protocols": self.lived,
            "board": match (&self.board, &self.left_out) {
                (Some(board), _) => board_report::json(board),
                (None, Some(why)) => json!({"form": "none", "why": why}),
                (None, None) => Value::Null,
            },
            "bench": report::rates(self.work),
        })
    }

    fn summary(&self, output: Output) -> Result<(), Failure> {
        output.line("")?;
        for check in self.checks {
            let mark = match check.ok {
                true => paint().green("✓"),
                false => paint().red("✗"),
            };
            output.line(&format!("  {mark} {:<12} {}", check.name, check.detail))?;
        }
        let verified = self.checks.iter().filter(|check| check.ok).count();
        let is_host_form = |board: &BoardFacts<'_>| board.board.is_host_form();
        let form = match self.board.as_ref().is_some_and(is_host_form) {
            true => "; the board's part in its host form, not in QEMU",
            false => "",
        };
        let text = format!(
            "\nverified {verified} of {} in {}{form}",
            self.checks.len(),
            duration(self.dialled.began.elapsed())
        );
        output.line(&paint().bold(&text))
    }

    /// Whether all was verified.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let failed: Vec<_> = self
            .checks
            .iter()
            .filter(|check| !check.ok)
            .map(|check| check.name)
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            format_args!("not verified: {}", failed.join(", ")),
            "every line of the summary to hold",
            "run it again with -v, and report what it prints",
        ))
    }
}
