//! What a hostile peer can put into a handshake: it gets one and the same error, whatever it was.

use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::curve::{PointBytes, SecretBytes, SignatureBytes};
use devp2p_core::rlpx::{Curve, DefaultCurve, Handshake, HandshakeError};
use proptest::prelude::*;

use super::curve::bad_points;
use super::{Forward, Pause, STATIC_A, STATIC_B, Side, Through, auth, entropy, entropy_bytes, id};

fn recipient() -> Side {
    Side::recipient(&STATIC_B, entropy(2))
}

fn fails(result: Result<Pause, HandshakeError>) -> bool {
    matches!(result, Err(HandshakeError))
}

/// Gives the packet, then zeros for as long as more is asked for.
fn fails_in_the_end(side: &mut Side, packet: &[u8]) -> bool {
    match side.receive(packet) {
        Ok(Pause::Wants(total)) => {
            let mut longer = packet.to_vec();
            longer.resize(total, 0);
            fails(side.receive(&longer))
        }
        result => fails(result),
    }
}

#[test]
fn one_wrong_bit_anywhere_in_auth_fails() {
    let (_, auth) = auth();
    for at in 0..auth.len() {
        let mut packet = auth.clone();
        packet[at] ^= 1 << (at % 8);
        assert!(fails_in_the_end(&mut recipient(), &packet), "byte {at}");
    }
}

#[test]
fn one_wrong_bit_anywhere_in_ack_fails() {
    let (_, auth_packet) = auth();
    let mut recipient = recipient();
    recipient.received = auth_packet;
    let ack = recipient.packet();
    for at in 0..ack.len() {
        let mut packet = ack.clone();
        packet[at] ^= 1 << (at % 8);
        assert!(fails_in_the_end(&mut auth().0, &packet), "byte {at}");
    }
}

/// Both bounds are judged by the prefix alone, before anything is gathered behind it.
#[test]
fn a_size_below_113_or_above_2048_fails_at_the_prefix() {
    let mut side = recipient();
    for size in 0..=u16::MAX {
        side.handshake = Handshake::recipient(entropy(2));
        let result = side.receive(&size.to_be_bytes());
        if (113..=2048).contains(&size) {
            assert!(matches!(result, Ok(Pause::Wants(total)) if total == 2 + usize::from(size)));
        } else {
            assert!(fails(result), "{size}");
        }
    }
}

#[test]
fn a_packet_cut_short_fails_whatever_its_prefix_then_says() {
    let (_, auth) = auth();
    for length in 2..auth.len() {
        let mut packet = auth[..length].to_vec();
        packet[..2].copy_from_slice(&(length as u16 - 2).to_be_bytes());
        assert!(fails(recipient().receive(&packet)), "{length} bytes");
    }
}

#[test]
fn a_packet_for_another_key_fails() {
    let (_, packet) = auth();
    let mut other: Side = Side::recipient(&[0x33; 32], entropy(2));
    assert!(fails(other.receive(&packet)));
    let mut answer = recipient();
    answer.received = packet;
    let ack = answer.packet();
    let mut other: Side = Side::initiator(&[0x33; 32], id(&STATIC_B), entropy(1));
    other.packet();
    assert!(fails(other.receive(&ack)));
}

#[test]
fn a_packet_of_the_other_kind_fails() {
    let (mut initiator, packet) = auth();
    let mut mirror: Side = Side::initiator(&STATIC_B, id(&STATIC_A), entropy(5));
    assert!(
        fails(initiator.receive(&mirror.packet())),
        "an auth for an answer"
    );
    let mut answer = recipient();
    answer.received = packet;
    let ack = answer.packet();
    let mut dialled: Side = Side::recipient(&STATIC_A, entropy(2));
    assert!(fails(dialled.receive(&ack)), "an ack to begin with");
}

#[test]
fn an_ephemeral_point_must_be_valid() {
    let (_, good_auth) = auth();
    let mut answer = recipient();
    answer.received = good_auth.clone();
    let good_ack = answer.packet();
    for (what, point) in bad_points() {
        for (packet, mut side) in [(&good_auth, recipient()), (&good_ack, auth().0)] {
            let mut packet = packet.clone();
            packet[3..67].copy_from_slice(&point);
            assert!(fails(side.receive(&packet)), "{what}");
        }
    }
    for form in [0x00, 0x02, 0x03, 0x05, 0x06, 0x07, 0xff] {
        let mut packet = good_auth.clone();
        packet[2] = form;
        assert!(fails(recipient().receive(&packet)), "form {form}");
    }
}

