//! The processes that are measured, and what the system says of them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::{Value, json};

/// How long a command may take.
const BOUND: Duration = Duration::from_secs(300);

/// Whose process it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Geth,
    Bare,
}

/// The programs of both kinds.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) geth: PathBuf,
}

impl Programs {
    /// Starts an end with this configuration.
    pub(crate) fn start(&self, kind: Kind, config: &Value) -> Result<Child, String> {
        Child::start(self.command(kind, config)?)
    }

    /// Starts it on one core, if there is a program for that. Tells whether.
    pub(crate) fn start_on_one_core(&self, kind: Kind) -> Result<(Child, bool), String> {
        let command = self.command(kind, &json!({}))?;
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &last_core()]).arg(command.get_program());
        pinned.args(command.get_args());
        match Child::start(pinned) {
            Ok(child) => Ok((child, true)),
            Err(_) => Child::start(command).map(|child| (child, false)),
        }
    }

    fn command(&self, kind: Kind, config: &Value) -> Result<Command, String> {
        let own = env::current_exe().map_err(|error| error.to_string())?;
        let (program, mode): (&Path, _) = match kind {
            Kind::Ours => (&own, "end"),
            Kind::Bare => (&own, "bare"),
            Kind::Geth => (&self.geth, "bench"),
        };
        let mut command = Command::new(program);
        command.arg(mode);
        if kind != Kind::Bare {
            command.arg(config.to_string());
        }
        Ok(command)
    }
}

/// The last core that this process may use.
fn last_core() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or("0");
    let last = list.trim().rsplit([',', '-']).next();
    last.unwrap_or("0").to_owned()
}

/// A process that takes commands, one at a time.
pub(crate) struct Child {
    process: Process,
    input: ChildStdin,
    answers: Receiver<String>,
    /// What it said first.
    pub(crate) ready: Value,
}

impl Child {
    fn start(mut command: Command) -> Result<Self, String> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{command:?} does not start: {error}"))?;
        let input = process.stdin.take().ok_or("its input is not piped")?;
        let output = process.stdout.take().ok_or("its output is not piped")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        let mut child = Self {
            process,
            input,
            answers,
            ready: Value::Null,
        };
        child.ready = child.line("ready")?;
        Ok(child)
    }

    /// Gives a command and waits for its answer.
    pub(crate) fn ask(&mut self, command: &Value) -> Result<Value, String> {
        writeln!(self.input, "{command}").map_err(|error| format!("{command}: {error}"))?;
        let answer = self
            .line("done")
            .map_err(|error| format!("{command}: {error}"))?;
        match &answer["ok"] {
            Value::Bool(true) => Ok(answer),
            _ => Err(format!("{command}: {}", answer["error"])),
        }
    }

    fn line(&mut self, event: &str) -> Result<Value, String> {
        let line = self
            .answers
            .recv_timeout(BOUND)
            .map_err(|_| "the process ended or does not answer".to_owned())?;
        let line: Value =
            serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
        if line["event"] != event {
            return Err(format!("{line} where {event} should be"));
        }
        Ok(line)
    }

    /// A text of what it said first.
    pub(crate) fn said(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap_or_default().to_owned()
    }

    /// Seconds of processor time that its threads have used, those that have ended left out.
    pub(crate) fn cpu(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let threads = threads.into_iter().flatten().flatten();
        // The first field is the time on a processor, in nanoseconds (kernel documentation, "sched-stats").
        let nanoseconds = threads.filter_map(|thread| {
            let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            stat.split_whitespace().next()?.parse::<f64>().ok()
        });
        nanoseconds.sum::<f64>() / 1e9
    }

    /// Bytes of resident memory.
    pub(crate) fn resident(&self) -> f64 {
        self.status("VmRSS:") * 1024.0
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> f64 {
        self.status("Threads:")
    }

    fn status(&self, name: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_whitespace().next());
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(f64::NAN)
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap_or_default()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
