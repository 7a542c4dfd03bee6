//! Pings and the judgement over silence, driven by `poll_at` alone.
use devp2p_core::capability::Protocol;
use devp2p_core::error::CloseReason;
use devp2p_core::time::Duration;
use devp2p_tests::fixture::{at_millis, at_secs, millis, protocol, secs};
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::Kind;
use devp2p_tests::link::Faults;
use devp2p_tests::node::{Machine, Node, Reading, Spec};
use devp2p_tests::pair::Pair;
use devp2p_tests::random::Random;
use devp2p_tests::rogue::{Remote, Say, body};

for_each_kind! {
    the_first_ping_comes_after_one_interval_and_silence_is_timed_out,
    the_next_ping_comes_one_interval_after_the_pong,
    any_verified_message_is_life_and_traffic_does_not_put_off_the_next_ping,
    two_nodes_keep_each_other_alive_for_hours,
    a_requested_ping_goes_out_at_once_and_only_one_is_unanswered,
    while_we_hold_back_pings_go_out_and_nobody_is_blamed,
    the_pong_deadline_stands_still_while_we_hold_back,
    a_slow_message_in_progress_is_no_silence,
}

const PING: u64 = 2;
const PONG: u32 = 3;

fn protocols() -> Vec<Protocol> {
    vec![protocol("chat", 4, 4096), protocol("echo", 2, 4096)]
}

/// A rogue that answers nothing by itself, with an active node.
fn rogue<K: Kind>() -> Pair<K::Rogue, Node<K::Machine>> {
    K::active(&Spec::new(2, &protocols()))
}

fn the_first_ping_comes_after_one_interval_and_silence_is_timed_out<K: Kind>() {
    let mut pair = rogue::<K>();
    pair.run_out();
    assert_eq!(pair.a.times_of(PING), [at_secs(15)]);
    assert_eq!(pair.b.close_reason(), Some(CloseReason::PingTimeout));
    assert_eq!(pair.a.times_of(1), [at_secs(30)], "Disconnect 0x0b");
    assert_eq!(
        pair.a.messages().last().unwrap().1,
        K::payload(&[0xc1, 0x0b])
    );
    // The rogue does not close its side, so closing takes its whole deadline.
    assert_eq!(pair.b.closed().unwrap().0, at_secs(32));
}

fn the_next_ping_comes_one_interval_after_the_pong<K: Kind>() {
    let mut pair = rogue::<K>();
    pair.run_to(at_millis(15_250));
    pair.a.say_message(PONG, &K::payload(&[0xc0]));
    pair.run_to(at_millis(40_000));
    assert_eq!(pair.a.times_of(PING), [at_secs(15), at_millis(30_250)]);
    assert_eq!(pair.b.session.peer().round_trip(), Some(millis(250)));
    assert!(pair.b.closed().is_none());
}

fn any_verified_message_is_life_and_traffic_does_not_put_off_the_next_ping<K: Kind>() {
    let mut pair = rogue::<K>();
    // Before the Ping, messages change nothing.
    pair.run_to(at_secs(10));
    pair.a.say_message(16, &K::payload(b"x"));
    // After it, one of them is as good as a Pong.
    pair.run_to(at_secs(29));
    assert_eq!(pair.a.times_of(PING), [at_secs(15)]);
    pair.a.say_message(4, b"a reserved code");
    pair.run_to(at_secs(58));
    assert_eq!(pair.a.times_of(PING), [at_secs(15), at_secs(44)]);
    pair.run_out();
    assert_eq!(pair.a.times_of(1), [at_secs(59)]);
    assert_eq!(pair.b.close_reason(), Some(CloseReason::PingTimeout));
}

fn two_nodes_keep_each_other_alive_for_hours<K: Kind>() {
    let specs = [1, 2].map(|seed| Spec::new(seed, &protocols()));
    let faults = [Faults::latency(millis(100)), Faults::latency(millis(100))];
    let mut pair = K::pair(&specs[0], &specs[1], faults, 0);
    pair.activate();
    pair.run_for(Duration::from_secs(2 * 3600));
    for node in [&pair.a, &pair.b] {
        assert!(node.closed().is_none());
        assert_eq!(node.session.peer().round_trip(), Some(millis(200)));
        // A Ping of the other side counts as the answer to ours, so there is one exchange each 15 s or a little more.
        let pongs = node.session.peer().pongs();
        assert!((400..=480).contains(&pongs), "{pongs} Pongs");
    }
}

