//! Writing: one at a time, everyone in turn, nothing lost before the first byte, and the frame whole after it.
use std::task::Poll;

use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_tests::fixture::{config, protocol, secs};
use devp2p_tests::for_each_kind;
use devp2p_tests::kind::{Kind, Nodes};
use devp2p_tests::node::{Machine, Spec};
use devp2p_tests::random::Random;

for_each_kind! {
    a_token_that_was_granted_to_a_waiter_is_free_again_after_its_write,
    every_waiting_subprotocol_is_served_before_one_is_served_again,
    a_write_abandoned_before_its_first_byte_loses_nothing,
    a_granted_token_comes_back_when_its_holder_goes_away_before_its_first_byte,
    a_write_abandoned_inside_its_frame_closes_the_session_without_a_disconnect,
    waiters_are_released_when_the_session_closes,
    a_frame_in_progress_is_completed_before_the_disconnect,
    a_closing_session_does_not_wake_a_writer_for_which_nothing_changed,
    two_tasks_of_one_subprotocol_never_mix_their_frames,
    try_write_never_waits,
    a_message_of_several_slices_is_their_concatenation,
    flush_waits_for_the_wire,
    a_writer_that_stops_inside_its_frame_does_not_hold_the_session_for_ever;
    over RLPx:
    what_no_frame_can_hold_is_too_large,
}

fn four() -> Vec<devp2p_core::capability::Protocol> {
    ["a", "b", "c", "d"]
        .iter()
        .map(|name| protocol(name, 4, 16 * 1024))
        .collect()
}

fn active<K: Kind>() -> Nodes<K> {
    over::<K>(&Spec::new(1, &four()))
}

/// The node of this spec and one with every default, active over a perfect link.
fn over<K: Kind>(spec: &Spec) -> Nodes<K> {
    let mut pair = K::dial(spec, &Spec::new(2, &four()));
    pair.activate();
    pair
}

/// A payload whose frame has so many bytes.
fn payload_of<K: Kind>(frame: usize) -> Vec<u8> {
    let mut payloads = (0..frame).rev().map(|n| Random::new(3).bytes(n));
    let fits = |payload: &Vec<u8>| K::frame_length(1 + K::payload(payload).len()) == frame;
    payloads.find(fits).expect("a payload for this frame")
}

fn a_token_that_was_granted_to_a_waiter_is_free_again_after_its_write<K: Kind>() {
    let mut pair = active::<K>();
    // The wire takes nothing, so the first writer stops inside its frame and the second one waits.
    pair.to_b.faults_mut().window = 0;
    let big = vec![7; 3000];
    let first = pair.a.write(0, 0, &Random::new(1).bytes(3000));
    let second = pair.a.write(1, 0, &big);
    pair.settle();
    assert!(pair.a.results(first).is_empty() && pair.a.results(second).is_empty());
    pair.to_b.faults_mut().window = usize::MAX;
    pair.run_for(secs(1));
    assert_eq!(pair.a.results(first), [Ok(())]);
    assert_eq!(pair.a.results(second), [Ok(())]);
    // Nobody waits or holds now.
    let now = pair.now;
    assert_eq!(
        pair.a.session.try_write(now, 2, LocalCode(0), &[b"x"]),
        Ok(())
    );
    let third = pair.a.write(3, 0, &big);
    pair.run_for(secs(1));
    assert_eq!(pair.a.results(third), [Ok(())]);
}

fn every_waiting_subprotocol_is_served_before_one_is_served_again<K: Kind>() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut pair = active::<K>();
        pair.to_b.faults_mut().window = 0;
        let mut order = [0, 1, 2, 3];
        random.shuffle(&mut order);
        let writers = order.map(|subprotocol| {
            let messages = (0..20).map(|_| {
                let length = random.index(1500);
                (0, vec![random.bytes(length)])
            });
            let messages = messages.collect();
            pair.a.write_all(subprotocol, messages)
        });
        // One fills the ring, the others wait.
        pair.settle();
        let before = pair.a.served.len();
        pair.to_b.faults_mut().window = 300 + random.index(4000);
        pair.run_until(|pair| pair.a.unwritten() == 0);
        for writer in writers {
            pair.check(
                pair.a.results(writer).iter().all(Result::is_ok),
                "every write succeeds",
            );
        }
        // Each has as many messages and asks again at once, so between two of one every other one is served.
        let left = 20 - before.min(20);
        for window in pair.a.served[before..].windows(4).take(4 * left - 8) {
            let mut seen = window.to_vec();
            seen.sort_unstable();
            seen.dedup();
            pair.check(
                seen.len() == 4,
                &format!("in turn after {before}: {:?}", pair.a.served),
            );
        }
    }
}

