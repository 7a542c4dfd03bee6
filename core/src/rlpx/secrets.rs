//! From the handshake's results to the keys and MAC states of a session (RLPx specification, "Initial Handshake").

use zeroize::Zeroizing;

use super::cipher::FrameKeys;
use super::mac::Mac;
use super::sponge::{Keccak256, Sponge, keccak256};
use super::types::Role;

pub use super::types::Nonce;

/// What a session's frames are sealed and opened with.
pub struct Secrets<S: Sponge = Keccak256> {
    /// The keys, the same for both directions.
    pub keys: FrameKeys,
    /// The MAC of what we send.
    pub egress: Mac<S>,
    /// The MAC of what we receive.
    pub ingress: Mac<S>,
}

/// One side's contribution: its nonce, and its handshake packet as it went over the wire, size prefix included.
#[derive(Clone, Copy)]
pub struct Contribution<'a> {
    /// The nonce it chose.
    pub nonce: &'a Nonce,
    /// The bytes of auth or ack.
    pub packet: &'a [u8],
}

impl<S: Sponge> Secrets<S> {
    /// The secrets of the side with this role, from the x coordinate that the two ephemeral keys share.
    #[inline(never)]
    pub fn derive(
        role: Role,
        ephemeral_shared: &[u8; 32],
        own: Contribution<'_>,
        remote: Contribution<'_>,
    ) -> Self {
        let (initiator, recipient) = match role {
            Role::Initiator => (own, remote),
            Role::Recipient => (remote, own),
        };
        let nonces = keccak256(&[recipient.nonce, initiator.nonce]);
        let shared = Zeroizing::new(keccak256(&[ephemeral_shared, &nonces]));
        let aes_secret = Zeroizing::new(keccak256(&[ephemeral_shared, &*shared]));
        let mac_secret = Zeroizing::new(keccak256(&[ephemeral_shared, &*aes_secret]));
        Self {
            keys: FrameKeys::new(&aes_secret, &mac_secret),
            egress: start(&mac_secret, remote.nonce, own.packet),
            ingress: start(&mac_secret, own.nonce, remote.packet),
        }
    }
}

/// A direction's first state: mac-secret exclusive-or its receiver's nonce, then the packet that went this way.
fn start<S: Sponge>(mac_secret: &[u8; 32], nonce: &Nonce, packet: &[u8]) -> Mac<S> {
    let seed = Zeroizing::new(xor(mac_secret, nonce));
    let mut mac = Mac::default();
    mac.update(&*seed);
    mac.update(packet);
    mac
}

pub(super) fn xor(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    core::array::from_fn(|i| left[i] ^ right[i])
}

impl<S: Sponge> core::fmt::Debug for Secrets<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}
