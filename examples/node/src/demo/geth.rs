//! The other end of the session: a go-ethereum peer, built and started here. Its own README has its commands and events.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_std::enode::Enode;
use serde_json::{Value, json};

use super::far::{Count, END_TIMEOUT, Far, Seen};
use crate::failure::Failure;

/// How long it may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Where Go's own archive puts it, for shells whose PATH lacks it.
const GO_ELSEWHERE: &str = "/usr/local/go/bin/go";

/// A go-ethereum peer, until it is dropped.
pub(super) struct Geth {
    child: Child,
    program: PathBuf,
    commands: Option<ChildStdin>,
    events: Receiver<Value>,
    enode: Enode,
    seen: Seen,
    chats: bool,
}

impl Geth {
    /// Builds the program in `folder` and starts it.
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        let program = build(folder)?;
        let started = Command::new(&program)
            .args(["peer", r#"{"name":"go-ethereum"}"#])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = started
            .map_err(|error| Failure::system("the go-ethereum peer does not start", error))?;
        let commands = child.stdin.take();
        let (sender, events) = channel();
        if let Some(out) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if let Ok(event) = serde_json::from_str(&line)
                        && sender.send(event).is_err()
                    {
                        return;
                    }
                }
            });
        }
        let mut geth = Self {
            child,
            program,
            commands,
            events,
            // Until it says where it is.
            enode: Enode::new(
                devp2p_core::hello::NodeId([0; 64]),
                ([127, 0, 0, 1], 0).into(),
            ),
            seen: Seen::default(),
            chats: false,
        };
        geth.enode = geth.wait_until_ready()?;
        Ok(geth)
    }

    fn wait_until_ready(&self) -> Result<Enode, Failure> {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                return Err(Failure::new(
                    "the go-ethereum peer did not say where it listens",
                    "its event `ready`",
                    "run its own tests: cd tests/interop/geth && go test ./...",
                ));
            };
            if event["event"] == "ready" {
                let enode = event["enode"].as_str().unwrap_or_default().parse();
                return enode.map_err(|error| Failure::system("its enode cannot be read", error));
            }
        }
    }

    /// Takes one event; true if it is the last of the session.
    fn note(&mut self, event: &Value) -> bool {
        let is_chat = event["protocol"] == "chat/1";
        self.chats |= event["event"] == "protocol_started" && is_chat;
        note(&mut self.seen, event)
    }
}

impl Far for Geth {
    fn name(&self) -> &'static str {
        "go-ethereum"
    }

    fn enode(&self) -> Enode {
        self.enode.clone()
    }

    fn say(&mut self, line: &str) -> Result<bool, Failure> {
        while let Ok(event) = self.events.try_recv() {
            self.note(&event);
        }
        let Some(commands) = self.commands.as_mut().filter(|_| self.chats) else {
            return Ok(false);
        };
        let command = json!({"cmd": "chat", "text": line});
        writeln!(commands, "{command}")
            .map_err(|error| Failure::system("the go-ethereum peer takes no command", error))?;
        Ok(true)
    }

    fn finish(&mut self) -> Result<Seen, Failure> {
        let until = Instant::now() + END_TIMEOUT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                break;
            };
            if self.note(&event) {
                break;
            }
        }
        // The end of its input ends it in an orderly way.
        self.commands = None;
        let until = Instant::now() + END_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(std::mem::take(&mut self.seen))
    }
}

/// Notes one event; true if it is the last of the session.
fn note(seen: &mut Seen, event: &Value) -> bool {
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    match event["event"].as_str().unwrap_or_default() {
        "peer_added" => seen.dialler = text("pubkey"),
        "message" if text("protocol") == "chat/1" => seen.lines.push(text("text")),
        "protocol_ended" => {
            let name = text("protocol");
            let name = name.split('/').next().unwrap_or_default().to_owned();
            let count = Count {
                offset: number(&event["offset"]) as u32,
                sent: number(&event["sent"]["count"]),
                received: number(&event["received"]["count"]),
                traffic: None,
            };
            seen.counts.insert(name, count);
        }
        "peer_dropped" => {
            let requested = event["requested"].as_bool().unwrap_or_default();
            let reason = event["reason"]
                .as_u64()
                .and_then(|reason| reason.try_into().ok());
            seen.reason = reason.filter(|_| requested).map(DisconnectReason);
            let by = if requested {
                "requested by the remote: "
            } else {
                ""
            };
            seen.end = format!("{by}{}", text("error"));
            return true;
        }
        _ => {}
    }
    false
}

impl Drop for Geth {
    fn drop(&mut self) {
        self.commands = None;
        // It has ended already unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.program);
    }
}

fn build(folder: &Path) -> Result<PathBuf, Failure> {
    if !folder.join("go.mod").is_file() {
        return Err(Failure::new(
            format_args!("the go-ethereum peer is not in {}", folder.display()),
            "the folder with its go.mod",
            "run this from the root of the repository, or name the folder with --geth-dir",
        ));
    }
    let name = format!("devp2p-geth-peer-{}", std::process::id());
    let program = std::env::temp_dir().join(name);
    let go = |go: &str| {
        let mut command = Command::new(go);
        command
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(folder);
        command.stdin(Stdio::null()).output()
    };
    let built = match go("go") {
        Err(error) if error.kind() == ErrorKind::NotFound => go(GO_ELSEWHERE),
        built => built,
    };
    match built {
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => Err(Failure::new(
            format_args!(
                "the go-ethereum peer does not build: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            "`go build` to succeed",
            "the first build fetches go-ethereum: check the network, then try again",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::new(
            "Go is not installed",
            "the command `go`, to build the go-ethereum peer",
            if cfg!(target_os = "macos") {
                "install it: brew install go"
            } else {
                "install it: sudo apt-get install -y golang-go (or https://go.dev/dl), or run the demo without --geth"
            },
        )),
        Err(error) => Err(Failure::system("`go` cannot be run", error)),
    }
}
