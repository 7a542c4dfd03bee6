//! Chains: proof backwards from a trusted hash, claims forwards, branches, and what liars send.
use devp2p_light::chain::{Chain, ChainError, Question, Step};
use devp2p_light::evidence::{Head, Trusted, TrustedHash};
use devp2p_light::link::{Ancestry, LinkError, Tip};
use devp2p_light::primitives::Hash;
use devp2p_light::ring::Ring;
use proptest::prelude::*;

use crate::bytes::MadeHeader;
use crate::made_chain::{MadeChain, follow, give};

fn trusting(node: &MadeChain, number: u64, back: u64) -> Chain<16> {
    let trusted = TrustedHash::new(node.hash(number));
    Chain::new(node.hash(0), Some(trusted), back)
}

#[test]
fn the_state_of_a_chain_is_a_small_value() {
    assert_eq!(size_of::<Tip>(), 48);
    assert_eq!(size_of::<Ancestry>(), 48);
    assert_eq!(size_of::<Head<Trusted>>(), 80);
    assert_eq!(size_of::<Ring<64>>(), 64 * 32 + 16);
    assert!(size_of::<Chain<64>>() <= 64 * 32 + 400);
}

#[test]
fn ancestors_of_a_trusted_block_are_trusted_and_what_follows_is_claimed() {
    let node = MadeChain::new(40);
    let mut chain = trusting(&node, 30, 12);
    let steps = follow(&mut chain, &node, 5).expect("an honest node");
    let trusted = *chain.trusted().expect("a trusted head");
    assert_eq!((trusted.number(), trusted.hash()), (30, node.hash(30)));
    assert_eq!(trusted.state_root(), node.0[30].state_root);
    assert_eq!(
        steps[..4],
        [
            Step::Trusted(trusted),
            Step::Back {
                count: 5,
                oldest: 25
            },
            Step::Back {
                count: 5,
                oldest: 20
            },
            Step::Back {
                count: 2,
                oldest: 18
            },
        ]
    );
    let claimed = *chain.claimed().expect("a claimed head");
    assert_eq!((claimed.number(), claimed.hash()), (40, node.hash(40)));
    assert_eq!(claimed.state_root(), node.0[40].state_root);
    // The last 16 of all that was seen.
    assert_eq!(chain.ring().range(), Some((25, 40)));
    for number in 25..=40 {
        assert_eq!(chain.ring().get(number), Some(node.hash(number)));
    }
}

#[test]
fn the_way_back_ends_at_the_genesis_block_of_the_network() {
    let node = MadeChain::new(9);
    let mut chain = trusting(&node, 9, u64::MAX);
    let steps = follow(&mut chain, &node, 6).expect("an honest node");
    assert!(
        steps.contains(&Step::Back {
            count: 3,
            oldest: 0
        }),
        "{steps:?}"
    );
    assert_eq!(chain.ring().range(), Some((0, 9)));

    let other = Hash([1; 32]);
    let mut chain: Chain<16> = Chain::new(other, Some(TrustedHash::new(node.hash(9))), u64::MAX);
    let error = follow(&mut chain, &node, 6).expect_err("another genesis block");
    assert_eq!(error, ChainError::WrongGenesis(node.hash(0)));
    let mut chain: Chain<16> = Chain::new(other, Some(TrustedHash::new(node.hash(0))), 0);
    let error = follow(&mut chain, &node, 6).expect_err("another genesis block");
    assert_eq!(error, ChainError::WrongGenesis(node.hash(0)));
}

#[test]
fn from_the_genesis_block_everything_is_followed_as_a_claim() {
    let node = MadeChain::new(100);
    let mut chain = trusting(&node, 0, 64);
    follow(&mut chain, &node, 12).expect("an honest node");
    assert_eq!(chain.trusted().map(Head::number), Some(0));
    assert_eq!(chain.claimed().map(Head::hash), Some(node.hash(100)));
    assert_eq!(chain.ring().range(), Some((85, 100)));
}

#[test]
fn without_a_trusted_hash_the_peers_head_is_a_claim() {
    let mut node = MadeChain::new(50);
    let mut chain: Chain<16> = Chain::new(node.hash(0), None, 64);
    assert_eq!(chain.question(5), None);
    chain.hint(node.hash(50));
    follow(&mut chain, &node, 12).expect("an honest node");
    assert_eq!(chain.trusted(), None);
    assert_eq!(chain.claimed().map(Head::number), Some(50));
    node.grow(53, b"");
    follow(&mut chain, &node, 12).expect("an honest node");
    assert_eq!(chain.claimed().map(Head::hash), Some(node.hash(53)));
}

