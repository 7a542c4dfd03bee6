//! The RLPx handshake (EIP-8), in steps of at most one point multiplication each.

use core::marker::PhantomData;

use zeroize::{Zeroize, Zeroizing};

use super::body;
use super::curve::{Curve, DefaultCurve, NodeKey, PointBytes, SecretBytes, SignatureBytes};
use super::ecies::{self, PREFIX, PacketKeys};
use super::entropy::MAX_PADDING;
use super::secrets::{Contribution, Secrets, xor};
use super::sponge::{Keccak256, Sponge};
use super::types::Nonce;
use super::wipe::wipe_stack;
use crate::fmt::{debug, trace};
use crate::node_id::NodeId;

pub use super::entropy::Entropy;
pub use super::types::{HandshakeError, Role};

/// The largest auth or ack that is accepted, in bytes, size prefix included. What gathers them needs no more.
pub const MAX_RECEIVED: usize = PREFIX + ecies::MAX_SIZE;
/// The largest auth or ack that is sent, in bytes. What `sent` lends must have at least as many.
pub const MAX_SENT: usize = PREFIX + ecies::OVERHEAD + body::AUTH + MAX_PADDING;

/// What [`Handshake::poll`] asks of its caller.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator, and the value is taken apart at once"
)]
pub enum Step<S: Sponge = Keccak256> {
    /// There is more to compute: poll again, after whatever else cannot wait.
    Working,
    /// The first so many bytes of `sent` may go out. Poll again, at once; the bytes must stay where they are until `Done`.
    Send(usize),
    /// Gather until `received` has so many bytes in all, then poll again. It is never more than [`MAX_RECEIVED`].
    Receive(usize),
    /// The session's keys are there, and both packets can go.
    Done(Established<S>),
}

/// The outcome of a handshake.
#[derive(Debug)]
pub struct Established<S: Sponge = Keccak256> {
    /// What frames are sealed and opened with.
    pub secrets: Secrets<S>,
    /// The remote's static public key. That it holds the secret to it is proved by its first frame whose MAC holds, since the
    /// keys follow from what only that secret could open or sign.
    pub remote: NodeId,
}

/// A [`Step`] as long as it is small: the session's keys are derived by [`Handshake::establish`], when no point multiplication
/// stands on the same stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Working,
    Send(usize),
    Receive(usize),
    /// The ephemeral keys' shared secret is there: call [`Handshake::establish`].
    Agreed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Stage {
    /// Initiator: first. Recipient: after auth.
    StaticShared,
    /// Initiator.
    Sign,
    /// Recipient.
    Recover,
    /// Recipient.
    EphemeralPublic,
    EciesPublic,
    Seal,
    Open,
    Finish,
    Establish,
    /// Done or failed.
    Over,
}

/// One side of the handshake.
///
/// Call [`poll`](Self::poll) in a loop and do what the [`Step`] says. The caller keeps two buffers until `Done`: `sent`, of
/// [`MAX_SENT`] bytes or more, in which the packet that goes out is made, and `received`, the bytes that have come so far. Bytes
/// that follow the remote's packet are frames already; they are the caller's to keep. Both are to be passed unchanged each time.
/// Initiator: six multiplications in six calls. Recipient: seven in seven. After an error, and after `Done`, every call fails.
pub struct Handshake<C: Curve = DefaultCurve, S: Sponge = Keccak256> {
    role: Role,
    stage: Stage,
    entropy: Entropy,
    remote: NodeId,
    remote_nonce: Nonce,
    remote_ephemeral: PointBytes,
    /// Recipient: as auth had it, until the ephemeral key is recovered from it.
    signature: SignatureBytes,
    /// What auth signs: the x coordinate that the static keys share, exclusive-or the initiator's nonce. At the end: the x
    /// coordinate that the ephemeral keys share.
    message: Zeroizing<[u8; 32]>,
    implementation: PhantomData<fn() -> (C, S)>,
}

impl Handshake {
    /// The side that dialled `remote`.
    pub fn initiator(remote: NodeId, entropy: Entropy) -> Self {
        Self::initiator_with(remote, entropy)
    }

    /// The side that was dialled.
    pub fn recipient(entropy: Entropy) -> Self {
        Self::recipient_with(entropy)
    }
}

impl<C: Curve, S: Sponge> Handshake<C, S> {
    /// [`initiator`](Handshake::initiator) over the host's choice of curve library and keccak256.
    pub fn initiator_with(remote: NodeId, entropy: Entropy) -> Self {
        Self::start(Role::Initiator, Stage::StaticShared, remote, entropy)
    }

    /// [`recipient`](Handshake::recipient) likewise.
    pub fn recipient_with(entropy: Entropy) -> Self {
        Self::start(Role::Recipient, Stage::Open, NodeId([0; 64]), entropy)
    }

