//! How the event loop scales: 10, 100, 1 000 and 10 000 live encrypted sessions in one process, pinging, with traffic on a
//! tenth of them. Measures this process's memory, CPU and threads and how punctual it is; fails if a session is lost or the
//! threads are more than their bound. The remote ends are driven by the core alone, in a process of their own.

mod measure;
mod plot;
mod swarm;
mod traffic;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use devp2p_core::config::Config;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::event_loop::EventNode;
use devp2p_std::host::Host;
use devp2p_std::protocol::Protocol;

use measure::{Row, Usage};
use traffic::{Traffic, Watched};

type Failure = Box<dyn std::error::Error>;

/// Measures how the event loop scales from few sessions to many.
#[derive(Parser, Debug)]
struct Options {
    /// How many sessions to have at each step; each step adds to the one before.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000")]
    steps: Vec<usize>,
    /// Seconds from one Ping of a session to the next.
    #[arg(long, default_value_t = 15)]
    ping_interval: u64,
    /// Seconds that each step is measured for, at least; after all sessions have pinged. Default: twice the interval.
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads that drive sessions.
    #[arg(long, default_value_t = 2)]
    loops: usize,
    /// Where to write the figures.
    #[arg(long, default_value = "target/scale.json")]
    json: PathBuf,
    /// Where to draw them.
    #[arg(long, default_value = "tests/benches/scale.svg")]
    svg: PathBuf,
    /// The remote ends: dials this address. Not for use by hand.
    #[arg(long, hide = true)]
    remote_of: Option<SocketAddr>,
}

/// Descriptors besides those of the sessions.
const SPARE_DESCRIPTORS: u64 = 64;
/// How long one step may take to have its sessions.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.remote_of {
        Some(address) => swarm::run(address, options.ping_interval),
        None => run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The deadlines of both ends: the defaults, with patience for a thousand handshakes at once on a busy machine.
fn config(ping_interval: u64) -> Config {
    let mut config = Config::new();
    config.ping_interval = devp2p_core::time::Duration::from_secs(ping_interval);
    config.handshake_timeout = devp2p_core::time::Duration::from_secs(60);
    config
}

/// The key of the measured node.
fn server_key() -> Result<NodeKey, Failure> {
    Ok(NodeKey::new(&[7; 32]).map_err(|_| "the key is not valid")?)
}

fn run(options: &Options) -> Result<(), Failure> {
    let most = options.steps.iter().copied().max().unwrap_or(0);
    raise_descriptors(most as u64 + SPARE_DESCRIPTORS)?;
    let traffic = Arc::new(Traffic::default());
    let host = Host::builder(server_key()?)
        .protocol(Protocol::for_handlers("bench", 1, 2)?)
        .config(config(options.ping_interval))
        .build()?;
    let watched = Arc::clone(&traffic);
    let node = EventNode::with_handlers(host, move |_| Ok(Watched::new(&watched)))
        .listen("127.0.0.1:0")
        .loops(options.loops)
        .max_peers(most)
        .max_pending(256)
        .start()?;
    let address = node.local_addr().ok_or("the node does not listen")?;
    let mut remote = Remote::start(address, options.ping_interval)?;
    // The loops, the thread that connects, the host's timer, this thread and the one that reads what the remote process says.
    let most_threads = options.loops + 4;
    let idle = Usage::now()?;
    let mut rows = Vec::new();
    println!("{}", Row::HEAD);
    for &sessions in &options.steps {
        remote.grow(sessions)?;
        let row = step(options, &node, &traffic, sessions, &idle)?;
        println!("{row}");
        if row.threads > most_threads {
            return Err(format!("{} threads, the bound is {most_threads}", row.threads).into());
        }
        rows.push(row);
    }
    traffic.expect_end();
    let shutdown = node.shutdown();
    if shutdown.reports.len() != most || shutdown.unfinished > 0 {
        let ended = shutdown.reports.len();
        return Err(format!("{ended} of {most} sessions were there to be shut down").into());
    }
    remote.finish()?;
    write(&options.json, &serde_json::to_string_pretty(&rows)?)?;
    write(&options.svg, &plot::draw(&rows))?;
    println!(
        "no session was lost; figures in {}, plot in {}",
        options.json.display(),
        options.svg.display()
    );
    Ok(())
}

