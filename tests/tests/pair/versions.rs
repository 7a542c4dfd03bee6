//! Base protocol versions: Snappy only if both sides speak version 5, whatever else is said.
use devp2p_core::capability::Protocol;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_tests::fixture::{config, protocol};
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::Kind;
use devp2p_tests::link::Faults;
use devp2p_tests::node::{Machine, Node, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::random::Random;
use devp2p_tests::rogue::{Manners, Remote, Rogue, compressed};

for_each_kind! {
    over RLPx:
    every_mix_of_versions_and_encoders_exchanges_messages,
    the_form_on_the_wire_is_that_of_both_versions,
    without_snappy_any_bytes_are_a_message,
    version_3_is_turned_away_unless_it_is_allowed,
}

fn protocols() -> Vec<Protocol> {
    vec![protocol("chat", 4, 64 * 1024)]
}

fn spec(seed: u64, version: u8) -> Spec {
    let mut spec = Spec::new(seed, &protocols());
    spec.version = version;
    spec
}

fn rogue<K: Kind>(spec: &Spec, version: u8) -> Pair<Rogue, Node<K::Machine>> {
    let rogue = Rogue::dial(1, spec.id(), Manners::Polite);
    let faults = [Faults::none(), Faults::none()];
    let mut pair = Pair::new(rogue, Node::accept(spec), faults, 0);
    pair.a.say_hello(version, &protocols());
    pair.settle();
    pair
}

fn every_mix_of_versions_and_encoders_exchanges_messages<K: Kind>() {
    let mut random = Random::new(1);
    let payloads: Vec<Vec<u8>> = [0, 1, 55, 56, 1023, 1024, 1025, 20_000]
        .map(|n| random.compressible(n))
        .to_vec();
    for (a, b) in [(4, 4), (4, 5), (5, 4), (5, 5)] {
        for tables in [(0, 0), (0, 512), (4096, 16)] {
            let (mut a, mut b) = (spec(1, a), spec(2, b));
            (a.table, b.table) = tables;
            let mut pair = K::dial(&a, &b);
            pair.activate();
            for payload in &payloads {
                pair.a.write(0, 3, payload);
                pair.b.write(0, 1, payload);
            }
            pair.settle();
            assert_eq!(pair.a.payloads(0), payloads);
            assert_eq!(pair.b.payloads(0), payloads);
        }
    }
}

fn the_form_on_the_wire_is_that_of_both_versions<K: Kind>() {
    let payload = vec![7; 1000];
    for (node, remote, snappy) in [(5, 5, true), (5, 4, false), (4, 5, false), (5, 6, true)] {
        for table in [0, 512] {
            let mut spec = spec(2, node);
            spec.table = table;
            let mut pair = rogue::<K>(&spec, remote);
            pair.b.write(0, 2, &payload);
            pair.a.say_message(2, &[0xc0]);
            pair.settle();
            let messages = pair.a.messages();
            let (code, wire) = messages[1];
            assert_eq!(code, 18);
            match (snappy, table) {
                (false, _) => assert_eq!(wire, payload),
                (true, 0) => assert_eq!(wire, compressed(&payload), "a literal"),
                (true, _) => assert!(wire.len() < 100, "{} bytes", wire.len()),
            }
            let pong: &[u8] = if snappy { &[1, 0, 0xc0] } else { &[0xc0] };
            assert_eq!(messages[2], (3, pong));

            // What comes in has the same form.
            let literal = compressed(&payload);
            pair.a
                .say_message(17, if snappy { &literal } else { &payload });
            pair.settle();
            assert_eq!(pair.b.payloads(0), [&payload[..]]);
            assert_eq!(pair.b.session.peer().remote().unwrap().version, remote);
        }
    }
}

fn without_snappy_any_bytes_are_a_message<K: Kind>() {
    let mut pair = rogue::<K>(&spec(2, 5), 4);
    pair.a.say_message(16, &[0xff; 33]);
    pair.a.say_message(16, &[]);
    pair.settle();
    assert_eq!(pair.b.payloads(0), [&[0xff; 33][..], &[]]);
    assert!(pair.b.closed().is_none());
}

fn version_3_is_turned_away_unless_it_is_allowed<K: Kind>() {
    let mut pair = rogue::<K>(&spec(2, 5), 3);
    pair.run_out();
    assert_eq!(
        pair.b.close_reason(),
        Some(CloseReason::IncompatibleVersion)
    );
    // It speaks no Snappy.
    let reason = DisconnectReason::INCOMPATIBLE_VERSION;
    assert_eq!(pair.a.messages()[1], (1, &[0xc1, reason.0][..]));

    let mut spec = spec(2, 5);
    spec.config = config(|config| config.lowest_version = 3);
    let pair = rogue::<K>(&spec, 3);
    assert!(pair.b.active().is_some());
}
