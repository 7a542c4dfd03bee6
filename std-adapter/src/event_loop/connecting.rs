//! A TCP connection that is being made.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use devp2p_core::hello::NodeId;
use devp2p_core::time::Instant;
use mio::net::TcpStream;

use super::deadlines::Place;
use super::dialling::Reply;
use crate::node::DialError;
use crate::time::{to_core_duration, to_std_duration};

/// A dial that has no connection yet.
pub(super) struct Connecting {
    pub(super) socket: TcpStream,
    pub(super) id: NodeId,
    pub(super) reply: Reply,
    address: SocketAddr,
    /// Those to try after this one.
    rest: Vec<SocketAddr>,
    /// For this address, and for all of them.
    pub(super) until: Instant,
    deadline: Instant,
    timeout: Duration,
    pub(super) place: Place,
    pub(super) queued: bool,
}

/// Where a dial stands.
pub(super) enum Connected {
    /// Nothing happened.
    NotYet,
    Yes,
    /// This address failed.
    No,
}

/// A dial that begins, or goes on with its next address.
pub(super) struct Attempt {
    pub(super) id: NodeId,
    pub(super) reply: Reply,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
    /// Why the address before failed.
    pub(super) failed: Option<DialError>,
}

impl Attempt {
    /// Begins to connect to the first address that can be tried. `None` if there is none left: the dial was told so.
    pub(super) fn connect(mut self, now: Instant) -> Option<Connecting> {
        loop {
            if now >= self.deadline {
                self.failed.get_or_insert(DialError::TimedOut(self.timeout));
                self.addresses.clear();
            }
            if self.addresses.is_empty() {
                let error = self.failed.take();
                self.reply
                    .tell(Err(error.unwrap_or(DialError::TimedOut(self.timeout))));
                return None;
            }
            let share = self.addresses.len() as u64;
            let address = self.addresses.remove(0);
            // Each address has its share of the time that is left, so that a dead one leaves some to the others.
            let left = self.deadline.saturating_since(now).as_micros() / share;
            let until = Instant::from_micros(now.as_micros().saturating_add(left));
            match TcpStream::connect(address) {
                Ok(socket) => {
                    return Some(Connecting {
                        socket,
                        id: self.id,
                        reply: self.reply,
                        address,
                        rest: self.addresses,
                        until,
                        deadline: self.deadline,
                        timeout: self.timeout,
                        place: Place::default(),
                        queued: false,
                    });
                }
                Err(error) => self.failed = Some(connect_error(address, error)),
            }
        }
    }

    /// Until when a dial may take that begins now.
    pub(super) fn deadline(now: Instant, timeout: Duration) -> Instant {
        now.saturating_add(to_core_duration(timeout))
    }
}

fn connect_error(address: SocketAddr, error: io::Error) -> DialError {
    let error = Arc::new(error);
    DialError::Connect { address, error }
}

impl Connecting {
    /// Looks at the socket. An error is kept for the end of the dial.
    pub(super) fn check(&mut self, now: Instant, failed: &mut Option<DialError>) -> Connected {
        let error = match self.socket.take_error() {
            Ok(None) => None,
            Ok(Some(error)) | Err(error) => Some(error),
        };
        if let Some(error) = error {
            *failed = Some(connect_error(self.address, error));
            return Connected::No;
        }
        // As mio advises: writable alone does not say that the connection is made.
        if self.socket.peer_addr().is_ok() {
            return Connected::Yes;
        }
        match now >= self.until {
            true => Connected::No,
            false => Connected::NotYet,
        }
    }

    /// Gives up this address: what is left to try.
    pub(super) fn next(self, failed: Option<DialError>) -> Attempt {
        Attempt {
            id: self.id,
            reply: self.reply,
            addresses: self.rest,
            deadline: self.deadline,
            timeout: self.timeout,
            failed,
        }
    }
}

/// A dial timeout beyond this is as good as none.
pub(super) fn bounded(timeout: Duration) -> Duration {
    timeout.min(to_std_duration(devp2p_core::time::Duration::from_secs(
        24 * 60 * 60,
    )))
}
