//! One end without threads, in virtual time.

use std::task::Poll;

use devp2p_core::capability::Overflow;
use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::{CloseReason, TransportError, Violation, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::lifecycle::State;
use devp2p_core::peer::Expected;
use devp2p_core::time::{Duration, Instant, PollAt};
use devp2p_std::framed::{Delivered, Settings};
use devp2p_std::host::HostError;

use super::{Prefixed, framed, protocol, settings};

type Machine = devp2p_std::framed::Machine<Prefixed>;

fn micros(n: u64) -> Instant {
    Instant::from_micros(n)
}

fn secs(n: u64) -> Instant {
    micros(n * 1_000_000)
}

fn machine(settings: Settings) -> Machine {
    Machine::new(settings, Prefixed::default(), Instant::ZERO).expect("it can be")
}

/// Passes bytes on, `chunk` at a time, until neither end has any; returns how many there were.
fn settle(ends: &mut [Machine; 2], now: Instant, chunk: usize) -> usize {
    let mut moved = 0;
    loop {
        ends.iter_mut().for_each(|end| end.poll(now));
        let before = moved;
        for from in 0..2 {
            let mut bytes = ends[from].output().to_vec();
            let mut taken = 0;
            while taken < bytes.len() {
                let end = bytes.len().min(taken + chunk);
                let n = ends[1 - from].handle_input(now, &mut bytes[taken..end]);
                taken += n;
                if taken < end {
                    break;
                }
            }
            ends[from].consume_output(now, taken);
            moved += taken;
        }
        if moved == before {
            return moved;
        }
    }
}

fn active_with(ours: Settings, theirs: Settings) -> [Machine; 2] {
    let mut ends = [machine(ours), machine(theirs)];
    settle(&mut ends, Instant::ZERO, 7);
    assert!(ends.iter().all(Machine::is_active));
    ends
}

fn active() -> [Machine; 2] {
    active_with(settings(1), settings(2))
}

fn reason(end: &Machine) -> Option<CloseReason> {
    end.peer().close_reason()
}

fn read(end: &mut Machine, subprotocol: usize) -> Delivered {
    match end.try_read(subprotocol) {
        Poll::Ready(Ok(delivered)) => delivered,
        other => panic!("{other:?}"),
    }
}

fn write(end: &mut Machine, subprotocol: usize, code: u32, payload: &[u8]) {
    let written = end.try_write(Instant::ZERO, subprotocol, LocalCode(code), payload);
    assert_eq!(written, Ok(()));
    end.poll(Instant::ZERO);
}

#[test]
fn hello_is_the_first_message_and_states_version_4() {
    let mut end = machine(settings(1));
    end.poll(Instant::ZERO);
    let out = end.output();
    assert_eq!(out[4], 0, "the code of Hello");
    assert_eq!(
        out.len(),
        5 + u32::from_be_bytes([0, 0, out[2], out[3]]) as usize
    );
    let [a, b] = active();
    assert_eq!(
        a.peer().remote().map(|remote| remote.id),
        Some(NodeId([2; 64]))
    );
    assert_eq!(b.peer().remote().map(|remote| remote.version), Some(4));
    assert_eq!(a.peer().shared().offset(1), Some(20));
}

#[test]
fn a_remote_that_is_not_whom_hello_must_name_is_turned_away() {
    let expected = Settings {
        expected: Expected::Dialled(NodeId([9; 64])),
        ..settings(1)
    };
    let mut ends = [machine(expected), machine(settings(2))];
    settle(&mut ends, Instant::ZERO, 1000);
    assert_eq!(reason(&ends[0]), Some(CloseReason::UnexpectedIdentity));
    let told = CloseReason::RemoteRequested(Some(Reason::UNEXPECTED_IDENTITY));
    assert_eq!(reason(&ends[1]), Some(told));
}

#[test]
fn settings_that_hello_cannot_say_are_refused() {
    let framing = Prefixed::default;
    let twice = Settings::new(NodeId([1; 64]), vec![protocol("a", 1), protocol("a", 1)]);
    let made = Machine::new(twice, framing(), Instant::ZERO);
    assert!(matches!(made, Err(HostError::Duplicate(_))));
    let long = Settings {
        client_name: "x".repeat(3000),
        ..settings(1)
    };
    let made = Machine::new(long, framing(), Instant::ZERO);
    assert!(matches!(made, Err(HostError::HelloTooLong)));
}

#[test]
fn messages_pass_both_ways_however_the_bytes_are_cut() {
    for chunk in [1, 3, 1 << 20] {
        let mut ends = active();
        for size in [0, 1, 2, 500, 40_000] {
            for from in 0..2 {
                let payload = vec![size as u8; size];
                write(&mut ends[from], from, 3, &payload);
                settle(&mut ends, Instant::ZERO, chunk);
                let got = read(&mut ends[1 - from], from);
                assert_eq!((got.meta.code, got.payload), (LocalCode(3), Some(payload)));
            }
        }
        assert_eq!(ends[0].traffic(0).bytes_out, 40_503);
        assert_eq!(ends[0].traffic(1).messages_in, 5);
    }
}

#[test]
fn a_message_over_the_limit_is_reported_in_order_and_the_session_lives() {
    let mut theirs = settings(2);
    theirs.protocols[0].message_limit = 100;
    let mut ends = active_with(settings(1), theirs);
    for size in [100, 101, 5] {
        write(&mut ends[0], 0, 1, &vec![7; size]);
    }
    settle(&mut ends, Instant::ZERO, 64);
    for (size, fits) in [(100, true), (101, false), (5, true)] {
        let got = read(&mut ends[1], 0);
        assert_eq!(got.meta.length, size);
        assert_eq!(got.payload.is_some(), fits);
    }
    assert!(ends.iter().all(Machine::is_active));
}

#[test]
fn what_cannot_be_framed_or_is_not_owned_is_not_written() {
    let mut ends = active();
    let mut try_write =
        |code, payload: &[u8]| ends[0].try_write(Instant::ZERO, 0, LocalCode(code), payload);
    assert_eq!(try_write(4, &[]), Err(WriteError::InvalidCode));
    assert_eq!(try_write(0, &vec![0; 1 << 24]), Err(WriteError::TooLarge));
    assert_eq!(try_write(0, b"x"), Ok(()), "the token is free again");
    let mut apart = active_with(
        settings(1),
        Settings::new(NodeId([2; 64]), vec![protocol("a", 4)]),
    );
    let written = apart[0].try_write(Instant::ZERO, 1, LocalCode(0), &[]);
    assert_eq!(written, Err(WriteError::NotShared));
}

#[test]
fn a_full_inbox_holds_back_and_nothing_is_lost() {
    let mut theirs = settings(2);
    theirs.protocols[0].inbox = 1000;
    let mut ends = active_with(settings(1), theirs);
    for i in 0..30u8 {
        write(&mut ends[0], 0, 0, &[i; 100]);
    }
    settle(&mut ends, Instant::ZERO, 1 << 20);
    assert!(!ends[0].output().is_empty(), "the rest waits");
    for i in 0..30u8 {
        assert_eq!(read(&mut ends[1], 0).payload, Some(vec![i; 100]));
        settle(&mut ends, Instant::ZERO, 1 << 20);
    }
    assert!(ends.iter().all(Machine::is_active));
}

#[test]
fn an_inbox_that_stays_full_ends_the_session() {
    let mut theirs = settings(2);
    theirs.protocols[0].inbox = 100;
    let mut ends = active_with(settings(1), theirs.clone());
    write(&mut ends[0], 0, 0, &[1; 100]);
    write(&mut ends[0], 0, 0, &[2; 100]);
    settle(&mut ends, secs(1), 1 << 20);
    for at in [15, 16] {
        assert_eq!(
            ends[1].poll_at(),
            PollAt::At(secs(at)),
            "its Ping, then the inbox"
        );
        settle(&mut ends, secs(at), 1 << 20);
    }
    assert_eq!(
        reason(&ends[1]),
        Some(CloseReason::Stalled { subprotocol: 0 })
    );
    theirs.protocols[0].overflow = Overflow::Drop;
    let mut ends = active_with(settings(1), theirs);
    write(&mut ends[0], 0, 0, &[1; 100]);
    write(&mut ends[0], 0, 0, &[2; 100]);
    settle(&mut ends, secs(1), 1 << 20);
    assert_eq!(ends[1].traffic(0).dropped, 1);
}

#[test]
fn output_that_is_not_taken_makes_writers_wait() {
    let [mut end, _] = active();
    let written = (0..)
        .take_while(|_| {
            end.try_write(Instant::ZERO, 0, LocalCode(0), &[0; 65_536])
                .is_ok()
        })
        .count();
    assert_eq!(written, 15, "1 MiB, the frames' prefixes with it");
    let again = end.try_write(Instant::ZERO, 0, LocalCode(0), &[0; 65_536]);
    assert!(matches!(again, Err(WriteError::WouldBlock { .. })));
    end.consume_output(Instant::ZERO, 65_541);
    assert_eq!(
        end.try_write(Instant::ZERO, 0, LocalCode(0), &[0; 65_000]),
        Ok(())
    );
}

#[test]
fn a_flood_of_pings_does_not_make_the_output_grow() {
    let [mut end, _] = active();
    let mut pings = framed(2, &[0xc0]).repeat(10);
    for _ in 0..100_000 {
        end.handle_input(Instant::ZERO, &mut pings);
        end.poll(Instant::ZERO);
    }
    assert!(end.output().len() <= (1 << 20) + 6);
    assert_eq!(reason(&end), None);
}

#[test]
fn each_reason_is_said_and_heard_in_each_direction() {
    for value in 0..=0xffu8 {
        for from in 0..2 {
            let mut ends = active();
            ends[from].disconnect(secs(1), Reason(value));
            settle(&mut ends, secs(1), 16);
            assert_eq!(reason(&ends[from]), Some(CloseReason::Local(Reason(value))));
            let told = CloseReason::RemoteRequested(Some(Reason(value)));
            assert_eq!(reason(&ends[1 - from]), Some(told));
            assert_eq!(ends[1 - from].try_read(0), Poll::Ready(Err(told)));
            let refused = ends[from].try_write(secs(1), 0, LocalCode(0), &[]);
            assert_eq!(
                refused,
                Err(WriteError::Closed(CloseReason::Local(Reason(value))))
            );
            // Who said it ends its direction and waits for the end of the other one.
            assert!(ends[from].take_close_write() && !ends[from].take_close_write());
            assert_eq!(ends[from].peer().state(), State::Closing);
            ends[from].handle_end(secs(1), TransportError::EndOfStream);
            assert_eq!(ends[from].peer().state(), State::Closed);
        }
    }
}

#[test]
fn a_silent_remote_is_pinged_and_then_given_up() {
    let mut ends = active();
    assert_eq!(ends[0].poll_at(), PollAt::At(secs(15)));
    settle(&mut ends, secs(15), 16);
    assert_eq!((ends[0].peer().pongs(), ends[1].peer().pongs()), (1, 1));
    let [mut end, _] = ends;
    end.poll(secs(30));
    assert_eq!(
        end.output(),
        framed(2, &[0xc0]),
        "a Ping that nobody answers"
    );
    end.consume_output(secs(30), 6);
    assert_eq!(end.poll_at(), PollAt::At(secs(45)));
    end.poll(micros(44_999_999));
    assert_eq!(reason(&end), None);
    end.poll(secs(45));
    assert_eq!(reason(&end), Some(CloseReason::PingTimeout));
    assert_eq!(
        end.output(),
        framed(1, &[0xc1, 0x0b]),
        "Disconnect: read timeout"
    );
}

#[test]
fn hello_a_message_and_the_wire_have_their_deadlines() {
    let mut end = machine(settings(1));
    assert_eq!(end.poll_at(), PollAt::Now, "its Hello");
    end.poll(Instant::ZERO);
    assert_eq!(end.poll_at(), PollAt::At(secs(5)));
    end.poll(secs(5));
    assert_eq!(reason(&end), Some(CloseReason::HandshakeTimeout));

    let [mut end, mut other] = active();
    write(&mut other, 0, 0, b"cut short");
    let mut whole = other.output().to_vec();
    whole.pop();
    end.handle_input(secs(1), &mut whole);
    end.poll(secs(30));
    end.consume_output(secs(30), 6);
    end.poll(secs(31));
    assert_eq!(reason(&end), Some(CloseReason::ReadTimeout));

    let [mut end, _] = active();
    write(&mut end, 0, 0, b"never taken");
    end.poll(secs(20));
    assert_eq!(reason(&end), Some(CloseReason::WriteTimeout));
}

#[test]
fn what_is_not_of_the_protocol_ends_the_session() {
    let cases = [
        (
            framed(24, &[]),
            CloseReason::Violation(Violation::CodeOutOfRange),
        ),
        (
            framed(2, &[0; 2049]),
            CloseReason::Violation(Violation::BaseMessageTooLarge),
        ),
        (framed(1, &[0xff]), CloseReason::RemoteRequested(None)),
        (
            vec![0xff; 9],
            CloseReason::Transport(TransportError::BadMac),
        ),
    ];
    for (mut bytes, expected) in cases {
        let [mut end, _] = active();
        end.handle_input(secs(1), &mut bytes);
        end.poll(secs(1));
        assert_eq!(reason(&end), Some(expected));
    }
    let mut end = machine(settings(1));
    end.handle_input(secs(1), &mut framed(16, b"before Hello"));
    assert_eq!(
        reason(&end),
        Some(CloseReason::Violation(Violation::ExpectedHello))
    );
    let mut end = machine(settings(1));
    end.handle_input(secs(1), &mut framed(0, b"no list"));
    assert_eq!(
        reason(&end),
        Some(CloseReason::Violation(Violation::MalformedHello))
    );
}

#[test]
fn messages_that_came_before_the_end_of_the_stream_can_be_read_after_it() {
    let mut ends = active();
    write(&mut ends[0], 0, 0, b"last words");
    settle(&mut ends, secs(1), 16);
    ends[1].handle_end(secs(2), TransportError::EndOfStream);
    ends[1].poll(secs(2));
    assert_eq!(
        read(&mut ends[1], 0).payload.as_deref(),
        Some(&b"last words"[..])
    );
    let cause = CloseReason::Transport(TransportError::EndOfStream);
    assert_eq!(ends[1].try_read(0), Poll::Ready(Err(cause)));
    assert_eq!(ends[1].peer().state(), State::Closed);
}

#[test]
fn a_requested_ping_measures_the_round_trip() {
    let mut ends = active();
    ends[0].request_ping();
    ends[0].poll(micros(100));
    settle(&mut ends, micros(350), 16);
    assert_eq!(
        ends[0].peer().round_trip(),
        Some(Duration::from_micros(250))
    );
}
