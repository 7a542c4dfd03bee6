//! `devp2p ping`: is a node alive, what does it offer, how far is it.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use devp2p_core::config::Config;
use devp2p_core::error::CloseReason;
use devp2p_core::hello::Hello;
use devp2p_std::enode::Enode;
use devp2p_std::handle::Subprotocol;
use devp2p_std::host::Host;
use devp2p_std::peer::PeerHandle;
use devp2p_std::protocol::{self, Protocol};
use devp2p_std::session::Session;
use serde_json::json;

use crate::addr::parse_enode;
use crate::dial;
use crate::failure::Failure;
use crate::services::discard;
use crate::show::{Output, duration, paint, short_id};
use crate::text::plain;

/// Between two Pings: some peers end a session whose Pings come faster.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often it is looked whether a Pong came; the round trip itself is measured where the Pong arrives.
const LOOK: Duration = Duration::from_millis(2);
/// Message codes of a protocol about which nothing is known: more than any that is in use.
const CODES: u32 = 64;
/// The largest message that is kept until it is discarded; larger ones are skipped as they arrive.
const MESSAGE_LIMIT: u32 = 64 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// The enode URL of the node, as `devp2p listen` or go-ethereum prints it
    #[arg(value_parser = parse_enode)]
    enode: Enode,
    /// How many Pings, 2 s apart
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// How long each of them waits for its Pong
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// Do not connect again, where no node answers, to find out what listens there
    #[arg(long)]
    no_probe: bool,
}

/// A node whose protocol `eth` waits for a Status, which is not sent here.
const ETH: &str = "eth: the node waits for a Status, which ping does not send, and leaves after some seconds. That is no fault \
                   of the node; `devp2p light ENODE` sends one, and reads the chain's head from it";

/// What was measured.
struct Measured {
    round_trips: Vec<Duration>,
    unanswered: u32,
    ended: Option<CloseReason>,
}

pub(crate) fn run(args: &Ping, output: Output) -> Result<(), Failure> {
    let mut config = Config::new();
    // Whatever the remote offers, it is worth a Ping.
    config.require_shared = false;
    // No Ping goes out but those that are counted here.
    config.ping_interval = devp2p_core::time::Duration::from_secs(24 * 3600);
    config.pong_timeout = devp2p_core::time::Duration::from_secs(args.timeout.into());
    let host = Host::builder(crate::key::load(None)?)
        .config(config)
        .build()
        .map_err(|error| Failure::system("no host", error))?;
    let mut connected = dial::connect(&args.enode)?;
    connected.seen.asks = !args.no_probe;
    if !output.json {
        output.line(&format!(
            "ping {} at {}",
            short_id(&args.enode.id),
            connected.addr
        ))?;
    }
    let began = Instant::now();
    let session = Session::dial(&host, connected.stream, args.enode.id)
        .map_err(|error| Failure::system("no session over this connection", error))?
        .learn(same_as);
    let active = dial::open(session, &connected.seen)?;
    let took = began.elapsed();
    let peer = active.peer.clone();
    let note = names(&peer).iter().any(|name| name.starts_with("eth/"));
    let note = note.then_some(ETH);
    if !output.json {
        show_remote(&output, &peer, connected.took, took)?;
        if let Some(note) = note {
            output.line(&format!("  {note}"))?;
        }
        output.line("")?;
    }

    let mut measured = measure(args, output, &peer)?;
    active.close();
    if measured.round_trips.is_empty() {
        return Err(no_pong(&measured, args, note));
    }
    if output.json {
        return output.object(&json!({
            "enode": args.enode.to_string(),
            "client": peer.client_name(),
            "p2p_version": peer.version(),
            "capabilities": peer.capabilities(),
            "offered": names(&peer),
            "tcp_us": connected.took.as_micros() as u64,
            "hello_us": took.as_micros() as u64,
            "rtt_us": measured.round_trips.iter().map(|rtt| rtt.as_micros() as u64).collect::<Vec<_>>(),
            "unanswered": measured.unanswered,
            "ended": measured.ended.map(|reason| reason.to_string()),
            "note": note,
        }));
    }
    summary(&output, &mut measured)?;
    match (measured.ended, note) {
        (Some(reason), None) => {
            output.line(&paint().dim(&format!("then the session ended: {reason}")))
        }
        (Some(reason), Some(_)) => output.line(&paint().dim(&format!(
            "then the node left, since no Status came: {reason}"
        ))),
        (None, _) => Ok(()),
    }
}

