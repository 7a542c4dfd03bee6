//! The thread of one dial: look up, connect, and the session.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{io, thread};

use super::connect::connect;
use super::error::DialError;
use super::shared::Shared;
use super::table::Abort;
use crate::enode::{Enode, Host};
use crate::session::Session;

/// What a dial that looks up a name hears.
pub(super) enum Lookup {
    Found(io::Result<Vec<SocketAddr>>),
    CalledOff,
}

/// A dial timeout beyond this is as good as none, and far from where the clock ends.
pub(super) const LONGEST_DIAL: Duration = Duration::from_secs(24 * 60 * 60);

impl Shared {
    /// Dials, and runs the session.
    pub(super) fn run_dial(self: &Arc<Self>, ticket: u64, enode: &Enode) -> Result<(), DialError> {
        let stream = self.connect(ticket, enode)?;
        let session = Session::dial(&self.host, stream, enode.id)
            .map_err(|error| DialError::System(Arc::new(error)))?;
        self.open(ticket, &session)?;
        self.run(ticket, session, |report| match report.was_active {
            true => Ok(report),
            false => Err(DialError::Closed(report.reason)),
        });
        Ok(())
    }

    fn connect(&self, ticket: u64, enode: &Enode) -> Result<TcpStream, DialError> {
        let deadline = Instant::now() + self.dial_timeout.min(LONGEST_DIAL);
        let addresses = self.look_up(ticket, enode, deadline)?;
        let mut result = Err(DialError::TimedOut(self.dial_timeout));
        for (i, &address) in addresses.iter().enumerate() {
            // Each address has its share of the time that is left, so that a dead one leaves some to the others.
            let share = (addresses.len() - i).try_into().unwrap_or(u32::MAX);
            let left = deadline.saturating_duration_since(Instant::now());
            let until = Instant::now() + left / share;
            let begin = |waker| self.set_abort(ticket, Abort::Connect(waker));
            match connect(address, until, begin) {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    return Err(self.called_off());
                }
                Err(error)
                    if error.kind() == io::ErrorKind::TimedOut && Instant::now() >= until => {}
                Err(error) => {
                    let error = Arc::new(error);
                    result = Err(DialError::Connect { address, error });
                }
            }
        }
        result
    }

    fn look_up(
        &self,
        ticket: u64,
        enode: &Enode,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let not_found = |error| DialError::Lookup(Arc::new(error));
        if matches!(enode.host, Host::Ip(_)) {
            return Ok(enode.to_socket_addrs().map_err(not_found)?.collect());
        }
        let (sender, receiver) = mpsc::channel();
        if !self.set_abort(ticket, Abort::Lookup(sender.clone())) {
            return Err(self.called_off());
        }
        // Nothing interrupts the system's look-up, so it has a thread of its own, which nobody waits for.
        let enode = enode.clone();
        thread::Builder::new()
            .name("devp2p-lookup".to_owned())
            .spawn(move || {
                let found = enode.to_socket_addrs().map(Iterator::collect);
                drop(sender.send(Lookup::Found(found)));
            })
            .map_err(|error| DialError::System(Arc::new(error)))?;
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(Lookup::Found(found)) => found.map_err(not_found),
            Ok(Lookup::CalledOff) => Err(self.called_off()),
            Err(_) => Err(DialError::TimedOut(self.dial_timeout)),
        }
    }
}
