//! secp256k1: what a remote point, a secret and a signature must be.

use devp2p_core::rlpx::curve::{InvalidSecret, PointBytes, SignatureBytes};
use devp2p_core::rlpx::{Curve, DefaultCurve, K256, NodeKey};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

use super::{STATIC_A, STATIC_B, array, hex, id};

const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
const PRIME: &str = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f";
/// The point with x = 1, so that x + p still has 256 bits.
const Y_OF_ONE: &str = "4218f20ae6c646b363db68605822fb14264ca8d2587fdd6fbc750d587e76a7ee";

fn point(x: &str, y: &str) -> PointBytes {
    array(&format!("{x:0>64}{y:0>64}"))
}

pub(super) fn bad_points() -> Vec<(&'static str, PointBytes)> {
    let mut off_curve = id(&STATIC_B).0;
    off_curve[63] ^= 1;
    let over = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30";
    vec![
        ("off the curve", off_curve),
        ("x is 1 + p", point(over, Y_OF_ONE)),
        ("x is p", point(PRIME, Y_OF_ONE)),
        ("y is p", point("1", PRIME)),
        ("the identity as zeros", [0; 64]),
        ("order two on another curve", point("1", "0")),
        ("all ones", [0xff; 64]),
    ]
}

#[test]
fn a_remote_point_must_be_in_range_and_on_the_curve() {
    assert!(DefaultCurve::shared_x(&STATIC_A, &point("1", Y_OF_ONE)).is_some());
    for (what, point) in bad_points() {
        assert_eq!(DefaultCurve::shared_x(&STATIC_A, &point), None, "{what}");
    }
}

#[test]
fn a_secret_is_from_one_to_the_order_less_one() {
    let mut secrets = vec![[0; 32], array(ORDER), array(PRIME), [0xff; 32]];
    for secret in &secrets {
        assert_eq!(NodeKey::new(secret).err(), Some(InvalidSecret));
        assert_eq!(DefaultCurve::shared_x(secret, &id(&STATIC_B).0), None);
        assert_eq!(DefaultCurve::sign(secret, &[1; 32]), None);
    }
    secrets = vec![[0; 32], array(ORDER)];
    secrets[0][31] = 1;
    secrets[1][31] -= 1;
    let [one, last] = [
        NodeKey::new(&secrets[0]).unwrap(),
        NodeKey::new(&secrets[1]).unwrap(),
    ];
    let generator = hex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    assert_eq!(one.id().0[..32], generator);
    assert_eq!(last.id().0[..32], generator, "the negated generator");
    assert_ne!(one.id(), last.id());
}

#[test]
fn ecdh_agrees_from_both_sides() {
    let shared = DefaultCurve::shared_x(&STATIC_A, &id(&STATIC_B).0);
    assert!(shared.is_some());
    assert_eq!(shared, DefaultCurve::shared_x(&STATIC_B, &id(&STATIC_A).0));
}

#[test]
fn a_signature_of_the_bytes_as_they_are_recovers_its_key() {
    for message in [[0; 32], [0x5a; 32], [0xff; 32]] {
        let signature = DefaultCurve::sign(&STATIC_A, &message).unwrap();
        assert!(signature[64] < 2, "the recovery identifier is 0 or 1");
        assert_eq!(
            DefaultCurve::recover(&message, &signature),
            Some(id(&STATIC_A).0)
        );
    }
}

#[test]
fn a_signature_that_no_key_made_recovers_nothing() {
    let good = DefaultCurve::sign(&STATIC_A, &[7; 32]).unwrap();
    let with = |at: core::ops::Range<usize>, bytes: &[u8]| {
        let mut signature = good;
        signature[at].copy_from_slice(bytes);
        signature
    };
    for (what, signature) in [
        ("r is zero", with(0..32, &[0; 32])),
        ("s is zero", with(32..64, &[0; 32])),
        ("r is the order", with(0..32, &hex(ORDER))),
        ("s is the order", with(32..64, &hex(ORDER))),
        (
            "r is no x coordinate",
            with(0..32, &array::<32>(&format!("{:0>64}", "5"))),
        ),
        ("identifier 4", with(64..65, &[4])),
        ("identifier 27, as in transactions", with(64..65, &[27])),
        (
            "identifier 2 with an r that the order cannot be added to",
            with(64..65, &[2]),
        ),
    ] {
        assert_eq!(DefaultCurve::recover(&[7; 32], &signature), None, "{what}");
    }
}

/// The signature with these 32 bytes as r and as s.
fn signature(r: &[u8; 32], s: &[u8; 32], v: u8) -> SignatureBytes {
    let mut bytes = [v; 65];
    bytes[..32].copy_from_slice(r);
    bytes[32..64].copy_from_slice(s);
    bytes
}

