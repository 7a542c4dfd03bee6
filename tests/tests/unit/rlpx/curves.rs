//! libsecp256k1 against k256: the same answers to the same questions, good and bad.

use std::thread;

use devp2p_core::rlpx::curve::{PointBytes, SecretBytes, SignatureBytes};
use devp2p_core::rlpx::{Curve, K256, Libsecp256k1};
use proptest::prelude::*;

use super::curve::bad_points;
use super::{STATIC_A, array};

/// Bytes of any kind, and those near the ends of the range.
fn secret() -> impl Strategy<Value = SecretBytes> {
    let order = array("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let edge = (any::<bool>(), 0..4u8).prop_map(move |(is_high, n)| {
        let mut bytes: SecretBytes = if is_high { order } else { [0; 32] };
        bytes[31] = bytes[31]
            .wrapping_add(n)
            .wrapping_sub(u8::from(is_high) * 2);
        bytes
    });
    prop_oneof![4 => any::<SecretBytes>(), 1 => edge]
}

fn same<T: PartialEq + std::fmt::Debug>(left: T, right: T) -> Result<(), TestCaseError> {
    prop_assert_eq!(left, right);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn public_keys_and_shared_secrets_are_the_same(ours in secret(), theirs in secret()) {
        let point = K256::public_key(&theirs);
        same(point, Libsecp256k1::public_key(&theirs))?;
        if let Some(point) = point {
            same(K256::shared_x(&ours, &point), Libsecp256k1::shared_x(&ours, &point))?;
        }
    }

    #[test]
    fn points_are_refused_alike(secret in secret(), x in any::<[u8; 64]>(), at in 0..64usize, bit in 0..8u8) {
        same(K256::shared_x(&secret, &x), Libsecp256k1::shared_x(&secret, &x))?;
        let mut altered: PointBytes = K256::public_key(&STATIC_A).unwrap();
        altered[at] ^= 1 << bit;
        same(K256::shared_x(&secret, &altered), Libsecp256k1::shared_x(&secret, &altered))?;
    }

    #[test]
    fn signatures_are_the_same_and_recover_alike(
        secret in secret(), message in any::<[u8; 32]>(), at in 0..65usize, with in any::<u8>(),
    ) {
        let signature = K256::sign(&secret, &message);
        same(signature, Libsecp256k1::sign(&secret, &message))?;
        if let Some(mut signature) = signature {
            let point = Libsecp256k1::recover(&message, &signature);
            prop_assert_eq!(point, K256::public_key(&secret));
            same(point, K256::recover(&message, &signature))?;
            signature[at] ^= with;
            same(K256::recover(&message, &signature), Libsecp256k1::recover(&message, &signature))?;
        }
    }
}

#[test]
fn both_refuse_what_is_no_point() {
    for (what, point) in bad_points() {
        assert_eq!(Libsecp256k1::shared_x(&STATIC_A, &point), None, "{what}");
    }
}

/// s and the group order less s sign the same; go-ethereum recovers from either, and the point is mirrored by the identifier.
#[test]
fn a_signature_with_the_greater_s_recovers_alike() {
    let message = [7; 32];
    let low = K256::sign(&STATIC_A, &message).unwrap();
    let order: [u8; 32] = array("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let mut high: SignatureBytes = low;
    let mut borrow = 0;
    for i in (0..32).rev() {
        let digit = i16::from(order[i]) - i16::from(low[32 + i]) - borrow;
        borrow = i16::from(digit < 0);
        high[32 + i] = digit.rem_euclid(256) as u8;
    }
    high[64] ^= 1;
    let expected = K256::public_key(&STATIC_A);
    assert_eq!(Libsecp256k1::recover(&message, &high), expected);
    assert_eq!(K256::recover(&message, &high), expected);
}

/// Threads share what blinds multiplications of the base point, and it is randomised anew now and then: no answer shows it.
#[test]
fn answers_do_not_depend_on_the_blinding_that_threads_share() {
    let message = [9; 32];
    let answers = (1..=50).map(|n| {
        let secret = [n; 32];
        let point = K256::public_key(&secret).unwrap();
        (secret, point, K256::sign(&secret, &message).unwrap())
    });
    let answers: Vec<_> = answers.collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (secret, point, signature) in &answers {
                    assert_eq!(Libsecp256k1::public_key(secret), Some(*point));
                    assert_eq!(Libsecp256k1::sign(secret, &message), Some(*signature));
                }
            });
        }
    });
}
