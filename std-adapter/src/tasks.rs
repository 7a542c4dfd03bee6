//! The threads in which the run closures of one session run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use devp2p_core::capability::Capability;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;

use crate::handle::Subprotocol;
use crate::peer::PeerHandle;
use crate::protocol::Failure;

/// The threads of the shared subprotocols.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Vec<(usize, Capability, JoinHandle<()>)>,
    done: Arc<Done>,
}

#[derive(Default)]
struct Done {
    /// Indices of the protocols whose closure has returned.
    subprotocols: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl Tasks {
    /// Starts a thread for each shared subprotocol.
    pub(crate) fn start(&mut self, peer: &PeerHandle) {
        for (index, protocol) in peer.inner.session.env.protocols().iter().enumerate() {
            if peer.offset(index).is_none() {
                continue;
            }
            let capability = protocol.capability();
            let run = Arc::clone(&protocol.run);
            let session = Arc::clone(&peer.inner.session);
            let done = Arc::clone(&self.done);
            let mut subprotocol = Subprotocol::new(peer.clone(), index, capability);
            let thread = thread::Builder::new()
                .name(format!("devp2p {capability}"))
                .spawn(move || {
                    // What the closure owns is dropped in here too: that may panic as well.
                    let result = catch_unwind(AssertUnwindSafe(move || {
                        let result = run(&mut subprotocol);
                        drop((subprotocol, run));
                        result
                    }));
                    session.close(cause(index, capability, result));
                    drop(session);
                    let mut subprotocols = done
                        .subprotocols
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    subprotocols.push(index);
                    drop(subprotocols);
                    done.changed.notify_all();
                });
            match thread {
                Ok(thread) => self.running.push((index, capability, thread)),
                Err(error) => {
                    log::error!("no thread for {capability}: {error}");
                    let reason = DisconnectReason::SUBPROTOCOL_ERROR;
                    peer.inner.session.close(CloseReason::ProtocolError {
                        subprotocol: index as u8,
                        reason,
                    });
                }
            }
        }
    }

    /// Joins every thread whose closure returns within `timeout`; returns the others' capabilities.
    pub(crate) fn join(self, timeout: Duration) -> Vec<Capability> {
        let returned = self
            .done
            .subprotocols
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all = self.running.len();
        let (returned, _) = self
            .done
            .changed
            .wait_timeout_while(returned, timeout, |returned| returned.len() < all)
            .unwrap_or_else(PoisonError::into_inner);
        let returned = returned.clone();
        let mut stuck = Vec::new();
        for (index, capability, thread) in self.running {
            if returned.contains(&index) {
                // It has nothing left to do but to end.
                let _ = thread.join();
            } else {
                stuck.push(capability);
            }
        }
        stuck
    }
}

/// What the end of a run closure means for the session.
fn cause(
    index: usize,
    capability: Capability,
    result: thread::Result<Result<(), Failure>>,
) -> CloseReason {
    let subprotocol = index as u8;
    match result {
        Ok(Ok(())) => CloseReason::ProtocolReturned { subprotocol },
        Ok(Err(failure)) => {
            log::debug!("{capability} failed: {failure}");
            CloseReason::ProtocolError {
                subprotocol,
                reason: failure.reason(),
            }
        }
        Err(_) => {
            log::error!("the run closure of {capability} panicked");
            CloseReason::ProtocolError {
                subprotocol,
                reason: DisconnectReason::SUBPROTOCOL_ERROR,
            }
        }
    }
}
