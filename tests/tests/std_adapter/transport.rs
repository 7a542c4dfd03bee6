use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use devp2p_std::transport::{Closer, Transport};

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (dialled, listener.accept().unwrap().0)
}

fn bytes_go_both_ways<T: Transport>(pair: impl Fn() -> (T, T)) {
    let (ours, theirs) = pair();
    let (mut our_reader, mut our_writer, _our_closer) = ours.split().unwrap();
    let (mut their_reader, mut their_writer, _their_closer) = theirs.split().unwrap();
    let mut got = [0; 4];
    our_writer.write_all(b"ping").unwrap();
    their_reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
    their_writer.write_all(b"pong").unwrap();
    our_reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"pong");
}

/// How long the other thread gets to block before the close, in turns: it must end whether it did or not.
const TURNS: [usize; 6] = [0, 1, 10, 100, 1_000, 10_000];

fn close_unblocks_a_read<T: Transport>(pair: impl Fn() -> (T, T)) {
    for turns in TURNS {
        let (ours, _theirs) = pair();
        let (mut reader, _writer, closer) = ours.split().unwrap();
        let (started, starting) = mpsc::channel();
        let thread = thread::spawn(move || {
            started.send(()).unwrap();
            reader.read(&mut [0; 16])
        });
        starting.recv().unwrap();
        (0..turns).for_each(|_| thread::yield_now());
        closer.close();
        assert!(matches!(thread.join().unwrap(), Ok(0) | Err(_)));
        closer.close();
    }
}

/// Nobody reads, and the socket's buffers are full from the start.
fn close_unblocks_a_write<T>(pair: impl Fn() -> (T, T))
where
    for<'a> &'a T: Write,
    T: Transport + SetNonblocking,
{
    for turns in TURNS {
        let (ours, _theirs) = pair();
        ours.set_nonblocking().unwrap();
        let full = loop {
            if let Err(error) = (&ours).write_all(&[0; 4096]) {
                break error.kind();
            }
        };
        assert_eq!(full, ErrorKind::WouldBlock);
        let (_reader, mut writer, closer) = ours.split().unwrap();
        let (started, starting) = mpsc::channel();
        let thread = thread::spawn(move || {
            started.send(()).unwrap();
            // The system may still find some room, but not for ever.
            loop {
                if let Err(error) = writer.write_all(&[0; 4096]) {
                    return error.kind();
                }
            }
        });
        starting.recv().unwrap();
        (0..turns).for_each(|_| thread::yield_now());
        closer.close();
        let kind = thread.join().unwrap();
        assert!(
            matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
            "{kind}"
        );
    }
}

/// What the test needs of a socket beside [`Transport`].
trait SetNonblocking {
    fn set_nonblocking(&self) -> io::Result<()>;
}

impl SetNonblocking for TcpStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        TcpStream::set_nonblocking(self, true)
    }
}

#[cfg(unix)]
impl SetNonblocking for UnixStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        UnixStream::set_nonblocking(self, true)
    }
}

fn half_close_ends_one_way_only<T: Transport>(pair: impl Fn() -> (T, T)) {
    let (ours, theirs) = pair();
    let (mut our_reader, mut our_writer, our_closer) = ours.split().unwrap();
    let (mut their_reader, mut their_writer, _their_closer) = theirs.split().unwrap();
    our_writer.write_all(b"last words").unwrap();
    our_closer.close_write();
    let mut all = Vec::new();
    their_reader.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"last words");
    assert!(our_writer.write(b"more").is_err());

    let mut got = [0; 6];
    their_writer.write_all(b"answer").unwrap();
    our_reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"answer");
}

/// The remote sees the end only when no part of the socket is left.
fn parts_can_be_dropped_one_by_one<T: Transport>(pair: impl Fn() -> (T, T)) {
    let (ours, theirs) = pair();
    let (reader, mut writer, closer) = ours.split().unwrap();
    let (mut their_reader, _their_writer, _their_closer) = theirs.split().unwrap();
    drop(reader);
    drop(closer);
    writer.write_all(b"x").unwrap();
    drop(writer);
    let mut all = Vec::new();
    their_reader.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"x");
}

macro_rules! for_each_transport {
    ($($behaviour:ident)*) => {
        mod over_tcp {
            $(#[test] fn $behaviour() { super::$behaviour(super::tcp); })*
        }
        #[cfg(unix)]
        mod over_unix {
            $(#[test] fn $behaviour() {
                super::$behaviour(|| super::UnixStream::pair().unwrap());
            })*
        }
    };
}

for_each_transport! {
    bytes_go_both_ways
    close_unblocks_a_read
    close_unblocks_a_write
    half_close_ends_one_way_only
    parts_can_be_dropped_one_by_one
}

#[test]
fn tcp_tells_its_addresses_and_sends_at_once() {
    let (dialled, accepted) = tcp();
    assert_eq!(
        Transport::local_addr(&dialled),
        Transport::peer_addr(&accepted)
    );
    assert_eq!(
        Transport::peer_addr(&dialled),
        Transport::local_addr(&accepted)
    );
    assert!(Transport::local_addr(&dialled).is_some());
    let same_socket = dialled.try_clone().unwrap();
    let _parts = dialled.split().unwrap();
    assert!(same_socket.nodelay().unwrap());
}

#[test]
fn a_split_socket_blocks_without_limit_whatever_it_did_before() {
    let (dialled, accepted) = tcp();
    dialled.set_nonblocking(true).unwrap();
    dialled
        .set_read_timeout(Some(std::time::Duration::from_millis(1)))
        .unwrap();
    let same_socket = dialled.try_clone().unwrap();
    let (mut reader, _writer, _closer) = dialled.split().unwrap();
    assert_eq!(same_socket.read_timeout().unwrap(), None);
    let thread = thread::spawn(move || reader.read(&mut [0; 1]).unwrap());
    (&accepted).write_all(b"x").unwrap();
    assert_eq!(thread.join().unwrap(), 1);
}
