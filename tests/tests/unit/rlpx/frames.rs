//! Frame cipher and MAC.

use devp2p_core::rlpx::mac::tags_match;
use devp2p_core::rlpx::{FrameCipher, FrameKeys, Keccak256, Mac, Sponge, keccak256};
use serde_json::Value;
use std::cell::Cell;

use super::{array, hex};

#[test]
fn frame_vector() {
    let vector: Value = serde_json::from_str(include_str!("../../../vectors/frame.json")).unwrap();
    let secret = keccak256(&[]);
    let keys = FrameKeys::new(&secret, &secret);
    let mut body = vec![vector["message_code"].as_u64().unwrap() as u8];
    body.extend(hex(vector["payload"].as_str().unwrap()));
    let mut header = [0; 16];
    header[2] = body.len() as u8;
    header[3..6].copy_from_slice(&[0xc2, 0x80, 0x80]);
    body.resize(16, 0);
    let mut cipher = FrameCipher::default();
    cipher.apply(&keys.frame, &mut header);
    cipher.apply(&keys.frame, &mut body);
    assert_eq!(
        header[..],
        hex(vector["header_ciphertext"].as_str().unwrap())
    );
    assert_eq!(body, hex(vector["body_ciphertext"].as_str().unwrap()));
}

#[test]
fn mac_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("../../../vectors/mac.json")).unwrap();
    let secret = array(vectors["secret"].as_str().unwrap());
    let keys = FrameKeys::new(&[0; 32], &secret);
    let cases = vectors["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let mut mac = Mac::<Keccak256>::default();
        for step in case["steps"].as_array().unwrap() {
            let data = step[1].as_str().unwrap();
            let tag = match step[0].as_str().unwrap() {
                "update_utf8" => {
                    mac.update(data.as_bytes());
                    continue;
                }
                "header" => mac.header(&keys.mac, &array(data)),
                "body_utf8" => {
                    mac.update(data.as_bytes());
                    mac.body(&keys.mac)
                }
                other => panic!("unknown step {other}"),
            };
            assert_eq!(
                tag,
                mac.digest()[..16],
                "a tag is the first half of the digest after it"
            );
        }
        assert_eq!(
            mac.digest()[..16],
            hex(case["digest"].as_str().unwrap()),
            "{case}"
        );
    }
}

#[test]
fn the_key_stream_does_not_depend_on_how_it_is_cut() {
    let keys = FrameKeys::new(&[3; 32], &[4; 32]);
    let mut whole = vec![0; 16 * 300];
    FrameCipher::default().apply(&keys.frame, &mut whole);
    for blocks in [1, 2, 7, 8, 9, 31, 64, 65] {
        let mut cut = vec![0; whole.len()];
        let mut cipher = FrameCipher::default();
        for part in cut.chunks_mut(16 * blocks) {
            cipher.apply(&keys.frame, part);
        }
        assert!(cut == whole, "{blocks} blocks at a time");
    }
    let blocks: std::collections::HashSet<_> = whole.chunks(16).collect();
    assert_eq!(blocks.len(), 300, "every counter is used once");
    FrameCipher::default().apply(&keys.frame, &mut whole);
    assert!(
        whole.iter().all(|byte| *byte == 0),
        "the same again decrypts"
    );
}

thread_local!(static DIGESTS: Cell<u32> = const { Cell::new(0) });

#[derive(Clone, Default)]
struct Counting(Keccak256);

impl Sponge for Counting {
    fn absorb(&mut self, bytes: &[u8]) {
        self.0.absorb(bytes);
    }
    fn digest(&self) -> [u8; 32] {
        DIGESTS.set(DIGESTS.get() + 1);
        self.0.digest()
    }
}

/// Of the four that the recurrence names, the first of a header is the last of the body before it.
#[test]
fn a_frame_costs_three_digests_and_has_the_tags_of_four() {
    let keys = FrameKeys::new(&[3; 32], &[4; 32]);
    let mut remembering = Mac::<Counting>::default();
    let mut forgetting = Mac::<Counting>::default();
    remembering.header(&keys.mac, &[9; 16]);
    forgetting.header(&keys.mac, &[9; 16]);
    for frame in 0..10 {
        let before = DIGESTS.get();
        remembering.update(&[frame; 48]);
        remembering.update(&[frame; 16]);
        let body = remembering.body(&keys.mac);
        let header = remembering.header(&keys.mac, &[frame; 16]);
        assert_eq!(DIGESTS.get() - before, 3);

        let before = DIGESTS.get();
        forgetting.update(&[frame; 64]);
        assert_eq!(forgetting.body(&keys.mac), body);
        // Absorbs nothing, but what is remembered no longer counts.
        forgetting.update(&[]);
        assert_eq!(forgetting.header(&keys.mac, &[frame; 16]), header);
        assert_eq!(DIGESTS.get() - before, 4);
    }
}

#[test]
fn tags_match_only_when_equal() {
    assert!(tags_match(&[7; 16], &[7; 16]));
    for bit in 0..128 {
        let mut other = [7; 16];
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(!tags_match(&[7; 16], &other));
    }
    assert!(!tags_match(&[7; 16], &[7; 15]));
}

#[test]
fn debug_shows_no_key() {
    let keys = FrameKeys::new(&[0xab; 32], &[0xcd; 32]);
    let mac = Mac::<Keccak256>::default();
    assert_eq!(format!("{keys:?} {mac:?}"), "FrameKeys { .. } Mac { .. }");
}
