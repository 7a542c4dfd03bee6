//! What one session offers in its Hello, and what each of these protocols needs in it.

use std::sync::Arc;

use devp2p_core::capability;
use devp2p_core::config::Local;
use devp2p_core::hello::MAX_SENT_LENGTH;

use crate::host::{Host, MAX_PROTOCOLS};
use crate::protocol::Protocol;
use crate::queue::Queue;
use crate::turn::Turns;

/// The host's protocols, and after them those that only this session has. A subprotocol's index counts in this order.
pub(crate) struct Offer {
    pub(crate) protocols: Vec<Protocol>,
    /// The same protocols as the core has them.
    pub(crate) registered: Vec<capability::Protocol>,
    pub(crate) queues: Arc<[Queue]>,
    pub(crate) turns: Vec<Turns>,
}

impl Offer {
    /// What `host` registers, and as much of `more` as fits one Hello; what is offered already is left out.
    pub(crate) fn new(host: &Host, more: Vec<Protocol>) -> Self {
        let mut protocols = host.protocols().to_vec();
        let mut registered = host.local().protocols.to_vec();
        for protocol in more {
            let capability = protocol.capability();
            if registered.iter().any(|own| own.capability == capability) {
                continue;
            }
            registered.push(protocol.core);
            let local = Local {
                protocols: &registered,
                ..host.local()
            };
            if registered.len() > MAX_PROTOCOLS || local.hello_length() > MAX_SENT_LENGTH {
                registered.pop();
                continue;
            }
            protocols.push(protocol);
        }
        Self {
            queues: registered
                .iter()
                .map(|protocol| Queue::new(protocol.into()))
                .collect(),
            turns: registered.iter().map(|_| Turns::default()).collect(),
            protocols,
            registered,
        }
    }
}