    fn start(role: Role, stage: Stage, remote: NodeId, entropy: Entropy) -> Self {
        Self {
            role,
            stage: if entropy.is_sound() {
                stage
            } else {
                debug!("the random bytes for the handshake repeat themselves");
                Stage::Over
            },
            entropy,
            remote,
            remote_nonce: [0; 32],
            remote_ephemeral: [0; 64],
            signature: [0; 65],
            message: Zeroizing::default(),
            implementation: PhantomData,
        }
    }

    /// Which side this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Takes the next step: at most one point multiplication, no input and output.
    ///
    /// `received` may be longer than asked for; only the bytes asked for are looked at. A `sent` that is shorter than
    /// [`MAX_SENT`] can fail.
    pub fn poll(
        &mut self,
        key: &NodeKey,
        sent: &mut [u8],
        received: &[u8],
    ) -> Result<Step<S>, HandshakeError> {
        match self.advance(key, sent, received)? {
            Progress::Working => Ok(Step::Working),
            Progress::Send(length) => Ok(Step::Send(length)),
            Progress::Receive(total) => Ok(Step::Receive(total)),
            Progress::Agreed => self.establish(sent, received).map(Step::Done),
        }
    }

    /// [`poll`](Self::poll) up to the keys of the session.
    #[inline(never)]
    pub(crate) fn advance(
        &mut self,
        key: &NodeKey,
        sent: &mut [u8],
        received: &[u8],
    ) -> Result<Progress, HandshakeError> {
        let result = self.step(key, sent, received);
        wipe_stack();
        if result.is_err() {
            debug!("the handshake failed");
        }
        result
    }

    // Not inlined: its frame is wiped too.
    #[inline(never)]
    fn step(
        &mut self,
        key: &NodeKey,
        sent: &mut [u8],
        received: &[u8],
    ) -> Result<Progress, HandshakeError> {
        // Fails for good, unless this step succeeds.
        let stage = core::mem::replace(&mut self.stage, Stage::Over);
        trace!("handshake as {:?}: {:?}", self.role, stage);
        let (next, progress) = match stage {
            Stage::StaticShared => (self.static_shared(key)?, Progress::Working),
            Stage::Sign => (self.sign(key, sent)?, Progress::Working),
            Stage::Recover => (self.recover()?, Progress::Working),
            Stage::EphemeralPublic => (self.ephemeral_public(sent)?, Progress::Working),
            Stage::EciesPublic => (self.ecies_public(sent)?, Progress::Working),
            Stage::Seal => {
                let (next, length) = self.seal(sent)?;
                (next, Progress::Send(length))
            }
            Stage::Open => match gathered(received)? {
                Gathered::Whole(packet) => (self.open(key, packet)?, Progress::Working),
                Gathered::Want(total) => (Stage::Open, Progress::Receive(total)),
            },
            Stage::Finish => (self.finish()?, Progress::Agreed),
            Stage::Establish | Stage::Over => return Err(HandshakeError),
        };
        self.stage = next;
        Ok(progress)
    }

    fn static_shared(&mut self, key: &NodeKey) -> Result<Stage, HandshakeError> {
        let mut shared = Zeroizing::default();
        share::<C>(key.secret(), &self.remote.0, &mut shared)?;
        let (nonce, next) = match self.role {
            Role::Initiator => (&self.entropy.nonce, Stage::Sign),
            Role::Recipient => (&self.remote_nonce, Stage::Recover),
        };
        *self.message = xor(&shared, nonce);
        Ok(next)
    }

    fn sign(&mut self, key: &NodeKey, sent: &mut [u8]) -> Result<Stage, HandshakeError> {
        let signature = C::sign(&self.entropy.ephemeral, &self.message).ok_or(HandshakeError)?;
        let auth = (&signature, &key.id().0, &self.entropy.nonce);
        body::write_auth(self.body(sent)?, auth);
        Ok(Stage::EciesPublic)
    }

    fn recover(&mut self) -> Result<Stage, HandshakeError> {
        self.remote_ephemeral = C::recover(&self.message, &self.signature).ok_or(HandshakeError)?;
        Ok(Stage::EphemeralPublic)
    }

    fn ephemeral_public(&mut self, sent: &mut [u8]) -> Result<Stage, HandshakeError> {
        let point = C::public_key(&self.entropy.ephemeral).ok_or(HandshakeError)?;
        body::write_ack(self.body(sent)?, (&point, &self.entropy.nonce));
        Ok(Stage::EciesPublic)
    }

    fn ecies_public(&mut self, sent: &mut [u8]) -> Result<Stage, HandshakeError> {
        let point = C::public_key(&self.entropy.ecies).ok_or(HandshakeError)?;
        ecies::write_head(self.packet(sent)?, &point)?;
        Ok(Stage::Seal)
    }

