//! `devp2p listen`: a node that serves `echo/1`, `bench/1` and `chat/1` until it is told to end.
//!
//! All that is printed passes one bounded queue, in the order in which it happened, to a thread that does nothing else. So an
//! output that nobody reads stops neither the sessions nor the end: lines of chat hold their senders back, and what else finds
//! the queue full is dropped and counted.

mod log;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use clap::Args;
use devp2p_core::hello::NodeId;
use devp2p_std::events::PeerEvent;
use devp2p_std::host::Host;
use devp2p_std::node::{Node, StartError};

use self::log::Log;
use crate::addr::{Addr, parse_addr};
use crate::failure::Failure;
use crate::key::{self, DEFAULT_ADDR};
use crate::queue::Queue;
use crate::services::{serve_bench, serve_chat, serve_echo};
use crate::show::Output;
use crate::signals;

/// Notices that may wait to be printed.
const NOTICES: usize = 256;
/// How long the last ones may take without getting on.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where to listen; port 0 takes a free one, and without a host it is every address of this machine
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_ADDR, value_parser = parse_addr)]
    addr: Addr,
    /// The key file, made if it does not exist. Without it, the node has a new identity each time
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sessions at a time; others are turned away as too many
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_peers: usize,
}

/// What may happen next.
enum Notice {
    Session(PeerEvent),
    Line(NodeId, String),
    Ending(i32),
}

/// What ends the program.
enum End {
    Signal(i32),
    /// The last line is printed, or no more can be.
    Printed(Result<(), Failure>),
}

pub(crate) fn run(args: &Listen, output: Output) -> Result<(), Failure> {
    // First of all, so that no signal ends the program in any other way.
    let signals = signals::ending()?;
    let notices = Arc::new(Queue::new(NOTICES));
    let served = Arc::new(AtomicU64::new(0));
    let node = start(args, &notices, &served)?;

    let (sender, ends) = mpsc::channel();
    let tells = sender.clone();
    let printed = (Arc::clone(&notices), node.enode().to_string());
    thread::spawn(move || {
        let (notices, enode) = printed;
        let result = print(&Log(output), &enode, &notices, &served);
        // It is waited for, but for one whose output is not read.
        let _ = tells.send(End::Printed(result));
    });
    thread::spawn(move || tell_signals(signals, &sender));

    match ends.recv() {
        Ok(End::Signal(signal)) => notices.push_surely(Notice::Ending(signal)),
        // The output is closed: the sessions end all the same.
        Ok(End::Printed(result)) => {
            notices.close();
            node.shutdown();
            return result;
        }
        Err(_) => {}
    }
    node.shutdown();
    notices.close();
    // Only its thread has more to tell: a second signal is the end.
    match notices.wait_for(&ends, PATIENCE) {
        Ok(End::Printed(result)) => result,
        Err(RecvTimeoutError::Timeout) => Err(Failure::output("nobody reads standard output")),
        _ => Ok(()),
    }
}

/// Starts the node, whose sessions and lines of chat go to `notices`.
fn start(
    args: &Listen,
    notices: &Arc<Queue<Notice>>,
    served: &Arc<AtomicU64>,
) -> Result<Node, Failure> {
    let lines = Arc::clone(notices);
    let host = Host::builder(key::load(args.key.as_deref())?)
        .protocol(serve_echo())
        .protocol(serve_bench())
        .protocol(serve_chat(move |peer, line| {
            let is_over = || peer.close_reason().is_some();
            lines.push_patiently(Notice::Line(peer.id(), line), is_over);
        }))
        .build()
        .map_err(|error| Failure::system("no host", error))?;
    let (events, served) = (Arc::clone(notices), Arc::clone(served));
    host.watch_sessions(move |event| {
        if matches!(event, PeerEvent::Added { .. }) {
            served.fetch_add(1, Ordering::Relaxed);
        }
        events.push(Notice::Session(event.clone()));
    });
    Node::builder(host)
        .listen(args.addr.to_listen())
        .max_peers(args.max_peers)
        .start()
        .map_err(cannot_listen)
}

fn cannot_listen(error: StartError) -> Failure {
    Failure::new(
        error,
        "a free port at an address of this machine, as HOST:PORT",
        "end what listens there, or name another with --addr (port 0 takes any free one)",
    )
}

/// Prints all there is to be printed.
fn print(
    log: &Log,
    enode: &str,
    notices: &Queue<Notice>,
    served: &AtomicU64,
) -> Result<(), Failure> {
    log.listening(enode)?;
    while let Some(next) = notices.next() {
        log.lost(next.lost)?;
        log.notice(next.value)?;
    }
    log.lost(notices.lost())?;
    log.ended(served.load(Ordering::Relaxed))
}

/// The first signal ends the node; a second one does not wait for that.
fn tell_signals(mut signals: signal_hook::iterator::Signals, ends: &Sender<End>) {
    for (before, signal) in signals.forever().enumerate() {
        if before > 0 {
            // As a shell tells of a program that a signal ended.
            std::process::exit(128 + signal);
        }
        let _ = ends.send(End::Signal(signal));
    }
}