fn a_write_abandoned_before_its_first_byte_loses_nothing<K: Kind>() {
    let mut pair = active::<K>();
    pair.to_b.faults_mut().window = 0;
    // Both sealed whole, then the ring is full: the third one cannot begin.
    let small = K::frame_length(1 + K::payload(&[1; 10]).len());
    let first = pair.a.write(0, 0, &payload_of::<K>(1024 - small));
    pair.settle();
    assert_eq!(pair.a.results(first), [Ok(())]);
    let holder = pair.a.write(1, 0, &[1; 10]);
    let waiter = pair.a.write(2, 0, &[2; 10]);
    let other = pair.a.write(3, 0, &[3; 10]);
    pair.settle();
    // One holds the token without a byte sealed or has sealed all; the ones that wait go away.
    pair.a.abandon(waiter);
    pair.settle();
    pair.to_b.faults_mut().window = usize::MAX;
    pair.run_for(secs(1));
    assert_eq!(pair.a.results(holder), [Ok(())]);
    assert_eq!(pair.a.results(waiter), []);
    assert_eq!(pair.a.results(other), [Ok(())]);
    assert_eq!(pair.b.payloads(1), [[1; 10]]);
    assert_eq!(pair.b.payloads(3), [[3; 10]]);
    assert!(pair.b.got(2).is_empty());
    assert!(pair.a.closed().is_none());
}

fn a_granted_token_comes_back_when_its_holder_goes_away_before_its_first_byte<K: Kind>() {
    let mut pair = active::<K>();
    pair.to_b.faults_mut().window = 0;
    // The next one is granted and cannot seal its header.
    let first = pair.a.write(0, 0, &payload_of::<K>(1024));
    pair.settle();
    assert_eq!(pair.a.results(first), [Ok(())], "fills the ring");
    let holder = pair.a.write(1, 0, &[1; 10]);
    let waiter = pair.a.write(2, 0, &[2; 10]);
    pair.settle();
    assert_eq!(pair.a.results(holder), []);
    assert_eq!(pair.a.results(waiter), []);
    pair.a.abandon(holder);
    pair.to_b.faults_mut().window = usize::MAX;
    pair.run_for(secs(1));
    assert_eq!(pair.a.results(waiter), [Ok(())]);
    assert_eq!(pair.b.payloads(2), [[2; 10]]);
    assert!(pair.a.closed().is_none());
}

fn a_write_abandoned_inside_its_frame_closes_the_session_without_a_disconnect<K: Kind>() {
    let mut pair = active::<K>();
    pair.to_b.faults_mut().window = 0;
    let inside = pair.a.write(0, 0, &Random::new(1).bytes(5000));
    let waiting = pair.a.write(1, 0, b"waits");
    pair.settle();
    pair.to_b.faults_mut().window = usize::MAX;
    pair.a.abandon(inside);
    pair.close();
    assert_eq!(pair.a.close_reason(), Some(CloseReason::WriteAbandoned));
    assert_eq!(
        pair.a.results(waiting),
        [Err(WriteError::Closed(CloseReason::WriteAbandoned))],
        "who waits is released"
    );
    assert_eq!(
        pair.b.close_reason(),
        Some(CloseReason::Transport(TransportError::EndOfStream))
    );
    assert!(pair.b.got(0).is_empty(), "half a frame is no message");
}

fn waiters_are_released_when_the_session_closes<K: Kind>() {
    let mut pair = active::<K>();
    pair.to_b.faults_mut().window = 0;
    let writers = [0, 1, 2, 3].map(|i| pair.a.write(i, 0, &Random::new(i as u64).bytes(5000)));
    pair.settle();
    let reason = CloseReason::Local(DisconnectReason::CLIENT_QUITTING);
    pair.a.session.close(pair.now, reason);
    pair.settle();
    // Those that had not begun learn it at once.
    let closed = Err(WriteError::Closed(reason));
    for writer in &writers[1..] {
        assert_eq!(pair.a.results(*writer), [closed]);
    }
    pair.check(pair.a.results(writers[0]).is_empty(), "its frame may end");
    pair.close();
    assert_eq!(pair.a.results(writers[0]), [closed]);
    assert_eq!(pair.a.close_reason(), Some(reason));
}

