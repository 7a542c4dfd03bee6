//! Remotes that are no devp2p nodes, or no whole ones.
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use devp2p_core::time::Instant;
use devp2p_tests::endpoint::Endpoint;
use devp2p_tests::fixture;
use devp2p_tests::rogue::{Manners, Remote, Rogue};

use crate::run::{assert_explained, run};

/// Serves every connection in a thread of its own; returns where.
fn serve(serve: fn(TcpStream) -> std::io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// Reads up to an empty line; false at the end of the stream before.
fn read_head(stream: &mut TcpStream) -> std::io::Result<bool> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(false);
        }
        head.extend(byte);
    }
    Ok(true)
}

fn ping(addr: SocketAddr) -> crate::run::Ended {
    run(&["ping", &format!("enode://{}@{addr}", id())])
}

/// A point of the curve, so that the handshake is tried at all.
fn id() -> String {
    fixture::key(1).id().to_string()
}

#[test]
fn a_web_server_is_named_as_such() {
    // It waits for the whole head, which a handshake does not bring; or says at once that it is none.
    let patient = serve(|mut stream| {
        if read_head(&mut stream)? {
            stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n")?;
        }
        Ok(())
    });
    let strict = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024])?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    });
    for addr in [patient, strict] {
        let named = format!("{addr} is a web server (HTTP), not a devp2p node");
        assert_explained(&ping(addr), &named);
    }
}

/// Closes at anything but a ClientHello, as OpenSSL and Go's servers do, and answers that by an alert.
fn serve_tls(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let mut hello = vec![0; head[4].into()];
    match head {
        [0x16, 3, 1, 0, _] => stream.read_exact(&mut hello)?,
        _ => return Ok(()),
    }
    assert_eq!(usize::from(hello[3]), hello.len() - 4);
    stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40])
}

#[test]
fn a_tls_port_is_named_as_such() {
    let quiet = serve(serve_tls);
    let alert = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024])?;
        stream.write_all(&[0x15, 3, 1, 0, 2, 2, 70])
    });
    for addr in [quiet, alert] {
        assert_explained(&ping(addr), &format!("{addr} is a TLS port"));
    }
}

#[test]
fn who_is_not_to_be_asked_what_it_is_is_not() {
    let addr = serve(serve_tls);
    let enode = format!("enode://{}@{addr}", id());
    let ended = run(&["ping", &enode, "--no-probe"]);
    assert_explained(&ended, "no session: transport");
}

#[test]
fn what_speaks_first_is_named_as_what_it_is() {
    let addr = serve(|mut stream| {
        stream.write_all(b"SSH-2.0-something\r\n")?;
        let _ = stream.read(&mut [0; 1024])?;
        Ok(())
    });
    let ended = run(&["bench", &format!("enode://{}@{addr}", id())]);
    assert_explained(&ended, &format!("{addr} is an SSH server"));
}

#[test]
fn a_port_that_says_nothing_is_not_named() {
    let addr = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1])?;
        Ok(())
    });
    let ended = ping(addr);
    assert_explained(&ended, "no session");
    assert!(!ended.err.contains("not a devp2p node"), "{ended:?}");
}

/// A node that says everything but Pong, ten times a second.
fn chatter(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut rogue = Rogue::accept(1, Manners::Polite);
    rogue.say_hello(4, &[fixture::protocol("test", 1, 4)]);
    let mut bytes = [0; 4096];
    loop {
        while rogue.advance(Instant::ZERO, &mut |_| ()) {}
        stream.write_all(rogue.output())?;
        rogue.consume_output(Instant::ZERO, rogue.output().len());
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(mut n) => {
                let mut from = 0;
                while from < n {
                    let taken = rogue.handle_input(Instant::ZERO, &mut bytes[from..n]);
                    from += taken;
                    while rogue.advance(Instant::ZERO, &mut |_| ()) {}
                    n = if taken == 0 { from } else { n };
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                rogue.say_message(16, b"anything");
            }
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn a_node_that_says_anything_but_pong_is_not_waited_for_for_ever() {
    let addr = serve(chatter);
    let enode = format!("enode://{}@{addr}", id());
    let ended = run(&["ping", &enode, "--count", "2", "--timeout", "1"]);
    assert_explained(&ended, "no Pong came to any of 2 Pings within 1 s");
    assert!(ended.out.contains("pong 2    none within 1 s"), "{ended:?}");
}
