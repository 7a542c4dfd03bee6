//! secp256k1: a seam, and k256 behind it; and the node's static key.

use ecdsa::hazmat::sign_prehashed_rfc6979;
use k256::elliptic_curve::Curve as _;
use k256::elliptic_curve::bigint::{ArrayEncoding, CheckedAdd, U256};
use k256::elliptic_curve::ff::PrimeField;
use k256::elliptic_curve::group::CurveAffine;
use k256::elliptic_curve::ops::{Invert, MulByGeneratorVartime, Reduce};
use k256::elliptic_curve::point::{AffineCoordinates, DecompressPoint};
use k256::{AffinePoint, FieldBytes, NonZeroScalar, ProjectivePoint, Scalar, Secp256k1};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::hello::NodeId;

#[cfg(feature = "libsecp256k1")]
mod libsecp256k1;

#[cfg(feature = "libsecp256k1")]
pub use libsecp256k1::Libsecp256k1;

/// What handshakes use unless told otherwise: with feature `libsecp256k1` the library of that name, else package `k256`.
#[cfg(not(feature = "libsecp256k1"))]
pub type DefaultCurve = K256;
/// What handshakes use unless told otherwise: with feature `libsecp256k1` the library of that name, else package `k256`.
#[cfg(feature = "libsecp256k1")]
pub type DefaultCurve = Libsecp256k1;

/// A secret scalar, 32 bytes big-endian, valid from 1 to the group order less 1.
pub type SecretBytes = [u8; 32];
/// A point: the two coordinates big-endian, without the 0x04 prefix. The identity has no such form.
pub type PointBytes = [u8; 64];
/// A recoverable signature: r, s, and the recovery identifier 0 to 3.
pub type SignatureBytes = [u8; 65];

/// The four operations on secp256k1 that the handshake needs, each one point multiplication.
///
/// A host can put a faster library here. Every point is checked before it is used: both coordinates below the field prime, on
/// the curve, not the identity. `None` for a point that is not, and for a secret of zero or not below the group order.
pub trait Curve {
    /// The public key of a secret.
    fn public_key(secret: &SecretBytes) -> Option<PointBytes>;
    /// ECDH: the x coordinate of the secret times the point. In constant time.
    fn shared_x(secret: &SecretBytes, point: &PointBytes) -> Option<[u8; 32]>;
    /// Signs 32 bytes as they are, without hashing them.
    fn sign(secret: &SecretBytes, message: &[u8; 32]) -> Option<SignatureBytes>;
    /// The public key that made the signature of these 32 bytes. `None` if there is none.
    fn recover(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes>;
}

/// The curve of package `k256`: Rust alone, for every target.
#[derive(Debug, Clone, Copy)]
pub enum K256 {}

fn scalar(secret: &SecretBytes) -> Option<NonZeroScalar> {
    let scalar = Option::from(Scalar::from_repr((*secret).into()))?;
    NonZeroScalar::new(scalar).into_option()
}

fn point_bytes(point: &AffinePoint) -> PointBytes {
    let mut bytes = [0; 64];
    let (x, y) = bytes.split_at_mut(32);
    x.copy_from_slice(&point.x());
    y.copy_from_slice(&point.y());
    bytes
}

// Not inlined: each has a large stack frame, and the caller's would hold all of them at once.
impl Curve for K256 {
    #[inline(never)]
    fn public_key(secret: &SecretBytes) -> Option<PointBytes> {
        let mut scalar = scalar(secret)?;
        let point = ProjectivePoint::mul_by_generator(&scalar).to_affine();
        scalar.zeroize();
        Some(point_bytes(&point))
    }

