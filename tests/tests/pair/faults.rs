//! Order and content of many random messages, whatever the link does short of altering bytes; and what follows if it does.
use std::collections::VecDeque;

use devp2p_core::capability::Protocol;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_tests::fixture::{millis, protocol, secs};
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::Kind;
use devp2p_tests::link::{Chunking, Faults, Stall};
use devp2p_tests::node::{Machine, Node, Reading, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::random::Random;

for_each_kind! {
    a_perfect_link,
    latency_and_random_pieces,
    small_pieces_and_a_small_window,
    byte_by_byte,
    a_link_that_stands_still_now_and_then,
    a_cut_anywhere_ends_both_sides_and_delivers_only_what_was_sent,
    altered_bytes_close_the_session_and_deliver_nothing_that_was_not_sent,
}

type Sent = [VecDeque<(u32, Vec<u8>)>; 4];

fn protocols() -> Vec<Protocol> {
    ["a", "b", "c", "d"]
        .iter()
        .zip([1, 5, 100, 17])
        .map(|(name, length)| protocol(name, length, 8 * 1024))
        .collect()
}

/// Random messages for the four subprotocols.
fn messages(random: &mut Random, count: usize) -> Sent {
    let mut sent = Sent::default();
    for _ in 0..count {
        let subprotocol = random.index(4);
        let code = random.below([1, 5, 100, 17][subprotocol]) as u32;
        let length = match random.below(40) {
            0 => random.index(6000),
            1..=8 => random.index(600),
            _ => random.index(40),
        };
        let payload = match random.below(2) {
            0 => random.bytes(length),
            _ => random.compressible(length),
        };
        sent[subprotocol].push_back((code, payload));
    }
    sent
}

fn write<M: Machine>(node: &mut Node<M>, sent: &Sent, random: &mut Random) {
    for (subprotocol, messages) in sent.iter().enumerate() {
        let messages = messages.iter().map(|(code, payload)| {
            // Now and then in two slices.
            let (left, right) = payload.split_at(random.index(payload.len() + 1));
            (*code, vec![left.to_vec(), right.to_vec()])
        });
        node.write_all(subprotocol, messages.collect());
    }
}

/// What was delivered is a beginning of what was sent, in each subprotocol; returns whether it is all of it.
fn verify<M: Machine>(pair: &Pair<Node<M>, Node<M>>, node: &Node<M>, sent: &Sent) -> bool {
    let mut all = true;
    for (subprotocol, sent) in sent.iter().enumerate() {
        let got = node.got(subprotocol);
        pair.check(got.len() <= sent.len(), "no message comes from nowhere");
        for (at, (got, (code, payload))) in got.iter().zip(sent).enumerate() {
            pair.check(
                got.code == *code && got.payload.as_ref() == Some(payload),
                &format!("message {at} of subprotocol {subprotocol}"),
            );
        }
        all &= got.len() == sent.len();
    }
    all
}

fn exchange<K: Kind>(seed: u64, count: usize, faults: [Faults; 2]) {
    let mut random = Random::new(seed);
    let specs = [1, 2].map(|n| {
        let mut spec = Spec::new(n, &protocols());
        // From a ring that is smaller than a frame to one that holds many.
        spec.ring = [496, 1024, 20_000][random.index(3)];
        spec.table = [0, 64, 512][random.index(3)];
        spec.version = if random.one_in(4) { 4 } else { 5 };
        spec
    });
    let mut pair = K::pair(&specs[0], &specs[1], faults, seed);
    let sent = [(); 2].map(|()| messages(&mut random, count / 2));
    write(&mut pair.a, &sent[0], &mut random);
    write(&mut pair.b, &sent[1], &mut random);
    for node in [&mut pair.a, &mut pair.b] {
        node.read(random.index(4), Reading::Every(millis(1)));
    }
    pair.run_until(|pair| {
        let count = |node: &Node<_>| (0..4).map(|i| node.got(i).len()).sum::<usize>();
        if pair.a.closed().is_some() || pair.b.closed().is_some() {
            pair.fail("closed");
        }
        count(&pair.a) + count(&pair.b) == count_of(&sent)
    });
    pair.check(verify(&pair, &pair.b, &sent[0]), "all of a's messages");
    pair.check(verify(&pair, &pair.a, &sent[1]), "all of b's messages");
}

fn count_of(sent: &[Sent; 2]) -> usize {
    sent.iter().flatten().map(VecDeque::len).sum()
}

fn both(faults: Faults) -> [Faults; 2] {
    [faults.clone(), faults]
}

fn a_perfect_link<K: Kind>() {
    exchange::<K>(1, 10_000, both(Faults::none()));
}

fn latency_and_random_pieces<K: Kind>() {
    for seed in 2..5 {
        let mut faults = Faults::none();
        faults.latency = (millis(0), millis(5));
        faults.chunking = Chunking::Random(2000);
        faults.window = 64 * 1024;
        exchange::<K>(seed, 10_000, both(faults));
    }
}

fn small_pieces_and_a_small_window<K: Kind>() {
    let mut faults = Faults::none();
    faults.chunking = Chunking::Random(70);
    faults.window = 333;
    exchange::<K>(6, 10_000, both(faults));
}

fn byte_by_byte<K: Kind>() {
    let mut faults = Faults::none();
    faults.chunking = Chunking::Bytes;
    exchange::<K>(7, 10_000, both(faults));
}

fn a_link_that_stands_still_now_and_then<K: Kind>() {
    let mut random = Random::new(8);
    let mut faults = both(Faults::none());
    for faults in &mut faults {
        faults.chunking = Chunking::Random(500);
        faults.latency = (millis(1), millis(2));
        let mut at = 2000;
        for _ in 0..30 {
            at += 1 + random.below(20_000);
            faults.stalls.push(Stall {
                from: at,
                span: Some(millis(random.below(4000))),
            });
        }
    }
    exchange::<K>(8, 10_000, faults);
}

fn a_cut_anywhere_ends_both_sides_and_delivers_only_what_was_sent<K: Kind>() {
    let mut cuts: Vec<u64> = (0..40).map(|n| n * 37).collect();
    let mut random = Random::new(9);
    cuts.extend((0..40).map(|_| random.below(40_000)));
    for cut in cuts {
        let mut faults = Faults::latency(millis(1));
        faults.chunking = Chunking::Random(900);
        let mut cut_faults = faults.clone();
        cut_faults.cut = Some(cut);
        let specs = [1, 2].map(|n| Spec::new(n, &protocols()));
        let mut pair = K::pair(&specs[0], &specs[1], [faults, cut_faults], cut);
        let sent = [(); 2].map(|()| messages(&mut random, 200));
        write(&mut pair.a, &sent[0], &mut random);
        write(&mut pair.b, &sent[1], &mut random);
        pair.run_until(|pair| {
            (pair.a.closed().is_some() && pair.b.closed().is_some()) || pair.to_b.taken() < cut
        });
        if pair.to_b.taken() < cut {
            // Fewer bytes were sent in all.
            continue;
        }
        let end = CloseReason::Transport(TransportError::EndOfStream);
        pair.check(pair.b.close_reason() == Some(end), "b sees the end");
        pair.check(pair.a.close_reason() == Some(end), "and then a");
        verify(&pair, &pair.b, &sent[0]);
        verify(&pair, &pair.a, &sent[1]);
    }
}

fn altered_bytes_close_the_session_and_deliver_nothing_that_was_not_sent<K: Kind>() {
    let mut offsets: Vec<u64> = (0..1500).step_by(7).collect();
    let mut random = Random::new(10);
    offsets.extend((0..150).map(|_| random.below(30_000)));
    let mut handshakes = 0;
    for offset in offsets {
        let mut faults = Faults::latency(millis(1));
        faults.chunking = Chunking::Random(900);
        let mut corrupt = faults.clone();
        corrupt.corrupt = Some((offset, random.below(8) as u8));
        let to_b = random.one_in(2);
        let faults = if to_b {
            [faults, corrupt]
        } else {
            [corrupt, faults]
        };
        let specs = [1, 2].map(|n| Spec::new(n, &protocols()));
        let mut pair = K::pair(&specs[0], &specs[1], faults, offset);
        let sent = [(); 2].map(|()| messages(&mut random, 150));
        write(&mut pair.a, &sent[0], &mut random);
        write(&mut pair.b, &sent[1], &mut random);
        pair.run_for(secs(14));
        let taken = if to_b { &pair.to_b } else { &pair.to_a };
        if taken.taken() <= offset {
            continue;
        }
        let (victim, other) = if to_b {
            (&pair.b, &pair.a)
        } else {
            (&pair.a, &pair.b)
        };
        match victim.close_reason() {
            Some(CloseReason::Transport(TransportError::BadMac)) => {}
            // In the handshake a packet's length can grow: then the rest of it never comes. That is the one deadline that
            // can end it.
            Some(
                CloseReason::Transport(TransportError::Handshake) | CloseReason::HandshakeTimeout,
            ) => handshakes += 1,
            other => pair.fail(&format!("closed for {other:?} by byte {offset}")),
        }
        match other.close_reason() {
            Some(
                CloseReason::Transport(TransportError::EndOfStream) | CloseReason::HandshakeTimeout,
            ) => {}
            other => pair.fail(&format!("the other side for {other:?}")),
        }
        verify(&pair, &pair.b, &sent[0]);
        verify(&pair, &pair.a, &sent[1]);
    }
    match K::PROVES_IDENTITY {
        true => assert!(handshakes > 20, "{handshakes} of them hit the handshake"),
        false => assert_eq!(handshakes, 0, "there is none"),
    }
}
