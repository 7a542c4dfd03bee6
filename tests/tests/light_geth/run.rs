//! Runs `devp2p light` and reads its events.
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use devp2p_tests::command::{devp2p, output_within};
use devp2p_tests::geth_node::genesis_file;
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(300);

/// One run of `devp2p light --json`, to its end.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Value>,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(devp2p());
    command.args(["--json", "light"]).args(arguments);
    command
}

fn on_the_chain<'a>(arguments: &[&'a str], genesis: &'a str) -> Vec<&'a str> {
    [arguments, &["--genesis", genesis]].concat()
}

/// Runs it without naming the chain.
pub(crate) fn light_anywhere(arguments: &[&str]) -> Ended {
    let output = output_within(&mut command(arguments), BOUND);
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    let events = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    Ended {
        code: output.status.code(),
        events: events.collect(),
    }
}

/// Runs it on the chain of the nodes here.
pub(crate) fn light(arguments: &[&str]) -> Ended {
    let genesis = genesis_file();
    light_anywhere(&on_the_chain(arguments, genesis.to_str().expect("UTF-8")))
}

impl Ended {
    /// The events with this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&Value> {
        let events = self.events.iter();
        events.filter(|event| event["event"] == name).collect()
    }

    /// The one event with this name.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> &Value {
        match self.all(name).as_slice() {
            [event] => event,
            other => panic!("{} of {name} in {:#?}", other.len(), self.events),
        }
    }

    /// What went wrong.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        assert_eq!(self.code, Some(1), "{:#?}", self.events);
        let last = self.events.last().expect("an object");
        last["error"].as_str().expect("an error")
    }
}

/// A run that goes on. Killed on drop.
pub(crate) struct Following {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<Value>,
}

impl Following {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let genesis = genesis_file();
        let arguments = on_the_chain(arguments, genesis.to_str().expect("UTF-8"));
        let mut child = command(&arguments)
            .arg("--follow")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).all(|sent| sent.is_ok())
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for the next event with this name.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(BOUND);
            let line = line.unwrap_or_else(|why| panic!("no {name}, {why}: {:#?}", self.seen));
            let event: Value = serde_json::from_str(&line).expect("JSON");
            self.seen.push(event.clone());
            if event["event"] == name {
                return event;
            }
        }
    }

    /// Tells it to end; returns its exit status.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &id]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        self.event("result");
        self.child.wait().expect("its status").code()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
