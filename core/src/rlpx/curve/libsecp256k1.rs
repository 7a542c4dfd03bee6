//! The curve library of Bitcoin Core behind the seam: C inside, so for hosts with a C compiler.
//!
//! ECDH and signing are in constant time. The library also blinds multiplications of the base point, as a further defence
//! against side channels, once its context is randomised. One context serves all threads: it is randomised before its first
//! use and then every [`INTERVAL`] uses, each time with a secret that is used at that moment, mixed with what went before. In
//! handshakes that is a fresh random one. Doing so takes longer than the multiplication itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock, PoisonError, RwLock};

use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, Secp256k1, SecretKey, SignOnly, VerifyOnly, ecdh};
use zeroize::Zeroizing;

use super::{Curve, PointBytes, SecretBytes, SignatureBytes};

/// The curve of package `secp256k1`: libsecp256k1.
#[derive(Debug, Clone, Copy)]
pub enum Libsecp256k1 {}

/// Multiplications of the base point from one randomisation of the context to the next.
const INTERVAL: usize = 32;

/// A secret key, overwritten on drop.
struct Secret(SecretKey);

impl Secret {
    fn new(secret: &SecretBytes) -> Option<Self> {
        SecretKey::from_byte_array(*secret).ok().map(Self)
    }

    /// Multiplies the base point by secrets, with a context that blinds it.
    fn blinded<R>(&self, operation: impl FnOnce(&Secp256k1<SignOnly>, &SecretKey) -> R) -> R {
        static CONTEXT: OnceLock<RwLock<Secp256k1<SignOnly>>> = OnceLock::new();
        static USES: AtomicUsize = AtomicUsize::new(1);
        let randomise = |context: &mut Secp256k1<SignOnly>| {
            context.seeded_randomize(&Zeroizing::new(self.0.secret_bytes()));
        };
        let context = CONTEXT.get_or_init(|| {
            let mut context = Secp256k1::signing_only();
            randomise(&mut context);
            RwLock::new(context)
        });
        if USES
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(INTERVAL)
        {
            randomise(&mut context.write().unwrap_or_else(PoisonError::into_inner));
        }
        let context = context.read().unwrap_or_else(PoisonError::into_inner);
        operation(&context, &self.0)
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
        let point = Secret::new(secret)?.blinded(PublicKey::from_secret_key);
        Some(point_bytes(&point))
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
        let message = Message::from_digest(*message);
        let signature = Secret::new(secret)?
            .blinded(|context, secret| context.sign_ecdsa_recoverable(message, secret));
        let (recovery, rs) = signature.serialize_compact();
        let mut bytes = [u8::try_from(i32::from(recovery)).ok()?; 65];
        let (_, to) = bytes.split_last_mut()?;
        to.copy_from_slice(&rs);
        Some(bytes)
    }

    fn recover(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes> {
        // Nothing in it is secret, so there is nothing to blind.
        static CONTEXT: LazyLock<Secp256k1<VerifyOnly>> =
            LazyLock::new(Secp256k1::verification_only);
        let [rs @ .., v] = signature;
        let recovery = RecoveryId::try_from(i32::from(*v)).ok()?;
        let signature = RecoverableSignature::from_compact(rs, recovery).ok()?;
        let message = Message::from_digest(*message);
        Some(point_bytes(
            &CONTEXT.recover_ecdsa(message, &signature).ok()?,
        ))
    }
}
