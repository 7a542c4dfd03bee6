//! `devp2p demo`: two nodes, one session, three protocols at once, a board that dials in, and a list of what was verified.

mod board;
mod board_report;
mod far;
mod firmware;
mod geth;
mod guest;
mod live;
mod outcome;
mod report;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use devp2p_std::enode::Enode;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::peer::PeerHandle;

use self::board::{Board, Kind};
use self::board_report::BoardFacts;
use self::far::{Far, Listener};
use self::geth::Geth;
use self::guest::Guest;
use self::live::{Live, board_text};
use self::outcome::Outcome;
use self::report::{Facts, Lived};
use self::work::{LINE_INTERVAL, Work, line};
use crate::failure::Failure;
use crate::key;
use crate::show::{Output, duration, paint, short_id};
use crate::stderr;
use crate::text::plain;

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
    /// Which board dials in too, in QEMU; where QEMU or its target is missing, the host form
    #[arg(long, value_name = "BOARD", default_value = "mps2-an386")]
    board: Kind,
    /// No board
    #[arg(long, conflicts_with = "board")]
    no_board: bool,
    /// Where the boards are; by default examples/qemu of the source tree
    #[arg(long, value_name = "FOLDER")]
    board_dir: Option<PathBuf>,
    /// How long the three protocols share the session; it takes a little longer in all
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

pub(crate) fn run(args: &Demo, output: Output) -> Result<(), Failure> {
    announce(args, output)?;
    let mut far: Box<dyn Far> = match args.geth {
        true => Box::new(Geth::start(&args.geth_dir)?),
        false => Box::new(Listener::start()?),
    };
    let work = Work::new(Duration::from_secs(args.seconds));
    let guest = Arc::new(Guest::default());
    let node = start(args, &work, &guest)?;
    let (mut board, left_out) = match args.no_board {
        true => (None, None),
        false => boot(args, &node, output)?,
    };
    let dialled = dial(&node, &*far, output)?;
    let mut pings = Pings::new(dialled.peer.clone());
    let seats = Seats {
        far: &mut *far,
        board: board.as_mut(),
        guest: &guest,
    };
    watch(&work, seats, &mut pings, output)?;
    pings.last();

    // Quitting sends Disconnect 0x08 to everyone.
    let shutdown = node.shutdown();
    let seen = far.finish()?;
    let with_far = lived(&node, &dialled.peer, Some(&work));
    let with_board = guest.peer().map(|peer| lived(&node, &peer, None));
    let with_board = with_board.unwrap_or_default();
    let board = board.as_ref().map(|board| BoardFacts {
        board,
        guest: &guest,
        lived: &with_board,
    });
    let mut checks = report::checks(&Facts {
        work: &work,
        lived: &with_far,
        far_name: far.name(),
        seen: &seen,
        own_id: node.host().id().to_string(),
        far_id: [dialled.enode.id, dialled.peer.id()].map(|id| id.to_string()),
        pongs: dialled.peer.pongs(),
        ping: dialled.peer.round_trip(),
        joined: shutdown.stuck.is_empty() && shutdown.unfinished == 0,
    });
    checks.extend(board.iter().flat_map(board_report::checks));
    let outcome = Outcome {
        far_name: far.name(),
        dialled: &dialled,
        work: &work,
        seen: &seen,
        lived: &with_far,
        board,
        left_out,
        checks: &checks,
    };
    outcome.print(output)?;
    outcome.verdict()
}

/// What is about to happen.
fn announce(args: &Demo, output: Output) -> Result<(), Failure> {
    if output.json {
        return Ok(());
    }
    let far = match args.geth {
        true => "a go-ethereum peer",
        false => "a listening node",
    };
    let board = match args.no_board {
        true => "",
        false => "; a board dials that node",
    };
    let title =
        format!("devp2p demo: {far}, and a node that dials it over TCP on this machine{board}");
    output.line(&paint().bold(&title))?;
    if args.geth {
        stderr::say("  building the go-ethereum peer with `go build`");
    }
    Ok(())
}

/// Starts the dialling node, which a board dials.
fn start(args: &Demo, work: &Arc<Work>, guest: &Arc<Guest>) -> Result<Node, Failure> {
    let host = work
        .protocols(guest)
        .into_iter()
        .chain([guest.sensor()])
        .fold(Host::builder(key::load(None)?), |builder, protocol| {
            builder.protocol(protocol)
        })
        .build()
        .map_err(|error| Failure::system("no host", error))?;
    let node = Node::builder(host);
    let node = match args.no_board {
        true => node,
        false => node.listen("127.0.0.1:0"),
    };
    node.start()
        .map_err(|error| Failure::system("no node", error))
}

