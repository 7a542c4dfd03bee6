//! A TCP connection that is being made, within a time limit, and that another thread can call off.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use mio::{Events, Interest, Poll, Token, Waker};

const SOCKET: Token = Token(0);
const CALLED_OFF: Token = Token(1);

/// Connects to `address` before `deadline`. `begin` is given what calls it off, and says whether to go on at all.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] at the deadline, [`io::ErrorKind::Interrupted`] if called off, else what the system says.
pub(super) fn connect(
    address: SocketAddr,
    deadline: Instant,
    begin: impl FnOnce(Arc<Waker>) -> bool,
) -> io::Result<TcpStream> {
    let mut poll = Poll::new()?;
    if !begin(Arc::new(Waker::new(poll.registry(), CALLED_OFF)?)) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let mut stream = mio::net::TcpStream::connect(address)?;
    poll.registry()
        .register(&mut stream, SOCKET, Interest::WRITABLE)?;
    let mut events = Events::with_capacity(2);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match poll.poll(&mut events, Some(left)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        if events.iter().any(|event| event.token() == CALLED_OFF) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        // As mio advises: writable alone does not say that the connection is made.
        if stream.peer_addr().is_ok() {
            poll.registry().deregister(&mut stream)?;
            return Ok(stream.into());
        }
    }
}
