//! From the boot parameters to connections.

use core::convert::Infallible;

use devp2p_core::capability::Protocol;
use devp2p_core::config::Local;
use devp2p_core::node_id::NodeId;
use devp2p_core::rlpx::NodeKey;
use devp2p_embassy::{Runner, Subprotocol};
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_time::{Duration, Timer, with_timeout};
use rand_core::{TryCryptoRng, TryRng};

use crate::fmt::{info, warning};
use crate::session::{self, PROTOCOLS, Resources};
use crate::socket::{Network, Socket};
use crate::{Parameters, Remote, Status};

/// How often a connection is tried.
const ATTEMPTS: u32 = 5;
/// How long one may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the work may take to end after the session has.
const GRACE: Duration = Duration::from_secs(1);
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);

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

/// Runs as many sessions as the parameters say, one after the other with the same memory, dialling or dialled. Needs one socket
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
    let made = devp2p_embassy::new(resources, identity.key, local, configuration());
    let Ok((mut runner, _, [mut echo, mut sensor])) = made else {
        return Status::BadParameters;
    };
    let mut status = Status::Success;
    for _ in 0..parameters.sessions {
        let peer = Parts {
            runner: &mut runner,
            echo: &mut echo,
            sensor: &mut sensor,
        };
        if one(network, parameters, payload, peer, entropy).await != Status::Success {
            status = Status::Failure;
        }
    }
    status
}

/// The handshake has more time than the default: an emulated board is slow, and so are small ones.
fn configuration() -> devp2p_core::config::Config {
    let mut config = devp2p_core::config::Config::new();
    config.handshake_timeout = devp2p_core::time::Duration::from_secs(20);
    config
}

/// What one session is run with.
struct Parts<'r> {
    runner: &'r mut Runner<'static, NoopRawMutex, PROTOCOLS>,
    echo: &'r mut Subprotocol<'static, NoopRawMutex, PROTOCOLS>,
    sensor: &'r mut Subprotocol<'static, NoopRawMutex, PROTOCOLS>,
}

/// One connection and its session.
async fn one(
    network: &mut impl Network,
    parameters: &Parameters,
    payload: &mut [u8],
    peer: Parts<'_>,
    entropy: fn(&mut [u8]),
) -> Status {
    let mut socket = network.socket();
    let connected = match (parameters.remote, parameters.listen) {
        (Some(remote), _) => dial(&mut socket, remote).await,
        (None, Some(port)) => accept(&mut socket, port).await,
        (None, None) => return Status::BadParameters,
    };
    if !connected {
        return Status::Failure;
    }
    let id = parameters.remote.map(|remote| NodeId(remote.id));
    let (mut reader, mut writer) = socket.split();
    let mut rng = Source(entropy);
    let Parts {
        runner,
        echo,
        sensor,
    } = peer;
    let hold = Duration::from_secs(parameters.hold.into());
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
    let echoes = async {
        match id {
            Some(_) => session::ask(echo, hold, payload).await,
            None => session::answer(echo, payload).await,
        }
    };
    let work = join(echoes, session::sense(sensor));
    // Handles wait for the next session if this one never becomes active: the runner knows.
    let (reason, done) = both(session, work).await;
    drop((reader, writer));
    // A socket that is dropped is forgotten: what it has still to say must be said before.
    let _ = with_timeout(CONNECT, socket.flush()).await;
    info!("the session ended: {:?}", reason);
    match done {
        Some((Ok(()), Ok(()))) => Status::Success,
        Some((echo, sensor)) => {
            warning!("echo {:?}, sensor {:?}", echo, sensor);
            Status::Failure
        }
        None => Status::Failure,
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
    for attempt in 1..=ATTEMPTS {
        match with_timeout(CONNECT, socket.connect(remote.address)).await {
            Ok(Ok(())) => {
                info!("connected to port {}", remote.address.port());
                return true;
            }
            Ok(Err(error)) => warning!("attempt {}: {:?}", attempt, error),
            Err(_) => warning!("attempt {}: no answer", attempt),
        }
        socket.abort();
        Timer::after(PAUSE).await;
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
