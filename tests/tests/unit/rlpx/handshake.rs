//! The handshake between two of our own sides.

use std::cell::Cell;

use devp2p_core::rlpx::curve::{PointBytes, SecretBytes, SignatureBytes};
use devp2p_core::rlpx::handshake::{MAX_RECEIVED, MAX_SENT};
use devp2p_core::rlpx::{Curve, DefaultCurve, Entropy, Handshake, HandshakeError, Role, Step};

use super::{Forward, Pause, STATIC_A, STATIC_B, Side, Through, auth, entropy, entropy_bytes, id};

#[test]
fn both_sides_agree_and_know_each_other() {
    let (mut initiator, auth) = auth();
    let mut recipient: Side = Side::recipient(&STATIC_B, entropy(2));
    recipient.received = auth;
    initiator.received = recipient.packet();
    let (mut a, mut b) = (initiator.established(), recipient.established());
    assert_eq!((a.remote, b.remote), (id(&STATIC_B), id(&STATIC_A)));
    assert_eq!(a.secrets.egress.digest(), b.secrets.ingress.digest());
    assert_eq!(a.secrets.ingress.digest(), b.secrets.egress.digest());
    assert_ne!(a.secrets.ingress.digest(), a.secrets.egress.digest());
    let header = [5; 16];
    let (key_a, key_b) = (&a.secrets.keys.mac, &b.secrets.keys.mac);
    assert_eq!(
        a.secrets.egress.header(key_a, &header),
        b.secrets.ingress.header(key_b, &header)
    );
}

thread_local!(static MULTIPLICATIONS: Cell<u32> = const { Cell::new(0) });

struct Count;

impl Count {
    fn one() {
        MULTIPLICATIONS.set(MULTIPLICATIONS.get() + 1);
    }
}

