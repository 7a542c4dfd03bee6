//! Merkle-Patricia proofs: random tries by the package `alloy-trie`, whose proofs verify, and no changed proof does.
use std::collections::BTreeMap;

use alloy_trie::proof::ProofRetainer;
use alloy_trie::{HashBuilder, Nibbles};
use devp2p_light::primitives::Hash;
use devp2p_light::trie::{TrieError, lookup};
use proptest::prelude::*;
use rlp::RlpStream;

use crate::bytes::hex;

/// The root of a trie, and the proofs of these keys, each from the root on.
pub(crate) fn trie(
    entries: &BTreeMap<Vec<u8>, Vec<u8>>,
    keys: &[Vec<u8>],
) -> (Hash, Vec<Vec<Vec<u8>>>) {
    let targets = keys.iter().map(|key| Nibbles::unpack(key)).collect();
    let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(targets));
    for (key, value) in entries {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    let root = Hash(builder.root().0);
    let nodes = builder.take_proof_nodes();
    let proof = |key| {
        let nodes = nodes.matching_nodes_sorted(&Nibbles::unpack(key));
        let nodes = nodes.into_iter().map(|(_, node)| node.to_vec());
        // A node that stands in its parent is no part of a proof as nodes send it.
        let nodes = nodes.enumerate();
        let hashed = nodes.filter(|(i, node)| *i == 0 || node.len() >= 32);
        hashed.map(|(_, node)| node).collect()
    };
    (root, keys.iter().map(proof).collect())
}

pub(crate) fn look<'a>(
    root: Hash,
    key: &[u8],
    proof: &'a [Vec<u8>],
) -> Result<Option<&'a [u8]>, TrieError> {
    lookup(root, key, proof.iter().map(|node| Ok(node.as_slice())))
}

/// Keys of a fixed length that share beginnings, and values short enough to stand in their parents, or not.
fn entries(length: usize) -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
    let digit = prop_oneof![4 => 0_u8..4, 1 => any::<u8>()];
    let key = prop::collection::vec(digit, length);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..6),
        prop::collection::vec(any::<u8>(), 30..90),
    ];
    prop::collection::btree_map(key, value, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn proofs_of_random_tries_verify_and_changed_ones_do_not(
        (entries, others, noise, flip) in (2_usize..5).prop_flat_map(|length| (
            entries(length),
            prop::collection::vec(prop::collection::vec(0_u8..6, length), 0..6),
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..3),
            any::<(prop::sample::Index, prop::sample::Index, u8)>(),
        )),
    ) {
        let keys: Vec<_> = entries.keys().cloned().chain(others).collect();
        let (root, proofs) = trie(&entries, &keys);
        for (key, proof) in keys.iter().zip(&proofs) {
            let value = entries.get(key).map(Vec::as_slice);
            prop_assert_eq!(look(root, key, proof), Ok(value));
            // With nodes that belong to nothing, or to another key, in between.
            let mut mixed = noise.clone();
            for node in proof {
                mixed.extend_from_slice(&proofs[0]);
                mixed.push(node.clone());
            }
            prop_assert_eq!(look(root, key, &mixed), Ok(value));
            if proof.is_empty() || entries.is_empty() {
                continue;
            }
            // Cut anywhere, nothing is proved.
            for length in 0..proof.len() {
                let found = look(root, key, &proof[..length]);
                prop_assert!(matches!(found, Err(TrieError::MissingNode(_))), "{found:?}");
            }
            // Changed anywhere, nothing is proved.
            let mut changed = proof.clone();
            let node = &mut changed[flip.0.index(proof.len())];
            let at = flip.1.index(node.len());
            node[at] ^= flip.2.max(1);
            prop_assert!(look(root, key, &changed).is_err());
            // A proof for another key proves this one only if it has all of its nodes.
            for (other, foreign) in keys.iter().zip(&proofs) {
                if let Ok(found) = look(root, key, foreign) {
                    prop_assert_eq!(found, value, "of {:?} by that of {:?}", key, other);
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic(nodes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        // Behind a root that is that of the first node, whatever that is.
        if let Some(first) = nodes.first() {
            let _ = look(Hash::of(first), &[0x12, 0x34], &nodes);
        }
    }
}

#[test]
fn an_empty_trie_has_nothing_and_needs_no_proof() {
    assert_eq!(look(Hash::EMPTY_TRIE, &[1; 32], &[]), Ok(None));
    assert_eq!(Hash::of(&[0x80]), Hash::EMPTY_TRIE);
    assert_eq!(Hash::of(&[]), Hash::EMPTY_CODE);
    let root = Hash([1; 32]);
    assert_eq!(look(root, &[1; 32], &[]), Err(TrieError::MissingNode(root)));
}

#[test]
fn a_branch_has_the_value_of_a_key_that_ends_there() {
    let mut leaf = RlpStream::new_list(2);
    leaf.append(&[0x32_u8].as_slice())
        .append(&b"leaf".as_slice());
    let mut branch = RlpStream::new_list(17);
    branch.append_empty_data().append_raw(&leaf.out(), 1);
    for _ in 2..16 {
        branch.append_empty_data();
    }
    branch.append(&b"branch".as_slice());
    let nodes = [branch.out().to_vec()];
    let root = Hash::of(&nodes[0]);
    for (key, value) in [
        (&[][..], Some(&b"branch"[..])),
        (&[0x12], Some(b"leaf")),
        (&[0x13], None),
        (&[0x22], None),
        (&[0x12, 0], None),
    ] {
        assert_eq!(look(root, key, &nodes), Ok(value), "{key:?}");
    }
}

/// Nodes with the right hash that are no nodes: a root that no client made.
#[test]
fn nodes_that_are_none_are_refused_behind_their_hash() {
    for bad in [
        "c0",                                       // no items
        "c3010203",                                 // three items
        "c22001",   // a leaf with a value, two items: fine, see below
        "c28001",   // a path without its first digit
        "c24001",   // a path that is neither a leaf's nor an extension's
        "c20101",   // an even path with a digit in the padding
        "c20001",   // an extension without digits
        "c22080",   // a leaf without a value
        "c220c0",   // a leaf whose value is a list
        "c21101",   // a child that is neither a hash nor a node
        "c22001ff", // bytes after the node
        "d201808080808080808080808080808080808080", // eighteen items
    ] {
        let node = hex(bad);
        let found = look(Hash::of(&node), &[0x12], std::slice::from_ref(&node));
        if bad == "c22001" {
            assert_eq!(found, Ok(None), "a leaf that ends early proves absence");
        } else {
            assert_eq!(found, Err(TrieError::NotANode), "{bad}");
        }
    }
}