/// Sends the Pings, each of which has its own time.
fn measure(args: &Ping, output: Output, peer: &PeerHandle) -> Result<Measured, Failure> {
    let limit = Duration::from_secs(args.timeout.into());
    let (mut round_trips, mut unanswered) = (Vec::new(), 0);
    for number in 1..=args.count {
        match ping_once(peer, number, limit) {
            Pong::Came(round_trip) => {
                round_trips.push(round_trip);
                if !output.json {
                    output.line(&format!("  pong {number:<3}  {:>10}", duration(round_trip)))?;
                }
            }
            Pong::Late => {
                unanswered += 1;
                if !output.json {
                    let seconds = args.timeout;
                    output.line(&format!("  pong {number:<3}  none within {seconds} s"))?;
                }
            }
            Pong::Ended => break,
        }
        if number < args.count && !pause(peer) {
            break;
        }
    }
    Ok(Measured {
        round_trips,
        unanswered,
        ended: peer.close_reason(),
    })
}

fn no_pong(measured: &Measured, args: &Ping, note: Option<&str>) -> Failure {
    let failure = match measured.ended {
        Some(reason) => Failure::session(reason),
        None => Failure::new(
            format_args!(
                "no Pong came to any of {} Pings within {} s, though the session lives",
                measured.unanswered, args.timeout
            ),
            "a Pong to each Ping",
            "give it more time with --timeout; if it never answers, its devp2p is not whole",
        ),
    };
    match note {
        Some(note) => failure.advise(note),
        None => failure,
    }
}

/// Protocols that are named as those of the remote, so that it keeps us, and read whatever it says.
fn same_as(hello: &Hello<'_>) -> Vec<Protocol> {
    let named = |name: &[u8], version: u64| {
        let name = std::str::from_utf8(name).ok()?;
        let version = version.try_into().ok()?;
        let protocol = Protocol::new(name, version, CODES, read_on).ok()?;
        Some(protocol.message_limit(MESSAGE_LIMIT))
    };
    hello
        .capabilities()
        .filter_map(|capability| named(capability.name, capability.version))
        .collect()
}

fn read_on(subprotocol: &mut Subprotocol) -> Result<(), protocol::Failure> {
    discard(subprotocol);
    Ok(())
}

/// How a Ping ended.
enum Pong {
    Came(Duration),
    /// Not in its time, though the session lives.
    Late,
    /// The session ended before.
    Ended,
}

/// The Ping with this number, and its Pong: that to earlier ones may come first.
fn ping_once(peer: &PeerHandle, number: u32, limit: Duration) -> Pong {
    let until = Instant::now() + limit;
    peer.ping();
    loop {
        if peer.pongs() >= number
            && let Some(round_trip) = peer.round_trip()
        {
            return Pong::Came(round_trip);
        }
        if peer.close_reason().is_some() {
            return Pong::Ended;
        }
        if Instant::now() >= until {
            return Pong::Late;
        }
        thread::sleep(LOOK);
    }
}

/// Waits for the next Ping; false if the session ended meanwhile.
fn pause(peer: &PeerHandle) -> bool {
    let until = Instant::now() + INTERVAL;
    while Instant::now() < until {
        if peer.close_reason().is_some() {
            return false;
        }
        thread::sleep(LOOK * 10);
    }
    true
}

fn names(peer: &PeerHandle) -> Vec<String> {
    peer.shared().iter().map(ToString::to_string).collect()
}

fn show_remote(
    output: &Output,
    peer: &PeerHandle,
    tcp: Duration,
    hello: Duration,
) -> Result<(), Failure> {
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => plain(&names.join("  ")),
    };
    output.line(&format!("  client        {}", plain(peer.client_name())))?;
    output.line(&format!("  p2p version   {}", peer.version()))?;
    output.line(&format!("  capabilities  {}", list(peer.capabilities())))?;
    output.line(&format!("  in session    {}", list(&names(peer))))?;
    output.line(&format!(
        "  set up in     {} (TCP {}, handshake and Hello {})",
        duration(tcp + hello),
        duration(tcp),
        duration(hello)
    ))
}

fn summary(output: &Output, measured: &mut Measured) -> Result<(), Failure> {
    let round_trips = &mut measured.round_trips;
    round_trips.sort_unstable();
    let count = round_trips.len();
    let median = round_trips
        .get(count.saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default();
    let (least, most) = (round_trips.first(), round_trips.last());
    let unanswered = match measured.unanswered {
        0 => String::new(),
        unanswered => format!(", {unanswered} not"),
    };
    output.line(&format!(
        "\n{count} answered{unanswered}; round trip: least {}, median {}, most {}",
        duration(least.copied().unwrap_or_default()),
        duration(median),
        duration(most.copied().unwrap_or_default()),
    ))
}