#[test]
fn another_header_than_the_one_that_a_peer_claims_is_no_claimed_head() {
    let node = MadeChain::new(50);
    let mut chain: Chain<16> = Chain::new(node.hash(0), None, 64);
    chain.hint(node.hash(50));
    let question = chain.question(5).expect("the claimed header");
    assert_eq!(question, Question::Claimed(node.hash(50)));
    let wrong = give(&mut chain, question, &[node.0[49].encode()]);
    assert_eq!(wrong, Err(LinkError::WrongHash.into()));
    assert_eq!(chain.claimed(), None);
}

#[test]
fn a_newer_trusted_hash_covers_claims() {
    let mut node = MadeChain::new(20);
    let mut chain = trusting(&node, 10, 4);
    follow(&mut chain, &node, 12).expect("an honest node");
    // The claimed head itself: nothing has to be asked.
    let head = chain
        .trust(TrustedHash::new(node.hash(20)))
        .expect("at once");
    assert_eq!((head.number(), chain.trusted()), (20, Some(&head)));
    assert_eq!(chain.claimed(), None);
    // A claim on the way to the head.
    node.grow(30, b"");
    follow(&mut chain, &node, 12).expect("an honest node");
    assert_eq!(chain.trust(TrustedHash::new(node.hash(25))), None);
    assert_eq!(chain.trusted().map(Head::number), Some(20));
    follow(&mut chain, &node, 12).expect("an honest node");
    assert_eq!(chain.trusted().map(Head::number), Some(25));
    assert_eq!(chain.claimed().map(Head::number), Some(30));
    assert_eq!(chain.ring().get(22), Some(node.hash(22)));
    // An older one changes nothing.
    assert_eq!(chain.trust(TrustedHash::new(node.hash(22))), None);
    let steps = follow(&mut chain, &node, 12).expect("an honest node");
    assert_eq!(steps, [Step::Older, Step::CaughtUp]);
    assert_eq!(chain.trusted().map(Head::number), Some(25));
    assert_eq!(chain.claimed().map(Head::number), Some(30));
    // One that no claim led to.
    node.grow(90, b"");
    chain.trust(TrustedHash::new(node.hash(80)));
    follow(&mut chain, &node, 12).expect("an honest node");
    assert_eq!(chain.trusted().map(Head::number), Some(80));
    assert_eq!(chain.claimed().map(Head::hash), Some(node.hash(90)));
}

#[test]
fn a_trusted_hash_on_another_branch_takes_the_claims_away() {
    let node = MadeChain::new(20);
    let other = node.branch(12, 30, b"other");
    let mut chain = trusting(&node, 10, 4);
    follow(&mut chain, &node, 12).expect("an honest node");
    chain.trust(TrustedHash::new(other.hash(18)));
    follow(&mut chain, &other, 12).expect("an honest node");
    assert_eq!(chain.trusted().map(Head::hash), Some(other.hash(18)));
    assert_eq!(chain.claimed().map(Head::hash), Some(other.hash(30)));
    for number in chain.ring().range().map(|(a, b)| a..=b).expect("some") {
        assert_eq!(chain.ring().get(number), Some(other.hash(number)));
    }
}

#[test]
fn a_peer_on_another_branch_replaces_claims_and_says_how_many() {
    let node = MadeChain::new(30);
    for (at, last, most) in [
        (29, 31, 12),
        (25, 33, 12),
        (21, 40, 3),
        (27, 28, 12),
        (20, 31, 1),
    ] {
        let mut chain = trusting(&node, 20, 3);
        follow(&mut chain, &node, 12).expect("an honest node");
        let other = node.branch(at, last, b"other");
        let steps = follow(&mut chain, &other, most).expect("an honest node");
        let dropped: u64 = steps
            .iter()
            .map(|step| match step {
                Step::Ahead { dropped, .. } => *dropped,
                _ => 0,
            })
            .sum();
        // A branch that is shorter is not known to be one: nothing follows the old head on it.
        if last > 30 {
            assert_eq!(dropped, 30 - at, "{steps:?}");
            assert_eq!(chain.claimed().map(Head::hash), Some(other.hash(last)));
            assert_eq!(chain.ring().get(last), Some(other.hash(last)));
            assert!(
                chain
                    .ring()
                    .get(at)
                    .is_none_or(|hash| hash == node.hash(at))
            );
        }
    }
}

