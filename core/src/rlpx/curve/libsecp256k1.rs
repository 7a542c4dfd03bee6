//! The curve library of Bitcoin Core behind the seam: C inside, so for hosts with a C compiler.
//!
//! ECDH and signing are in constant time. The library blinds multiplications of the base point with a state of each thread,
//! which package `secp256k1` stirs after every use of a secret; that costs a second such multiplication each time.

use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SecretKey, ecdh};
use zeroize::Zeroizing;

use super::{Curve, PointBytes, SecretBytes, SignatureBytes};

/// The curve of package `secp256k1`: libsecp256k1.
#[derive(Debug, Clone, Copy)]
pub enum Libsecp256k1 {}

/// A secret key, overwritten on drop.
struct Secret(SecretKey);

impl Secret {
    fn new(secret: &SecretBytes) -> Option<Self> {
        SecretKey::from_secret_bytes(*secret).ok().map(Self)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

fn point_bytes(point: &PublicKey) -> PointBytes {
    let [_, point @ ..] = point.serialize_uncompressed();
    point
}

impl Curve for Libsecp256k1 {
    fn public_key(secret: &SecretBytes) -> Option<PointBytes> {
        let secret = Secret::new(secret)?;
        Some(point_bytes(&PublicKey::from_secret_key(&secret.0)))
    }

    fn shared_x(secret: &SecretBytes, point: &PointBytes) -> Option<[u8; 32]> {
        let mut bytes = [0x04; 65];
        let (_, coordinates) = bytes.split_first_mut()?;
        coordinates.copy_from_slice(point);
        // Checks range and curve; the identity has no such form.
        let point = PublicKey::from_byte_array_uncompressed(bytes).ok()?;
        let secret = Secret::new(secret)?;
        let product = Zeroizing::new(ecdh::shared_secret_point(&point, &secret.0));
        product.first_chunk().copied()
    }

    fn sign(secret: &SecretBytes, message: &[u8; 32]) -> Option<SignatureBytes> {
        let secret = Secret::new(secret)?;
        let message = Message::from_digest(*message);
        let signature = RecoverableSignature::sign_ecdsa_recoverable(message, &secret.0);
        let (recovery, rs) = signature.serialize_compact();
        let mut bytes = [recovery.to_u8(); 65];
        let (_, to) = bytes.split_last_mut()?;
        to.copy_from_slice(&rs);
        Some(bytes)
    }

    fn recover(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes> {
        let [rs @ .., v] = signature;
        let recovery = RecoveryId::try_from(i32::from(*v)).ok()?;
        let signature = RecoverableSignature::from_compact(rs, recovery).ok()?;
        let message = Message::from_digest(*message);
        Some(point_bytes(&signature.recover_ecdsa(message).ok()?))
    }
}