/// The session with the far end.
struct Dialled {
    enode: Enode,
    peer: PeerHandle,
    /// What was built before takes its own time.
    began: Instant,
    set_up: Duration,
}

fn dial(node: &Node, far: &dyn Far, output: Output) -> Result<Dialled, Failure> {
    let enode = far.enode();
    let began = Instant::now();
    let peer = node.dial(&enode).map_err(|error| {
        Failure::new(
            format_args!("no session with the {}: {error}", far.name()),
            "a session over TCP on this machine",
            "look whether a firewall blocks 127.0.0.1; `-v` logs what happens on the way",
        )
    })?;
    let set_up = began.elapsed();
    if !output.json {
        output.line(&format!(
            "\n  dialler {}  →  {} {} at {}:{}",
            short_id(&node.host().id()),
            far.name(),
            short_id(&peer.id()),
            enode.host,
            enode.tcp
        ))?;
        output.line(&format!(
            "  {}, connected and shaken hands in {}\n",
            plain(peer.client_name()),
            duration(set_up)
        ))?;
    }
    Ok(Dialled {
        enode,
        peer,
        began,
        set_up,
    })
}

/// Builds the board, or what stands in for it, and boots it to dial `node`; or says why there is none.
fn boot(
    args: &Demo,
    node: &Node,
    output: Output,
) -> Result<(Option<Board>, Option<String>), Failure> {
    let name = args.board.name();
    if !output.json {
        stderr::say(format_args!(
            "  building the program of {name} with `cargo build`; the first time takes a minute or two"
        ));
    }
    let enode = node.enode();
    // Time for all readings of its sensor.
    let hold = args.seconds.max(2);
    let ready = match board::prepare(args.board, args.board_dir.as_ref(), &enode, hold)? {
        Ok(ready) => ready,
        Err(why) => {
            if !output.json {
                output.line(&format!("  no board: {why}"))?;
            }
            return Ok((None, Some(why)));
        }
    };
    if !output.json {
        if let Some(why) = &ready.why {
            output.line(&format!("  no {name}: {why}"))?;
        }
        output.line(&format!(
            "\n  {}, {}  →  dialler {} at {}:{}",
            ready.name,
            ready.form(),
            short_id(&enode.id),
            enode.host,
            enode.tcp
        ))?;
    }
    Ok((Some(ready.boot()?), None))
}

/// Whom the node has sessions with.
struct Seats<'a> {
    far: &'a mut dyn Far,
    board: Option<&'a mut Board>,
    guest: &'a Guest,
}

/// Shows the work and takes the far end's part of the chat, until all is done, the board too, or the session ended.
fn watch(
    work: &Arc<Work>,
    seats: Seats<'_>,
    pings: &mut Pings,
    output: Output,
) -> Result<(), Failure> {
    let Seats {
        far,
        mut board,
        guest,
    } = seats;
    let mut live = Live::start(output, work, 3 + usize::from(board.is_some()));
    let (mut said, mut next_line) = (0, Instant::now());
    let mut board_pings = None;
    loop {
        let board_runs = board.as_mut().is_some_and(|board| board.is_running());
        if work.is_done() && !board_runs {
            break;
        }
        if let Some(reason) = pings.peer.close_reason() {
            live.finish();
            return Err(Failure::session(reason));
        }
        if said < work.lines && Instant::now() >= next_line && far.say(&line(far.name(), said))? {
            said += 1;
            next_line += LINE_INTERVAL;
        }
        pings.tick();
        if board_pings.is_none() {
            board_pings = guest.peer().map(Pings::new);
        }
        board_pings.iter_mut().for_each(Pings::tick);
        // `echo` is the first of the node's protocols.
        let board = board.as_ref().map(|board| board_text(board, guest, 0));
        live.update(work, board, pings.peer.round_trip());
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

/// The protocols of a session at the dialling node, in the order of their codes; with the round trips of `work`.
fn lived(node: &Node, peer: &PeerHandle, work: Option<&Arc<Work>>) -> Vec<Lived> {
    let protocols = node.host().protocols().iter().enumerate();
    let mut lived: Vec<_> = protocols
        .filter_map(|(index, protocol)| {
            let capability = protocol.capability();
            let trips = work.and_then(|work| report::trips(work, capability.name.as_str()));
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