fn a_requested_ping_goes_out_at_once_and_only_one_is_unanswered<K: Kind>() {
    let mut pair = rogue::<K>();
    pair.run_to(at_secs(1));
    pair.b.session.request_ping();
    pair.b.session.request_ping();
    pair.settle();
    pair.b.session.request_ping();
    pair.run_to(at_secs(3));
    assert_eq!(pair.a.times_of(PING), [at_secs(1)]);
    pair.a.say_message(PONG, &[]);
    pair.settle();
    assert_eq!(pair.b.session.peer().round_trip(), Some(secs(2)));
    pair.run_to(at_secs(18));
    assert_eq!(pair.a.times_of(PING), [at_secs(1), at_secs(18)]);
}

fn while_we_hold_back_pings_go_out_and_nobody_is_blamed<K: Kind>() {
    let mut pair = rogue::<K>();
    pair.b.read(0, Reading::Stalled);
    let mut random = Random::new(1);
    // The inbox is full from the beginning; what comes at 10 s holds back.
    let full = random.bytes(4096 - 21);
    pair.a.say_message(16, &K::payload(&full));
    pair.run_to(at_secs(10));
    let late = random.bytes(500);
    pair.a.say_message(17, &K::payload(&late));
    // What the rogue says behind it waits with it, its answer to our Ping too.
    pair.run_to(at_secs(16));
    assert_eq!(pair.a.times_of(PING), [at_secs(15)]);
    pair.a.say_message(PONG, &[]);
    pair.b.read(0, Reading::From(at_secs(24)));
    pair.run_to(at_secs(38));
    assert!(pair.b.closed().is_none());
    assert_eq!(pair.b.payloads(0), [&full[..], &late[..]]);
    // The message was life at 24 s.
    pair.run_to(at_secs(39));
    assert_eq!(pair.a.times_of(PING), [at_secs(15), at_secs(39)]);
}

fn the_pong_deadline_stands_still_while_we_hold_back<K: Kind>() {
    let mut pair = rogue::<K>();
    pair.b.read(0, Reading::Stalled);
    let full = Random::new(1).bytes(4096 - 21);
    pair.a.say_message(16, &K::payload(&full));
    // The Ping of 15 s is unanswered when a message begins at 20 s that has no room: nothing more can be heard.
    pair.run_to(at_secs(20));
    let held = body(17, &K::payload(&Random::new(2).bytes(500)));
    pair.a.say(Say::PartOfFrame(held, 64));
    pair.run_to(at_secs(33));
    assert!(pair.b.closed().is_none(), "not timed out at 30 s");
    // At 34 s there is room again, and of the message only a part: it has its 30 s without those 14 that it was held.
    pair.b.read(0, Reading::From(at_secs(34)));
    pair.run_out();
    assert_eq!(pair.b.close_reason(), Some(CloseReason::ReadTimeout));
    assert_eq!(pair.a.times_of(1), [at_secs(20 + 30 + 14)]);
}

fn a_slow_message_in_progress_is_no_silence<K: Kind>() {
    // 16 s on the way, our Ping of 15 s in the middle of it: its sender can answer only after it.
    let mut pair = rogue::<K>();
    pair.run_to(at_secs(10));
    let frame = body(16, &K::payload(&Random::new(1).bytes(2000)));
    pair.to_b.faults_mut().stalls = vec![devp2p_tests::link::Stall {
        from: pair.to_b.taken() + 1000,
        span: Some(secs(25)),
    }];
    pair.a.say(Say::Frame(frame));
    pair.run_to(at_secs(34));
    assert_eq!(pair.a.times_of(PING), [at_secs(15)]);
    assert!(pair.b.closed().is_none());
    pair.run_to(at_secs(36));
    assert_eq!(pair.b.got(0).len(), 1);
    assert!(pair.b.closed().is_none());
}
