//! Reading from a subprotocol: every form of it, order, limits, and what is left after the end.
use std::time::{Duration, Instant};

use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::CloseReason;
use devp2p_std::handle::ReadError;

use crate::session_rig::*;

/// Has the far end send `payloads` in order, each with its number modulo 8 as its code.
fn send(two: &Two, payloads: Vec<Vec<u8>>) {
    let sent = two.controls[1].start(move |s| {
        for (i, payload) in payloads.iter().enumerate() {
            s.write(i as u32 % 8, payload)?;
        }
        s.flush().map_err(devp2p_core::error::WriteError::Closed)
    });
    sent.recv_timeout(HANG).expect("no hang").expect("writes");
}

#[test]
fn read_gives_messages_in_order_with_code_time_and_wire_length() {
    let two = two();
    let sizes = [0, 1, 55, 56, 1023, 1024, 1025, 65_535];
    let before = Instant::now();
    send(&two, sizes.map(noise).to_vec());
    let mut last = before;
    for (i, size) in sizes.into_iter().enumerate() {
        let message = two.controls[0].run(|s| s.read()).expect("a message");
        assert_eq!((message.code, &message.payload), (i as u32, &noise(size)));
        // Bytes that do not compress cost a little more: the length first, and tags.
        assert!((size as u32 + 1..=size as u32 + 16).contains(&message.wire_length));
        // Arrival, not reading: rounded down to a microsecond of the host's clock.
        let arrived = message.at + Duration::from_micros(1);
        assert!(arrived >= last && message.at <= Instant::now());
        last = message.at;
    }
    two.finish();
}

#[test]
fn a_message_that_waits_keeps_its_time_of_arrival() {
    let two = two();
    send(&two, vec![noise(1), noise(1)]);
    // Both have arrived once the second is read; its sender's clock is not ours, so compare with ours.
    let (first, second, between) = two.controls[0].run(|s| {
        let first = s.read().expect("a message");
        let second = s.read().expect("a message");
        (first.at, second.at, Instant::now())
    });
    assert!(first <= second && second <= between);
    two.finish();
}

#[test]
fn read_into_copies_or_says_that_the_buffer_is_too_small() {
    let two = two();
    send(&two, vec![noise(100), noise(101), noise(0), noise(100)]);
    let got = two.controls[0].run(|s| {
        let mut buffer = [0; 100];
        let before = std::time::Instant::now();
        let mut read = |buffer: &mut [u8]| {
            let read = s.read_into(buffer)?;
            assert!(read.at <= std::time::Instant::now().max(before));
            Ok((read.code, read.length))
        };
        let first = read(&mut buffer);
        let copied = buffer.to_vec();
        (
            first,
            copied,
            read(&mut buffer),
            read(&mut []),
            read(&mut buffer),
        )
    });
    assert_eq!(got.0, Ok((0, 100)));
    assert_eq!(got.1, noise(100));
    assert_eq!(
        got.2,
        Err(ReadError::Oversize {
            code: 1,
            length: 101
        })
    );
    assert_eq!(got.3, Ok((2, 0)));
    assert_eq!(got.4, Ok((3, 100)), "the session lives");
    two.finish();
}

#[test]
fn read_with_lends_the_message_and_may_write_meanwhile() {
    let two = two();
    send(&two, vec![noise(1000)]);
    two.controls[0].run(|s| {
        let writer = s.writer();
        let written = s.read_with(|message| writer.write(1, &message.payload));
        written.expect("a message").expect("a write");
    });
    let echoed = two.controls[1].run(|s| s.read()).expect("a message");
    assert_eq!((echoed.code, echoed.payload), (1, noise(1000)));
    two.finish();
}

