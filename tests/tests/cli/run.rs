//! Runs the program and reads what it prints.
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use devp2p_tests::command::{devp2p, output_within};
use serde_json::Value;

/// After this long nothing more is to be expected.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// How one run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit status; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Standard output as one JSON object.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).expect("JSON")
    }
}

/// How long any command may take: `demo` may build a board first.
const BOUND: Duration = Duration::from_secs(900);

/// Runs to the end.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Ended {
    Ended::of(output_within(Command::new(devp2p()).args(arguments), BOUND))
}

/// A `devp2p listen` on a free port, until it is told to end.
pub(crate) struct Listening {
    child: Child,
    /// Until it is closed.
    out: Option<BufReader<ChildStdout>>,
    /// Its first line.
    pub(crate) first: String,
}

impl Listening {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = devp2p().to_str().expect("UTF-8");
        let mut all = vec![program, "listen", "--addr", "127.0.0.1:0"];
        all.extend(arguments);
        Self::of(&all)
    }

    /// As a program with its arguments starts it.
    pub(crate) fn of(words: &[&str]) -> Self {
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let mut first = String::new();
        out.read_line(&mut first).expect("a first line");
        Self {
            child,
            out: Some(out),
            first: first.trim_end().to_owned(),
        }
    }

    /// Waits for its next line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.out.as_mut().expect("its output");
        out.read_line(&mut line).expect("a line");
        line
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes this end of its output.
    pub(crate) fn close(&mut self) {
        self.out = None;
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Sends a signal, and waits for the end. The output is without the lines that were read before.
    pub(crate) fn end(mut self, signal: &str) -> Ended {
        self.signal(signal);
        let mut out = String::new();
        let rest = self.out.as_mut().expect("its output");
        rest.read_to_string(&mut out).expect("its output");
        Ended {
            out,
            ..self.end_unread()
        }
    }

    /// Waits for the end, which is that of SIGKILL if it takes too long, and only then reads standard error.
    pub(crate) fn end_unread(mut self) -> Ended {
        let id = self.child.id().to_string();
        let (ended, end) = channel::<()>();
        thread::spawn(move || {
            if end.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-s", "KILL", &id]).status();
            }
        });
        let status = self.child.wait().expect("its status");
        drop(ended);
        let mut err = String::new();
        let stderr = self.child.stderr.as_mut().expect("its errors");
        stderr.read_to_string(&mut err).expect("its errors");
        Ended {
            code: status.code(),
            out: String::new(),
            err,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Only after a test that failed is it still there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An error says what happened, what was expected and what to do, in three lines, the last.
#[track_caller]
pub(crate) fn assert_explained(ended: &Ended, what: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines: Vec<_> = ended.err.lines().collect();
    let lines = &lines[lines.len().saturating_sub(3)..];
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert!(
        lines[0].starts_with("error: ") && lines[0].contains(what),
        "{ended:?}"
    );
    assert!(lines[1].starts_with("  expected: "), "{ended:?}");
    assert!(lines[2].starts_with("  to do: "), "{ended:?}");
}
