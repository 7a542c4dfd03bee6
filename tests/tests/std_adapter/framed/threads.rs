//! An end with its threads, over a stream in memory.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use devp2p_core::code::WireCode;
use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::{CloseReason, TransportError, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::time::PollAt;
use devp2p_std::framed::{Decoded, Endpoint, Framing, Mark, SessionError, Settings};
use devp2p_std::handle::ReadError;

use super::{Prefixed, framed, settings};
use crate::session_rig::{Gate, Gated, HANG, millis, noise};

fn start(settings: Settings, stream: UnixStream) -> Endpoint {
    Endpoint::start(settings, stream, Prefixed::default()).expect("it starts")
}

fn two_with(ours: Settings, theirs: Settings) -> [Endpoint; 2] {
    let (a, b) = UnixStream::pair().expect("a pair");
    [start(ours, a), start(theirs, b)]
}

/// Another end than the library's: bytes as the test writes them.
fn with_raw(settings: Settings) -> (Endpoint, UnixStream) {
    let (a, b) = UnixStream::pair().expect("a pair");
    b.set_read_timeout(Some(HANG)).expect("a timeout");
    (start(settings, a), b)
}

/// The next message that the other end sends.
fn receive(stream: &mut UnixStream) -> Option<(u8, Vec<u8>)> {
    let mut prefix = [0; 5];
    stream.read_exact(&mut prefix).ok()?;
    let [a, b, c, d, code] = prefix;
    let mut payload = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((code, payload))
}

/// Says the end's own Hello back to it, as another node.
fn say_hello(stream: &mut UnixStream, id: u8) {
    let (code, mut hello) = receive(stream).expect("Hello");
    assert_eq!(code, 0);
    let at = hello.len() - 64;
    hello[at..].fill(id);
    stream.write_all(&framed(0, &hello)).expect("it is taken");
}

#[test]
fn two_ends_exchange_messages_of_every_size_at_once() {
    let [mut a, mut b] = two_with(settings(1), settings(2));
    let mut ours = a.session(HANG).expect("a session");
    let mut theirs = b.session(HANG).expect("a session");
    assert_eq!(ours.peer().id(), NodeId([2; 64]));
    assert_eq!(theirs.peer().capabilities(), ["a/1", "b/1"]);
    let (one, two) = (ours.take(0).expect("shared"), ours.take(1).expect("shared"));
    let (echo, other) = (
        theirs.take(0).expect("shared"),
        theirs.take(1).expect("shared"),
    );
    let sizes: Vec<usize> = (0..40).map(|i| i * i * 150).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in &sizes {
                let message = echo.read().expect("a message");
                echo.write(1, &message.payload).expect("it is sent");
            }
        });
        scope.spawn(|| {
            for _ in 0..1000 {
                assert_eq!(other.read().expect("a message").payload, b"meanwhile");
            }
        });
        scope.spawn(|| {
            sizes
                .iter()
                .for_each(|n| one.write(0, &noise(*n)).expect("it is sent"))
        });
        scope.spawn(|| (0..1000).for_each(|_| two.write(2, b"meanwhile").expect("it is sent")));
        for size in &sizes {
            let message = one.read().expect("an echo");
            assert_eq!((message.code, message.payload), (1, noise(*size)));
        }
    });
    one.flush().expect("it is taken");
    assert_eq!(ours.peer().traffic(1).messages_out, 1000);
    assert_eq!(theirs.peer().traffic(1).messages_in, 1000);
    assert!(ours.take(0).is_none(), "it was taken");
}

#[test]
fn an_end_that_is_dropped_says_so_and_gives_up_the_transport() {
    let [mut a, mut b] = two_with(settings(1), settings(2));
    let session = a.session(HANG).expect("a session");
    let mut theirs = b.session(HANG).expect("a session");
    let read = theirs.take(0).expect("shared");
    drop(a);
    let local = CloseReason::Local(Reason::CLIENT_QUITTING);
    assert_eq!(session.peer().closed(), local);
    let told = CloseReason::RemoteRequested(Some(Reason::CLIENT_QUITTING));
    assert_eq!(theirs.peer().closed(), told);
    assert_eq!(read.read(), Err(ReadError::Closed(told)));
    assert_eq!(read.write(0, &[]), Err(WriteError::Closed(told)));
    assert!(b.wait_end(HANG));
    assert_eq!(b.session(HANG).err(), Some(SessionError::Closed(told)));
}