    #[inline(never)]
    fn shared_x(secret: &SecretBytes, point: &PointBytes) -> Option<[u8; 32]> {
        let (x, y) = point.split_at(32);
        let (x, y) = (
            <&FieldBytes>::try_from(x).ok()?,
            <&FieldBytes>::try_from(y).ok()?,
        );
        // Checks range and curve; the identity has no affine coordinates.
        let point = AffinePoint::from_coordinates(x, y).into_option()?;
        let mut scalar = scalar(secret)?;
        let mut product = (ProjectivePoint::from(point) * *scalar).to_affine();
        let shared = product.x().into();
        scalar.zeroize();
        product.zeroize();
        Some(shared)
    }

    #[inline(never)]
    fn sign(secret: &SecretBytes, message: &[u8; 32]) -> Option<SignatureBytes> {
        let mut scalar = scalar(secret)?;
        let (signature, recovery) =
            sign_prehashed_rfc6979::<Secp256k1, Sha256>(&scalar, message, &[]);
        scalar.zeroize();
        let mut bytes = [0; 65];
        let (rs, v) = bytes.split_at_mut(64);
        rs.copy_from_slice(&signature.to_bytes());
        v.fill(recovery.to_byte());
        Some(bytes)
    }

    #[inline(never)]
    fn recover(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes> {
        let [rs @ .., v @ 0..=3] = signature else {
            return None;
        };
        let (r, s) = rs.split_first_chunk()?;
        let (r, s) = (scalar(r)?, scalar(s.first_chunk()?)?);
        let point = lift(r.to_repr(), *v)?;
        let inverse = *r.invert();
        let message = <Scalar as Reduce<FieldBytes>>::reduce(&(*message).into());
        let key = combine(&-(inverse * message), &point, &(inverse * *s)).to_affine();
        (!bool::from(key.is_identity())).then(|| point_bytes(&key))
    }
}

/// The point that a signature's `r` was made from, as the two bits of the recovery identifier tell: `r` is its x coordinate,
/// or that less the order of the group, and y is even or odd.
#[inline(never)]
fn lift(r: FieldBytes, v: u8) -> Option<ProjectivePoint> {
    let x = match v & 2 {
        0 => r,
        _ => U256::from_be_byte_array(r)
            .checked_add(&Secp256k1::ORDER)
            .into_option()?
            .to_be_byte_array(),
    };
    let point = AffinePoint::decompress(&x, (v & 1).into()).into_option()?;
    Some(point.into())
}

/// `a` times the generator plus `b` times the point, in a time that depends on them.
///
/// Not all of that is public: `a` follows from the signed bytes, static shared secret exclusive-or initiator's nonce. It is
/// accepted: only the recipient does this, once per handshake and per fresh nonce, no key is derived from those bytes, and
/// libsecp256k1, behind go-ethereum's recovery, takes a variable time too.
#[inline(never)]
fn combine(a: &Scalar, point: &ProjectivePoint, b: &Scalar) -> ProjectivePoint {
    ProjectivePoint::mul_by_generator_and_mul_add_vartime(a, b, point)
}

/// The secret is zero, or not below the order of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InvalidSecret;

impl core::fmt::Display for InvalidSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the secret is zero or not below the group order")
    }
}

impl core::error::Error for InvalidSecret {}

/// A node's static key: the secret, wiped on drop, and the identity that follows from it.
pub struct NodeKey {
    secret: SecretBytes,
    id: NodeId,
}

impl NodeKey {
    /// The key of this secret. Costs one point multiplication, so that no handshake repeats it.
    pub fn new(secret: &SecretBytes) -> Result<Self, InvalidSecret> {
        Self::with_curve::<DefaultCurve>(secret)
    }

    /// The same, over the host's choice of curve library.
    pub fn with_curve<C: Curve>(secret: &SecretBytes) -> Result<Self, InvalidSecret> {
        let id = NodeId(C::public_key(secret).ok_or(InvalidSecret)?);
        let secret = *secret;
        Ok(Self { secret, id })
    }

    /// The identity: the public key.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    pub(super) fn secret(&self) -> &SecretBytes {
        &self.secret
    }
}

impl Drop for NodeKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl ZeroizeOnDrop for NodeKey {}

impl core::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NodeKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
