//! `devp2p listen`: a node that serves `echo/1`, `bench/1` and `chat/1` until it is told to end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use clap::Args;
use devp2p_core::hello::NodeId;
use devp2p_std::events::PeerEvent;
use devp2p_std::host::Host;
use devp2p_std::node::{Node, StartError};
use devp2p_std::peer::PeerHandle;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;
use crate::key::{self, DEFAULT_ADDR};
use crate::services::{Room, serve_bench, serve_echo};
use crate::show::{self, Output, duration, paint, plain, short_id};

/// Beginnings and ends of sessions that may wait to be printed.
const EVENTS: usize = 1024;

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_ADDR)]
    addr: String,
    /// The key file, made if it does not exist. Without it, the node has a new identity each time
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sessions at a time; others are turned away as too many
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_peers: usize,
}

/// How long the events of sessions that were just ended may take.
const LAST_EVENTS: Duration = Duration::from_millis(500);

/// What may happen next.
enum Notice {
    Session(PeerEvent),
    Line(NodeId, String),
    Signal(i32),
}

pub(crate) fn run(args: &Listen, output: Output) -> Result<(), Failure> {
    // First of all, so that no signal ends the program in any other way.
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::system("signals cannot be handled", error))?;
    let (sender, notices) = mpsc::channel();

    let lines = sender.clone();
    let host = Host::builder(key::load(args.key.as_deref())?)
        .protocol(serve_echo())
        .protocol(serve_bench())
        .protocol(Arc::new(Room::default()).serve(move |peer, line| {
            let _ = lines.send(Notice::Line(peer.id(), line.to_owned()));
        }))
        .build()
        .map_err(|error| Failure::system("no host", error))?;
    let sessions = host.subscribe_sessions(EVENTS);
    let node = Node::builder(host)
        .listen(args.addr.as_str())
        .max_peers(args.max_peers)
        .start()
        .map_err(cannot_listen)?;

    let enode = node.enode().to_string();
    match output.json {
        true => output.object(&json!({"event": "listening", "enode": enode}))?,
        false => output.line(&enode)?,
    }
    let to_signals = sender.clone();
    thread::spawn(move || {
        for signal in signals.forever() {
            let _ = to_signals.send(Notice::Signal(signal));
        }
    });
    thread::spawn(move || {
        while let Ok(event) = sessions.receiver().recv() {
            let _ = sender.send(Notice::Session(event));
        }
    });

    let mut log = Log {
        output,
        live: HashMap::new(),
        served: 0,
    };
    let result = serve(&notices, &mut log, &node);
    // Also when nobody reads what is printed: every remote is told.
    node.shutdown();
    result?;
    while !log.live.is_empty() {
        match notices.recv_timeout(LAST_EVENTS) {
            Ok(Notice::Session(event)) => log.session(&node, event)?,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    log.ended()
}

/// Prints what happens until a signal comes.
fn serve(notices: &Receiver<Notice>, log: &mut Log, node: &Node) -> Result<(), Failure> {
    for notice in notices {
        match notice {
            Notice::Session(event) => log.session(node, event)?,
            Notice::Line(from, line) => log.chat(&from, &line)?,
            Notice::Signal(signal) => return log.ending(signal),
        }
    }
    Ok(())
}

fn cannot_listen(error: StartError) -> Failure {
    Failure::new(
        error,
        "a free port at an address of this machine, as HOST:PORT",
        "end what listens there, or name another with --addr (port 0 takes any free one)",
    )
}

/// Prints what happens.
struct Log {
    output: Output,
    live: HashMap<NodeId, PeerHandle>,
    served: u64,
}

impl Log {
    fn session(&mut self, node: &Node, event: PeerEvent) -> Result<(), Failure> {
        match event {
            PeerEvent::Added {
                peer,
                client_name,
                remote,
                inbound,
            } => {
                self.served += 1;
                let handle = node.peer(&peer);
                let capabilities = handle.as_ref().map(PeerHandle::capabilities);
                let capabilities = capabilities.unwrap_or_default().to_vec();
                let remote = remote.map(|addr| addr.to_string()).unwrap_or_default();
                if let Some(handle) = handle {
                    self.live.insert(peer, handle);
                }
                if self.output.json {
                    return self.output.object(&json!({
                        "event": "session", "peer": peer.to_string(), "client": client_name, "remote": remote,
                        "inbound": inbound, "capabilities": capabilities,
                    }));
                }
                self.output.line(&format!(
                    "{} {}  {remote:<21}  {}  {}",
                    paint().green("+"),
                    short_id(&peer),
                    plain(&client_name),
                    paint().dim(&plain(&capabilities.join(" "))),
                ))
            }
            PeerEvent::Dropped { peer, reason } => {
                let handle = self.live.remove(&peer);
                let lasted = handle
                    .as_ref()
                    .map(PeerHandle::lifetime)
                    .unwrap_or_default();
                let protocols = node.host().protocols().len();
                let traffic = |index| handle.as_ref().map(|handle| handle.traffic(index));
                let sum = |of: fn(&devp2p_std::counters::Traffic) -> u64| -> u64 {
                    (0..protocols).filter_map(traffic).map(|t| of(&t)).sum()
                };
                let (bytes_in, bytes_out) = (sum(|t| t.bytes_in), sum(|t| t.bytes_out));
                if self.output.json {
                    return self.output.object(&json!({
                        "event": "session_ended", "peer": peer.to_string(), "reason": reason.to_string(),
                        "remote_requested": reason.is_remote_requested(), "seconds": lasted.as_secs_f64(),
                        "bytes_in": bytes_in, "bytes_out": bytes_out,
                    }));
                }
                self.output.line(&format!(
                    "{} {}  {reason}  {}",
                    paint().red("-"),
                    short_id(&peer),
                    paint().dim(&format!(
                        "after {}, {} in, {} out",
                        duration(lasted),
                        show::bytes(bytes_in),
                        show::bytes(bytes_out)
                    )),
                ))
            }
            _ => Ok(()),
        }
    }

    fn chat(&self, from: &NodeId, line: &str) -> Result<(), Failure> {
        if self.output.json {
            let event = json!({"event": "chat", "peer": from.to_string(), "line": line});
            return self.output.object(&event);
        }
        self.output
            .line(&format!("  {}  {}", short_id(from), plain(line)))
    }

    fn ending(&self, signal: i32) -> Result<(), Failure> {
        let name = if signal == SIGINT {
            "SIGINT"
        } else {
            "SIGTERM"
        };
        if self.output.json {
            return self
                .output
                .object(&json!({"event": "ending", "signal": name}));
        }
        self.output.line(&format!("{name}: ending"))
    }

    fn ended(&self) -> Result<(), Failure> {
        if self.output.json {
            return self
                .output
                .object(&json!({"event": "ended", "sessions": self.served}));
        }
        self.output
            .line(&format!("ended; sessions served: {}", self.served))
    }
}
