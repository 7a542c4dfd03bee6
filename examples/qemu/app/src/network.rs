//! From the boot parameters to connections.

use core::cell::RefCell;

use embassy_net::tcp::TcpSocket;
use embassy_net::{Config, Ipv4Cidr, Stack, StaticConfigV4};
use embassy_time::{Duration, Timer, with_timeout};

use crate::fmt::{info, warning};
use crate::{Parameters, Remote, Status, session, transport};

/// How often a connection is tried.
const ATTEMPTS: u32 = 5;
/// How long one may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// The memory that connections need: buffers of `RX` and `TX` bytes for TCP. Fits in a `StaticCell`.
#[derive(Debug)]
pub struct Memory<const RX: usize, const TX: usize> {
    receive: [u8; RX],
    transmit: [u8; TX],
}

impl<const RX: usize, const TX: usize> Memory<RX, TX> {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            receive: [0; RX],
            transmit: [0; TX],
        }
    }
}

impl<const RX: usize, const TX: usize> Default for Memory<RX, TX> {
    fn default() -> Self {
        Self::new()
    }
}

/// What the network stack is to be configured with.
pub fn config(parameters: &Parameters) -> Config {
    Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(parameters.address, 24),
        gateway: Some(parameters.gateway),
        dns_servers: Default::default(),
    })
}

/// Runs as many sessions as the parameters say, one after the other, dialling or dialled. Needs one TCP socket of `stack`, and
/// `entropy` to fill bytes from a random source that is good enough for keys.
pub async fn run<const RX: usize, const TX: usize>(
    stack: Stack<'_>,
    parameters: &Parameters,
    memory: &mut Memory<RX, TX>,
    entropy: fn(&mut [u8]),
) -> Status {
    let _ = entropy;
    stack.wait_config_up().await;
    let mut status = Status::Success;
    for _ in 0..parameters.sessions {
        if one(stack, parameters, memory).await != Status::Success {
            status = Status::Failure;
        }
    }
    status
}

/// One connection and its session.
async fn one<const RX: usize, const TX: usize>(
    stack: Stack<'_>,
    parameters: &Parameters,
    memory: &mut Memory<RX, TX>,
) -> Status {
    let mut socket = TcpSocket::new(stack, &mut memory.receive, &mut memory.transmit);
    let connected = match (parameters.remote, parameters.listen) {
        (Some(remote), _) => dial(&mut socket, remote).await,
        (None, Some(port)) => accept(&mut socket, port).await,
        (None, None) => return Status::BadParameters,
    };
    if !connected {
        return Status::Failure;
    }
    let socket = RefCell::new(socket);
    let (reader, writer) = transport::split(&socket);
    let ended = session::run(reader, writer, parameters.remote.is_some()).await;
    let mut socket = socket.into_inner();
    if ended.is_err() {
        socket.abort();
    }
    // A socket that is dropped is forgotten: what it has still to say must be said before.
    let _ = with_timeout(CONNECT, socket.flush()).await;
    match ended {
        Ok(()) => {
            info!("the session ended as it should");
            Status::Success
        }
        Err(error) => {
            warning!("the session ended: {:?}", error);
            Status::Failure
        }
    }
}

async fn dial(socket: &mut TcpSocket<'_>, remote: Remote) -> bool {
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

async fn accept(socket: &mut TcpSocket<'_>, port: u16) -> bool {
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
