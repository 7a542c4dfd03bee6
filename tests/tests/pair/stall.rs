//! Subprotocols that do not read: what the others notice, what is lost, what is told.
use devp2p_core::capability::{Overflow, Protocol};
use devp2p_core::error::CloseReason;
use devp2p_tests::fixture::{at_secs, config, millis, protocol, secs};
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::{Kind, Nodes};
use devp2p_tests::node::{Machine, Reading, Spec};
use devp2p_tests::random::Random;

for_each_kind! {
    a_stalled_subprotocol_stalls_nothing_until_its_inbox_is_full_and_then_loses_nothing,
    a_slow_reader_is_not_a_stalled_one,
    an_inbox_that_drops_loses_and_counts_what_does_not_fit,
    a_message_that_can_never_fit_is_reported_in_order_and_the_session_lives,
    a_message_beyond_its_protocols_limit_is_oversize_even_if_it_would_fit,
    an_oversize_report_waits_for_room_like_any_message,
    a_closed_session_lets_what_was_delivered_be_read,
    the_reader_is_woken_once_for_what_comes_and_not_for_anything_else,
    both_sides_held_back_recover,
    the_hold_back_limit_can_be_configured,
}

const OVERHEAD: usize = devp2p_core::arena::RECORD_OVERHEAD;

fn pair<K: Kind>(protocols: &[Protocol]) -> Nodes<K> {
    let [a, b] = [1, 2].map(|seed| Spec::new(seed, protocols));
    let mut pair = K::dial(&a, &b);
    pair.activate();
    pair
}

fn a_stalled_subprotocol_stalls_nothing_until_its_inbox_is_full_and_then_loses_nothing<K: Kind>() {
    let protocols = [protocol("slow", 1, 4096), protocol("fast", 1, 4096)];
    let mut pair = pair::<K>(&protocols);
    pair.b.read(0, Reading::Stalled);
    let mut random = Random::new(4);
    // As many as fit exactly.
    let slow: Vec<Vec<u8>> = (0..8).map(|_| random.bytes(512 - OVERHEAD)).collect();
    for payload in &slow {
        pair.a.write(0, 0, payload);
    }
    let fast: Vec<Vec<u8>> = (0..200).map(|_| random.bytes(300)).collect();
    for payload in &fast[..100] {
        pair.a.write(1, 0, payload);
    }
    pair.settle();
    assert_eq!(pair.b.payloads(1), fast[..100], "nothing is in its way");
    assert_eq!(pair.b.session.counters(0).messages, 8);

    // One more, and everything behind it waits; what we send goes on.
    pair.run_to(at_secs(1));
    let last = random.bytes(40);
    pair.a.write(0, 0, &last);
    pair.settle();
    for payload in &fast[100..] {
        pair.a.write(1, 0, payload);
    }
    let back = random.bytes(3000);
    pair.b.write(1, 0, &back);
    pair.settle();
    assert_eq!(pair.b.payloads(1).len(), 100);
    assert_eq!(pair.a.payloads(1), [&back[..]]);

    // It reads again just in time, and everything is there.
    pair.b.read(0, Reading::From(at_secs(15)));
    pair.run_to(at_secs(20));
    assert!(pair.b.closed().is_none());
    let mut all = slow.clone();
    all.push(last);
    assert_eq!(pair.b.payloads(0), all);
    assert_eq!(pair.b.payloads(1), fast);
    assert_eq!(pair.b.session.counters(0).dropped, 0);
}

fn a_slow_reader_is_not_a_stalled_one<K: Kind>() {
    let protocols = [protocol("slow", 1, 2048)];
    let mut pair = pair::<K>(&protocols);
    // One message in 10 s: each one that is held back waits for less than the limit.
    pair.b.read(0, Reading::Every(secs(10)));
    let mut random = Random::new(4);
    let payloads: Vec<Vec<u8>> = (0..30).map(|_| random.bytes(900)).collect();
    let messages = payloads.iter().map(|payload| (0, vec![payload.clone()]));
    let writer = pair.a.write_all(0, messages.collect());
    pair.run_for(secs(400));
    assert_eq!(pair.a.results(writer).len(), 30);
    assert_eq!(pair.b.payloads(0), payloads);
    assert!(pair.a.closed().is_none() && pair.b.closed().is_none());
}

