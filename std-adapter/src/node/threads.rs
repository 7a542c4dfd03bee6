//! Sessions with a thread for each subprotocol.

use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::NodeId;

use super::error::DialError;
use super::service::{Remote, Serve, Service};
use super::shared::Shared;
use crate::info::PeerInfo;
use crate::peer::PeerHandle;
use crate::protocol::Run;
use crate::session::{OPENING_STACK, Report, Session, Stopper};

/// Serves each session by threads: one for each shared subprotocol, in which its run closure is called, and others that come
/// and go with work which none of these does.
#[derive(Debug)]
pub struct Threads(());

impl Service for Threads {}

impl Serve for Threads {
    type Run = Arc<Run>;
    type Peer = PeerHandle;
    type Settings = ();
    type Parts = ();
    type Abort = Stopper;

    fn new((): ()) -> io::Result<(Self, ())> {
        Ok((Self(()), ()))
    }

    fn start(_: &Arc<Shared<Self>>, (): ()) -> io::Result<()> {
        Ok(())
    }

    fn open(
        shared: &Arc<Shared<Self>>,
        ticket: u64,
        stream: TcpStream,
        dialled: Option<NodeId>,
    ) -> io::Result<(Stopper, Option<JoinHandle<()>>)> {
        let session = match dialled {
            Some(remote) => Session::dial(&shared.host, stream, remote),
            None => Session::accept(&shared.host, stream),
        }?;
        let stopper = session.stopper();
        let shared = Arc::clone(shared);
        let thread = thread::Builder::new()
            .name("devp2p-session".to_owned())
            .stack_size(OPENING_STACK)
            .spawn(move || {
                let ran = catch_unwind(AssertUnwindSafe(|| run(&shared, ticket, session)));
                match ran {
                    Ok(()) => shared.detach(ticket),
                    Err(_) => finish(&shared, ticket, None, None),
                }
            })?;
        Ok((stopper, Some(thread)))
    }

    fn abort(&self, _: u64, stopper: Stopper, reason: DisconnectReason) {
        stopper.stop(reason);
    }

    fn shut_down(&self, connections: Vec<(u64, Stopper)>) {
        for (_, stopper) in connections {
            stopper.stop(DisconnectReason::CLIENT_QUITTING);
        }
    }

    fn join(&self) {}
}

fn run(shared: &Arc<Shared<Threads>>, ticket: u64, session: Session) {
    let at_end = Arc::clone(shared);
    session.run_detached(
        |candidate| match &candidate.peer {
            None => shared.claims(ticket, candidate.id),
            Some(peer) => {
                shared.activate(ticket, peer)?;
                shared.begun(ticket, peer);
                Ok(())
            }
        },
        move |report, thread| finish(&at_end, ticket, report.ok(), thread),
    );
}

/// The last act of a connection's last thread: itself, unless that is the one that opened it.
fn finish(
    shared: &Arc<Shared<Threads>>,
    ticket: u64,
    report: Option<Report>,
    thread: Option<JoinHandle<()>>,
) {
    let result = report.ok_or_else(|| {
        log::error!("the thread of a session panicked");
        DialError::System(Arc::new(io::Error::other("the session's thread panicked")))
    });
    shared.close(ticket, result, thread);
}

impl Remote for PeerHandle {
    fn id(&self) -> NodeId {
        self.inner.id
    }

    fn remote_addr(&self) -> Option<std::net::SocketAddr> {
        self.inner.remote
    }

    fn is_ending(&self) -> bool {
        self.close_reason().is_some()
    }

    fn mark(&self, trusted: Option<bool>, is_static: Option<bool>) {
        if let Some(trusted) = trusted {
            self.inner.trusted.store(trusted, Ordering::Relaxed);
        }
        if let Some(is_static) = is_static {
            self.inner.is_static.store(is_static, Ordering::Relaxed);
        }
    }

    fn info(&self) -> PeerInfo {
        PeerHandle::info(self)
    }
}