fn a_frame_in_progress_is_completed_before_the_disconnect<K: Kind>() {
    let mut pair = active::<K>();
    pair.to_b.faults_mut().window = 512;
    pair.to_b.faults_mut().latency = (secs(0), secs(0));
    let payload = Random::new(1).bytes(5000);
    let writer = pair.a.write(0, 0, &payload);
    pair.step();
    pair.step();
    assert_eq!(pair.a.results(writer), [], "inside its frame");
    let reason = DisconnectReason::CLIENT_QUITTING;
    pair.a.session.close(pair.now, CloseReason::Local(reason));
    pair.close();
    assert_eq!(pair.a.results(writer), [Ok(())]);
    assert_eq!(pair.b.payloads(0), [payload]);
    assert_eq!(
        pair.b.close_reason(),
        Some(CloseReason::RemoteRequested(Some(reason)))
    );
    assert_eq!(pair.a.idle_wakes, 0, "nobody is woken for nothing");
}

fn a_closing_session_does_not_wake_a_writer_for_which_nothing_changed<K: Kind>() {
    let mut pair = active::<K>();
    pair.to_b.faults_mut().window = 0;
    let inside = pair.a.write(0, 0, &Random::new(1).bytes(5000));
    pair.settle();
    let reason = DisconnectReason::CLIENT_QUITTING;
    pair.a.session.close(pair.now, CloseReason::Local(reason));
    pair.run_for(secs(1));
    assert_eq!(pair.a.writer_wakes(inside), 0);
    pair.close();
    assert_eq!(pair.a.writer_wakes(inside), 1, "woken by the end");
}

fn two_tasks_of_one_subprotocol_never_mix_their_frames<K: Kind>() {
    let mut pair = active::<K>();
    pair.to_b.faults_mut().window = 0;
    let payloads = [1u64, 2].map(|seed| Random::new(seed).bytes(3000));
    let now = pair.now;
    let session = &mut pair.a.session;
    let mut writes = [0, 1].map(|_| K::Machine::write(0, LocalCode(0)));
    let mut done = [false; 2];
    assert!(
        session
            .poll_write(now, &mut writes[0], &[&payloads[0]], None)
            .is_pending()
    );
    for _ in 0..100 {
        for i in [1, 0] {
            if !done[i] {
                let poll =
                    pair.a
                        .session
                        .poll_write(pair.now, &mut writes[i], &[&payloads[i]], None);
                if let Poll::Ready(result) = poll {
                    assert_eq!(result, Ok(()));
                    done[i] = true;
                }
            }
        }
        pair.to_b.faults_mut().window = usize::MAX;
        pair.settle();
    }
    assert_eq!(done, [true; 2]);
    assert_eq!(pair.b.payloads(0), payloads);
}

fn try_write_never_waits<K: Kind>() {
    let mut pair = active::<K>();
    pair.to_b.faults_mut().window = 0;
    let now = pair.now;
    let session = &mut pair.a.session;
    let random = Random::new(1).bytes(2000);
    assert_eq!(
        session.try_write(now, 0, LocalCode(4), &[b"x"]),
        Err(WriteError::InvalidCode)
    );
    assert_eq!(
        session.try_write(now, 9, LocalCode(0), &[b"x"]),
        Err(WriteError::NotShared)
    );
    assert_eq!(
        session.try_write(now, 0, LocalCode(0), &[&random[..600]]),
        Ok(())
    );
    let Err(WriteError::WouldBlock { free }) =
        session.try_write(now, 1, LocalCode(0), &[&random[..600]])
    else {
        panic!("there is no room now");
    };
    assert_eq!(free, 1024 - session.output().len());
    // The failed attempt holds nothing back from others.
    assert_eq!(session.try_write(now, 2, LocalCode(1), &[b"small"]), Ok(()));

    // While another one writes, its frame comes first.
    let inside = pair.a.write(3, 0, &random);
    pair.settle();
    assert_eq!(pair.a.results(inside), []);
    assert_eq!(
        pair.a.session.try_write(pair.now, 0, LocalCode(0), &[b"x"]),
        Err(WriteError::WouldBlock { free: 0 })
    );
    pair.to_b.faults_mut().window = usize::MAX;
    pair.settle();
    assert_eq!(pair.b.payloads(0), [&random[..600]]);
    assert_eq!(pair.b.payloads(2), [b"small"]);
    assert_eq!(pair.b.payloads(3), [&random[..]]);
}