#[test]
fn a_branch_from_before_the_ring_begins_again_at_the_trusted_block() {
    let node = MadeChain::new(60);
    let other = node.branch(20, 70, b"other");
    let mut chain = trusting(&node, 10, 0);
    follow(&mut chain, &node, 12).expect("an honest node");
    follow(&mut chain, &other, 12).expect("an honest node");
    assert_eq!(chain.claimed().map(Head::hash), Some(other.hash(70)));

    let mut chain: Chain<16> = Chain::new(node.hash(0), None, 0);
    chain.hint(node.hash(60));
    follow(&mut chain, &node, 12).expect("an honest node");
    let error = follow(&mut chain, &other, 12).expect_err("nothing to begin at");
    assert_eq!(error, ChainError::DeepReorganisation);
}

#[test]
fn a_peer_whose_chain_lacks_the_trusted_block_is_told_from_a_liar() {
    let node = MadeChain::new(30);
    let other = node.branch(10, 40, b"other");
    let mut chain = trusting(&node, 20, 3);
    let error = follow(&mut chain, &other, 12).expect_err("another branch");
    assert_eq!(error, ChainError::Lacks(node.hash(20)));
    // Once the block is known, another one after it is a conflict.
    follow(&mut chain, &node, 12).expect("an honest node");
    let error = follow(&mut chain, &other, 12).expect_err("another branch");
    assert_eq!(error, ChainError::ConflictsWithTrusted);
    assert_eq!(chain.trusted().map(Head::hash), Some(node.hash(20)));
}

/// Each lie: what it does to the headers of an honest answer, and what it is called.
#[test]
fn headers_that_do_not_fit_are_named_and_change_nothing() {
    type Lie = fn(&mut Vec<MadeHeader>);
    let lies: [(Lie, ChainError); 7] = [
        (
            |h| h[2].parent = Hash([9; 32]),
            LinkError::WrongParent.into(),
        ),
        (
            |h| h[1].state_root = Hash([9; 32]),
            LinkError::WrongParent.into(),
        ),
        (|h| h[4].number += 1, LinkError::WrongNumber.into()),
        (
            |h| h[4].timestamp = h[3].timestamp,
            LinkError::WrongTime.into(),
        ),
        (|h| h.swap(1, 2), LinkError::WrongParent.into()),
        (|h| drop(h.remove(0)), ChainError::OtherNumber),
        (|h| h.extend(h.clone()), LinkError::TooMany.into()),
    ];
    let node = MadeChain::new(20);
    for (i, (lie, name)) in lies.into_iter().enumerate() {
        let mut chain = trusting(&node, 10, 0);
        let question = chain.question(5).expect("the trusted header");
        give(&mut chain, question, &node.serve(&question.request(1))).expect("it");
        let question = Question::Ahead {
            number: 11,
            amount: 5,
        };
        assert_eq!(chain.question(5), Some(question));
        let mut headers = node.0[11..16].to_vec();
        lie(&mut headers);
        let headers: Vec<_> = headers.iter().map(MadeHeader::encode).collect();
        assert_eq!(give(&mut chain, question, &headers), Err(name), "lie {i}");
        assert_eq!(chain.claimed(), None);
        assert_eq!(chain.ring().range(), Some((10, 10)));
    }
}

#[test]
fn ancestors_that_do_not_fit_are_named_and_change_nothing() {
    type Lie = fn(&mut Vec<MadeHeader>);
    let lies: [(Lie, LinkError); 5] = [
        (|h| h[0].state_root = Hash([9; 32]), LinkError::WrongHash),
        (|h| h[3].number += 1, LinkError::WrongHash),
        (|h| drop(h.remove(1)), LinkError::WrongHash),
        (|h| h.reverse(), LinkError::WrongHash),
        (|h| h.extend(h.clone()), LinkError::TooMany),
    ];
    let node = MadeChain::new(20);
    for (i, (lie, name)) in lies.into_iter().enumerate() {
        let mut chain = trusting(&node, 20, 5);
        let question = chain.question(5).expect("the trusted header");
        give(&mut chain, question, &node.serve(&question.request(1))).expect("it");
        let question = chain.question(5).expect("its ancestors");
        let mut headers: Vec<_> = node.0[15..20].iter().rev().cloned().collect();
        lie(&mut headers);
        let headers: Vec<_> = headers.iter().map(MadeHeader::encode).collect();
        assert_eq!(
            give(&mut chain, question, &headers),
            Err(name.into()),
            "lie {i}"
        );
        assert_eq!(chain.ring().range(), Some((20, 20)));
    }
}

