//! The application over embassy-net: what the boards run.

use core::cell::RefCell;
use core::net::SocketAddrV4;

use embassy_net::tcp::{AcceptError, ConnectError, Error, TcpSocket};
use embassy_net::{Config, Ipv4Cidr, Stack, StaticConfigV4};

use crate::session::{LARGEST, Resources};
use crate::socket::{Network, Socket};
use crate::transport::{Reader, Writer, split};
use crate::{Identity, Parameters, Status, network};

/// The memory that connections need: buffers of `RX` and `TX` bytes for TCP, and one for a payload. Fits in a `StaticCell`.
#[derive(Debug)]
pub struct Memory<const RX: usize, const TX: usize> {
    receive: [u8; RX],
    transmit: [u8; TX],
    payload: [u8; LARGEST],
}

impl<const RX: usize, const TX: usize> Memory<RX, TX> {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            receive: [0; RX],
            transmit: [0; TX],
            payload: [0; LARGEST],
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

/// [`network::run`] over `stack`, of which it needs one TCP socket.
pub async fn run<const RX: usize, const TX: usize>(
    stack: Stack<'_>,
    parameters: &Parameters,
    memory: &mut Memory<RX, TX>,
    resources: &'static mut Resources,
    identity: Identity,
    entropy: fn(&mut [u8]),
) -> Status {
    stack.wait_config_up().await;
    let mut tcp = Tcp {
        stack,
        receive: &mut memory.receive,
        transmit: &mut memory.transmit,
    };
    let payload = &mut memory.payload;
    network::run(&mut tcp, parameters, payload, resources, identity, entropy).await
}

/// One socket at a time, with the same buffers.
struct Tcp<'m> {
    stack: Stack<'m>,
    receive: &'m mut [u8],
    transmit: &'m mut [u8],
}

impl Network for Tcp<'_> {
    type Socket<'s>
        = RefCell<TcpSocket<'s>>
    where
        Self: 's;

    fn socket(&mut self) -> Self::Socket<'_> {
        RefCell::new(TcpSocket::new(self.stack, self.receive, self.transmit))
    }
}

impl<'s> Socket for RefCell<TcpSocket<'s>> {
    type ConnectError = ConnectError;
    type AcceptError = AcceptError;
    type FlushError = Error;
    type Reader<'a>
        = Reader<'a, 's>
    where
        Self: 'a;
    type Writer<'a>
        = Writer<'a, 's>
    where
        Self: 'a;

    async fn connect(&mut self, remote: SocketAddrV4) -> Result<(), ConnectError> {
        self.get_mut().connect(remote).await
    }

    async fn accept(&mut self, port: u16) -> Result<(), AcceptError> {
        self.get_mut().accept(port).await
    }

    fn abort(&mut self) {
        self.get_mut().abort();
    }

    fn split(&mut self) -> (Reader<'_, 's>, Writer<'_, 's>) {
        split(self)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.get_mut().flush().await
    }
}
