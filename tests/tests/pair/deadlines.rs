//! Every deadline, to the microsecond, with no other reason to be called than `poll_at`.
use devp2p_core::capability::Protocol;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::session::Event;
use devp2p_core::time::Instant;
use devp2p_tests::fixture::{at_millis, at_secs, millis, protocol, secs};
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::{Kind, Nodes};
use devp2p_tests::link::{Chunking, Faults, Stall};
use devp2p_tests::node::{Admission, Machine, Node, Reading, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::random::Random;
use devp2p_tests::rogue::{Manners, Remote, Rogue, Say, body};

for_each_kind! {
    a_hello_that_does_not_come_or_not_whole_is_answered_by_read_timeout,
    a_message_must_be_whole_30_seconds_after_its_first_byte,
    each_message_has_its_own_30_seconds,
    the_wire_must_take_our_bytes_in_20_seconds,
    a_wire_that_moves_is_given_time,
    an_inbox_holds_back_for_15_seconds,
    an_inbox_that_found_room_in_time_is_not_blamed_for_a_remote_that_fell_silent,
    closing_takes_2_seconds_at_most,
    what_still_arrives_while_closing_is_discarded;
    over RLPx:
    a_handshake_that_stands_still_anywhere_ends_at_its_deadline_without_a_word,
    a_remote_that_nobody_admits_in_time_is_dropped,
    a_hello_byte_by_byte_does_not_gain_time,
}

fn protocols() -> Vec<Protocol> {
    vec![protocol("chat", 4, 4096), protocol("echo", 2, 4096)]
}

fn perfect() -> [Faults; 2] {
    [Faults::none(), Faults::none()]
}

fn rogue<K: Kind>() -> Pair<K::Rogue, Node<K::Machine>> {
    K::active(&Spec::new(2, &protocols()))
}

fn active<K: Kind>() -> Nodes<K> {
    let [a, b] = [1, 2].map(|seed| Spec::new(seed, &protocols()));
    let mut pair = K::dial(&a, &b);
    pair.activate();
    pair
}

fn a_handshake_that_stands_still_anywhere_ends_at_its_deadline_without_a_word<K: Kind>() {
    let start = Instant::from_micros(1_234_567);
    let end = Instant::from_micros(6_234_567);
    let mut spec = Spec::new(2, &protocols());
    spec.start = start;
    let manners = [0, 1, 2, 100, 300].map(Manners::Breaks);
    for manners in manners.into_iter().chain([Manners::Mute]) {
        let accepting = Node::<K::Machine>::accept(&spec);
        let rogue = Rogue::dial(1, spec.id(), manners);
        let mut accepting = Pair::new(rogue, accepting, perfect(), 0);
        let rogue = Rogue::accept(1, manners);
        let dialling = Node::<K::Machine>::dial(&spec, rogue.id());
        let mut dialling = Pair::new(rogue, dialling, perfect(), 0);
        for pair in [&mut accepting, &mut dialling] {
            pair.now = start;
            pair.run_out();
            let closed = Some((end, CloseReason::HandshakeTimeout));
            pair.check(pair.b.closed() == closed, "closed at its deadline");
            assert_eq!(pair.b.event_kinds().len(), 1, "and nothing else");
        }
        assert_eq!(accepting.to_a.taken(), 0, "nothing was said");
    }
}

fn a_remote_that_nobody_admits_in_time_is_dropped<K: Kind>() {
    let mut spec = Spec::new(2, &protocols());
    spec.admission = Admission::Undecided;
    let mut pair = K::dial(&Spec::new(1, &protocols()), &spec);
    pair.close();
    let closed = (at_secs(5), CloseReason::HandshakeTimeout);
    assert_eq!(pair.b.closed(), Some(closed));
    assert_eq!(
        pair.b.event_kinds(),
        [
            Event::Authenticated(Spec::new(1, &[]).id()),
            Event::Closed(closed.1)
        ]
    );
}

fn a_hello_that_does_not_come_or_not_whole_is_answered_by_read_timeout<K: Kind>() {
    for part in [0, 1, 31, 32, 100] {
        let spec = Spec::new(2, &protocols());
        let mut pair = K::silent(&spec);
        pair.run_to(at_secs(1));
        let hello = body(0, &pair.a.hello(K::VERSION, &protocols()));
        pair.a.say(Say::PartOfFrame(hello, part));
        pair.run_out();
        assert_eq!(pair.a.times_of(1), [at_secs(5)]);
        // Our Hello was sent, so the remote can know that it is compressed.
        assert_eq!(
            pair.a.messages().last().unwrap().1,
            K::payload(&[0xc1, 0x0b])
        );
        assert_eq!(
            pair.b.closed(),
            Some((at_secs(7), CloseReason::HandshakeTimeout))
        );
    }
}

fn a_hello_byte_by_byte_does_not_gain_time<K: Kind>() {
    let specs = [1, 2].map(|seed| Spec::new(seed, &protocols()));
    let mut slow = Faults::none();
    slow.chunking = Chunking::Bytes;
    slow.window = 1;
    slow.latency = (millis(30), millis(30));
    let mut pair = K::pair(&specs[0], &specs[1], [Faults::none(), slow], 0);
    pair.close();
    assert_eq!(pair.b.closed().unwrap().0, at_secs(5));
    assert_eq!(pair.b.close_reason(), Some(CloseReason::HandshakeTimeout));
}

fn a_message_must_be_whole_30_seconds_after_its_first_byte<K: Kind>() {
    let frame = body(16, &K::payload(&Random::new(1).bytes(1000)));
    for part in [1, 16, 31, 32, 33, 48, 500, 1055] {
        let mut pair = rogue::<K>();
        pair.run_to(at_millis(7_500));
        let part = part.min(K::frame_length(frame.len()) - 1);
        pair.a.say(Say::PartOfFrame(frame.clone(), part));
        pair.run_out();
        assert_eq!(pair.b.close_reason(), Some(CloseReason::ReadTimeout));
        assert_eq!(pair.a.times_of(1), [at_millis(37_500)], "{part} bytes");
        assert_eq!(
            pair.a.messages().last().unwrap().1,
            K::payload(&[0xc1, 0x0b])
        );
        assert_eq!(pair.b.closed().unwrap().0, at_millis(39_500));
    }
}

fn each_message_has_its_own_30_seconds<K: Kind>() {
    let mut pair = rogue::<K>();
    let mut random = Random::new(1);
    // Two frames of 256 bytes, 20 s each; the second one begins with the end of the first.
    let from = pair.to_b.taken();
    pair.to_b.faults_mut().stalls = [100, 300]
        .map(|at| Stall {
            from: from + at,
            span: Some(secs(20)),
        })
        .to_vec();
    for _ in 0..2 {
        pair.a.say_message(16, &K::payload(&random.bytes(200)));
    }
    pair.run_for(secs(41));
    assert_eq!(pair.b.got(0).len(), 2);
    assert_eq!(pair.b.got(0)[0].at, at_secs(20));
    assert_eq!(pair.b.got(0)[1].at, at_secs(40));
    assert!(pair.b.closed().is_none());
}

fn the_wire_must_take_our_bytes_in_20_seconds<K: Kind>() {
    let mut pair = active::<K>();
    pair.run_to(at_millis(1_500));
    pair.to_b.faults_mut().window = 0;
    let inside = pair.a.write(0, 0, &Random::new(1).bytes(3000));
    let waits = pair.a.write(1, 0, b"waits");
    pair.close();
    let reason = CloseReason::WriteTimeout;
    assert_eq!(pair.a.closed(), Some((at_millis(21_500), reason)));
    for writer in [inside, waits] {
        assert_eq!(
            pair.a.results(writer),
            [Err(devp2p_core::error::WriteError::Closed(reason))]
        );
    }
    assert_eq!(
        pair.b.close_reason(),
        Some(CloseReason::Transport(TransportError::EndOfStream)),
        "no Disconnect is said"
    );
}

fn a_wire_that_moves_is_given_time<K: Kind>() {
    let mut pair = active::<K>();
    // 100 bytes each 5 s: the ring of 1024 bytes would take 51 s, but what waited when a mark was set leaves in time.
    pair.to_b.faults_mut().window = 500;
    pair.to_b.faults_mut().latency = (secs(5), secs(5));
    let payload = Random::new(1).bytes(3000);
    let writer = pair.a.write(0, 0, &payload);
    pair.run_for(secs(29));
    assert!(pair.a.closed().is_none());
    assert_eq!(pair.a.results(writer), [Ok(())]);
}

fn an_inbox_holds_back_for_15_seconds<K: Kind>() {
    let mut pair = rogue::<K>();
    pair.b.read(1, Reading::Stalled);
    // wire codes of echo begin at 20
    let full = Random::new(1).bytes(2000);
    for _ in 0..2 {
        pair.a.say_message(20, &K::payload(&full));
    }
    pair.run_to(at_millis(5_250));
    pair.a.say_message(20, &K::payload(&full));
    pair.run_out();
    assert_eq!(pair.a.times_of(2), [at_secs(15)], "our Ping goes out");
    assert_eq!(pair.a.times_of(1), [at_millis(20_250)]);
    assert_eq!(
        pair.a.messages().last().unwrap().1,
        K::payload(&[0xc1, 0x10])
    );
    assert_eq!(
        pair.b.closed(),
        Some((at_millis(22_250), CloseReason::Stalled { subprotocol: 1 }))
    );
}

fn an_inbox_that_found_room_in_time_is_not_blamed_for_a_remote_that_fell_silent<K: Kind>() {
    let mut pair = rogue::<K>();
    pair.b.read(0, Reading::Stalled);
    pair.a
        .say_message(16, &K::payload(&Random::new(1).bytes(4075)));
    let frame = body(16, &K::payload(&Random::new(2).bytes(100)));
    pair.a.say(Say::PartOfFrame(frame, 48));
    pair.b.read(0, Reading::From(at_secs(10)));
    pair.run_out();
    assert_eq!(pair.b.close_reason(), Some(CloseReason::ReadTimeout));
    // 30 s without the 10 that it was held.
    assert_eq!(pair.a.times_of(1), [at_secs(40)]);
}

fn closing_takes_2_seconds_at_most<K: Kind>() {
    // The wire takes nothing: the Disconnect cannot leave.
    let mut pair = active::<K>();
    pair.to_b.faults_mut().window = 0;
    pair.run_to(at_secs(3));
    let cause = CloseReason::Local(DisconnectReason::CLIENT_QUITTING);
    pair.a.session.close(pair.now, cause);
    pair.close();
    assert_eq!(pair.a.closed(), Some((at_secs(5), cause)));

    // It leaves, but the remote never ends its side.
    let mut pair = rogue::<K>();
    pair.run_to(at_secs(3));
    pair.b.session.close(pair.now, cause);
    pair.run_out();
    assert_eq!(pair.a.times_of(1), [at_secs(3)]);
    assert_eq!(pair.a.ended(), Some(at_secs(3)), "half-closed at once");
    assert_eq!(pair.b.closed(), Some((at_secs(5), cause)));
    assert!(pair.b.event_kinds().contains(&Event::HalfClose));

    // It does.
    let mut pair = rogue::<K>();
    pair.run_to(at_secs(3));
    pair.b.session.close(pair.now, cause);
    pair.run_to(at_millis(3_500));
    pair.a.say(Say::Drop);
    pair.run_out();
    assert_eq!(pair.b.closed(), Some((at_millis(3_500), cause)));
}

fn what_still_arrives_while_closing_is_discarded<K: Kind>() {
    let mut pair = rogue::<K>();
    let cause = CloseReason::Local(DisconnectReason::CLIENT_QUITTING);
    pair.b.session.close(pair.now, cause);
    for _ in 0..100 {
        pair.a.say_message(16, &K::payload(b"too late"));
    }
    pair.a.say_message(99, b"a violation");
    pair.a.say_message(1, &[0xc1, 0x04]);
    pair.a.say(Say::HalfClose);
    pair.run_out();
    assert_eq!(pair.b.closed(), Some((Instant::ZERO, cause)));
    assert!(pair.b.got(0).is_empty());
}
