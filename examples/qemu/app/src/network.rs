//! From the boot parameters to connections.

use core::convert::Infallible;

use devp2p_core::config::{Config, Local};
use devp2p_core::node_id::NodeId;
use devp2p_core::rlpx::Entropy;
use devp2p_embassy::{Runner, Subprotocol};
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_time::{Duration, Timer, with_timeout};

use crate::fmt::{info, warning};
use crate::session::{self, Failure, PROTOCOLS, Peer, Plan};
use crate::socket::{Network, Socket};
use crate::{Memory, Parameters, Remote, Status};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the work may take to end after the session has.
const GRACE: Duration = Duration::from_secs(1);
/// Before the next connection, after a session that was lost; doubled each time that there is none.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Runs sessions until the work was done in as many as the parameters say, one after the other with the same memory, dialling or
/// dialled; after one that was lost it connects again, as often as the parameters allow. Needs one socket of `network` at a time,
/// and `entropy` to fill bytes from a random source that is good enough for keys. Hello calls the node `client_name`; its key is
/// taken out of the parameters, or made.
pub async fn run(
    network: &mut impl Network,
    parameters: &mut Parameters,
    client_name: &'static str,
    memory: &'static mut Memory,
    entropy: &mut impl FnMut(&mut [u8]),
) -> Status {
    let Memory { peer, payload, key } = memory;
    let Some(key) = crate::key(key, parameters, entropy) else {
        return Status::BadParameters;
    };
    info!("this node is {}", key.id());
    let local = Local {
        id: *key.id(),
        client_name,
        version: 5,
        listen_port: parameters.listen.unwrap_or(0),
        protocols: &session::REGISTERED,
    };
    let made = devp2p_embassy::new(peer, key, local, configuration(parameters));
    let Ok((mut runner, peer, [mut echo, mut sensor])) = made else {
        return Status::BadParameters;
    };
    let (mut done, mut lost, mut pause) = (0, 0, PAUSE);
    while done < parameters.sessions {
        let parts = Parts {
            runner: &mut runner,
            peer,
            echo: &mut echo,
            sensor: &mut sensor,
            plan: plan(parameters, done),
        };
        match one(network, parameters, payload, parts, entropy).await {
            Outcome::Done => {
                done += 1;
                pause = PAUSE;
                continue;
            }
            Outcome::Wrong => return Status::Failure,
            Outcome::Lost => pause = PAUSE,
            Outcome::Refused => {}
        }
        if lost == parameters.retries {
            return Status::Failure;
        }
        lost += 1;
        if parameters.remote.is_none() {
            continue;
        }
        info!("again in {} ms", pause.as_millis());
        Timer::after(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    Status::Success
}

/// What is to be done in the next session, after so many.
fn plan(parameters: &Parameters, done: u32) -> Plan {
    let asks = parameters.remote.is_some();
    let hold = match parameters.until {
        Some(_) => None,
        // Who was dialled leaves the end to the remote.
        None => parameters.hold.or(asks.then_some(0)),
    };
    Plan {
        asks,
        hold: hold.map(|seconds| Duration::from_secs(seconds.into())),
        reason: parameters.reasons.of(done),
        until: parameters.until,
    }
}

/// The handshake has more time than the default: an emulated board is slow, and so are small ones.
fn configuration(parameters: &Parameters) -> Config {
    let mut config = Config::new();
    config.handshake_timeout = seconds(20);
    if let Some(ping) = parameters.ping {
        config.ping_interval = seconds(ping);
        config.pong_timeout = seconds(ping);
    }
    config
}

fn seconds(seconds: u32) -> devp2p_core::time::Duration {
    devp2p_core::time::Duration::from_secs(seconds.into())
}

/// How a connection and its session went.
enum Outcome {
    /// The work was done.
    Done,
    /// The session ended before that.
    Lost,
    /// There was no session.
    Refused,
    /// What happened in the session is not as it should be.
    Wrong,
}

/// What one session is run with.
struct Parts<'r> {
    runner: &'r mut Runner<'static, NoopRawMutex, PROTOCOLS>,
    peer: Peer,
    echo: &'r mut Subprotocol<'static, NoopRawMutex, PROTOCOLS>,
    sensor: &'r mut Subprotocol<'static, NoopRawMutex, PROTOCOLS>,
    plan: Plan,
}

/// One connection and its session.
async fn one(
    network: &mut impl Network,
    parameters: &Parameters,
    payload: &mut [u8],
    parts: Parts<'_>,
    entropy: &mut impl FnMut(&mut [u8]),
) -> Outcome {
    let mut socket = network.socket();
    let connected = match (parameters.remote, parameters.listen) {
        (Some(remote), _) => dial(&mut socket, remote).await,
        (None, Some(port)) => accept(&mut socket, port).await,
        (None, None) => return Outcome::Wrong,
    };
    if !connected {
        socket.abort();
        return Outcome::Refused;
    }
    let id = parameters.remote.map(|remote| NodeId(remote.id));
    let (mut reader, mut writer) = socket.split();
    let Parts {
        runner,
        peer,
        echo,
        sensor,
        plan,
    } = parts;
    let session = async {
        let entropy = draw(entropy);
        match id {
            Some(id) => {
                let ended = runner.dial_with(id, entropy, &mut reader, &mut writer);
                ended.await.reason
            }
            None => {
                let everyone = |_| Ok(());
                let ended = runner.accept_with(entropy, &mut reader, &mut writer, everyone);
                ended.await.reason
            }
        }
    };
    let echoes = session::work(echo, peer, plan, payload);
    let work = join(echoes, session::sense(sensor));
    // Handles wait for the next session if this one never becomes active: the runner knows.
    let (reason, done) = both(session, work).await;
    drop((reader, writer));
    // A socket that is dropped is forgotten: what it has still to say must be said before.
    let _ = with_timeout(CONNECT, socket.flush()).await;
    info!("the session ended: {:?}", reason);
    match done {
        Some((Ok(()), Ok(()))) => {
            info!("{} of our Pings were answered", peer.info().await.pongs);
            Outcome::Done
        }
        Some((Err(Failure::Closed(_)), Ok(()))) => Outcome::Lost,
        Some((echo, sensor)) => {
            warning!("echo {:?}, sensor {:?}", echo, sensor);
            Outcome::Wrong
        }
        None => Outcome::Refused,
    }
}

fn draw(entropy: &mut impl FnMut(&mut [u8])) -> Entropy {
    let drawn = Entropy::try_fill_with(|bytes| {
        entropy(bytes);
        Ok::<_, Infallible>(())
    });
    match drawn {
        Ok(entropy) => entropy,
        Err(never) => match never {},
    }
}

/// Runs `work` beside the session. Once the session has ended the work has a moment to end too: `None` if it does not.
async fn both<S, W>(
    session: impl Future<Output = S>,
    work: impl Future<Output = W>,
) -> (S, Option<W>) {
    let mut work = core::pin::pin!(work);
    let mut session = core::pin::pin!(session);
    match select(session.as_mut(), work.as_mut()).await {
        Either::First(ended) => (ended, with_timeout(GRACE, work).await.ok()),
        Either::Second(done) => (session.await, Some(done)),
    }
}

async fn dial(socket: &mut impl Socket, remote: Remote) -> bool {
    match with_timeout(CONNECT, socket.connect(remote.address)).await {
        Ok(Ok(())) => {
            info!("connected to port {}", remote.address.port());
            return true;
        }
        Ok(Err(error)) => warning!("no connection: {:?}", error),
        Err(_) => warning!("no connection: no answer"),
    }
    false
}

async fn accept(socket: &mut impl Socket, port: u16) -> bool {
    info!("listening on port {}", port);
    match socket.accept(port).await {
        Ok(()) => {
            info!("a connection came");
            true
        }
        Err(error) => {
            warning!("cannot listen: {:?}", error);
            false
        }
    }
}