#[test]
fn try_read_and_read_timeout_say_that_nothing_waits() {
    let two = two();
    two.controls[0].run(|s| {
        assert_eq!(s.try_read(), Ok(None));
        assert_eq!(s.read_timeout(Duration::ZERO), Ok(None));
        assert_eq!(s.read_timeout(Duration::from_millis(1)), Ok(None));
    });
    send(&two, vec![noise(7), noise(8)]);
    two.controls[0].run(|s| {
        let first = s.read_timeout(HANG).expect("the session lives");
        assert_eq!(first.expect("a message").payload, noise(7));
        let second = loop {
            if let Some(second) = s.try_read().expect("the session lives") {
                break second;
            }
            std::thread::yield_now();
        };
        assert_eq!(second.payload, noise(8));
        assert_eq!(s.try_read(), Ok(None));
    });
    two.finish();
}

#[test]
fn a_wait_that_timed_out_does_not_hide_the_next_message() {
    let two = two();
    let reading = two.controls[0].start(|s| {
        for _ in 0..50 {
            if let Some(message) = s.read_timeout(Duration::from_micros(200))? {
                return Ok(message);
            }
        }
        s.read()
    });
    send(&two, vec![noise(9)]);
    let read = reading.recv_timeout(HANG).expect("no lost wake-up");
    assert_eq!(read.expect("a message").payload, noise(9));
    two.finish();
}

#[test]
fn a_message_over_the_limit_is_reported_in_order_and_the_session_lives() {
    let two = two_with(|p| p.message_limit(1000), |b| b);
    let sizes = [1000, 1001, 5, 1 << 20, 1000];
    let written = two.controls[0].run(move |s| {
        for (code, size) in (0..).zip(sizes) {
            s.write(code, &vec![7; size])?;
        }
        Ok::<_, devp2p_core::error::WriteError>(())
    });
    written.expect("writes");
    for (code, size) in (0..).zip(sizes) {
        let read = two.controls[1].run(|s| s.read());
        if size > 1000 {
            let length = size as u32;
            assert_eq!(read, Err(ReadError::Oversize { code, length }));
        } else {
            let message = read.expect("a message");
            assert_eq!((message.code, message.payload.len()), (code, size));
        }
    }
    assert_eq!(two.hosts[1].memory().used(), 0);
    two.finish();
}

#[test]
fn what_came_before_a_disconnect_can_still_be_read() {
    let two = two();
    send(&two, (0..200).map(noise).collect());
    let reason = remote_requested(R::TOO_MANY_PEERS);
    let reading = two.controls[0].start(move |s| {
        assert_eq!(s.peer().closed(), reason);
        let read: Vec<_> = std::iter::from_fn(|| s.read().ok()).collect();
        (read, s.read(), s.try_read(), s.read_timeout(HANG))
    });
    let [dialled, accepted] = two.running;
    accepted.stopper.stop(R::TOO_MANY_PEERS);
    assert_eq!(
        accepted.report().reason,
        CloseReason::Local(R::TOO_MANY_PEERS)
    );
    let all = reading.recv_timeout(HANG).expect("no hang");
    let sizes: Vec<_> = all.0.iter().map(|message| message.payload.len()).collect();
    assert_eq!(sizes, (0..200).collect::<Vec<_>>());
    let closed = ReadError::Closed(reason);
    assert_eq!(
        (all.1, all.2, all.3),
        (Err(closed), Err(closed), Err(closed))
    );
    assert_eq!(dialled.report().reason, reason);
}

#[test]
fn what_nobody_reads_costs_no_memory_after_the_end() {
    let two = two();
    send(&two, (0..50).map(|_| noise(1000)).collect());
    let peer = two.controls[0].run(|s| s.peer().clone());
    two.controls[1].run(|s| s.disconnect(R::REQUESTED));
    assert_eq!(peer.closed(), remote_requested(R::REQUESTED));
    let [dialled, accepted] = two.running;
    dialled.report();
    accepted.report();
    // The handle still lives, and a new session has all the room.
    assert_eq!(two.hosts[0].memory().used(), 0);
    drop(peer);
}
