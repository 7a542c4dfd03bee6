//! Writing to a subprotocol: every form of it, many writers at once, and a wire that stands still.
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use devp2p_core::disconnect::DisconnectReason as R;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_std::handle::Writer;

use crate::session_rig::*;

#[test]
fn slices_arrive_as_one_payload() {
    let two = two();
    two.controls[0].run(|s| {
        s.write_vectored(0, &[]).expect("no slice");
        s.write_vectored(1, &[b"", b""]).expect("empty slices");
        s.write_vectored(2, &[b"one"]).expect("one slice");
        s.write_vectored(3, &[b"a", b"", b"bc", &noise(100_000)])
            .expect("several slices");
    });
    let whole = [b"abc".to_vec(), noise(100_000)].concat();
    for (code, payload) in [(0, vec![]), (1, vec![]), (2, b"one".to_vec()), (3, whole)] {
        let message = two.controls[1].run(|s| s.read()).expect("a message");
        assert_eq!((message.code, message.payload), (code, payload));
    }
    two.finish();
}

#[test]
fn values_go_as_rlp() {
    let two = two();
    let value: Vec<u64> = vec![0, 1, 127, 128, u64::MAX];
    let sent = value.clone();
    two.controls[0]
        .run(move |s| {
            let mut list = rlp::RlpStream::new_list(sent.len());
            sent.iter().for_each(|n| {
                list.append(n);
            });
            s.write(0, &list.out())?;
            s.write_rlp(1, &sent[4])
        })
        .expect("writes");
    let list = two.controls[1].run(|s| s.read()).expect("a message");
    assert_eq!(rlp::Rlp::new(&list.payload).as_list(), Ok(value));
    let number = two.controls[1].run(|s| s.read()).expect("a message");
    assert_eq!(number.decode::<u64>(), Ok(u64::MAX));
    assert!(number.decode::<u8>().is_err());
    two.finish();
}

#[test]
fn the_largest_message_passes_and_one_byte_more_does_not() {
    let two = two();
    let largest = devp2p_core::MAX_MESSAGE_LENGTH as usize;
    let written = two.controls[0].start(move |s| {
        let payload = vec![0x5a; largest + 1];
        assert_eq!(s.write(0, &payload), Err(WriteError::TooLarge));
        assert_eq!(s.try_write(0, &payload), Err(WriteError::TooLarge));
        assert_eq!(
            s.write_vectored(0, &[&payload, b"more"]),
            Err(WriteError::TooLarge)
        );
        // It fits only a message whose compressed form fits a frame.
        assert_eq!(s.write(0, &noise(largest)), Err(WriteError::TooLarge));
        s.write(1, &payload[1..])
    });
    let message = two.controls[1].run(|s| s.read()).expect("a message");
    assert_eq!(message.payload.len(), largest);
    assert!(message.payload.iter().all(|byte| *byte == 0x5a));
    written
        .recv_timeout(HANG)
        .expect("no hang")
        .expect("a write");
    two.finish();
}

#[test]
fn writes_after_the_end_say_why_it_ended() {
    let two = two();
    let (writer, peer) = two.controls[0].run(|s| (s.writer(), s.peer().clone()));
    two.controls[1].run(|s| s.disconnect(R::SELF));
    let reason = remote_requested(R::SELF);
    assert_eq!(peer.closed(), reason);
    let closed = Err(WriteError::Closed(reason));
    assert_eq!(writer.write(0, b"late"), closed);
    assert_eq!(writer.try_write(0, b"late"), closed);
    assert_eq!(writer.write_timeout(0, b"late", HANG), closed);
    let [dialled, accepted] = two.running;
    assert!(dialled.report().remote_requested);
    accepted.report();
    assert_eq!(writer.write(0, b"later"), closed);
    // The wire took our Hello, so nothing is left to wait for.
    assert_eq!(writer.flush(), Ok(()));
    assert_eq!(peer.close_reason(), Some(reason));
    assert_eq!(peer.info().caps, ["test/1"]);
}

/// What one of several writers sends: who it is, and the message's number.
fn stamped(writer: u32, number: u32, length: usize) -> Vec<u8> {
    let mut payload = noise(length);
    payload[..4].copy_from_slice(&writer.to_be_bytes());
    payload[4..8].copy_from_slice(&number.to_be_bytes());
    payload
}