fn an_inbox_that_drops_loses_and_counts_what_does_not_fit<K: Kind>() {
    let mut protocols = [protocol("drops", 1, 1024), protocol("other", 1, 1024)];
    protocols[0].overflow = Overflow::Drop;
    let mut pair = pair::<K>(&protocols);
    pair.b.read(0, Reading::Stalled);
    let mut random = Random::new(4);
    let payloads: Vec<Vec<u8>> = (0..10).map(|_| random.bytes(400)).collect();
    let messages = payloads.iter().map(|payload| (0, vec![payload.clone()]));
    pair.a.write_all(0, messages.collect());
    pair.a.write(1, 0, b"passes");
    pair.settle();
    assert_eq!(pair.b.payloads(1), [b"passes"]);
    pair.b.read(0, Reading::Eager);
    pair.settle();
    assert_eq!(pair.b.payloads(0), payloads[..2]);
    let counters = pair.b.session.counters(0);
    assert_eq!((counters.messages, counters.dropped), (2, 8));
    pair.a.write(0, 0, b"room again");
    pair.settle();
    assert_eq!(pair.b.payloads(0)[2], b"room again");
}

fn a_message_that_can_never_fit_is_reported_in_order_and_the_session_lives<K: Kind>() {
    for version in [4, 5] {
        let protocols = [protocol("p", 4, 1000)];
        let specs = [1, 2].map(|seed| {
            let mut spec = Spec::new(seed, &protocols);
            spec.version = version;
            spec
        });
        let mut pair = K::dial(&specs[0], &specs[1]);
        pair.activate();
        let mut random = Random::new(4);
        let fits = 1000 - OVERHEAD;
        let payloads = [
            random.bytes(10),
            random.bytes(fits + 1),
            random.compressible(100_000),
            random.bytes(fits),
            vec![],
        ];
        let messages = payloads.iter().zip([0, 1, 2, 3, 0]);
        let messages = messages.map(|(payload, code)| (code, vec![payload.clone()]));
        pair.a.write_all(0, messages.collect());
        pair.settle();
        let got: Vec<_> = pair
            .b
            .got(0)
            .iter()
            .map(|got| (got.code, got.length as usize, got.payload.clone()))
            .collect();
        let whole = |i: usize| Some(payloads[i].clone());
        assert_eq!(
            got,
            [
                (0, 10, whole(0)),
                (1, fits + 1, None),
                (2, 100_000, None),
                (3, fits, whole(3)),
                (0, 0, whole(4)),
            ]
        );
        let counters = pair.b.session.counters(0);
        assert_eq!((counters.messages, counters.oversize), (5, 2));
        assert!(pair.b.closed().is_none());
    }
}

fn a_message_beyond_its_protocols_limit_is_oversize_even_if_it_would_fit<K: Kind>() {
    let mut protocols = [protocol("p", 1, 4096)];
    protocols[0].message_limit = 100;
    let mut pair = pair::<K>(&protocols);
    let mut random = Random::new(4);
    for length in [100, 101, 99] {
        pair.a.write(0, 0, &random.bytes(length));
    }
    pair.settle();
    let got: Vec<_> = pair.b.got(0).iter().map(|got| got.length).collect();
    assert_eq!(got, [100, 101, 99]);
    assert_eq!(pair.b.payloads(0).len(), 2);
    assert!(pair.b.got(0)[1].payload.is_none());
}