/// What the recovery of package `k256` itself says, which the core does without.
fn oracle(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes> {
    let (rs, v) = (&signature[..64], signature[64]);
    let (signature, v) = (Signature::from_slice(rs).ok()?, RecoveryId::from_byte(v)?);
    let key = VerifyingKey::recover_from_prehash(message, &signature, v).ok()?;
    key.to_sec1_point(false).as_bytes()[1..].try_into().ok()
}

/// Asserts that every curve agrees with the oracle, and returns what they recover.
fn recover_alike(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes> {
    let expected = oracle(message, signature);
    assert_eq!(K256::recover(message, signature), expected, "{signature:?}");
    assert_eq!(
        DefaultCurve::recover(message, signature),
        expected,
        "{signature:?}"
    );
    expected
}

fn order_less(n: u8) -> [u8; 32] {
    let mut bytes: [u8; 32] = array(ORDER);
    bytes[31] -= n;
    bytes
}

/// With identifier 2 or 3 the point's x is r plus the order: r below 2^129 or so, which no honest signature has.
#[test]
fn r_is_the_points_x_or_that_less_the_order() {
    let scalars = [[0x5a; 32], [0xa5; 32], order_less(1)];
    let messages = [[0; 32], [0x77; 32], [0xff; 32]];
    let mut recovered = [0; 6];
    for n in 1..400u16 {
        let mut r = [0; 32];
        r[30..].copy_from_slice(&n.to_be_bytes());
        let s = &scalars[usize::from(n) % 3];
        let message = &messages[usize::from(n) / 3 % 3];
        for (v, recovered) in (0..).zip(&mut recovered) {
            let key = recover_alike(message, &signature(&r, s, v));
            *recovered += usize::from(key.is_some());
        }
    }
    let [even, odd, even_reduced, odd_reduced, none @ ..] = recovered;
    assert_eq!((even, even_reduced), (odd, odd_reduced));
    // Of the field's elements every second is an x coordinate.
    assert!((150..250).contains(&even), "{recovered:?}");
    assert!((150..250).contains(&even_reduced), "{recovered:?}");
    assert_eq!(none, [0, 0]);
}

#[test]
fn the_greatest_r_that_the_order_can_be_added_to() {
    // The prime less the order, and what is below and above.
    let difference: [u8; 32] = array(&format!("{:0>64}", "14551231950b75fc4402da1722fc9baee"));
    let mut recovered = 0;
    for n in 0..=255 {
        let mut r = difference;
        r[31] = n;
        for v in 2..4 {
            let key = recover_alike(&[7; 32], &signature(&r, &[0x5a; 32], v));
            assert!(key.is_none() || n < difference[31], "{n}: x is not below p");
            recovered += usize::from(key.is_some());
        }
    }
    assert!(recovered > 0);
}

/// s and the group order less s sign the same; go-ethereum recovers from either, and the point is mirrored by the identifier.
#[test]
fn a_signature_with_the_greater_s_recovers_the_same_key() {
    for n in 1..=255 {
        let message = [n; 32];
        let low = DefaultCurve::sign(&STATIC_A, &message).unwrap();
        let mut high = low;
        let s = -*Signature::from_slice(&low[..64]).unwrap().s();
        high[32..64].copy_from_slice(&s.to_bytes());
        high[64] ^= 1;
        assert!(high[32] >= 0x7f && low[32] <= 0x7f);
        assert_eq!(recover_alike(&message, &low), Some(id(&STATIC_A).0));
        assert_eq!(recover_alike(&message, &high), Some(id(&STATIC_A).0));
    }
}

#[test]
fn the_identity_is_no_key() {
    let x = array("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    for message in [[1; 32], [0x5a; 32], order_less(1)] {
        // With the generator as the point and s = message, the key is a multiple of their difference.
        let signature = |v| signature(&x, &message, v);
        assert_eq!(recover_alike(&message, &signature(0)), None);
        assert!(recover_alike(&message, &signature(1)).is_some());
    }
}

#[test]
fn r_and_s_are_from_one_to_the_order_less_one() {
    let good = DefaultCurve::sign(&STATIC_A, &[7; 32]).unwrap();
    let (r, s): ([u8; 32], [u8; 32]) = (
        good[..32].try_into().unwrap(),
        good[32..64].try_into().unwrap(),
    );
    let mut order_and_one: [u8; 32] = array(ORDER);
    order_and_one[31] += 1;
    for v in 0..4 {
        for bad in [
            [0; 32],
            array(ORDER),
            order_and_one,
            array(PRIME),
            [0xff; 32],
        ] {
            assert_eq!(recover_alike(&[7; 32], &signature(&bad, &s, v)), None);
            assert_eq!(recover_alike(&[7; 32], &signature(&r, &bad, v)), None);
            assert_eq!(recover_alike(&[7; 32], &signature(&bad, &bad, v)), None);
        }
        for edge in [array(&format!("{:0>64}", "1")), order_less(1)] {
            let key = recover_alike(&[7; 32], &signature(&r, &edge, v));
            assert_eq!(key.is_some(), v < 2);
            recover_alike(&[7; 32], &signature(&edge, &s, v));
        }
    }
}

#[test]
fn debug_shows_the_identity_and_not_the_secret() {
    let text = format!("{:?}", NodeKey::new(&STATIC_A).unwrap());
    assert!(text.contains(&id(&STATIC_A).to_string()));
    assert!(!text.contains("1111") && !text.contains("17, 17"), "{text}");
}
