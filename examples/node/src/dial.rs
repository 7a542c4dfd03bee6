//! One session with another node, for the commands that dial.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_std::enode::Enode;
use devp2p_std::peer::PeerHandle;
use devp2p_std::session::{Report, Session};

use crate::failure::Failure;
use crate::stranger::{Seen, Watched};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A TCP connection, and how long it took.
pub(crate) struct Connected {
    pub(crate) stream: Watched,
    pub(crate) seen: Seen,
    pub(crate) addr: SocketAddr,
    pub(crate) took: Duration,
}

/// Connects to the first address of `enode` that answers.
pub(crate) fn connect(enode: &Enode) -> Result<Connected, Failure> {
    let addrs = enode.to_socket_addrs().map_err(|error| {
        Failure::new(
            format_args!("no address for {}: {error}", enode.host),
            "a host and a TCP port that can be dialled",
            "check the part of the enode after the @",
        )
    })?;
    let mut last = io::Error::other("the name has no address");
    for addr in addrs {
        let began = Instant::now();
        match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
            Ok(stream) => {
                let took = began.elapsed();
                let (stream, seen) = Watched::new(stream, addr);
                return Ok(Connected {
                    stream,
                    seen,
                    addr,
                    took,
                });
            }
            Err(error) => last = error,
        }
    }
    Err(Failure::new(
        format_args!("no connection to {}:{}: {last}", enode.host, enode.tcp),
        "a node that listens there",
        "check host and port, and that the node runs; `devp2p listen` starts one here",
    ))
}

/// A session that became active.
pub(crate) struct Active {
    pub(crate) peer: PeerHandle,
    running: JoinHandle<Report>,
}

/// Runs `session`, of whose remote so much is seen, in a thread until it is active.
pub(crate) fn open(session: Session, seen: &Seen) -> Result<Active, Failure> {
    let (sender, active) = mpsc::channel();
    let running = thread::Builder::new()
        .name("devp2p-session".to_owned())
        .spawn(move || {
            session.run_with(|candidate| {
                if let Some(peer) = &candidate.peer {
                    // Nobody waits only if the command gave up.
                    let _ = sender.send(peer.clone());
                }
                Ok(())
            })
        })
        .map_err(|error| Failure::system("no thread for the session", error))?;
    match active.recv() {
        Ok(peer) => Ok(Active { peer, running }),
        Err(_) => Err(not_opened(join(running).reason, seen)),
    }
}

/// Why there is no session: perhaps the remote speaks something else.
fn not_opened(reason: CloseReason, seen: &Seen) -> Failure {
    match seen.name(reason) {
        Some(what) => Failure::new(
            format_args!("{} is {what}, not a devp2p node", seen.addr),
            "a node that answers the handshake of RLPx",
            "check the port: a node's enode has that of devp2p (often 30303), not those of its HTTP, WebSocket or engine API",
        ),
        None => Failure::session(reason),
    }
}

impl Active {
    /// Ends the session as quitting, unless it ended before, and waits for its threads.
    pub(crate) fn close(self) -> CloseReason {
        self.peer.disconnect(DisconnectReason::CLIENT_QUITTING);
        join(self.running).reason
    }
}

fn join(running: JoinHandle<Report>) -> Report {
    match running.join() {
        Ok(report) => report,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
