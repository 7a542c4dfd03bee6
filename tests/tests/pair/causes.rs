//! Every row of the cause table: what one side's close reason is, and what the other side sees.
use devp2p_core::capability::{Overflow, Protocol};
use devp2p_core::config::Config;
use devp2p_core::disconnect::{self, DisconnectReason};
use devp2p_core::error::{CloseReason, TransportError, Violation};
use devp2p_core::hello::NodeId;
use devp2p_core::time::Instant;
use devp2p_tests::fixture::{at_secs, millis, protocol, secs};
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::{Kind, Nodes, Private};
use devp2p_tests::link::Faults;
use devp2p_tests::node::{Machine, Node, Reading, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::random::Random;
use devp2p_tests::rogue::{Remote, Say, body, compressed};

for_each_kind! {
    a_bad_hello_has_its_own_cause,
    a_local_call_gives_its_reason_to_the_remote,
    causes_that_the_driver_reports_carry_their_reasons,
    a_remote_disconnect_is_taken_in_every_form_and_answered_by_nothing,
    a_disconnect_in_place_of_hello_is_a_request_of_the_remote,
    a_frame_whose_mac_is_wrong_is_the_transports_fault_whatever_is_in_it,
    the_end_of_the_stream_anywhere_is_the_transports_fault,
    a_violation_is_answered_even_if_the_remote_has_half_closed_meanwhile,
    a_hello_of_exactly_two_kibibytes_with_extra_fields_is_taken,
    second_hellos_reserved_codes_and_unasked_pongs_are_ignored,
    a_ping_is_answered_by_a_pong_and_a_flood_that_never_reads_grows_nothing,
    an_inbox_that_prefers_the_end_closes_as_stalled_at_once,
    a_broken_transport_ends_both_sides_without_a_word,
    a_peer_that_needs_no_shared_capability_stays,
    a_disconnect_of_any_length_gives_its_reason_after_hello_and_in_place_of_it;
    over RLPx:
    what_breaks_the_protocol_in_a_valid_frame_is_a_violation,
    a_dialled_node_that_is_ourselves_is_found_out,
    a_wrong_key_is_one_indistinguishable_error,
}

const END: CloseReason = CloseReason::Transport(TransportError::EndOfStream);

fn protocols() -> Vec<Protocol> {
    vec![protocol("chat", 4, 4096), protocol("echo", 2, 4096)]
}

fn asked(reason: DisconnectReason) -> CloseReason {
    CloseReason::RemoteRequested(Some(reason))
}

/// Two nodes, active over a link with some latency.
fn active<K: Kind>() -> Nodes<K> {
    let (a, b) = (Spec::new(1, &protocols()), Spec::new(2, &protocols()));
    let faults = [Faults::latency(millis(3)), Faults::latency(millis(3))];
    let mut pair = K::pair(&a, &b, faults, 7);
    pair.activate();
    pair
}

/// A rogue that dials a node and has said its Hello.
fn rogue<K: Kind>() -> Pair<K::Rogue, Node<K::Machine>> {
    K::active(&Spec::new(2, &protocols()))
}

/// A rogue that dials a node and has said nothing yet.
fn before_hello<K: Kind>(spec: &Spec) -> Pair<K::Rogue, Node<K::Machine>> {
    let mut pair = K::silent(spec);
    pair.settle();
    assert!(pair.b.closed().is_none());
    pair
}

/// The node closes for `cause`, and the rogue sees a Disconnect with its reason, or none.
#[track_caller]
fn expect<K: Kind>(pair: &mut Pair<K::Rogue, Node<K::Machine>>, cause: CloseReason) {
    pair.run_out();
    if pair.b.close_reason() != Some(cause) {
        pair.fail(&format!("{:?} is not {cause:?}", pair.b.close_reason()));
    }
    let said = pair.a.messages().into_iter().filter(|(code, _)| *code == 1);
    let said: Vec<_> = said
        .map(|(_, payload)| disconnect::decode(payload).expect("a reason"))
        .collect();
    let expected: Vec<_> = cause.disconnect().into_iter().collect();
    assert_eq!(said, expected, "the Disconnect for {cause:?}");
    assert!(pair.a.ended().is_some(), "the transport is dropped");
}

fn a_local_call_gives_its_reason_to_the_remote<K: Kind>() {
    for code in 0..=255 {
        let reason = DisconnectReason(code);
        let mut pair = active::<K>();
        let cause = CloseReason::Local(reason);
        pair.a.session.close(pair.now, cause);
        pair.close();
        assert_eq!(pair.a.close_reason(), Some(cause));
        assert_eq!(pair.b.close_reason(), Some(asked(reason)));
        assert!(
            pair.a.closed().unwrap().0 < at_secs(1),
            "no deadline needed"
        );
    }
}

fn causes_that_the_driver_reports_carry_their_reasons<K: Kind>() {
    use DisconnectReason as R;
    let rows = [
        (CloseReason::ProtocolReturned { subprotocol: 1 }, R(0x08)),
        (
            CloseReason::ProtocolError {
                subprotocol: 0,
                reason: R::SUBPROTOCOL_ERROR,
            },
            R(0x10),
        ),
        (
            CloseReason::ProtocolError {
                subprotocol: 0,
                reason: R::PROTOCOL_ERROR,
            },
            R(0x02),
        ),
        (CloseReason::Rejected(R::TOO_MANY_PEERS), R(0x04)),
    ];
    for (cause, reason) in rows {
        let mut pair = active::<K>();
        pair.b.session.close(pair.now, cause);
        pair.close();
        assert_eq!(pair.b.close_reason(), Some(cause));
        assert_eq!(pair.a.close_reason(), Some(asked(reason)));
        assert_eq!(pair.a.read_end(0), Some(asked(reason)));
        assert_eq!(pair.b.read_end(0), Some(cause));
    }
}

fn a_remote_disconnect_is_taken_in_every_form_and_answered_by_nothing<K: Kind>() {
    let mut forms: Vec<(Vec<u8>, Option<DisconnectReason>)> = vec![
        (vec![0xc1, 0x04], Some(DisconnectReason(4))),
        (vec![0x04], Some(DisconnectReason(4))),
        (vec![], None),
        (vec![0xc0], None),
    ];
    for n in [2, 17, 200, 3000] {
        // Elements after the first are ignored, or the reason is lost: the session ends in any case.
        forms.push((vec![0xff; n], None));
    }
    for (plain, reason) in forms {
        let mut payloads = vec![plain.clone()];
        // Snappy of nothing is the bare zero. A private framing compresses nothing, and does not look for long blocks.
        if !plain.is_empty() && (K::VERSION == 5 || plain.len() < 3) {
            payloads.push(compressed(&plain));
        }
        for payload in payloads {
            let mut pair = rogue::<K>();
            pair.a.say_message(1, &payload);
            pair.run_out();
            assert_eq!(
                pair.b.close_reason(),
                Some(CloseReason::RemoteRequested(reason)),
                "{payload:02x?}"
            );
            assert_eq!(pair.a.messages().len(), 1, "only its Hello was said");
        }
    }
}

fn a_disconnect_in_place_of_hello_is_a_request_of_the_remote<K: Kind>() {
    let mut pair = before_hello::<K>(&Spec::new(2, &protocols()));
    pair.a.say_message(1, &[0xc1, 0x04]);
    expect::<K>(&mut pair, asked(DisconnectReason::TOO_MANY_PEERS));
    assert!(pair.b.active().is_none());
}

#[test]
fn what_breaks_the_protocol_over_a_private_framing_is_a_violation() {
    let frames = [
        (body(16 + 6, b"x"), Violation::CodeOutOfRange),
        (body(0xffff_ffff, &[]), Violation::CodeOutOfRange),
        (body(2, &[0; 2049]), Violation::BaseMessageTooLarge),
        (body(9, &[0; 2049]), Violation::BaseMessageTooLarge),
        (body(0, &[0; 2049]), Violation::BaseMessageTooLarge),
        (body(16, &vec![0; 1 << 24]), Violation::MessageTooLarge),
    ];
    for (frame, violation) in frames {
        let mut pair = rogue::<Private>();
        pair.a.say(Say::Frame(frame));
        pair.a.say_message(17, b"comes too late");
        expect::<Private>(&mut pair, CloseReason::Violation(violation));
        assert!(pair.b.got(0).is_empty(), "nothing of it was delivered");
    }
}

fn what_breaks_the_protocol_in_a_valid_frame_is_a_violation<K: Kind>() {
    let mut too_long = vec![0xff, 0xff, 0xff, 0x07];
    too_long.extend([0; 100]);
    let frames: Vec<(Vec<u8>, Violation)> = vec![
        (vec![], Violation::MalformedCode),
        (vec![0xc0, 0, 0], Violation::MalformedCode),
        (vec![0x81], Violation::MalformedCode),
        (body(16 + 6, &compressed(b"x")), Violation::CodeOutOfRange),
        (body(0xffff_ffff, &[]), Violation::CodeOutOfRange),
        (
            [&[0x88][..], &[0xff; 8], &[0xc0]].concat(),
            Violation::CodeOutOfRange,
        ),
        (body(2, &[0; 2049]), Violation::BaseMessageTooLarge),
        (body(2, &vec![0; 1 << 20]), Violation::BaseMessageTooLarge),
        (body(9, &[0; 2049]), Violation::BaseMessageTooLarge),
        (body(0, &[0; 2049]), Violation::BaseMessageTooLarge),
        (body(16, &[]), Violation::BadSnappy),
        (body(16, &[5, 0x10, 1, 2, 3]), Violation::BadSnappy),
        (body(17, &[5, 0x10, 1, 2, 3, 4, 5, 0]), Violation::BadSnappy),
        (body(18, &[4, 0x01, 0x01]), Violation::BadSnappy),
        (body(19, &[200, 1, 0xfc, 1, 2]), Violation::BadSnappy),
        (body(16, &too_long), Violation::BadSnappy),
        (
            body(16, &[0x80, 0x80, 0x80, 0x08, 0]),
            Violation::MessageTooLarge,
        ),
    ];
    for (frame, violation) in frames {
        let mut pair = rogue::<K>();
        pair.a.say(Say::Frame(frame));
        pair.a.say_message(17, &compressed(b"comes too late"));
        expect::<K>(&mut pair, CloseReason::Violation(violation));
        assert!(pair.b.got(0).is_empty(), "nothing of it was delivered");
    }
}

fn a_frame_whose_mac_is_wrong_is_the_transports_fault_whatever_is_in_it<K: Kind>() {
    let bodies = [
        body(2, &[]),
        body(16, &K::payload(b"a message")),
        body(99, b"out of range"),
        body(16, b"not Snappy"),
        body(1, &[0xc1, 4]),
        body(2, &vec![0; 70_000]),
        vec![],
    ];
    for body in bodies {
        let mut pair = rogue::<K>();
        pair.a.say(Say::BadMac(body.clone()));
        expect::<K>(&mut pair, CloseReason::Transport(TransportError::BadMac));
        assert!(pair.b.got(0).is_empty(), "{body:02x?}");
    }
    let mut pair = rogue::<K>();
    pair.a.say(Say::Bytes(vec![0x77; 32]));
    expect::<K>(&mut pair, CloseReason::Transport(TransportError::BadMac));
}

fn the_end_of_the_stream_anywhere_is_the_transports_fault<K: Kind>() {
    for part in [0, 1, 31, 32, 40, 48, 60] {
        for say in [Say::HalfClose, Say::Drop] {
            let mut pair = rogue::<K>();
            let frame = body(16, &K::payload(b"a message, two blocks"));
            let part = part.min(K::frame_length(frame.len()) - 1);
            pair.a.say(Say::PartOfFrame(frame, part));
            pair.a.say(say);
            pair.run_out();
            assert_eq!(pair.b.close_reason(), Some(END));
            assert_eq!(pair.a.messages().len(), 1, "nothing is said after it");
            assert!(pair.b.got(0).is_empty());
        }
    }
}

fn a_violation_is_answered_even_if_the_remote_has_half_closed_meanwhile<K: Kind>() {
    let mut pair = rogue::<K>();
    pair.a.say_message(200, b"");
    pair.a.say(Say::HalfClose);
    expect::<K>(&mut pair, CloseReason::Violation(Violation::CodeOutOfRange));
    assert!(pair.b.closed().unwrap().0 < at_secs(1));
}

fn a_bad_hello_has_its_own_cause<K: Kind>() {
    let node = Spec::new(2, &protocols());
    let probe = K::rogue(1, node.id());
    let good = probe.hello(K::VERSION, &protocols());
    let replace_id = |id: &NodeId| {
        let mut hello = good.clone();
        let at = hello.len() - 64;
        hello[at..].copy_from_slice(&id.0);
        hello
    };
    let mut short_id = good.clone();
    let at = short_id.len() - 66;
    short_id.truncate(at);
    short_id.extend([&[0xb8, 63][..], &[1; 63]].concat());
    short_id[1] -= 1;
    let mut large = good.clone();
    large.resize(2049, 0);
    let violation = CloseReason::Violation;
    let mut rows: Vec<(Vec<u8>, CloseReason)> = vec![
        (body(0, &[]), violation(Violation::MalformedHello)),
        (body(0, &good[..20]), violation(Violation::MalformedHello)),
        (body(0, &[0xc0]), violation(Violation::MalformedHello)),
        (body(0, &large), violation(Violation::HelloTooLarge)),
        (
            body(0, &vec![0; 1 << 16]),
            violation(Violation::HelloTooLarge),
        ),
        (
            body(0, &replace_id(&NodeId([0; 64]))),
            CloseReason::InvalidIdentity,
        ),
        (body(0, &short_id), CloseReason::InvalidIdentity),
        (
            body(0, &probe.hello(3, &protocols())),
            CloseReason::IncompatibleVersion,
        ),
        (
            body(0, &probe.hello(K::VERSION, &[])),
            CloseReason::UselessPeer,
        ),
        (
            body(0, &probe.hello(K::VERSION, &[protocol("other", 1, 0)])),
            CloseReason::UselessPeer,
        ),
        (body(2, &[0xc0]), violation(Violation::ExpectedHello)),
        (body(16, &[0]), violation(Violation::ExpectedHello)),
    ];
    if K::PROVES_IDENTITY {
        let other = replace_id(&Spec::new(9, &[]).id());
        rows.push((body(0, &other), CloseReason::IdentityMismatch));
        rows.push((vec![], violation(Violation::MalformedCode)));
    }
    for (frame, cause) in rows {
        let mut pair = before_hello::<K>(&node);
        pair.a.say(Say::Frame(frame));
        expect::<K>(&mut pair, cause);
        assert!(pair.b.active().is_none());
    }
}

fn a_hello_of_exactly_two_kibibytes_with_extra_fields_is_taken<K: Kind>() {
    let mut pair = before_hello::<K>(&Spec::new(2, &protocols()));
    let mut hello = pair.a.hello(K::VERSION, &protocols());
    hello.resize(2048, 0);
    pair.a.say_message(0, &hello);
    pair.settle();
    assert!(pair.b.active().is_some());
}

fn a_dialled_node_that_is_ourselves_is_found_out<K: Kind>() {
    let spec = Spec::new(1, &protocols());
    let mut pair = K::dial(&spec, &spec);
    pair.close();
    let causes = [pair.a.close_reason(), pair.b.close_reason()];
    let own = Some(CloseReason::SelfConnection);
    let told = Some(asked(DisconnectReason::SELF));
    assert!(
        causes.contains(&own) && causes.iter().all(|cause| [own, told].contains(cause)),
        "{causes:?}"
    );
}

fn second_hellos_reserved_codes_and_unasked_pongs_are_ignored<K: Kind>() {
    let mut pair = rogue::<K>();
    let hello = pair.a.hello(K::VERSION, &[]);
    pair.a.say_message(0, &hello);
    pair.a.say_message(0, b"not even Snappy or RLP");
    for code in 4..16 {
        pair.a.say_message(code, b"whatever");
    }
    pair.a.say_message(3, &[]);
    pair.a.say_message(18, &K::payload(b"goes on"));
    pair.settle();
    assert!(pair.b.closed().is_none());
    assert_eq!(pair.b.payloads(0), [b"goes on"]);
    assert_eq!(pair.b.got(0)[0].code, 2);
}

fn a_ping_is_answered_by_a_pong_and_a_flood_that_never_reads_grows_nothing<K: Kind>() {
    let mut pair = rogue::<K>();
    pair.a.say_message(2, &K::payload(&[0xc0]));
    pair.settle();
    assert_eq!(
        pair.a.messages().last(),
        Some(&(3, &K::payload(&[0xc0])[..]))
    );

    pair.to_a.faults_mut().window = 0;
    for _ in 0..1000 {
        pair.a.say_message(2, &[]);
    }
    pair.settle();
    pair.to_a.faults_mut().window = usize::MAX;
    pair.settle();
    let pongs = pair.a.messages().iter().filter(|(c, _)| *c == 3).count();
    assert!(pongs <= 1 + 16 + 1024 / 64, "{pongs} Pongs");
    assert!(pair.b.closed().is_none());
}

fn an_inbox_that_prefers_the_end_closes_as_stalled_at_once<K: Kind>() {
    let mut protocols = protocols();
    protocols[0].overflow = Overflow::Disconnect;
    let mut pair = K::dial(&Spec::new(1, &protocols), &Spec::new(2, &protocols));
    pair.activate();
    pair.b.read(0, Reading::Stalled);
    let payload = Random::new(1).bytes(3000);
    pair.a.write(0, 0, &payload);
    pair.a.write(0, 0, &payload);
    pair.close();
    assert_eq!(
        pair.b.close_reason(),
        Some(CloseReason::Stalled { subprotocol: 0 })
    );
    assert_eq!(
        pair.a.close_reason(),
        Some(asked(DisconnectReason::SUBPROTOCOL_ERROR))
    );
    assert_eq!(pair.now, Instant::ZERO, "no time passes");
}

fn a_broken_transport_ends_both_sides_without_a_word<K: Kind>() {
    let mut pair = active::<K>();
    let error = TransportError::Io;
    pair.a.session.handle_end(pair.now, error);
    pair.close();
    assert_eq!(pair.a.close_reason(), Some(CloseReason::Transport(error)));
    assert_eq!(pair.b.close_reason(), Some(END));
}

fn a_wrong_key_is_one_indistinguishable_error<K: Kind>() {
    let b = Spec::new(2, &protocols());
    let wrong = Spec::new(3, &protocols()).id();
    let a = Node::<K::Machine>::dial(&Spec::new(1, &protocols()), wrong);
    let faults = [Faults::none(), Faults::none()];
    let mut pair = Pair::new(a, Node::<K::Machine>::accept(&b), faults, 0);
    pair.close();
    let failed = CloseReason::Transport(TransportError::Handshake);
    assert_eq!(pair.b.close_reason(), Some(failed));
    assert_eq!(pair.a.close_reason(), Some(END));
}

fn a_peer_that_needs_no_shared_capability_stays<K: Kind>() {
    let mut spec = Spec::new(2, &protocols());
    spec.config = Config::new();
    spec.config.require_shared = false;
    let mut pair = before_hello::<K>(&spec);
    pair.a.say_hello(K::VERSION, &[]);
    pair.run_for(secs(1));
    assert!(pair.b.active().is_some() && pair.b.closed().is_none());
}

/// Reported are a text after the reason, zeros, and 16 MB.
fn a_disconnect_of_any_length_gives_its_reason_after_hello_and_in_place_of_it<K: Kind>() {
    let text = |length: usize| {
        let mut stream = rlp::RlpStream::new_list(2);
        stream.append(&4u8).append(&vec![b'x'; length]);
        stream.out().to_vec()
    };
    let snappy = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let mut payloads = vec![[&[0xc1, 0x04][..], &[0; 15]].concat()];
    payloads.extend([13, 14, 15, 16, 38, 60, 200, 1_900].map(text));
    let blocks: Vec<_> = payloads.iter().map(|payload| snappy(payload)).collect();
    if K::VERSION == 5 {
        payloads.extend(blocks);
    }
    let cause = CloseReason::RemoteRequested(Some(DisconnectReason::TOO_MANY_PEERS));
    for payload in &payloads {
        let mut pair = before_hello::<K>(&Spec::new(2, &protocols()));
        pair.a.say(Say::Frame(body(1, payload)));
        expect::<K>(&mut pair, cause);
    }
    payloads.push(text(0xff_ff00));
    if K::VERSION == 5 {
        payloads.extend([0xff_ff00, 100_000].map(|length| snappy(&text(length))));
    }
    for payload in &payloads {
        for version in 4..=K::VERSION {
            let mut pair = before_hello::<K>(&Spec::new(2, &protocols()));
            pair.a.say_hello(version, &protocols());
            pair.a.say(Say::Frame(body(1, payload)));
            expect::<K>(&mut pair, cause);
        }
    }
}
