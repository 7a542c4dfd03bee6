//! The encrypted handshake of one session, whose memory is given back when it is done.

use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::handshake::MAX_SENT;
use devp2p_core::rlpx::{Entropy, NodeKey, Step};

use crate::keccak::{Established, Handshake};

/// What a step of the handshake brought.
pub(super) enum Shook<'a> {
    /// Nothing to do: there is more to compute, or bytes are awaited.
    Nothing,
    /// These bytes go out.
    Send(&'a [u8]),
    /// The keys are there.
    Done(Box<Established>),
    /// It failed.
    Failed,
}

pub(super) struct Shaking {
    handshake: Handshake,
    sent: [u8; MAX_SENT],
    received: Vec<u8>,
    wanted: usize,
    computes: bool,
}

impl Shaking {
    /// The side that dialled `remote`, or that was dialled.
    pub(super) fn new(remote: Option<NodeId>, entropy: Entropy) -> Self {
        Self {
            handshake: match remote {
                Some(remote) => Handshake::initiator_with(remote, entropy),
                None => Handshake::recipient_with(entropy),
            },
            sent: [0; MAX_SENT],
            received: Vec::new(),
            wanted: 0,
            computes: true,
        }
    }

    /// Whether a step can be taken.
    pub(super) fn computes(&self) -> bool {
        self.computes
    }

    pub(super) fn wants_input(&self) -> bool {
        !self.computes && self.received.len() < self.wanted
    }

    /// Takes bytes, as many as are awaited; returns how many.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.wanted - self.received.len());
        self.received.extend_from_slice(&bytes[..n]);
        self.computes |= self.received.len() >= self.wanted;
        n
    }

    /// One step, if one can be taken: at most one point multiplication.
    pub(super) fn step(&mut self, key: &NodeKey) -> Shook<'_> {
        if !self.computes {
            return Shook::Nothing;
        }
        match self.handshake.poll(key, &mut self.sent, &self.received) {
            Ok(Step::Working) => Shook::Nothing,
            Ok(Step::Send(length)) => Shook::Send(&self.sent[..length]),
            Ok(Step::Receive(total)) => {
                self.wanted = total;
                self.computes = self.received.len() >= total;
                Shook::Nothing
            }
            Ok(Step::Done(established)) => Shook::Done(Box::new(established)),
            Err(_) => Shook::Failed,
        }
    }
}
