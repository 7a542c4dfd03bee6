//! A framing that delimits sessions: one follows the other on the same stream.

use std::os::unix::net::UnixStream;
use std::task::Poll;
use std::thread;

use devp2p_core::code::WireCode;
use devp2p_core::disconnect::DisconnectReason as Reason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::lifecycle::State;
use devp2p_core::time::{Duration, Instant, PollAt};
use devp2p_std::framed::{Decoded, Endpoint, Framing, Machine, Mark, SessionError};

use super::{Prefixed, framed, settings};
use crate::session_rig::HANG;

/// Code 255 with an empty payload begins a session, 254 ends it. Both sides say both.
#[derive(Default)]
pub(super) struct Delimited {
    inner: Prefixed,
    said: bool,
    heard: bool,
    ended: bool,
    /// The remote's next beginning came before ours.
    early: bool,
}

impl Framing for Delimited {
    fn decode<'a>(&mut self, bytes: &'a mut [u8]) -> (usize, Option<Decoded<'a>>) {
        let (mut taken, mut decoded) = self.inner.decode(bytes);
        let Some(Decoded::Message { code, .. }) = decoded else {
            return (taken, decoded);
        };
        if code >= 254 {
            // Not a message: its payload is empty, so that it is complete.
            let (n, complete) = self.inner.decode(&mut []);
            assert_eq!(complete, Some(Decoded::Complete));
            taken += n;
            decoded = Some(match code {
                255 if self.heard => {
                    self.early = true;
                    Decoded::Restart
                }
                255 => {
                    self.heard = true;
                    Decoded::Begin
                }
                _ => Decoded::End,
            });
        }
        (taken, decoded)
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
        self.inner.begin(code, length)
    }
    fn finish(&mut self, intact: bool) -> Mark {
        self.inner.finish(intact)
    }
    fn delimits_sessions(&self) -> bool {
        true
    }
    fn is_begun(&self) -> bool {
        self.heard
    }
    fn restart(&mut self) {
        let heard = self.early;
        *self = Self {
            inner: std::mem::take(&mut self.inner),
            heard,
            ..Self::default()
        };
    }
    fn end(&mut self) -> Mark {
        assert!(!std::mem::replace(&mut self.ended, true), "once a session");
        Mark::EMPTY.and(&framed(254, &[]))
    }
    fn poll(&mut self, _now: Instant) -> Mark {
        assert!(!std::mem::replace(&mut self.said, true), "when it is due");
        Mark::EMPTY.and(&framed(255, &[]))
    }
    fn poll_at(&self) -> PollAt {
        match self.said {
            true => PollAt::Idle,
            false => PollAt::Now,
        }
    }
}

fn two() -> ([Endpoint; 2], UnixStream) {
    let (a, b) = UnixStream::pair().expect("a pair");
    let cut = a.try_clone().expect("a clone");
    let start = |id, stream| {
        let mut settings = settings(id);
        settings.config.closing_timeout = Duration::from_secs(30);
        Endpoint::start(settings, stream, Delimited::default()).expect("it starts")
    };
    ([start(1, a), start(2, b)], cut)
}

#[test]
fn sessions_follow_each_other_on_one_stream() {
    let ([mut a, mut b], _) = two();
    for turn in 0..30u8 {
        // A session begins once both ask for it.
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| b.session(HANG));
            (a.session(HANG), theirs.join().expect("no panic"))
        });
        let mut ours = ours.expect("a session");
        let mut theirs = theirs.expect("a session");
        let (from, to) = (
            ours.take(0).expect("shared"),
            theirs.take(0).expect("shared"),
        );
        from.write(0, &[turn; 100]).expect("it is sent");
        assert_eq!(to.read().expect("a message").payload, [turn; 100]);
        let (first, second) = match turn % 2 {
            0 => (ours.peer(), theirs.peer()),
            _ => (theirs.peer(), ours.peer()),
        };
        first.disconnect(Reason(turn));
        assert_eq!(first.closed(), CloseReason::Local(Reason(turn)));
        let told = CloseReason::RemoteRequested(Some(Reason(turn)));
        assert_eq!(second.closed(), told);
        // Handles of a session that is over do not reach the next one.
        assert!(from.write(0, b"late").is_err());
        assert_eq!(
            first.traffic(0).messages_in + second.traffic(0).messages_in,
            1
        );
    }
}

#[test]
fn the_end_of_the_stream_is_the_end_of_all_sessions() {
    let ([mut a, mut b], cut) = two();
    let session = a.session(HANG).expect("a session");
    let theirs = b.session(HANG).expect("a session");
    cut.shutdown(std::net::Shutdown::Both).expect("it can be");
    let ended = CloseReason::Transport(TransportError::EndOfStream);
    assert_eq!(session.peer().closed(), ended);
    assert_eq!(theirs.peer().closed(), ended);
    assert_eq!(b.session(HANG).err(), Some(SessionError::Closed(ended)));
    assert!(a.wait_end(HANG) && b.wait_end(HANG));
}

fn machine(id: u8) -> Machine<Delimited> {
    Machine::new(settings(id), Delimited::default(), Instant::ZERO).expect("it can be")
}

/// Everything that the end says now.
fn said(end: &mut Machine<Delimited>, now: Instant) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        end.poll(now);
        let bytes = end.output().to_vec();
        if bytes.is_empty() {
            return all;
        }
        end.consume_output(now, bytes.len());
        all.extend(bytes);
    }
}

#[test]
fn a_session_that_was_ended_before_it_began_keeps_its_cause() {
    let mut other = machine(2);
    other.handle_input(Instant::ZERO, &mut framed(255, &[]));
    let mut begin_and_hello = said(&mut other, Instant::ZERO);
    let local = CloseReason::Local(Reason::TOO_MANY_PEERS);
    let disconnect = [framed(1, &[0xc1, 0x04]), framed(254, &[])].concat();
    // It begins while it closes, and after it was closed.
    for (seconds, told) in [(0, disconnect), (60, framed(254, &[]))] {
        let now = Instant::from_micros(seconds * 1_000_000);
        let mut end = machine(1);
        assert_eq!(said(&mut end, Instant::ZERO), framed(255, &[]));
        end.disconnect(Instant::ZERO, Reason::TOO_MANY_PEERS);
        end.poll(Instant::ZERO);
        end.poll(now);
        let taken = end.handle_input(now, &mut begin_and_hello);
        assert_eq!(taken, begin_and_hello.len());
        assert!(!end.is_active());
        assert_eq!(end.peer().close_reason(), Some(local));
        assert_eq!(said(&mut end, now), told);
        assert_eq!(end.try_read(0), Poll::Ready(Err(local)));
        end.handle_input(now, &mut framed(254, &[]));
        assert_eq!(end.peer().state(), State::Closed);
        // The next one is a session like any other.
        end.restart(now);
        assert_eq!(said(&mut end, now), framed(255, &[]));
        end.handle_input(now, &mut begin_and_hello);
        assert!(end.is_active());
        assert_eq!(end.try_read(0), Poll::Pending);
    }
}