fn an_oversize_report_waits_for_room_like_any_message<K: Kind>() {
    let protocols = [protocol("p", 1, 600)];
    let mut pair = pair::<K>(&protocols);
    pair.b.read(0, Reading::Stalled);
    let mut random = Random::new(4);
    for length in [600 - OVERHEAD, 5000, 10] {
        pair.a.write(0, 0, &random.bytes(length));
    }
    pair.run_to(at_secs(1));
    assert_eq!(pair.b.session.counters(0).messages, 1);
    pair.b.read(0, Reading::Eager);
    pair.settle();
    let got: Vec<_> = pair.b.got(0).iter().map(|got| got.length).collect();
    assert_eq!(got, [(600 - OVERHEAD) as u32, 5000, 10]);
}

fn a_closed_session_lets_what_was_delivered_be_read<K: Kind>() {
    let protocols = [protocol("p", 1, 4096)];
    let mut pair = pair::<K>(&protocols);
    pair.b.read(0, Reading::Stalled);
    pair.a.write(0, 0, b"first");
    pair.a.write(0, 0, b"second");
    pair.settle();
    let reason = devp2p_core::disconnect::DisconnectReason::CLIENT_QUITTING;
    pair.a.session.close(pair.now, CloseReason::Local(reason));
    pair.close();
    pair.b.read(0, Reading::Eager);
    pair.settle();
    assert_eq!(pair.b.payloads(0), [&b"first"[..], b"second"]);
    assert_eq!(
        pair.b.read_end(0),
        Some(CloseReason::RemoteRequested(Some(reason)))
    );
}

fn the_reader_is_woken_once_for_what_comes_and_not_for_anything_else<K: Kind>() {
    let protocols = [protocol("p", 1, 4096), protocol("q", 1, 4096)];
    let mut pair = pair::<K>(&protocols);
    pair.settle();
    assert_eq!(pair.b.reader_wakes(0), 0);
    pair.a.write(0, 0, b"x");
    pair.settle();
    assert_eq!((pair.b.reader_wakes(0), pair.b.reader_wakes(1)), (1, 0));
    pair.run_for(secs(100));
    assert_eq!((pair.b.reader_wakes(0), pair.b.reader_wakes(1)), (1, 0));
    pair.a.session.close(pair.now, CloseReason::WriteAbandoned);
    pair.close();
    assert_eq!((pair.b.reader_wakes(0), pair.b.reader_wakes(1)), (2, 1));
}

fn both_sides_held_back_recover<K: Kind>() {
    // Both write more than the other takes, with small rings and windows: neither can deadlock the other.
    let protocols = [protocol("p", 1, 2048)];
    let mut pair = pair::<K>(&protocols);
    pair.to_a.faults_mut().window = 700;
    pair.to_b.faults_mut().window = 700;
    pair.to_a.faults_mut().latency = (millis(1), millis(5));
    pair.to_b.faults_mut().latency = (millis(1), millis(5));
    let mut random = Random::new(6);
    let mut sent = [Vec::new(), Vec::new()];
    for sent in &mut sent {
        *sent = (0..60)
            .map(|_| {
                let length = random.index(2000);
                random.bytes(length)
            })
            .collect();
    }
    let messages = |sent: &[Vec<u8>]| sent.iter().map(|p| (0, vec![p.clone()])).collect();
    pair.a.write_all(0, messages(&sent[0]));
    pair.b.write_all(0, messages(&sent[1]));
    pair.a.read(0, Reading::Every(millis(40)));
    pair.b.read(0, Reading::Every(millis(70)));
    pair.run_for(secs(30));
    assert_eq!(pair.b.payloads(0), sent[0]);
    assert_eq!(pair.a.payloads(0), sent[1]);
}

fn the_hold_back_limit_can_be_configured<K: Kind>() {
    let protocols = [protocol("p", 1, 100)];
    let mut spec = Spec::new(2, &protocols);
    spec.config = config(|config| config.hold_back_limit = secs(3));
    let mut pair = K::dial(&Spec::new(1, &protocols), &spec);
    pair.activate();
    pair.b.read(0, Reading::Stalled);
    pair.a.write(0, 0, &[1; 79]);
    pair.a.write(0, 0, &[1]);
    pair.close();
    assert_eq!(pair.b.closed().unwrap().0, at_secs(3));
}