fn a_message_of_several_slices_is_their_concatenation<K: Kind>() {
    for table in [0, 512] {
        let mut spec = Spec::new(1, &four());
        spec.table = table;
        let mut pair = over::<K>(&spec);
        let mut random = Random::new(5);
        let mut expected = Vec::new();
        let mut messages = Vec::new();
        for _ in 0..50 {
            let count = random.index(6);
            let slices: Vec<Vec<u8>> = (0..count)
                .map(|_| {
                    let length = random.index(700);
                    random.compressible(length)
                })
                .collect();
            expected.push(slices.concat());
            messages.push((2, slices));
        }
        let writer = pair.a.write_all(1, messages);
        pair.settle();
        assert_eq!(pair.a.results(writer).len(), 50);
        assert_eq!(pair.b.payloads(1), expected);
    }
}

fn what_no_frame_can_hold_is_too_large<K: Kind>() {
    let mut pair = active::<K>();
    let payload = vec![0; 0xff_ffff];
    let writers = [
        pair.a
            .write_all(0, vec![(0, vec![payload.clone(), vec![0]])]),
        pair.a.write(1, 0, &Random::new(1).bytes(0xff_ffff)),
        pair.a.write(2, 0, b"goes on"),
    ];
    pair.settle();
    assert_eq!(
        pair.a.results(writers[0]),
        [Err(WriteError::TooLarge)],
        "one byte more than 24 bits state"
    );
    assert_eq!(
        pair.a.results(writers[1]),
        [Err(WriteError::TooLarge)],
        "compressed it does not fit"
    );
    assert_eq!(pair.a.results(writers[2]), [Ok(())]);
    assert_eq!(pair.b.payloads(2), [b"goes on"]);
}

fn flush_waits_for_the_wire<K: Kind>() {
    use devp2p_tests::wake::Counter;
    use std::task::Context;
    let mut pair = active::<K>();
    let now = pair.now;
    let tasks = [Counter::new(), Counter::new(), Counter::new()];
    let flush = |pair: &mut Nodes<K>, subprotocol: usize| {
        let waker = tasks[subprotocol].waker();
        pair.a
            .session
            .poll_flush(subprotocol, Some(&mut Context::from_waker(&waker)))
    };
    assert_eq!(flush(&mut pair, 0), Poll::Ready(Ok(())), "nothing waits");
    pair.to_b.faults_mut().window = 0;
    assert_eq!(
        pair.a.session.try_write(now, 0, LocalCode(0), &[b"x"]),
        Ok(())
    );
    assert_eq!(flush(&mut pair, 0), Poll::Pending);
    assert_eq!(flush(&mut pair, 2), Poll::Pending);
    pair.settle();
    assert_eq!(tasks.each_ref().map(|task| task.total()), [0, 0, 0]);
    pair.to_b.faults_mut().window = usize::MAX;
    pair.settle();
    assert_eq!(tasks.each_ref().map(|task| task.total()), [1, 0, 1]);
    assert_eq!(flush(&mut pair, 0), Poll::Ready(Ok(())));

    // A close ends the wait too.
    pair.to_b.faults_mut().window = 0;
    assert_eq!(
        pair.a.session.try_write(now, 0, LocalCode(0), &[b"x"]),
        Ok(())
    );
    assert_eq!(flush(&mut pair, 1), Poll::Pending);
    pair.a.session.handle_end(now, TransportError::Io);
    pair.settle();
    assert!(tasks[1].take());
    assert_eq!(
        flush(&mut pair, 1),
        Poll::Ready(Err(CloseReason::Transport(TransportError::Io)))
    );
}

fn a_writer_that_stops_inside_its_frame_does_not_hold_the_session_for_ever<K: Kind>() {
    let quiet = config(|config| config.ping_interval = secs(1000));
    let mut spec = Spec::new(1, &four());
    spec.config = quiet;
    let mut pair = over::<K>(&spec);
    pair.to_b.faults_mut().window = 0;
    let frozen = pair.a.write(0, 0, &Random::new(1).bytes(5000));
    pair.settle();
    pair.a.freeze(frozen, true);
    pair.to_b.faults_mut().window = usize::MAX;
    pair.close();
    assert_eq!(pair.a.close_reason(), Some(CloseReason::WriteTimeout));
    assert_eq!(
        pair.a.closed().unwrap().0,
        devp2p_tests::fixture::at_secs(20)
    );
}
