//! What answers at a port where no devp2p node does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long it may take to connect, and then to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// As much of an answer as it takes to know it.
const ANSWER: usize = 512;

/// What a web client asks for.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// The smallest ClientHello of TLS 1.2 (RFC 5246, section 7.4.1.2), which is answered if only by an alert: two headers, a version,
/// 32 bytes that need not be random here, no session, one cipher suite, no compression.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03\
    devp2p asks what listens at this\x00\x00\x02\xc0\x2f\x01\x00";

/// Connects once more and asks as a web client does, and if there is no answer, as a client of TLS. Other servers may speak first.
/// A devp2p node takes either for a handshake that is none, and says nothing.
pub(crate) fn at(addr: SocketAddr) -> Option<&'static str> {
    [REQUEST, CLIENT_HELLO]
        .into_iter()
        .find_map(|question| name(&ask(addr, question)?))
}

fn ask(addr: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    // One that speaks first may have closed its receiving side.
    let _ = stream.write_all(question);
    let until = Instant::now() + PATIENCE;
    let mut answer = Vec::with_capacity(ANSWER);
    let mut part = [0; ANSWER];
    while answer.len() < ANSWER {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            break;
        }
        match stream.read(&mut part) {
            Ok(n) if n > 0 => answer.extend(part.iter().take(n)),
            _ => break,
        }
    }
    Some(answer)
}

fn name(answer: &[u8]) -> Option<&'static str> {
    let has = |text: &str| {
        answer
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    match answer {
        [] => None,
        // An alert or a handshake of TLS 1.x (RFC 8446, section 5.1).
        [0x15 | 0x16, 3, ..] => Some("a TLS port"),
        _ if answer.starts_with(b"HTTP/") && has("HTTPS") => Some("a TLS port (HTTPS)"),
        _ if answer.starts_with(b"HTTP/") => Some("a web server (HTTP)"),
        _ if answer.starts_with(b"SSH-") => Some("an SSH server"),
        _ => Some("another service"),
    }
}
