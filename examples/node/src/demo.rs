//! `devp2p demo`: two nodes, one session, three protocols at once, and a list of what was verified.

mod far;
mod geth;
mod live;
mod report;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::peer::PeerHandle;
use serde_json::json;

use self::far::{Far, Listener, Seen};
use self::geth::Geth;
use self::live::Live;
use self::report::{Check, Facts, Lived};
use self::work::{LINE_INTERVAL, Work, line};
use crate::failure::Failure;
use crate::key;
use crate::show::{Output, duration, paint, short_id};

/// Between two looks at the work.
const TICK: Duration = Duration::from_millis(50);
/// Between two Pings: go-ethereum ends a session whose Pings come much faster.
const PING_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Run against a go-ethereum peer, built and started here (needs Go)
    #[arg(long)]
    geth: bool,
    /// Where that peer's program is
    #[arg(long, value_name = "FOLDER", default_value = "tests/interop/geth")]
    geth_dir: PathBuf,
    /// How long the three protocols share the session; it takes a little longer in all
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

pub(crate) fn run(args: &Demo, output: Output) -> Result<(), Failure> {
    let began = Instant::now();
    if !output.json {
        let far = if args.geth {
            "a go-ethereum peer"
        } else {
            "a listening node"
        };
        let title =
            format!("devp2p demo: {far}, and a node that dials it over TCP on this machine");
        output.line(&paint().bold(&title))?;
        if args.geth {
            eprintln!("  building the go-ethereum peer with `go build`");
        }
    }
    let mut far: Box<dyn Far> = match args.geth {
        true => Box::new(Geth::start(&args.geth_dir)?),
        false => Box::new(Listener::start()?),
    };
    let work = Work::new(Duration::from_secs(args.seconds));
    let host = work
        .protocols()
        .into_iter()
        .fold(Host::builder(key::load(None)?), |builder, protocol| {
            builder.protocol(protocol)
        })
        .build()
        .map_err(|error| Failure::system("no host", error))?;
    let own_id = host.id();
    let node = Node::builder(host)
        .start()
        .map_err(|error| Failure::system("no node", error))?;

    let enode = far.enode();
    let dialled = Instant::now();
    let peer = node.dial(&enode).map_err(|error| {
        Failure::new(
            format_args!("no session with the {}: {error}", far.name()),
            "a session over TCP on this machine",
            "look whether a firewall blocks 127.0.0.1; `-v` logs what happens on the way",
        )
    })?;
    let set_up = dialled.elapsed();
    if !output.json {
        output.line(&format!(
            "\n  dialler {}  →  {} {} at {}:{}",
            short_id(&own_id),
            far.name(),
            short_id(&peer.id()),
            enode.host,
            enode.tcp
        ))?;
        output.line(&format!(
            "  {}, connected and shaken hands in {}\n",
            peer.client_name(),
            duration(set_up)
        ))?;
    }
    let mut pings = Pings::new(peer.clone());
    watch(&work, &mut *far, &mut pings, output)?;
    pings.last();

    // Quitting sends Disconnect 0x08 to everyone.
    let shutdown = node.shutdown();
    let seen = far.finish()?;
    let lived = lived(&node, &peer, &work);
    let facts = Facts {
        work: &work,
        lived: &lived,
        far_name: far.name(),
        seen: &seen,
        own_id: own_id.to_string(),
        far_id: [enode.id.to_string(), peer.id().to_string()],
        pongs: peer.pongs(),
        ping: peer.round_trip(),
        joined: shutdown.stuck.is_empty() && shutdown.unfinished == 0,
    };
    let checks = report::checks(&facts);
    if output.json {
        output.object(&json!({
            "ok": checks.iter().all(|check| check.ok),
            "far": far.name(),
            "enode": enode.to_string(),
            "client": peer.client_name(),
            "seconds": began.elapsed().as_secs_f64(),
            "set_up_us": set_up.as_micros() as u64,
            "ping_rtt_us": peer.round_trip().map(|span| span.as_micros() as u64),
            "checks": checks,
            "protocols": lived,
            "bench": report::rates(&work),
        }))?;
    } else {
        summary(output, far.name(), &lived, &seen, &checks, began.elapsed())?;
    }
    verdict(&checks)
}

/// Shows the work and takes the far end's part of the chat, until all is done or the session ended.
fn watch(
    work: &Arc<Work>,
    far: &mut dyn Far,
    pings: &mut Pings,
    output: Output,
) -> Result<(), Failure> {
    let mut live = Live::start(output, work);
    let (mut said, mut next_line) = (0, Instant::now());
    while !work.is_done() {
        if let Some(reason) = pings.peer.close_reason() {
            live.finish();
            return Err(Failure::session(reason));
        }
        if said < work.lines && Instant::now() >= next_line && far.say(&line(far.name(), said))? {
            said += 1;
            next_line += LINE_INTERVAL;
        }
        pings.tick();
        live.update(work, pings.peer.round_trip());
        thread::sleep(TICK);
    }
    live.finish();
    Ok(())
}

/// Pings at their interval.
struct Pings {
    peer: PeerHandle,
    last: Option<Instant>,
}

impl Pings {
    fn new(peer: PeerHandle) -> Self {
        Self { peer, last: None }
    }

    fn tick(&mut self) {
        if self.last.is_none_or(|last| last.elapsed() >= PING_INTERVAL) {
            self.last = Some(Instant::now());
            self.peer.ping();
        }
    }

    /// One more, now that the session is quiet; returns when it is answered, or the session ended.
    fn last(&mut self) {
        if let Some(last) = self.last {
            thread::sleep(PING_INTERVAL.saturating_sub(last.elapsed()));
        }
        let before = self.peer.pongs();
        self.tick();
        while self.peer.pongs() == before && self.peer.close_reason().is_none() {
            thread::sleep(TICK / 10);
        }
    }
}

/// The protocols of the session at the dialling end, in the order of their codes.
fn lived(node: &Node, peer: &PeerHandle, work: &Work) -> Vec<Lived> {
    let protocols = node.host().protocols().iter().enumerate();
    let mut lived: Vec<_> = protocols
        .filter_map(|(index, protocol)| {
            let capability = protocol.capability();
            let trips = report::trips(work, capability.name.as_str());
            Some(Lived {
                protocol: capability.to_string(),
                offset: peer.offset(index)?,
                traffic: peer.traffic(index),
                rtt_p50_us: trips.map(|(median, _)| median),
                rtt_p99_us: trips.map(|(_, high)| high),
            })
        })
        .collect();
    lived.sort_by_key(|one| one.offset);
    lived
}

fn summary(
    output: Output,
    far_name: &str,
    lived: &[Lived],
    seen: &Seen,
    checks: &[Check],
    took: Duration,
) -> Result<(), Failure> {
    for row in report::session_table(lived, far_name, &seen.counts) {
        output.line(&format!("  {row}"))?;
    }
    output.line("")?;
    for check in checks {
        let mark = if check.ok {
            paint().green("✓")
        } else {
            paint().red("✗")
        };
        output.line(&format!("  {mark} {:<11} {}", check.name, check.detail))?;
    }
    let verified = checks.iter().filter(|check| check.ok).count();
    let text = format!(
        "\nverified {verified} of {} in {}",
        checks.len(),
        duration(took)
    );
    output.line(&paint().bold(&text))
}

fn verdict(checks: &[Check]) -> Result<(), Failure> {
    let failed: Vec<_> = checks
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