    #[inline(never)]
    fn seal(&mut self, sent: &mut [u8]) -> Result<(Stage, usize), HandshakeError> {
        let mut shared = Zeroizing::default();
        share::<C>(&self.entropy.ecies, &self.remote.0, &mut shared)?;
        let keys = PacketKeys::derive(&shared);
        let packet = self.packet(sent)?;
        keys.seal(packet, &self.entropy.iv)?;
        let next = match self.role {
            Role::Initiator => Stage::Open,
            Role::Recipient => Stage::Finish,
        };
        Ok((next, packet.len()))
    }

    #[inline(never)]
    fn open(&mut self, key: &NodeKey, packet: &[u8]) -> Result<Stage, HandshakeError> {
        let point = ecies::ephemeral_point(packet)?;
        let mut shared = Zeroizing::default();
        share::<C>(key.secret(), point, &mut shared)?;
        let mut head = Zeroizing::new([0; body::HEAD]);
        let length = PacketKeys::derive(&shared).open(packet, &mut *head)?;
        Ok(match self.role {
            Role::Initiator => {
                let (point, nonce) = body::read_ack(&*head, length)?;
                (self.remote_ephemeral, self.remote_nonce) = (*point, *nonce);
                Stage::Finish
            }
            Role::Recipient => {
                let (signature, point, nonce) = body::read_auth(&*head, length)?;
                (self.signature, self.remote, self.remote_nonce) =
                    (*signature, NodeId(*point), *nonce);
                Stage::StaticShared
            }
        })
    }

    fn finish(&mut self) -> Result<Stage, HandshakeError> {
        let remote = &self.remote_ephemeral;
        share::<C>(&self.entropy.ephemeral, remote, &mut self.message)?;
        Ok(Stage::Establish)
    }

    /// The last step, after [`Progress::Agreed`] and with the same bytes: no point multiplication.
    pub(crate) fn establish(
        &mut self,
        sent: &[u8],
        received: &[u8],
    ) -> Result<Established<S>, HandshakeError> {
        let result = self.derive(sent, received);
        wipe_stack();
        result
    }

    #[inline(never)]
    fn derive(&mut self, sent: &[u8], received: &[u8]) -> Result<Established<S>, HandshakeError> {
        if core::mem::replace(&mut self.stage, Stage::Over) != Stage::Establish {
            return Err(HandshakeError);
        }
        let sent = sent.get(..self.sent_length()).ok_or(HandshakeError)?;
        let Gathered::Whole(received) = gathered(received)? else {
            return Err(HandshakeError);
        };
        let own = Contribution {
            nonce: &self.entropy.nonce,
            packet: sent,
        };
        let remote = Contribution {
            nonce: &self.remote_nonce,
            packet: received,
        };
        debug!("the handshake is done with {}", self.remote);
        Ok(Established {
            secrets: Secrets::derive(self.role, &self.message, own, remote),
            remote: self.remote,
        })
    }

    fn sent_length(&self) -> usize {
        let body = match self.role {
            Role::Initiator => body::AUTH,
            Role::Recipient => body::ACK,
        };
        PREFIX + ecies::OVERHEAD + body + self.entropy.padding()
    }

    fn packet<'a>(&self, sent: &'a mut [u8]) -> Result<&'a mut [u8], HandshakeError> {
        sent.get_mut(..self.sent_length()).ok_or(HandshakeError)
    }

    fn body<'a>(&self, sent: &'a mut [u8]) -> Result<&'a mut [u8], HandshakeError> {
        self.packet(sent)?
            .get_mut(ecies::BODY..)
            .ok_or(HandshakeError)
    }
}

impl<C: Curve, S: Sponge> core::fmt::Debug for Handshake<C, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Handshake")
            .field("role", &self.role)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// Writes the x coordinate that secret and point share to `to`, and wipes the copy it came in.
#[inline(never)]
fn share<C: Curve>(
    secret: &SecretBytes,
    point: &PointBytes,
    to: &mut [u8; 32],
) -> Result<(), HandshakeError> {
    let mut shared = C::shared_x(secret, point);
    let shared = shared.as_mut().ok_or(HandshakeError)?;
    *to = *shared;
    shared.zeroize();
    Ok(())
}

enum Gathered<'a> {
    Whole(&'a [u8]),
    Want(usize),
}

/// The packet at the start of `received`, or how many bytes there must be. The prefix is judged before anything else is asked for.
fn gathered(received: &[u8]) -> Result<Gathered<'_>, HandshakeError> {
    let Some(prefix) = received.first_chunk() else {
        return Ok(Gathered::Want(PREFIX));
    };
    let total = ecies::packet_length(*prefix)?;
    Ok(match received.get(..total) {
        Some(packet) => Gathered::Whole(packet),
        None => Gathered::Want(total),
    })
}