/// 8 writers in threads of their own, in each of 4 subprotocols, from both ends at once.
#[test]
fn many_writers_lose_and_reorder_nothing() {
    const WRITERS: u32 = 8;
    const MESSAGES: u32 = 60;
    let names = ["a", "b", "c", "d"];
    let ends: [Vec<_>; 2] =
        std::array::from_fn(|_| names.iter().map(|n| controlled(n, 1, 2)).collect());
    let mut controls = Vec::new();
    let hosts: Vec<_> = (1..)
        .zip(ends)
        .map(|(seed, end)| {
            let (protocols, control): (Vec<_>, Vec<_>) = end.into_iter().unzip();
            controls.extend(control);
            host(seed, protocols)
        })
        .collect();
    let (dialled, accepted) = connect(&hosts[0], &hosts[1]);
    let checked: Vec<_> = controls
        .iter()
        .enumerate()
        .map(|(i, control)| {
            control.start(move |s| {
                let writers: Vec<_> = (0..WRITERS)
                    .map(|id| {
                        let writer = s.writer();
                        thread::spawn(move || {
                            for number in 0..MESSAGES {
                                // Now and then a large one, so that the small ones meet it.
                                let large = number == 30 && id == i as u32;
                                let length = if large {
                                    3_000_000
                                } else {
                                    8 + number as usize
                                };
                                let payload = stamped(id, number, length);
                                let (head, tail) = payload.split_at(5);
                                writer.write_vectored(1, &[head, tail]).expect("a write");
                            }
                        })
                    })
                    .collect();
                let mut next = [0; WRITERS as usize];
                for _ in 0..WRITERS * MESSAGES {
                    let message = s.read().expect("a message");
                    let field = |at: usize| {
                        u32::from_be_bytes(message.payload[at..at + 4].try_into().expect("4 bytes"))
                    };
                    let (id, number) = (field(0), field(4));
                    assert_eq!(number, next[id as usize], "order of writer {id}");
                    next[id as usize] += 1;
                    assert_eq!(message.payload, stamped(id, number, message.payload.len()));
                }
                writers
                    .into_iter()
                    .for_each(|w| w.join().expect("no panic"));
                s.flush().expect("the session lives");
            })
        })
        .collect();
    for check in checked {
        check.recv_timeout(HANG).expect("nothing is lost");
    }
    dialled.stopper.stop(R::REQUESTED);
    for report in [dialled.report(), accepted.report()] {
        assert!(report.stuck.is_empty());
    }
    for host in &hosts {
        for protocol in 0..4 {
            let traffic = host.traffic(protocol);
            assert_eq!(traffic.messages_in, u64::from(WRITERS * MESSAGES));
            assert_eq!(traffic.messages_out, u64::from(WRITERS * MESSAGES));
            assert_eq!(traffic.bytes_in, traffic.bytes_out);
        }
        assert_eq!(host.memory().used(), 0);
    }
}

#[test]
fn echo_never_waits_for_anything_but_the_answer() {
    // Each answer is written while nothing else moves: bytes left in the output would hang it.
    let (ours, our_control) = controlled("test", 1, 2);
    let (theirs, their_control) = controlled("test", 1, 2);
    let client = host(1, vec![ours]);
    let server = host(2, vec![theirs]);
    let (dialled, accepted) = connect(&client, &server);
    let answering = their_control.start(|s| {
        while let Ok(message) = s.read() {
            if s.write(1, &message.payload).is_err() {
                break;
            }
        }
    });
    let asking: Vec<_> = (0..3)
        .map(|i| {
            // Three writers ask for the same answers, so that drains meet.
            let writer = our_control.run(|s| s.writer());
            thread::spawn(move || (0..500).try_for_each(|_| writer.write(0, &[i; 64])))
        })
        .collect();
    our_control.run(|s| {
        for _ in 0..1500 {
            s.read().expect("an answer");
        }
    });
    for thread in asking {
        thread.join().expect("no panic").expect("writes");
    }
    dialled.stopper.stop(R::REQUESTED);
    dialled.report();
    accepted.report();
    answering.recv_timeout(HANG).expect("it ends");
}

// ---- A wire that stands still ----

/// Fills the output behind the shut gate, until a write would have to wait.
fn fill(writer: &Writer) -> usize {
    let mut written = 0;
    loop {
        match writer.try_write(0, &noise(60_000)) {
            Ok(()) => written += 1,
            Err(WriteError::WouldBlock { .. }) => return written,
            Err(other) => panic!("{other}"),
        }
        assert!(written < 1000, "the output has no bound");
    }
}

