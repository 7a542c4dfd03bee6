//! What answers at a port where no devp2p node does.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use devp2p_core::error::{CloseReason, TransportError};
use devp2p_std::transport::{Part, Transport};

/// How long it may take to connect, and then to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a web client asks for.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// The smallest ClientHello of TLS 1.2 (RFC 5246, section 7.4.1.2), which is answered if only by an alert: two headers, a version,
/// 32 bytes that need not be random here, no session, one cipher suite, no compression.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03\
    devp2p asks what listens at this\x00\x00\x02\xc0\x2f\x01\x00";

/// The first bytes of a remote: as many as state the length of its handshake, if it is a devp2p node.
type First = [u8; 2];

/// A connection whose first bytes are kept.
pub(crate) struct Watched {
    stream: TcpStream,
    first: Arc<Mutex<Vec<u8>>>,
}

/// What was seen of a remote.
pub(crate) struct Seen {
    pub(crate) addr: SocketAddr,
    first: Arc<Mutex<Vec<u8>>>,
    /// Whether it may be asked, on other connections, what it is.
    pub(crate) asks: bool,
}

impl Watched {
    pub(crate) fn new(stream: TcpStream, addr: SocketAddr) -> (Self, Seen) {
        let first = Arc::default();
        let seen = Seen {
            addr,
            first: Arc::clone(&first),
            asks: true,
        };
        (Self { stream, first }, seen)
    }
}

impl Seen {
    /// Names what a session ended with for `reason` before it was active, if that is no devp2p node.
    ///
    /// By its first bytes; where there were none, by an answer to what clients of other services say. A devp2p node takes that for
    /// a handshake that is none, and says nothing.
    pub(crate) fn name(&self, reason: CloseReason) -> Option<&'static str> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = first.first_chunk() {
            return name(*first);
        }
        drop(first);
        let questions: &[&[u8]] = match reason {
            // It waits for more.
            CloseReason::HandshakeTimeout => &[REQUEST, CLIENT_HELLO],
            // It does not take what it got; servers of text say that, those of TLS need not.
            CloseReason::Transport(TransportError::EndOfStream | TransportError::Io) => {
                &[CLIENT_HELLO]
            }
            _ => &[],
        };
        let mut questions = questions.iter().filter(|_| self.asks);
        questions.find_map(|question| name(ask(self.addr, question).ok()?))
    }
}

/// The first bytes of the answer on a connection of its own.
fn ask(addr: SocketAddr, question: &[u8]) -> io::Result<First> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(question)?;
    let mut first = First::default();
    stream.read_exact(&mut first)?;
    Ok(first)
}

/// No handshake of devp2p is as long as any of these would state.
fn name(first: First) -> Option<&'static str> {
    match &first {
        // An alert or a handshake of TLS 1.x (RFC 8446, section 5.1).
        [0x15 | 0x16, 3] => Some("a TLS port"),
        b"HT" | b"<!" | b"<h" => Some("a web server (HTTP)"),
        b"SS" => Some("an SSH server"),
        [a, b] if a.is_ascii_graphic() && b.is_ascii_graphic() => Some("another service"),
        _ => None,
    }
}

/// The reading half.
pub(crate) struct Reader {
    part: Part<TcpStream>,
    /// Until there are enough.
    first: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Reader {
    fn note(&mut self, bytes: &[u8]) {
        let Some(first) = &self.first else { return };
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        let room = size_of::<First>() - first.len();
        first.extend(bytes.iter().take(room));
        let is_full = first.len() == size_of::<First>();
        drop(first);
        if is_full {
            self.first = None;
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.part.read(buf)?;
        self.note(buf.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match bufs.first_mut() {
            Some(buf) if self.first.is_some() => self.read(buf),
            _ => self.part.read_vectored(bufs),
        }
    }
}

impl Transport for Watched {
    type Reader = Reader;
    type Writer = Part<TcpStream>;
    type Closer = Part<TcpStream>;

    fn split(self) -> io::Result<(Self::Reader, Self::Writer, Self::Closer)> {
        let (part, writer, closer) = self.stream.split()?;
        let first = Some(self.first);
        Ok((Reader { part, first }, writer, closer))
    }

    fn try_read(reader: &mut Self::Reader, buf: &mut [u8]) -> Option<io::Result<usize>> {
        let read = TcpStream::try_read(&mut reader.part, buf);
        if let Some(Ok(n)) = &read {
            reader.note(buf.get(..*n).unwrap_or_default());
        }
        read
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Transport::local_addr(&self.stream)
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Transport::peer_addr(&self.stream)
    }
}
