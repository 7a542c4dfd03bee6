//! What only memory that grows does.
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_tests::endpoint::Endpoint;
use devp2p_tests::fixture::{at_secs, protocol, secs};
use devp2p_tests::growable::Growable;
use devp2p_tests::kind::{Growing, Kind, Nodes};
use devp2p_tests::link::Faults;
use devp2p_tests::node::{Node, Reading, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::random::Random;
use devp2p_tests::rogue::{Manners, Remote, Rogue, Say, body};

fn active() -> Nodes<Growing> {
    let protocols = [protocol("a", 4, 1 << 20), protocol("b", 4, 1 << 20)];
    let mut pair = Growing::dial(&Spec::new(1, &protocols), &Spec::new(2, &protocols));
    pair.activate();
    pair
}

#[test]
fn an_empty_output_takes_any_frame_at_once_and_a_full_one_none() {
    let mut pair = active();
    pair.to_b.faults_mut().window = 0;
    let payload = Random::new(1).bytes(300_000);
    let (now, session) = (pair.now, &mut pair.a.session);
    assert_eq!(session.try_write(now, 0, LocalCode(1), &[&payload]), Ok(()));
    let full = Err(WriteError::WouldBlock { free: 0 });
    assert_eq!(session.try_write(now, 1, LocalCode(1), &[b"x"]), full);
    let waits = pair.a.write(1, 1, b"waits");
    pair.settle();
    assert_eq!(pair.a.results(waits), []);
    pair.to_b.faults_mut().window = usize::MAX;
    pair.settle();
    assert_eq!(pair.b.payloads(0), [&payload[..]]);
    assert_eq!(pair.a.results(waits), [Ok(())]);
    assert_eq!(pair.b.payloads(1), [b"waits"]);
}

#[test]
fn what_was_compressed_before_arrives_whether_it_is_copied_or_stands_where_it_is_sealed() {
    let mut pair = active();
    let mut random = Random::new(2);
    let mut sent = Vec::new();
    // Each length twice: the two ways alternate.
    for length in [0, 1, 13, 14, 15, 16, 100, 16_000, 16_384, 20_000, 300_000] {
        for payload in [random.bytes(length), random.compressible(length)] {
            for _ in 0..2 {
                let now = pair.now;
                let (left, right) = payload.split_at(length / 3);
                let slices = [left, right];
                let written = pair.a.session.try_write(now, 0, LocalCode(3), &slices);
                assert_eq!(written, Ok(()), "{length} bytes");
                sent.push(payload.clone());
                pair.settle();
            }
        }
    }
    assert_eq!(pair.b.payloads(0), sent);
}

#[test]
fn a_write_that_waits_makes_the_output_no_larger_than_its_limit() {
    let mut pair = active();
    pair.to_b.faults_mut().window = 0;
    let payload = Random::new(1).bytes(300_000);
    let writer = pair.a.write(0, 0, &payload);
    pair.settle();
    assert_eq!(pair.a.session.output_length(), 1024);
    pair.to_b.faults_mut().window = 5000;
    pair.settle();
    assert_eq!(pair.a.results(writer), [Ok(())]);
    assert_eq!(pair.b.payloads(0), [&payload[..]]);
}

#[test]
fn a_full_output_takes_the_disconnect_and_no_pong() {
    let protocols = [protocol("a", 4, 4096)];
    let spec = Spec::new(2, &protocols);
    let rogue = Rogue::dial(1, spec.id(), Manners::Polite);
    let faults = [Faults::none(), Faults::none()];
    let mut pair = Pair::new(rogue, Node::<Growable>::accept(&spec), faults, 0);
    pair.a.say_hello(5, &protocols);
    pair.settle();
    pair.to_a.faults_mut().window = 0;
    let writer = pair.b.write(0, 0, &Random::new(1).bytes(970));
    pair.settle();
    assert_eq!(pair.b.results(writer), [Ok(())]);
    assert_eq!(pair.b.session.output_length(), 1024, "full");
    pair.a.say(Say::Frame(body(2, &[1, 0, 0xc0])));
    pair.settle();
    assert_eq!(pair.b.session.output_length(), 1024);
    let reason = CloseReason::Local(DisconnectReason::CLIENT_QUITTING);
    pair.b.session.close(pair.now, reason);
    pair.settle();
    assert_eq!(pair.b.session.output_length(), 1024 + 64);
    pair.to_a.faults_mut().window = usize::MAX;
    pair.run_out();
    let said: Vec<_> = pair.a.messages().iter().map(|(code, _)| *code).collect();
    assert_eq!(said, [0, 16, 1]);
}

#[test]
fn our_hello_waits_until_it_is_known_what_to_offer() {
    let ours: &'static [_] = Box::leak(Box::new([protocol("a", 4, 4096)]));
    let mut spec = Spec::new(2, ours);
    spec.config.handshake_timeout = secs(20);
    let rogue = Rogue::dial(1, spec.id(), Manners::Polite);
    let mut node = Node::<Growable>::accept(&spec);
    node.session.defer_hello();
    let faults = [Faults::none(), Faults::none()];
    let mut pair = Pair::new(rogue, node, faults, 0);
    pair.run_to(at_secs(10));
    assert!(pair.a.is_established());
    assert!(pair.a.messages().is_empty(), "nothing is said");
    pair.b.session.offer(ours);
    pair.settle();
    assert_eq!(pair.a.messages().len(), 1);
    pair.a.say_hello(5, ours);
    pair.settle();
    assert_eq!(pair.b.active(), Some(at_secs(10)));

    // One that is turned away meanwhile learns it all the same.
    let rogue = Rogue::dial(1, spec.id(), Manners::Polite);
    let mut node = Node::<Growable>::accept(&spec);
    node.session.defer_hello();
    let faults = [Faults::none(), Faults::none()];
    let mut pair = Pair::new(rogue, node, faults, 0);
    pair.settle();
    let reason = DisconnectReason::TOO_MANY_PEERS;
    pair.b.session.reject(pair.now, reason);
    pair.run_out();
    assert_eq!(pair.a.messages(), [(1, &[0xc1, reason.0][..])]);
}

#[test]
fn a_transport_that_takes_no_more_bytes_is_read_to_its_end() {
    let mut pair = active();
    pair.b.read(0, Reading::Stalled);
    pair.a
        .session
        .try_write(pair.now, 0, LocalCode(0), &[b"first"])
        .expect("room");
    pair.b.session.cut_output();
    pair.settle();
    assert!(
        pair.b.close_reason().is_none(),
        "it is the driver's to end it"
    );
    // A Ping that is asked for cannot go out, and asks for no call either.
    pair.b.session.request_ping();
    pair.settle();
    assert!(pair.b.output().is_empty());
    let reason = CloseReason::Transport(TransportError::Io);
    pair.b.session.handle_end(pair.now, TransportError::Io);
    pair.settle();
    assert_eq!(pair.b.closed(), Some((pair.now, reason)));
    pair.b.read(0, Reading::Eager);
    pair.settle();
    assert_eq!(pair.b.payloads(0), [b"first"]);

    // With a Disconnect that cannot be said there is nothing to wait for.
    let mut pair = active();
    pair.b.session.cut_output();
    let reason = CloseReason::Local(DisconnectReason::CLIENT_QUITTING);
    pair.b.session.close(pair.now, reason);
    pair.settle();
    assert_eq!(pair.b.closed(), Some((pair.now, reason)));
}

#[test]
fn memory_of_the_opening_and_of_an_empty_output_is_given_back() {
    let mut pair = active();
    assert_eq!(pair.a.session.memory(), [0, 0]);
    pair.to_b.faults_mut().window = 0;
    pair.a.write(0, 0, &[1; 100]);
    pair.settle();
    assert!(pair.a.session.memory()[1] > 0);
    pair.to_b.faults_mut().window = usize::MAX;
    pair.settle();
    assert_eq!(pair.a.session.memory(), [0, 0]);
}
