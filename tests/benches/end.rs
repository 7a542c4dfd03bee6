//! Our end of a measured session: a node in a process of its own, told what to do on standard input. The twin of
//! `bench_end.go`.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use devp2p_core::rlpx::NodeKey;
use devp2p_std::enode::{Enode, Host::Ip};
use devp2p_std::handle::Subprotocol;
use devp2p_std::host::Host;
use devp2p_std::node::Node;
use devp2p_std::protocol::{Failure, Protocol};
use devp2p_std::session::Session;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::console::{self, Answer};
use crate::jobs::{self, Do, Job};
use crate::{ceiling, end_loop, handshakes};

/// How long a subprotocol may take to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// Sessions that a listening end takes.
pub(crate) const MAX_SESSIONS: usize = 100_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The number of subprotocols: bench/1, bench2/1, ...
    #[serde(default = "one")]
    lanes: usize,
    /// Active subprotocols do the jobs of `run`; others serve.
    #[serde(default)]
    active: bool,
    /// How sessions are driven: by `threads`, or by a `loop`, which only serves.
    #[serde(default)]
    form: Form,
}

/// How the sessions of an end are driven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// A thread for each subprotocol of each session.
    #[default]
    Threads,
    /// A few threads for all sessions.
    Loop,
}

fn one() -> usize {
    1
}

/// A job, and where its result goes.
type Order = (Job, Sender<Answer>);

/// What the console shares with the run closures.
struct Lanes {
    orders: Vec<Sender<Order>>,
    live: Arc<AtomicUsize>,
    started: Receiver<()>,
    stop: Arc<AtomicBool>,
}

/// The process: until its input ends.
pub(crate) fn run(config: &str) -> Answer {
    let config: Config = serde_json::from_str(config).map_err(|error| error.to_string())?;
    if config.form == Form::Loop {
        return end_loop::run(config.lanes);
    }
    let (protocols, lanes) = protocols(&config);
    let mut host = Host::builder(fresh_key()?).client_name("devp2p-bench");
    for protocol in protocols {
        host = host.protocol(protocol);
    }
    let node = Node::builder(host.build().map_err(text)?)
        .listen("127.0.0.1:0")
        .max_peers(MAX_SESSIONS)
        .start()
        .map_err(text)?;
    console::ready(json!({"enode": node.enode().to_string(), "pid": std::process::id()}));
    console::run(|name, command| match name {
        "dial" => dial(&node, &lanes, &enode(command)?),
        "run" => lanes.run(command),
        // There is nothing to be collected.
        "settle" => Ok(Value::Null),
        "sessions" => Ok(json!({"live": lanes.live.load(Ordering::Relaxed) / lanes.orders.len()})),
        "crowd" => crowd(&enode(command)?, command["count"].as_u64().unwrap_or(0)),
        "handshakes" => handshakes::measure(command["count"].as_u64().unwrap_or(1000)),
        "limits" => ceiling::limits(),
        _ => Err(format!("there is no command {name:?}")),
    })
}

fn protocols(config: &Config) -> (Vec<Protocol>, Lanes) {
    let live = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (starting, started) = channel();
    let (mut protocols, mut orders) = (Vec::new(), Vec::new());
    for lane in 0..config.lanes {
        let (order, incoming) = channel();
        let incoming = Mutex::new(incoming);
        let (starting, live, stop) = (starting.clone(), Arc::clone(&live), Arc::clone(&stop));
        let is_active = config.active;
        protocols.push(bench_protocol(lane, move |subprotocol| {
            live.fetch_add(1, Ordering::Relaxed);
            let result = match is_active {
                true => {
                    let _ = starting.send(());
                    obey(subprotocol, &incoming, &stop)
                }
                false => jobs::serve(subprotocol),
            };
            live.fetch_sub(1, Ordering::Relaxed);
            result
        }));
        orders.push(order);
    }
    let lanes = Lanes {
        orders,
        live,
        started,
        stop,
    };
    (protocols, lanes)
}

pub(crate) fn lane_name(lane: usize) -> String {
    match lane {
        0 => "bench".to_owned(),
        _ => format!("bench{}", lane + 1),
    }
}

fn bench_protocol(
    lane: usize,
    run: impl Fn(&mut Subprotocol) -> Result<(), Failure> + Send + Sync + 'static,
) -> Protocol {
    Protocol::new(&lane_name(lane), 1, 8, run).expect("a capability's name")
}

/// Does one job after the other, in the thread of the run closure.
fn obey(
    subprotocol: &mut Subprotocol,
    incoming: &Mutex<Receiver<Order>>,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let incoming = incoming.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok((job, done)) = incoming.recv() {
        let answer = job.run(subprotocol, stop);
        let failed = answer.is_err();
        let _ = done.send(answer);
        if failed {
            break;
        }
    }
    Ok(())
}

impl Lanes {
    /// All jobs begin at once. Those that have no end of their own end with the last of the others.
    fn run(&self, command: &Value) -> Answer {
        let jobs: Vec<Job> = Deserialize::deserialize(&command["jobs"]).map_err(text)?;
        self.stop.store(false, Ordering::Relaxed);
        let started = Instant::now();
        let mut running = Vec::new();
        for job in jobs {
            let (done, result) = channel();
            let orders = self.orders.get(job.lane).ok_or("there is no such lane")?;
            running.push((job.work == Do::Bulk, result));
            orders.send((job, done)).map_err(text)?;
        }
        let mut results = vec![Value::Null; running.len()];
        for last in [false, true] {
            for (index, (is_bulk, result)) in running.iter().enumerate() {
                if *is_bulk == last {
                    results[index] = result.recv().map_err(text)??;
                }
            }
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(json!({"seconds": started.elapsed().as_secs_f64(), "results": results}))
    }
}

/// Opens the session and waits until all its subprotocols run.
fn dial(node: &Node, lanes: &Lanes, enode: &Enode) -> Answer {
    node.dial(enode).map_err(text)?;
    for _ in &lanes.orders {
        let started = lanes.started.recv_timeout(PATIENCE);
        started.map_err(|_| "a subprotocol does not start")?;
    }
    Ok(Value::Null)
}

/// Opens sessions that only ping, each of another identity, since a node has at most one session with each.
fn crowd(enode: &Enode, count: u64) -> Answer {
    for _ in 0..count {
        let (starting, started) = channel();
        let serve = bench_protocol(0, move |subprotocol| {
            let _ = starting.send(());
            jobs::serve(subprotocol)
        });
        let host = Host::builder(fresh_key()?).protocol(serve);
        let host = host.build().map_err(text)?;
        let Ip(ip) = enode.host else {
            return Err("the enode names no address".to_owned());
        };
        let stream = TcpStream::connect((ip, enode.tcp)).map_err(text)?;
        let session = Session::dial(&host, stream, enode.id).map_err(text)?;
        thread::Builder::new()
            .spawn(move || session.run())
            .map_err(text)?;
        let started = started.recv_timeout(PATIENCE);
        started.map_err(|_| "a subprotocol does not start")?;
    }
    Ok(Value::Null)
}

pub(crate) fn fresh_key() -> Result<NodeKey, String> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(text)?;
    // A secret that is not below the group order is too rare to care.
    NodeKey::new(&secret).map_err(text)
}

fn enode(command: &Value) -> Result<Enode, String> {
    let url = command["enode"].as_str().unwrap_or_default();
    url.parse().map_err(text)
}

pub(crate) fn text(error: impl ToString) -> String {
    error.to_string()
}