#[test]
fn a_handle_that_is_dropped_ends_the_session_as_returned() {
    let [mut a, mut b] = two_with(settings(1), settings(2));
    let mut ours = a.session(HANG).expect("a session");
    let theirs = b.session(HANG).expect("a session");
    drop(ours.take(1));
    let returned = CloseReason::ProtocolReturned { subprotocol: 1 };
    assert_eq!(ours.peer().closed(), returned);
    let told = CloseReason::RemoteRequested(Some(Reason::CLIENT_QUITTING));
    assert_eq!(theirs.peer().closed(), told);
}

#[test]
fn waits_have_bounds() {
    let (mut end, mut raw) = with_raw(settings(1));
    let moment = Duration::from_millis(20);
    assert_eq!(end.session(moment).err(), Some(SessionError::TimedOut));
    say_hello(&mut raw, 2);
    let mut session = end.session(HANG).expect("a session");
    let one = session.take(0).expect("shared");
    assert_eq!(one.try_read(), Ok(None));
    assert_eq!(one.read_timeout(moment), Ok(None));
    assert!(!end.wait_end(moment));
    // Nobody reads: the stream fills, then the output.
    let payload = vec![0; 1 << 20];
    let refused = loop {
        if let Err(error) = one.write_timeout(0, &payload, moment) {
            break error;
        }
    };
    assert_eq!(refused, WriteError::TimedOut);
    let refused = one.try_write(0, &payload);
    assert!(
        matches!(refused, Err(WriteError::WouldBlock { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_reader_that_waits_is_told_of_what_comes_and_of_the_end() {
    let (mut end, mut raw) = with_raw(settings(1));
    say_hello(&mut raw, 2);
    let mut session = end.session(HANG).expect("a session");
    let one = Arc::new(session.take(0).expect("shared"));
    let reader = {
        let one = Arc::clone(&one);
        thread::spawn(move || (one.read().map(|message| message.payload), one.read()))
    };
    let before = Instant::now();
    raw.write_all(&framed(16, b"here")).expect("it is taken");
    raw.shutdown(Shutdown::Write).expect("it can be");
    let end_of_stream = CloseReason::Transport(TransportError::EndOfStream);
    let (first, second) = reader.join().expect("no panic");
    assert_eq!(first, Ok(b"here".to_vec()));
    assert_eq!(second, Err(ReadError::Closed(end_of_stream)));
    assert_eq!(session.peer().closed(), end_of_stream);
    assert!(before.elapsed() < HANG);
}

#[test]
fn a_message_over_the_limit_is_an_error_of_that_read_only() {
    let mut ours = settings(1);
    ours.protocols[0].message_limit = 4;
    let (mut end, mut raw) = with_raw(ours);
    say_hello(&mut raw, 2);
    let mut session = end.session(HANG).expect("a session");
    let one = session.take(0).expect("shared");
    raw.write_all(&framed(17, b"12345")).expect("it is taken");
    raw.write_all(&framed(18, b"1234")).expect("it is taken");
    let oversize = ReadError::Oversize { code: 1, length: 5 };
    assert_eq!(one.read(), Err(oversize));
    assert_eq!(one.read().map(|message| message.code), Ok(2));
}

#[test]
fn an_inbox_that_was_full_is_filled_again_as_it_is_read() {
    let mut theirs = settings(2);
    theirs.protocols[0].inbox = 1000;
    let [mut a, mut b] = two_with(settings(1), theirs);
    let mut ours = a.session(HANG).expect("a session");
    let mut theirs = b.session(HANG).expect("a session");
    let (from, to) = (
        ours.take(0).expect("shared"),
        theirs.take(0).expect("shared"),
    );
    thread::scope(|scope| {
        scope.spawn(|| {
            (0..2000).for_each(|i: u32| from.write(0, &i.to_be_bytes().repeat(50)).expect("sent"))
        });
        for i in 0..2000u32 {
            assert_eq!(
                to.read().expect("a message").payload,
                i.to_be_bytes().repeat(50)
            );
        }
    });
}

#[test]
fn the_disconnect_is_said_and_the_end_of_the_stream_awaited() {
    let (mut end, mut raw) = with_raw(settings(1));
    say_hello(&mut raw, 2);
    let session = end.session(HANG).expect("a session");
    session.peer().disconnect(Reason::TOO_MANY_PEERS);
    assert_eq!(receive(&mut raw), Some((1, vec![0xc1, 0x04])));
    assert_eq!(receive(&mut raw), None, "the end of its stream");
    drop(raw);
    let local = CloseReason::Local(Reason::TOO_MANY_PEERS);
    assert_eq!(session.peer().closed(), local);
}

#[test]
fn a_disconnect_in_the_last_bytes_counts_though_writing_fails() {
    let (a, mut raw) = UnixStream::pair().expect("a pair");
    let gate = Gate::default();
    let gated = Gated(a, gate.clone());
    let mut end = Endpoint::start(settings(1), gated, Prefixed::default()).expect("it starts");
    say_hello(&mut raw, 2);
    let mut session = end.session(HANG).expect("a session");
    let one = session.take(0).expect("shared");
    gate.shut();
    one.write(0, b"will not pass").expect("it is framed");
    gate.wait_until_stopped();
    raw.write_all(&framed(1, &[0xc1, 0x08]))
        .expect("it is taken");
    drop(raw);
    gate.open();
    let told = CloseReason::RemoteRequested(Some(Reason::CLIENT_QUITTING));
    assert_eq!(session.peer().closed(), told);
    assert_eq!(one.flush(), Err(told));
}

#[test]
fn a_remote_that_is_silent_is_given_up_without_a_byte_from_it() {
    let mut ours = settings(1);
    ours.config.ping_interval = millis(10);
    ours.config.pong_timeout = millis(10);
    let (mut end, mut raw) = with_raw(ours);
    say_hello(&mut raw, 2);
    let session = end.session(HANG).expect("a session");
    assert_eq!(receive(&mut raw), Some((2, vec![0xc0])));
    assert_eq!(receive(&mut raw), Some((1, vec![0xc1, 0x0b])));
    drop(raw);
    assert_eq!(session.peer().closed(), CloseReason::PingTimeout);
}

#[test]
fn ping_and_pong_go_on_while_nobody_reads_or_writes() {
    let mut ours = settings(1);
    ours.config.ping_interval = millis(5);
    let [mut a, mut b] = two_with(ours, settings(2));
    let session = a.session(HANG).expect("a session");
    let _theirs = b.session(HANG).expect("a session");
    let since = Instant::now();
    while session.peer().pongs() < 10 {
        assert!(since.elapsed() < HANG, "no Pong comes");
        thread::yield_now();
    }
    assert!(session.peer().round_trip().is_some());
    assert_eq!(session.peer().close_reason(), None);
}

#[test]
fn garbage_ends_the_session_and_the_transport() {
    let (mut end, mut raw) = with_raw(settings(1));
    say_hello(&mut raw, 2);
    let session = end.session(HANG).expect("a session");
    raw.write_all(&[0xff; 100]).expect("it is taken");
    let damaged = CloseReason::Transport(TransportError::BadMac);
    assert_eq!(session.peer().closed(), damaged);
    while receive(&mut raw).is_some() {}
    assert_eq!(end.session(HANG).err(), Some(SessionError::Closed(damaged)));
}

/// A framing with a fault of its own, in the methods for which `fault` says so.
struct Faulty {
    inner: Prefixed,
    poll_at: PollAt,
    fault: fn(&str) -> bool,
}

impl Faulty {
    fn enter(&self, method: &str) {
        assert!(!(self.fault)(method), "a framing's own fault");
    }
}

impl Framing for Faulty {
    fn decode<'a>(&mut self, bytes: &'a mut [u8]) -> (usize, Option<Decoded<'a>>) {
        if !bytes.is_empty() {
            self.enter("decode");
        }
        self.inner.decode(bytes)
    }
    fn is_inside_frame(&self) -> bool {
        self.inner.is_inside_frame()
    }
    fn header_length(&self) -> usize {
        self.inner.header_length()
    }
    fn trailer_length(&self) -> usize {
        self.inner.trailer_length()
    }
    fn begin(&mut self, code: WireCode, length: usize) -> Option<Mark> {
        if code.0 >= 16 {
            self.enter("begin");
        }
        self.inner.begin(code, length)
    }
    fn finish(&mut self, intact: bool) -> Mark {
        self.inner.finish(intact)
    }
    fn poll(&mut self, _now: devp2p_core::time::Instant) -> Mark {
        self.enter("poll");
        Mark::EMPTY
    }
    fn poll_at(&self) -> PollAt {
        self.poll_at
    }
}

fn with_fault(poll_at: PollAt, fault: fn(&str) -> bool) -> (Endpoint, UnixStream) {
    let (a, b) = UnixStream::pair().expect("a pair");
    b.set_read_timeout(Some(HANG)).expect("a timeout");
    let framing = Faulty {
        inner: Prefixed::default(),
        poll_at,
        fault,
    };
    let end = Endpoint::start(settings(1), a, framing).expect("it starts");
    (end, b)
}

const BROKEN: CloseReason = CloseReason::Transport(TransportError::Io);

fn is_at_its_end(stream: &mut UnixStream) -> bool {
    while receive(stream).is_some() {}
    stream.read(&mut [0]).ok() == Some(0)
}

#[test]
fn a_framing_that_panics_at_input_ends_its_session() {
    let (mut end, mut raw) = with_fault(PollAt::Idle, |method| method == "decode");
    raw.write_all(b"x").expect("it is taken");
    assert_eq!(end.session(HANG).err(), Some(SessionError::Closed(BROKEN)));
    assert!(is_at_its_end(&mut raw), "the transport is closed");
}

#[test]
fn a_framing_that_panics_at_its_deadline_ends_its_session() {
    let at = PollAt::At(devp2p_core::time::Instant::ZERO);
    let (mut end, mut raw) = with_fault(at, |method| {
        method == "poll" && thread::current().name() == Some("devp2p-timer")
    });
    assert_eq!(end.session(HANG).err(), Some(SessionError::Closed(BROKEN)));
    assert!(is_at_its_end(&mut raw), "the transport is closed");
}

#[test]
fn a_framing_that_panics_in_a_write_ends_its_session_and_goes_on_in_that_thread() {
    let (mut end, mut raw) = with_fault(PollAt::Idle, |method| method == "begin");
    say_hello(&mut raw, 2);
    let mut session = end.session(HANG).expect("a session");
    let one = session.take(0).expect("shared");
    let written = catch_unwind(AssertUnwindSafe(|| one.write(0, b"x")));
    assert!(written.is_err());
    assert_eq!(session.peer().closed(), BROKEN);
    assert_eq!(one.write(0, b"x"), Err(WriteError::Closed(BROKEN)));
    assert_eq!(one.read(), Err(ReadError::Closed(BROKEN)));
    assert!(is_at_its_end(&mut raw), "the transport is closed");
}

#[test]
fn an_end_whose_framing_panics_from_the_start_can_be_dropped() {
    let at = PollAt::At(devp2p_core::time::Instant::ZERO);
    let (end, mut raw) = with_fault(at, |method| {
        method == "poll" && thread::current().name() != Some("devp2p-write")
    });
    drop(end);
    assert!(is_at_its_end(&mut raw), "the transport is closed");
}

#[test]
fn a_read_with_a_timeout_keeps_it_while_another_thread_reads() {
    let (mut end, mut raw) = with_raw(settings(1));
    say_hello(&mut raw, 2);
    let mut session = end.session(HANG).expect("a session");
    let one = Arc::new(session.take(0).expect("shared"));
    let (begins, begun) = mpsc::channel();
    let reader = {
        let one = Arc::clone(&one);
        thread::spawn(move || {
            begins.send(()).expect("it is awaited");
            one.read().map(|message| message.payload)
        })
    };
    begun.recv_timeout(HANG).expect("a reader");
    let (reports, report) = mpsc::channel();
    let timed = Arc::clone(&one);
    thread::spawn(move || {
        for _ in 0..10 {
            let _ = reports.send(timed.read_timeout(Duration::from_millis(20)));
        }
    });
    for _ in 0..10 {
        assert_eq!(report.recv_timeout(HANG), Ok(Ok(None)));
    }
    raw.write_all(&framed(16, b"here")).expect("it is taken");
    assert_eq!(reader.join().expect("no panic"), Ok(b"here".to_vec()));
}