/// One plateau: every session pings at least once, then it is measured.
fn step(
    options: &Options,
    node: &EventNode,
    traffic: &Traffic,
    sessions: usize,
    idle: &Usage,
) -> Result<Row, Failure> {
    until("its sessions", || node.peer_count() == sessions)?;
    let handles = node.peers();
    let before: Vec<_> = handles.iter().map(|handle| handle.pongs()).collect();
    until("a Ping of each session to be answered", || {
        let mut all = handles.iter().zip(&before);
        all.all(|(handle, before)| handle.pongs() > *before)
    })?;
    let seconds = options.seconds.unwrap_or(2 * options.ping_interval);
    let (began, from, late) = (Instant::now(), Usage::now()?, node.punctuality());
    traffic.begin();
    thread::sleep(Duration::from_secs(seconds));
    let to = Usage::now()?;
    let elapsed = began.elapsed();
    let late = node.punctuality().since(&late);
    let trips = handles.iter().filter_map(|handle| handle.round_trip());
    let trips = measure::Spread::of(trips.collect());
    let echoes = traffic.end();
    if traffic.lost() > 0 || node.peer_count() != sessions {
        let lost = traffic.lost();
        return Err(format!("{lost} of {sessions} sessions were lost").into());
    }
    let row = Row {
        sessions,
        resident_bytes: to.resident,
        bytes_per_session: to.resident.saturating_sub(idle.resident) / sessions as u64,
        cpu_per_second: (to.cpu - from.cpu).as_secs_f64() / elapsed.as_secs_f64(),
        threads: to.threads,
        deadlines: late.count(),
        late_ms: measure::Spread::millis([late.quantile(0.5), late.quantile(0.99), late.max()]),
        pong_ms: trips,
        echoes: echoes.count,
        echo_ms: echoes.spread,
        seconds: elapsed.as_secs_f64(),
    };
    Ok(row)
}

/// Waits for something that the other threads bring about.
fn until(what: &str, mut come: impl FnMut() -> bool) -> Result<(), Failure> {
    let began = Instant::now();
    while !come() {
        if began.elapsed() > PATIENCE {
            return Err(format!("waited {} s for {what}", PATIENCE.as_secs()).into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn write(path: &PathBuf, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(())
}

/// Has this process, and those it starts, have so many descriptors.
fn raise_descriptors(needed: u64) -> Result<(), Failure> {
    let have = rlimit::increase_nofile_limit(needed)?;
    if have < needed {
        return Err(format!(
            "{needed} descriptors are needed and the system allows {have}: raise the limit (ulimit -Hn) or take fewer --steps"
        )
        .into());
    }
    Ok(())
}

/// The process with the remote ends.
struct Remote {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Remote {
    fn start(address: SocketAddr, ping_interval: u64) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--remote-of", &address.to_string()])
            .args(["--ping-interval", &ping_interval.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or("no pipe")?;
        let (sender, lines) = channel();
        thread::Builder::new()
            .name("remote".to_owned())
            .spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            })?;
        Ok(Self {
            process,
            input,
            lines,
        })
    }

    /// Waits until there are so many sessions.
    fn grow(&mut self, sessions: usize) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("no pipe")?;
        writeln!(input, "{sessions}")?;
        let said = self.lines.recv_timeout(PATIENCE);
        let said = said.map_err(|_| "the remote process does not answer, or died")?;
        if said != format!("active {sessions}") {
            return Err(format!("the remote process says: {said}").into());
        }
        Ok(())
    }

    /// All sessions have ended: it says how, and ends.
    fn finish(&mut self) -> Result<(), Failure> {
        let said = self.lines.recv_timeout(PATIENCE);
        let said = said.map_err(|_| "the remote process does not end")?;
        drop(self.input.take());
        let status = self.process.wait()?;
        if said != "ended well" || !status.success() {
            return Err(format!("the remote process says: {said}, {status}").into());
        }
        Ok(())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It has ended by itself, unless something failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
