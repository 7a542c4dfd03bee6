//! From the boot parameters to connections.

use core::convert::Infallible;

use devp2p_core::capability::Protocol;
use devp2p_core::config::{Config, Local};
use devp2p_core::node_id::NodeId;
use devp2p_core::rlpx::NodeKey;
use devp2p_embassy::{Runner, Subprotocol};
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_time::{Duration, Timer, with_timeout};
use rand_core::{TryCryptoRng, TryRng};

use crate::fmt::{info, warning};
use crate::session::{self, Failure, PROTOCOLS, Peer, Plan, Resources};
use crate::socket::{Network, Socket};
use crate::{Parameters, Remote, Status};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the work may take to end after the session has.
const GRACE: Duration = Duration::from_secs(1);
/// Before the next connection, after a session that was lost; doubled each time that there is none.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What a peer is made of besides its memory.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The node's key.
    pub key: &'static NodeKey,
    /// What runs on it.
    pub protocols: &'static [Protocol],
    /// What Hello calls it.
    pub client_name: &'static str,
}

/// Runs sessions until the work was done in as many as the parameters say, one after the other with the same memory, dialling or
/// dialled; after one that was lost it connects again, as often as the parameters allow. Needs one socket
/// of `network` at a time, a `payload` buffer of [`LARGEST`](session::LARGEST) bytes, and `entropy` to fill bytes from a random
/// source that is good enough for keys.
pub async fn run(
    network: &mut impl Network,
    parameters: &Parameters,
    payload: &mut [u8],
    resources: &'static mut Resources,
    identity: Identity,
    entropy: fn(&mut [u8]),
) -> Status {
    let local = Local {
        id: *identity.key.id(),
        client_name: identity.client_name,
        version: 5,
        listen_port: parameters.listen.unwrap_or(0),
        protocols: identity.protocols,
    };
    let made = devp2p_embassy::new(resources, identity.key, local, configuration(parameters));
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
    entropy: fn(&mut [u8]),
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
    let mut rng = Source(entropy);
    let Parts {
        runner,
        peer,
        echo,
        sensor,
        plan,
    } = parts;
    let session = async {
        match id {
            Some(id) => {
                let ended = runner.dial(id, &mut rng, &mut reader, &mut writer).await;
                ended.reason
            }
            None => {
                let everyone = |_| Ok(());
                let ended = runner
                    .accept(&mut rng, &mut reader, &mut writer, everyone)
                    .await;
                ended.reason
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

/// Random bytes as the runner takes them.
struct Source(fn(&mut [u8]));

impl TryRng for Source {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        (self.0)(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        (self.0)(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        (self.0)(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Source {}

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