/// A chain whose hashes are right and whose numbers or times are not: nobody honest made it, and a trusted hash does not help.
#[test]
fn numbers_and_times_are_checked_behind_hashes_that_are_right() {
    type Lie = fn(&mut MadeHeader);
    let lies: [(Lie, LinkError); 3] = [
        (|header| header.number += 1, LinkError::WrongNumber),
        (|header| header.number -= 1, LinkError::WrongNumber),
        (|header| header.timestamp += 12, LinkError::WrongTime),
    ];
    for (lie, name) in lies {
        let mut node = MadeChain::new(9);
        lie(&mut node.0[9]);
        let child = MadeHeader {
            parent: node.hash(9),
            number: 10,
            timestamp: 120,
            ..node.0[9].clone()
        };
        node.0.push(child);
        let mut chain = trusting(&node, 10, 3);
        let error = follow(&mut chain, &node, 5).expect_err("a lie");
        assert_eq!(error, name.into());
    }
}

#[test]
fn another_header_than_the_one_asked_for_is_no_trusted_head() {
    let node = MadeChain::new(20);
    let mut chain = trusting(&node, 10, 0);
    let question = chain.question(5).expect("a question");
    let wrong = give(&mut chain, question, &[node.0[11].encode()]);
    assert_eq!(wrong, Err(LinkError::WrongHash.into()));
    assert_eq!(chain.trusted(), None);
    let none = give(&mut chain, question, &[]);
    assert_eq!(none, Err(ChainError::Lacks(node.hash(10))));
    let garbage = give(&mut chain, question, &[vec![0xc1, 0x05]]);
    assert!(matches!(
        garbage,
        Err(ChainError::Link(LinkError::Malformed(_)))
    ));
}

proptest! {
    /// Whatever branches the peers are on, what is kept is one chain, and ends where the last honest peer's does if that is
    /// longer than what was claimed.
    #[test]
    fn what_is_kept_is_the_last_peers_chain(
        peers in prop::collection::vec((8_u64..40, 1_u64..40, 1_u64..14), 1..6),
    ) {
        let node = MadeChain::new(40);
        let mut chain = trusting(&node, 8, 4);
        for (i, (at, more, most)) in peers.into_iter().enumerate() {
            let longest = chain.claimed().map_or(8, Head::number);
            let last = longest.max(at) + more;
            let peer = node.branch(at, last, &[i as u8 + 1]);
            follow(&mut chain, &peer, most).expect("an honest node");
            prop_assert_eq!(chain.claimed().map(Head::hash), Some(peer.hash(last)));
            let (oldest, newest) = chain.ring().range().expect("hashes");
            prop_assert_eq!(newest, last);
            for number in oldest..=newest {
                prop_assert_eq!(chain.ring().get(number), Some(peer.hash(number)));
            }
        }
    }

    #[test]
    fn a_ring_keeps_the_last(pushes in 1_u64..50, older in 0_u64..20, cut in 0_u64..60) {
        let hash = |number: u64| Hash::of(&number.to_be_bytes());
        let mut ring = Ring::<8>::new();
        for number in 20..20 + pushes {
            ring.push(number, hash(number));
        }
        let mut oldest = (20 + pushes).saturating_sub(8).max(20);
        for number in (0..20).rev().take(older as usize) {
            let had_room = ring.len() < 8 && number + 1 == oldest;
            prop_assert_eq!(ring.push_older(number, hash(number)), had_room);
            if had_room {
                oldest = number;
            }
        }
        let newest = 20 + pushes - 1;
        prop_assert_eq!(ring.range(), Some((oldest, newest)));
        ring.truncate(cut);
        let left = (cut >= oldest).then_some((oldest, newest.min(cut)));
        prop_assert_eq!(ring.range(), left);
        for number in 0..80 {
            let kept = left.is_some_and(|(oldest, newest)| (oldest..=newest).contains(&number));
            prop_assert_eq!(ring.get(number), kept.then(|| hash(number)));
            prop_assert_eq!(ring.number_of(hash(number)), kept.then_some(number));
        }
    }
}
