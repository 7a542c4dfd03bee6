//! The handshake packets that EIP-8 publishes.

use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::cipher::Aes256;
use devp2p_core::rlpx::secrets::Contribution;
use devp2p_core::rlpx::{
    Curve, DefaultCurve, Entropy, Established, FrameCipher, FrameKeys, Role, Secrets,
};
use serde_json::Value;

use super::{Pause, Side, array, hex, id};

struct Vectors(Value);

impl Vectors {
    fn load() -> Self {
        Self(serde_json::from_str(include_str!("../../../vectors/eip8.json")).unwrap())
    }
    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        array(self.0[name].as_str().unwrap())
    }
    fn packet(&self, name: &str) -> Vec<u8> {
        hex(self.0[name]["packet"].as_str().unwrap())
    }
    fn secret<const N: usize>(&self, name: &str) -> [u8; N] {
        array(
            self.0["recipient_secrets_for_auth2_ack2"][name]
                .as_str()
                .unwrap(),
        )
    }
    fn entropy(&self, side: char, padding: u8) -> Entropy {
        let mut bytes = [0x77; Entropy::LENGTH];
        bytes[..32].copy_from_slice(&self.array::<32>(&format!("ephemeral_key_{side}")));
        bytes[64..96].copy_from_slice(&self.array::<32>(&format!("nonce_{side}")));
        bytes[112] = padding;
        Entropy::new(&bytes)
    }
    fn id(&self, side: char) -> NodeId {
        id(&self.array(&format!("static_key_{side}")))
    }
    fn assert_keys(&self, established: &Established) {
        let expected = FrameKeys::new(&self.secret("aes"), &self.secret("mac"));
        let keys = &established.secrets.keys;
        assert_eq!(key_stream(&keys.frame), key_stream(&expected.frame));
        assert_eq!(key_stream(&keys.mac), key_stream(&expected.mac));
    }
}

/// Two keys are the same if they encrypt alike.
fn key_stream(key: &Aes256) -> [u8; 16] {
    let mut block = [0; 16];
    FrameCipher::default().apply(key, &mut block);
    block
}

fn after_foo(secrets: &mut Secrets) -> [[u8; 32]; 2] {
    secrets.egress.update(b"foo");
    secrets.ingress.update(b"foo");
    [secrets.egress.digest(), secrets.ingress.digest()]
}

/// The keys follow from the two ephemeral keys and the nonces, so they prove that every element of auth was read right.
#[test]
fn the_recipient_reads_auth_of_any_version() {
    let vectors = Vectors::load();
    for name in ["auth2", "auth3"] {
        let mut side: Side =
            Side::recipient(&vectors.array("static_key_b"), vectors.entropy('b', 0));
        let sent = side.receive(&vectors.packet(name));
        assert!(matches!(sent, Ok(Pause::Sent(317))), "{name}: {sent:?}");
        let established = side.established();
        assert_eq!(established.remote, vectors.id('a'), "{name}");
        vectors.assert_keys(&established);
    }
}

/// With our own auth replaced by the published one, of the same length, before the MAC states absorb it.
#[test]
fn the_initiator_reads_ack_of_any_version_and_its_macs_start_from_the_packets() {
    let vectors = Vectors::load();
    for name in ["ack2", "ack3"] {
        let auth = vectors.packet("auth2");
        let mut side: Side = Side::initiator(
            &vectors.array("static_key_a"),
            vectors.id('b'),
            vectors.entropy('a', 53),
        );
        assert_eq!(side.packet().len(), auth.len());
        side.sent[..auth.len()].copy_from_slice(&auth);
        side.received = vectors.packet(name);
        let mut established = side.established();
        vectors.assert_keys(&established);
        let [egress, ingress] = after_foo(&mut established.secrets);
        assert_eq!(
            egress,
            vectors.secret("ingress_mac_after_foo"),
            "what A sends B receives"
        );
        let same = ingress == vectors.secret("egress_mac_after_foo");
        assert_eq!(
            same,
            name == "ack2",
            "the state depends on the very bytes of ack"
        );
    }
}

#[test]
fn the_recipients_secrets() {
    let vectors = Vectors::load();
    let ephemeral_b = vectors.array("ephemeral_key_b");
    let ephemeral_a = id(&vectors.array("ephemeral_key_a")).0;
    let shared = <devp2p_core::rlpx::DefaultCurve as devp2p_core::rlpx::Curve>::shared_x(
        &ephemeral_b,
        &ephemeral_a,
    );
    let own = Contribution {
        nonce: &vectors.array("nonce_b"),
        packet: &vectors.packet("ack2"),
    };
    let remote = Contribution {
        nonce: &vectors.array("nonce_a"),
        packet: &vectors.packet("auth2"),
    };
    let mut secrets: Secrets = Secrets::derive(Role::Recipient, &shared.unwrap(), own, remote);
    let [egress, ingress] = after_foo(&mut secrets);
    assert_eq!(egress, vectors.secret("egress_mac_after_foo"));
    assert_eq!(ingress, vectors.secret("ingress_mac_after_foo"));
}

#[test]
fn the_published_signature_recovers_the_ephemeral_key() {
    let vectors = Vectors::load();
    let shared =
        DefaultCurve::shared_x(&vectors.array("static_key_a"), &vectors.id('b').0).unwrap();
    let nonce: [u8; 32] = vectors.array("nonce_a");
    let message = core::array::from_fn(|at| shared[at] ^ nonce[at]);
    let ephemeral = vectors.array("ephemeral_key_a");
    let published = vectors.array("auth_signature");
    let ours = DefaultCurve::sign(&ephemeral, &message).unwrap();
    for signature in [published, ours] {
        assert_eq!(
            DefaultCurve::recover(&message, &signature),
            Some(id(&ephemeral).0)
        );
    }
}
