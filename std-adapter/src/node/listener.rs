//! The thread that accepts connections, as long as sessions may open.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::transport::canonical;

const SOCKET: Token = Token(0);
const WOKEN: Token = Token(1);

/// How long to wait before accepting again after the system refused, as it does when it has no descriptors left.
const RETRY: Duration = Duration::from_millis(200);

/// Who takes the connections.
pub(crate) trait Acceptor {
    /// Whether to go on at all.
    fn is_open(&self) -> bool;
    /// Whether one more may be accepted now. Once it may again, the acceptor wakes the listener.
    fn has_room(&self) -> bool;
    /// Takes one. Must not block.
    fn accept(&self, stream: TcpStream, remote: SocketAddr);
}

#[derive(Debug)]
pub(crate) struct Listener {
    poll: Poll,
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address`; also returns what wakes the thread of [`run`](Self::run).
    pub(crate) fn bind(address: &str) -> io::Result<(Self, Arc<Waker>)> {
        // Through std, which takes names, and allows a port that was in use a moment ago.
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpListener::from_std(socket);
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut socket, SOCKET, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WOKEN)?);
        let address = socket.local_addr()?;
        let listener = Self {
            poll,
            socket,
            address,
        };
        Ok((listener, waker))
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the acceptor is closed and the listener is woken.
    pub(crate) fn run(mut self, acceptor: &impl Acceptor) {
        let mut events = Events::with_capacity(2);
        let mut retry = None;
        while acceptor.is_open() {
            if let Err(error) = self.poll.poll(&mut events, retry.take())
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("the listener on {} ends: {error}", self.address);
                return;
            }
            retry = self.accept_all(acceptor);
        }
    }

    /// Accepts what waits; returns how long to wait before trying again, if the system refused.
    fn accept_all(&self, acceptor: &impl Acceptor) -> Option<Duration> {
        while acceptor.is_open() && acceptor.has_room() {
            match self.socket.accept() {
                Ok((stream, remote)) => acceptor.accept(stream.into(), canonical(remote)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return None,
                    // Of a connection that is gone before it was accepted: the next one may be fine.
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset => {}
                    _ => {
                        log::warn!("accepting on {} failed: {error}", self.address);
                        return Some(RETRY);
                    }
                },
            }
        }
        None
    }
}
