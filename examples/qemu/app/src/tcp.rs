//! The application over embassy-net: what the boards with a network card run.

use core::net::SocketAddrV4;
use core::pin::pin;

use devp2p_embassy::tcp::{Connection, TcpReader, TcpWriter};
use embassy_futures::select::{Either, select};
use embassy_net::driver::Driver;
use embassy_net::tcp::{AcceptError, ConnectError, Error, TcpSocket};
use embassy_net::{Config, Ipv4Cidr, Stack, StackResources, StaticConfigV4};

use crate::socket::{Network, Socket};
use crate::{Parameters, Status, network};

/// The memory of a peer and of its connections: buffers of `RX` and `TX` bytes for TCP.
#[derive(Debug)]
pub struct Memory<const RX: usize, const TX: usize> {
    peer: crate::Memory,
    stack: Sockets,
    receive: [u8; RX],
    transmit: [u8; TX],
}

/// One for a connection, and one that the stack may want for itself.
struct Sockets(StackResources<2>);

impl core::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sockets")
    }
}

impl<const RX: usize, const TX: usize> Memory<RX, TX> {
    /// Fits in a `ConstStaticCell`.
    pub const fn new() -> Self {
        Self {
            peer: crate::Memory::new(),
            stack: Sockets(StackResources::new()),
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

/// What the network stack is configured with.
fn config(parameters: &Parameters) -> Config {
    Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(parameters.address, 24),
        gateway: Some(parameters.gateway),
        dns_servers: Default::default(),
    })
}

/// [`network::run`] over a stack of its own on this network card, with a fixed address.
pub async fn serve<const RX: usize, const TX: usize>(
    card: impl Driver,
    parameters: &mut Parameters,
    client_name: &'static str,
    memory: &'static mut Memory<RX, TX>,
    mut entropy: impl FnMut(&mut [u8]),
) -> Status {
    let Memory {
        peer,
        stack: Sockets(resources),
        receive,
        transmit,
    } = memory;
    let mut seed = [0; 8];
    entropy(&mut seed);
    let seed = u64::from_le_bytes(seed);
    let (stack, mut runner) = embassy_net::new(card, config(parameters), resources, seed);
    let mut tcp = Tcp {
        stack,
        receive,
        transmit,
    };
    // Pinned where they are made: a future that is moved needs its memory twice.
    let work = pin!(async {
        stack.wait_config_up().await;
        network::run(&mut tcp, parameters, client_name, peer, &mut entropy).await
    });
    let network = pin!(runner.run());
    match select(network, work).await {
        Either::First(never) => never,
        Either::Second(status) => status,
    }
}

/// One socket at a time, with the same buffers.
struct Tcp<'m> {
    stack: Stack<'m>,
    receive: &'m mut [u8],
    transmit: &'m mut [u8],
}

impl Network for Tcp<'_> {
    type Socket<'s>
        = Connection<'s>
    where
        Self: 's;

    fn socket(&mut self) -> Connection<'_> {
        Connection::from(TcpSocket::new(self.stack, self.receive, self.transmit))
    }
}

impl<'s> Socket for Connection<'s> {
    type ConnectError = ConnectError;
    type AcceptError = AcceptError;
    type FlushError = Error;
    type Reader<'a>
        = TcpReader<'a, 's>
    where
        Self: 'a;
    type Writer<'a>
        = TcpWriter<'a, 's>
    where
        Self: 'a;

    async fn connect(&mut self, remote: SocketAddrV4) -> Result<(), ConnectError> {
        self.socket().connect(remote).await
    }

    async fn accept(&mut self, port: u16) -> Result<(), AcceptError> {
        self.socket().accept(port).await
    }

    fn abort(&mut self) {
        self.socket().abort();
    }

    fn split(&mut self) -> (TcpReader<'_, 's>, TcpWriter<'_, 's>) {
        Connection::split(self)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.socket().flush().await
    }
}