#[test]
fn dialling_an_identity_that_is_no_point_fails() {
    for (what, point) in bad_points() {
        let mut side: Side = Side::initiator(&STATIC_A, NodeId(point), entropy(1));
        assert!(fails(side.run()), "{what}");
    }
}

/// Claims `bad_points()[N]` as the public key of `STATIC_A` and of the ephemeral secret of `entropy(1)`; packets are sealed well.
struct BadKey<const N: usize>;

impl<const N: usize> Forward for BadKey<N> {
    fn public_key(secret: &SecretBytes) -> Option<PointBytes> {
        let ephemeral = &entropy_bytes(1)[..32];
        if *secret == STATIC_A || secret == ephemeral {
            Some(bad_points()[N].1)
        } else {
            DefaultCurve::public_key(secret)
        }
    }
}

fn bad_key_fails<const N: usize>() {
    let what = bad_points()[N].0;
    let mut liar: Side<Through<BadKey<N>>> = Side::initiator(&STATIC_A, id(&STATIC_B), entropy(1));
    assert!(
        fails(recipient().receive(&liar.packet())),
        "static key {what}"
    );
    let (mut initiator, auth) = auth();
    let mut liar: Side<Through<BadKey<N>>> = Side::recipient(&STATIC_B, entropy(1));
    liar.received = auth;
    assert!(
        fails(initiator.receive(&liar.packet())),
        "ephemeral key {what}"
    );
}

#[test]
fn a_key_inside_auth_or_ack_must_be_valid() {
    assert_eq!(bad_points().len(), 7);
    bad_key_fails::<0>();
    bad_key_fails::<1>();
    bad_key_fails::<2>();
    bad_key_fails::<3>();
    bad_key_fails::<4>();
    bad_key_fails::<5>();
    bad_key_fails::<6>();
}

/// Signs nothing: r is 5, which is no x coordinate.
struct NoSignature;

impl Forward for NoSignature {
    fn sign(_: &SecretBytes, _: &[u8; 32]) -> Option<SignatureBytes> {
        let mut signature = [0; 65];
        (signature[31], signature[63]) = (5, 1);
        Some(signature)
    }
}

#[test]
fn a_signature_that_recovers_nothing_fails() {
    let mut liar: Side<Through<NoSignature>> =
        Side::initiator(&STATIC_A, id(&STATIC_B), entropy(1));
    assert!(fails(recipient().receive(&liar.packet())));
}

/// Claims the identity of `STATIC_A` without its secret, so signs a shared secret that is not theirs.
struct Impostor;

const IMPOSTOR: SecretBytes = [0x44; 32];

impl Forward for Impostor {
    fn public_key(secret: &SecretBytes) -> Option<PointBytes> {
        DefaultCurve::public_key(if *secret == IMPOSTOR {
            &STATIC_A
        } else {
            secret
        })
    }
}

/// Recovery then gives some other ephemeral key, whose secret nobody has: no frame can follow.
#[test]
fn an_impostor_gets_no_keys() {
    let mut impostor: Side<Through<Impostor>> =
        Side::initiator(&IMPOSTOR, id(&STATIC_B), entropy(1));
    let mut recipient = recipient();
    recipient.received = impostor.packet();
    let ack = recipient.packet();
    assert!(ack.len() > 300);
    let believed = recipient.established();
    let (mut honest, packet) = auth();
    let mut answer: Side = Side::recipient(&STATIC_B, entropy(2));
    answer.received = packet;
    honest.received = answer.packet();
    let shared = honest.established();
    assert_eq!(
        believed.remote,
        id(&STATIC_A),
        "claimed, not proved before a frame's MAC holds"
    );
    assert_ne!(
        believed.secrets.ingress.digest(),
        shared.secrets.egress.digest()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_at_all_can_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..2200),
        plausible: bool,
        buffer in 0usize..600,
    ) {
        if plausible && bytes.len() >= 115 {
            let size = (bytes.len() as u16 - 2).min(2048);
            bytes[..2].copy_from_slice(&size.to_be_bytes());
            bytes[2] = 4;
            bytes[3..67].copy_from_slice(&id(&STATIC_A).0);
        }
        for mut side in [recipient(), auth().0] {
            side.sent.resize(buffer, 0);
            match side.receive(&bytes) {
                Ok(Pause::Wants(total)) => prop_assert!(total <= 2050),
                result => prop_assert!(fails(result)),
            }
        }
    }

    #[test]
    fn a_short_buffer_can_not_panic(length in 0usize..500) {
        let mut side: Side = Side::initiator(&STATIC_A, id(&STATIC_B), entropy(1));
        side.sent.truncate(length);
        match side.run() {
            Ok(Pause::Sent(sent)) => prop_assert!(sent <= length),
            result => prop_assert!(fails(result)),
        }
    }
}
