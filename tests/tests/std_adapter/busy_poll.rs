//! A thread that waits for a reply polls the transport before it sleeps; none polls for what it did not ask for.
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use devp2p_core::error::{CloseReason, TransportError};
use devp2p_std::handle::{ReadError, Subprotocol};
use devp2p_std::host::Builder;
use devp2p_std::transport::{Part, Transport};

use crate::session_rig::*;

/// A Unix stream that counts how often it was polled.
struct Counted(UnixStream, Arc<AtomicUsize>);

struct CountedReader(Part<UnixStream>, Arc<AtomicUsize>);

impl Read for CountedReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Transport for Counted {
    type Reader = CountedReader;
    type Writer = Part<UnixStream>;
    type Closer = Part<UnixStream>;

    fn split(self) -> io::Result<(CountedReader, Part<UnixStream>, Part<UnixStream>)> {
        let (reader, writer, closer) = self.0.split()?;
        Ok((CountedReader(reader, self.1), writer, closer))
    }
    fn try_read(reader: &mut CountedReader, buf: &mut [u8]) -> Option<io::Result<usize>> {
        reader.1.fetch_add(1, Ordering::Relaxed);
        UnixStream::try_read(&mut reader.0, buf)
    }
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}

/// Two ends, of which the first polls for at most so long. Also how often it did, and the socket of the second.
fn counted(limit: Duration) -> (Two, Arc<AtomicUsize>, UnixStream) {
    let ([ours, theirs], polls) = (
        ["test"; 2].map(|name| controlled(name, 1, 8)),
        Arc::default(),
    );
    let client = host_with(1, vec![ours.0], |host: Builder| host.busy_poll(limit));
    let server = host(2, vec![theirs.0]);
    let (our_end, their_end) = UnixStream::pair().expect("a pair");
    let socket = their_end.try_clone().expect("a descriptor");
    let two = Two {
        running: [
            dial(&client, Counted(our_end, Arc::clone(&polls)), &server),
            accept(&server, their_end),
        ],
        hosts: [client, server],
        controls: [ours.1, theirs.1],
    };
    two.controls.iter().for_each(|control| control.run(|_| ()));
    (two, polls, socket)
}

fn may_poll() -> bool {
    thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

fn answer(s: &mut Subprotocol) {
    while let Ok(message) = s.read() {
        if s.write(message.code, &message.payload).is_err() {
            break;
        }
    }
}

#[test]
fn who_waits_for_a_reply_polls() {
    // It comes in time on the busiest machine.
    let (two, polls, _) = counted(HANG);
    let _answering = two.controls[1].start(answer);
    let until = Instant::now() + HANG;
    // While the session's own thread reads, nobody polls.
    for n in 0.. {
        two.controls[0].run(move |s| {
            for n in [n; 100] {
                s.write(1, &u32::to_be_bytes(n)).expect("a live session");
                assert_eq!(s.read().expect("a reply").payload, n.to_be_bytes());
            }
        });
        if polls.load(Ordering::Relaxed) > 0 || !may_poll() {
            break;
        }
        assert!(Instant::now() < until, "it never polls");
    }
    two.finish();
}

#[test]
fn who_only_reads_never_polls() {
    let (two, polls, _) = counted(HANG);
    let reads = two.controls[0].start(|s| (0..1000).all(|_| s.read().is_ok()));
    let writes = two.controls[1].start(|s| (0..1000).all(|_| s.write(1, b"more").is_ok()));
    assert!(writes.recv_timeout(HANG).expect("no hang"));
    assert!(reads.recv_timeout(HANG).expect("no hang"));
    assert_eq!(polls.load(Ordering::Relaxed), 0);
    two.finish();
}

#[test]
fn with_a_limit_of_zero_nobody_polls() {
    let (two, polls, _) = counted(Duration::ZERO);
    let _answering = two.controls[1].start(answer);
    two.controls[0].run(|s| {
        for _ in 0..1000 {
            s.write(1, b"echo").expect("a live session");
            s.read().expect("a reply");
        }
    });
    assert_eq!(polls.load(Ordering::Relaxed), 0);
    two.finish();
}

#[test]
fn the_end_of_the_stream_ends_a_session_that_is_polled() {
    let (two, polls, socket) = counted(HANG);
    // The last reply does not come.
    let _answering = two.controls[1].start(|s| {
        while s.read().is_ok_and(|message| message.code == 1) {
            let _ = s.write(1, &[]);
        }
        let _ = s.read();
    });
    two.controls[0].run(|s| {
        for _ in 0..100 {
            s.write(1, &[]).expect("a live session");
            s.read().expect("a reply");
        }
    });
    let before = polls.load(Ordering::Relaxed);
    let reads = two.controls[0].start(|s| {
        s.write(2, &[]).expect("a live session");
        s.read()
    });
    // Most often it is polled by now; the end must be the same if it sleeps.
    let until = Instant::now() + Duration::from_millis(20);
    while polls.load(Ordering::Relaxed) < before + 100 && Instant::now() < until {
        thread::yield_now();
    }
    socket.shutdown(Shutdown::Both).expect("an open socket");
    let end = CloseReason::Transport(TransportError::EndOfStream);
    let read = reads.recv_timeout(HANG).expect("no hang");
    assert_eq!(read, Err(ReadError::Closed(end)));
    let [ours, theirs] = two.running;
    assert_eq!(ours.report().reason, end);
    theirs.report();
}
