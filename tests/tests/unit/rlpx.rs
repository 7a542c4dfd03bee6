//! Tests of `rlpx`: sponge, frame cipher, MAC, curve and handshake, against the public vectors and against each other.

mod curve;
#[cfg(feature = "libsecp256k1")]
mod curves;
mod frames;
mod handshake;
mod hostile;
mod sponge;
mod vectors;

use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::curve::{PointBytes, SecretBytes, SignatureBytes};
use devp2p_core::rlpx::handshake::MAX_SENT;
use devp2p_core::rlpx::{
    Curve, DefaultCurve, Entropy, Established, Handshake, HandshakeError, NodeKey, Step,
};

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

pub(crate) const STATIC_A: SecretBytes = [0x11; 32];
pub(crate) const STATIC_B: SecretBytes = [0x22; 32];

pub(crate) fn entropy_bytes(seed: u8) -> [u8; Entropy::LENGTH] {
    core::array::from_fn(|at| seed.wrapping_mul(31).wrapping_add(at as u8) | 1)
}

pub(crate) fn entropy(seed: u8) -> Entropy {
    Entropy::new(&entropy_bytes(seed))
}

/// A side of the handshake with the two buffers that its caller keeps.
pub(crate) struct Side<C: Curve = DefaultCurve> {
    pub(crate) key: NodeKey,
    pub(crate) handshake: Handshake<C>,
    pub(crate) sent: Vec<u8>,
    pub(crate) received: Vec<u8>,
}

/// Where a side stands when it can do no more by itself.
#[derive(Debug)]
pub(crate) enum Pause {
    Sent(usize),
    Wants(usize),
    Done(Box<Established>),
}

impl<C: Curve> Side<C> {
    pub(crate) fn initiator(secret: &SecretBytes, remote: NodeId, entropy: Entropy) -> Self {
        Self::new(secret, Handshake::initiator_with(remote, entropy))
    }

    pub(crate) fn recipient(secret: &SecretBytes, entropy: Entropy) -> Self {
        Self::new(secret, Handshake::recipient_with(entropy))
    }

    fn new(secret: &SecretBytes, handshake: Handshake<C>) -> Self {
        Self {
            key: NodeKey::with_curve::<C>(secret).unwrap(),
            handshake,
            sent: vec![0xee; MAX_SENT],
            received: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self) -> Result<Step, HandshakeError> {
        self.handshake
            .poll(&self.key, &mut self.sent, &self.received)
    }

    /// Polls until something from outside is needed.
    pub(crate) fn run(&mut self) -> Result<Pause, HandshakeError> {
        for _ in 0..16 {
            match self.step()? {
                Step::Working => {}
                Step::Send(length) => return Ok(Pause::Sent(length)),
                Step::Receive(total) => {
                    assert!(total > self.received.len(), "asks for bytes that it has");
                    return Ok(Pause::Wants(total));
                }
                Step::Done(established) => return Ok(Pause::Done(Box::new(established))),
            }
        }
        panic!("sixteen steps and no end");
    }

    /// The packet that this side sends now.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        match self.run() {
            Ok(Pause::Sent(length)) => self.sent[..length].to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// What comes of these bytes, all of them given at once.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<Pause, HandshakeError> {
        self.received = bytes.to_vec();
        self.run()
    }

    pub(crate) fn established(&mut self) -> Box<Established> {
        match self.run() {
            Ok(Pause::Done(established)) => established,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn id(secret: &SecretBytes) -> NodeId {
    *NodeKey::new(secret).unwrap().id()
}

/// An initiator that dials `STATIC_B`, and its auth.
pub(crate) fn auth() -> (Side, Vec<u8>) {
    let mut initiator = Side::initiator(&STATIC_A, id(&STATIC_B), entropy(1));
    let packet = initiator.packet();
    (initiator, packet)
}

/// Forwards to the default curve; tests replace one operation or another.
pub(crate) trait Forward {
    fn public_key(secret: &SecretBytes) -> Option<PointBytes> {
        DefaultCurve::public_key(secret)
    }
    fn shared_x(secret: &SecretBytes, point: &PointBytes) -> Option<[u8; 32]> {
        DefaultCurve::shared_x(secret, point)
    }
    fn sign(secret: &SecretBytes, message: &[u8; 32]) -> Option<SignatureBytes> {
        DefaultCurve::sign(secret, message)
    }
    fn recover(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes> {
        DefaultCurve::recover(message, signature)
    }
}

/// A curve made of a `Forward`.
pub(crate) struct Through<F>(core::marker::PhantomData<F>);

impl<F: Forward> Curve for Through<F> {
    fn public_key(secret: &SecretBytes) -> Option<PointBytes> {
        F::public_key(secret)
    }
    fn shared_x(secret: &SecretBytes, point: &PointBytes) -> Option<[u8; 32]> {
        F::shared_x(secret, point)
    }
    fn sign(secret: &SecretBytes, message: &[u8; 32]) -> Option<SignatureBytes> {
        F::sign(secret, message)
    }
    fn recover(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes> {
        F::recover(message, signature)
    }
}
