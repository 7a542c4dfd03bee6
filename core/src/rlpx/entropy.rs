//! The randomness of one handshake.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::curve::SecretBytes;
use super::types::Nonce;

/// EIP-8 has at least 100 bytes of padding, of a number that varies; 199 is what go-ethereum goes to.
const MIN_PADDING: usize = 100;
pub(super) const MAX_PADDING: usize = 199;

/// The randomness of one handshake, from a cryptographic generator and never used again. Wiped on drop.
///
/// A handshake fails at its first step if its randomness [cannot be random](Self::is_sound), and when it comes to a secret
/// that is zero or not below the group order: with a sound generator neither happens (2^-127), and a broken one must not go
/// unnoticed. A generator that gives the same bytes to another handshake is for the driver to notice, by
/// [`fingerprint`](Self::fingerprint).
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Entropy {
    pub(super) ephemeral: SecretBytes,
    pub(super) ecies: SecretBytes,
    pub(super) nonce: Nonce,
    pub(super) iv: [u8; 16],
    padding: u8,
}

impl Entropy {
    /// Random bytes that one handshake needs.
    pub const LENGTH: usize = 113;

    /// Divides the bytes: ephemeral secret 32, secret of the ECIES key 32, nonce 32, IV 16, padding length 1. The bytes
    /// themselves are the caller's to wipe.
    pub fn new(bytes: &[u8; Self::LENGTH]) -> Self {
        fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
            bytes
                .split_off(..N)
                .and_then(|taken| taken.try_into().ok())
                .unwrap_or([0; N])
        }
        let mut rest: &[u8] = bytes;
        Self {
            ephemeral: take(&mut rest),
            ecies: take(&mut rest),
            nonce: take(&mut rest),
            iv: take(&mut rest),
            padding: take::<1>(&mut rest)[0],
        }
    }

    /// From whatever fills a slice with random bytes, all of it or with an error: any generation of `rand_core`, a
    /// peripheral, a system call.
    ///
    /// # Errors
    /// The generator's own.
    pub fn try_fill_with<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = Zeroizing::new([0; Self::LENGTH]);
        fill(&mut *bytes)?;
        Ok(Self::new(&bytes))
    }

    /// Whether the bytes can be random: the two secrets and the nonce differ. They do not if a generator gives the same byte,
    /// or the same block of up to 32 bytes, again and again.
    pub fn is_sound(&self) -> bool {
        // All secret: compared as a whole, without an end at the first difference.
        let same = |left: &[u8; 32], right: &[u8; 32]| {
            left.iter().zip(right).fold(0, |or, (l, r)| or | (l ^ r)) == 0
        };
        !(same(&self.ephemeral, &self.ecies)
            | same(&self.ephemeral, &self.nonce)
            | same(&self.ecies, &self.nonce))
    }

    /// The beginning of the nonce, which the remote learns in any case: two handshakes with the same one got the same bytes from
    /// their generator (by chance with 2^-64).
    pub fn fingerprint(&self) -> u64 {
        let [start, ..] = self.nonce.as_chunks().0 else {
            return 0;
        };
        u64::from_le_bytes(*start)
    }

    pub(super) fn padding(&self) -> usize {
        MIN_PADDING + usize::from(self.padding) % (MAX_PADDING - MIN_PADDING + 1)
    }
}

impl core::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Entropy").finish_non_exhaustive()
    }
}