#[test]
fn writes_that_cannot_wait_say_so_and_succeed_later() {
    let (two, gate) = two_gated(|b| b);
    let writer = two.controls[0].run(|s| s.writer());
    gate.shut();
    writer.try_write(1, b"first").expect("room");
    gate.wait_until_stopped();
    let filled = fill(&writer);
    assert!(filled > 0);
    let Err(WriteError::WouldBlock { free }) = writer.try_write(0, &noise(60_000)) else {
        panic!("there was no room")
    };
    assert!(free < 60_100, "a message of that size would have fitted");
    let mut small = 0;
    while writer.try_write(2, b"small").is_ok() {
        small += 1;
        assert!(small < 2000, "the output has no bound");
    }
    assert!(small > 0, "there was room for it");
    // Only an empty output takes a frame that is larger than its limit.
    for late in [&b"late"[..], &noise(1_200_000)] {
        let timed_out = writer.write_timeout(3, late, Duration::from_millis(1));
        assert_eq!(timed_out, Err(WriteError::TimedOut));
        let full = writer.try_write(3, late);
        assert!(matches!(full, Err(WriteError::WouldBlock { free }) if free < 100));
    }
    // The token is not lost by that: the next writer has it once there is room.
    let (done, waits) = channel();
    let waiting = writer.clone();
    thread::spawn(move || done.send(waiting.write(4, b"after")));
    // Read meanwhile, for it is more than the far inbox takes.
    let reading = two.controls[1].start(move |s| {
        (0..filled + small + 2)
            .map(|_| s.read().expect("a message").code)
            .collect::<Vec<_>>()
    });
    gate.open();
    waits.recv_timeout(HANG).expect("no hang").expect("a write");
    writer.flush().expect("the session lives");
    let codes = reading.recv_timeout(HANG).expect("nothing is lost");
    let expected = [&[1][..], &vec![0; filled], &vec![2; small], &[4]].concat();
    assert_eq!(codes, expected);
    two.finish();
}

#[test]
fn flush_waits_for_the_wire_in_any_number_of_threads() {
    let (two, gate) = two_gated(|b| b);
    let writer = two.controls[0].run(|s| s.writer());
    gate.shut();
    writer.try_write(1, b"first").expect("room");
    gate.wait_until_stopped();
    let (done, flushed) = channel();
    for _ in 0..4 {
        let (writer, done) = (writer.clone(), done.clone());
        thread::spawn(move || done.send(writer.flush()));
    }
    assert!(flushed.try_recv().is_err(), "the gate is shut");
    gate.open();
    for _ in 0..4 {
        let result = flushed.recv_timeout(HANG).expect("no lost wake-up");
        assert_eq!(result, Ok(()));
    }
    two.finish();
}

/// The output is full and the token taken: everyone who waits is released by the write deadline.
#[test]
fn a_wire_that_takes_nothing_ends_the_session_and_releases_every_waiter() {
    let config = config(|c| c.write_timeout = millis(1_000));
    let (two, gate) = two_gated(|b| b.config(config));
    let (writer, peer) = two.controls[0].run(|s| (s.writer(), s.peer().clone()));
    // The other direction still works.
    gate.shut();
    writer.try_write(1, b"first").expect("room");
    gate.wait_until_stopped();
    two.controls[1]
        .run(|s| s.write(2, b"hello"))
        .expect("a write");
    let read = two.controls[0].run(|s| s.read()).expect("a message");
    assert_eq!(read.payload, b"hello");

    let (done, results) = channel();
    for i in 0..6 {
        let (writer, done) = (writer.clone(), done.clone());
        thread::spawn(move || {
            let result = match i {
                0 | 1 => writer.flush().map_err(WriteError::Closed),
                _ => (0..40).try_for_each(|_| writer.write(0, &noise(100_000))),
            };
            done.send(result)
        });
    }
    let closing: Vec<_> = (0..3)
        .map(|_| {
            let peer = peer.clone();
            thread::spawn(move || peer.closed())
        })
        .collect();
    for _ in 0..6 {
        let result = results.recv_timeout(HANG).expect("everyone is released");
        assert_eq!(result, Err(WriteError::Closed(CloseReason::WriteTimeout)));
    }
    for thread in closing {
        assert_eq!(thread.join().expect("no panic"), CloseReason::WriteTimeout);
    }
    let [dialled, accepted] = two.running;
    assert_eq!(dialled.report().reason, CloseReason::WriteTimeout);
    assert!(matches!(
        accepted.report().reason,
        CloseReason::Transport(_)
    ));
}
