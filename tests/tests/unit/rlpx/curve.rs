//! secp256k1: what a remote point, a secret and a signature must be.

use devp2p_core::rlpx::curve::{InvalidSecret, PointBytes};
use devp2p_core::rlpx::{Curve, DefaultCurve, NodeKey};

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

#[test]
fn debug_shows_the_identity_and_not_the_secret() {
    let text = format!("{:?}", NodeKey::new(&STATIC_A).unwrap());
    assert!(text.contains(&id(&STATIC_A).to_string()));
    assert!(!text.contains("1111") && !text.contains("17, 17"), "{text}");
}