impl Forward for Count {
    fn public_key(secret: &SecretBytes) -> Option<PointBytes> {
        Self::one();
        DefaultCurve::public_key(secret)
    }
    fn shared_x(secret: &SecretBytes, point: &PointBytes) -> Option<[u8; 32]> {
        Self::one();
        DefaultCurve::shared_x(secret, point)
    }
    fn sign(secret: &SecretBytes, message: &[u8; 32]) -> Option<SignatureBytes> {
        Self::one();
        DefaultCurve::sign(secret, message)
    }
    fn recover(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes> {
        Self::one();
        DefaultCurve::recover(message, signature)
    }
}

/// Polls to the next pause or `Done`; no poll may cost more than one multiplication. Returns how many there were.
fn counted(side: &mut Side<Through<Count>>) -> u32 {
    let mut total = 0;
    loop {
        let before = MULTIPLICATIONS.get();
        let step = side.step().unwrap();
        let cost = MULTIPLICATIONS.get() - before;
        assert!(cost <= 1, "{cost} multiplications in one step");
        total += cost;
        match step {
            Step::Working => assert_eq!(cost, 1, "a step that did nothing"),
            Step::Receive(_) => {
                assert_eq!(cost, 0);
                return total;
            }
            Step::Send(_) | Step::Done(_) => return total,
        }
    }
}

#[test]
fn a_step_is_at_most_one_multiplication() {
    let mut initiator = Side::initiator(&STATIC_A, id(&STATIC_B), entropy(1));
    let mut recipient = Side::recipient(&STATIC_B, entropy(2));
    assert_eq!(counted(&mut recipient), 0);
    assert_eq!(counted(&mut initiator), 4, "auth");
    recipient.received = initiator.sent.clone();
    assert_eq!(counted(&mut recipient), 6, "ack, sent before the last one");
    assert_eq!(counted(&mut initiator), 0);
    initiator.received = recipient.sent.clone();
    assert_eq!(counted(&mut initiator), 2);
    assert_eq!(counted(&mut recipient), 1);
}

#[test]
fn packets_may_come_byte_by_byte() {
    let (mut initiator, auth) = auth();
    let mut recipient: Side = Side::recipient(&STATIC_B, entropy(2));
    fn gather(side: &mut Side, packet: &[u8]) {
        for (at, byte) in packet.iter().enumerate() {
            let wanted = if at < 2 { 2 } else { packet.len() };
            match side.run() {
                Ok(Pause::Wants(total)) => assert_eq!(total, wanted, "with {at} bytes"),
                other => panic!("{other:?} with {at} bytes"),
            }
            side.received.push(*byte);
        }
    }
    gather(&mut recipient, &auth);
    let ack = recipient.packet();
    gather(&mut initiator, &ack);
    let (a, b) = (initiator.established(), recipient.established());
    assert_eq!(a.secrets.egress.digest(), b.secrets.ingress.digest());
}

/// A peer may send its first frame right behind its ack; those bytes are the caller's.
#[test]
fn bytes_behind_a_packet_are_not_looked_at() {
    let mut digests = Vec::new();
    for behind in [&[][..], &[0xaa; 700]] {
        let (mut initiator, auth) = auth();
        let mut recipient: Side = Side::recipient(&STATIC_B, entropy(2));
        recipient.received = [&auth, behind].concat();
        let ack = recipient.packet();
        initiator.received = [&ack, behind].concat();
        let (a, b) = (initiator.established(), recipient.established());
        assert_eq!(a.secrets.ingress.digest(), b.secrets.egress.digest());
        digests.push((a.secrets.ingress.digest(), b.secrets.ingress.digest()));
    }
    assert_eq!(digests[0], digests[1]);
}

/// EIP-8: at least 100 bytes, of random length, so that packets do not all look alike.
#[test]
fn packets_are_padded_by_100_to_199_bytes() {
    let length = |role, padding| {
        let mut bytes = entropy_bytes(1);
        bytes[112] = padding;
        let entropy = Entropy::new(&bytes);
        let mut side: Side = match role {
            Role::Initiator => Side::initiator(&STATIC_A, id(&STATIC_B), entropy),
            Role::Recipient => Side::recipient(&STATIC_B, entropy),
        };
        if role == Role::Recipient {
            side.received = auth().1;
        }
        let packet = side.packet();
        assert_eq!(
            packet.len() - 2,
            usize::from(packet[0]) * 256 + usize::from(packet[1])
        );
        packet.len()
    };
    for (role, unpadded) in [(Role::Initiator, 284), (Role::Recipient, 217)] {
        assert_eq!(length(role, 0), unpadded + 100);
        assert_eq!(length(role, 99), unpadded + 199);
        assert_eq!(length(role, 100), unpadded + 100);
        assert_eq!(length(role, 255), unpadded + 155);
    }
    assert_eq!(MAX_SENT, 284 + 199);
    assert_eq!(MAX_RECEIVED, 2050);
}

#[test]
fn after_the_end_every_poll_fails() {
    let (mut initiator, auth) = auth();
    let mut recipient: Side = Side::recipient(&STATIC_B, entropy(2));
    recipient.received = auth;
    initiator.received = recipient.packet();
    initiator.established();
    assert!(matches!(initiator.step(), Err(HandshakeError)));
    recipient.handshake = Handshake::recipient(entropy(3));
    recipient.received = vec![0, 0];
    for _ in 0..3 {
        assert!(matches!(recipient.step(), Err(HandshakeError)));
        recipient.received = super::auth().1;
    }
}

/// A generator that returns zeros is broken; the handshake must not go on without telling.
#[test]
fn entropy_that_is_no_secret_fails() {
    for (at, what) in [(0, "ephemeral"), (32, "ECIES")] {
        for value in [0x00, 0xff] {
            let mut bytes = entropy_bytes(1);
            bytes[at..at + 32].fill(value);
            let mut initiator: Side =
                Side::initiator(&STATIC_A, id(&STATIC_B), Entropy::new(&bytes));
            assert!(
                matches!(initiator.run(), Err(HandshakeError)),
                "{what} {value}"
            );
            let mut recipient: Side = Side::recipient(&STATIC_B, Entropy::new(&bytes));
            let result = recipient.receive(&auth().1);
            assert!(matches!(result, Err(HandshakeError)), "{what} {value}");
        }
    }
}

#[test]
fn the_state_is_small() {
    assert!(size_of::<Handshake>() <= 384, "{}", size_of::<Handshake>());
}

#[test]
fn debug_shows_no_secret() {
    let (mut initiator, auth) = auth();
    let mut recipient: Side = Side::recipient(&STATIC_B, entropy(2));
    recipient.received = auth;
    recipient.packet();
    let text = format!(
        "{:?} {:?} {:?}",
        entropy(1),
        initiator.handshake,
        recipient.handshake
    );
    assert_eq!(
        text,
        "Entropy { .. } Handshake { role: Initiator, stage: Open, .. } \
         Handshake { role: Recipient, stage: Finish, .. }"
    );
    initiator.received = recipient.sent.clone();
    let text = format!("{:?}", initiator.established());
    let expected = format!(
        "Established {{ secrets: Secrets {{ .. }}, remote: {} }}",
        id(&STATIC_B)
    );
    assert_eq!(text, expected);
}

/// Of a broken generator: the same byte, or the same block, again and again.
#[test]
fn a_handshake_with_randomness_that_repeats_itself_fails_at_once() {
    for period in [1, 2, 4, 8, 16, 32] {
        let block = entropy_bytes(7);
        let bytes = std::array::from_fn(|at| block[at % period]);
        assert!(!Entropy::new(&bytes).is_sound(), "{period}");
        for mut side in [
            Side::<DefaultCurve>::initiator(&STATIC_A, id(&STATIC_B), Entropy::new(&bytes)),
            Side::recipient(&STATIC_B, Entropy::new(&bytes)),
        ] {
            let step = side.handshake.poll(&side.key, &mut side.sent, &[]);
            assert_eq!(step.unwrap_err(), HandshakeError, "{period}");
        }
    }
    for seed in 0..=255 {
        let entropy = entropy(seed);
        assert!(entropy.is_sound(), "{seed}");
        assert_eq!(entropy.fingerprint(), super::entropy(seed).fingerprint());
        assert_ne!(
            entropy.fingerprint(),
            super::entropy(seed ^ 1).fingerprint()
        );
    }
}

#[test]
fn randomness_comes_from_any_filler_and_its_error_comes_back() {
    let bytes = entropy_bytes(3);
    let filled = Entropy::try_fill_with(|to| {
        to.copy_from_slice(&bytes);
        Ok::<_, ()>(())
    });
    assert_eq!(filled.unwrap().fingerprint(), entropy(3).fingerprint());
    let failed = Entropy::try_fill_with(|_| Err("no clock"));
    assert_eq!(failed.unwrap_err(), "no clock");
}
