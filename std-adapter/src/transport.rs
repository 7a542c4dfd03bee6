//! What carries a session: any stream of bytes that splits into a reader, a writer and a closer.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::fd::AsFd;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

#[cfg(unix)]
use rustix::net::RecvFlags;

/// A connection, before a session takes it apart.
///
/// Reads and writes of the halves block. Each half is used by one thread at a time, the closer by any number.
pub trait Transport {
    /// The half that reads.
    type Reader: Read + Send + 'static;
    /// The half that writes.
    type Writer: Write + Send + 'static;
    /// What ends the connection, since nothing else unblocks a read.
    type Closer: Closer;

    /// Splits the connection, ready for a session: blocking, without time limits, small writes sent at once.
    ///
    /// # Errors
    /// If the system refuses one of these settings.
    fn split(self) -> io::Result<(Self::Reader, Self::Writer, Self::Closer)>;

    /// Reads what has arrived, without blocking: [`io::ErrorKind::WouldBlock`] if that is nothing. `None` if the transport cannot
    /// do that: then a thread that waits for a reply sleeps, and does not poll for a while first (see
    /// [`busy_poll`](crate::host::Builder::busy_poll)).
    fn try_read(reader: &mut Self::Reader, buf: &mut [u8]) -> Option<io::Result<usize>> {
        let _ = (reader, buf);
        None
    }

    /// Our end, where the transport has such addresses.
    fn local_addr(&self) -> Option<SocketAddr>;

    /// The remote end, where the transport has such addresses.
    fn peer_addr(&self) -> Option<SocketAddr>;
}

/// Ends a connection whose halves are in use elsewhere. Both calls may come from any thread, repeatedly, and never block.
pub trait Closer: Send + Sync + 'static {
    /// Half-close: what was written is delivered, then the remote reads end of stream; we can still read.
    fn close_write(&self);

    /// Closes both ways. Every read and write that is blocked, and every later one, returns: reads with end of stream or an
    /// error, perhaps after bytes that had arrived before; writes with an error.
    fn close(&self);

    /// From its next read on, the reader gives up after `limit` without bytes, with [`io::ErrorKind::WouldBlock`] or
    /// [`io::ErrorKind::TimedOut`]; without one, never. Whether the transport can do that: then the thread that waits for a
    /// message reads from the transport itself, else another thread does and wakes it.
    fn limit_reads(&self, limit: Option<Duration>) -> bool {
        let _ = limit;
        false
    }
}

/// The half of a transport that reads, whichever that is.
pub(crate) trait Source: Read + Send {
    /// As [`Transport::try_read`].
    fn try_read(&mut self, buf: &mut [u8]) -> Option<io::Result<usize>>;
}

impl Source for io::Empty {
    fn try_read(&mut self, _: &mut [u8]) -> Option<io::Result<usize>> {
        None
    }
}

/// A reader, and its transport's way to read without blocking.
pub(crate) struct Half<R> {
    reader: R,
    try_read: fn(&mut R, &mut [u8]) -> Option<io::Result<usize>>,
}

impl<R> Half<R> {
    pub(crate) fn new<T: Transport<Reader = R>>(reader: R) -> Self {
        Self {
            reader,
            try_read: T::try_read,
        }
    }
}

impl<R: Read> Read for Half<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

impl<R: Read + Send> Source for Half<R> {
    fn try_read(&mut self, buf: &mut [u8]) -> Option<io::Result<usize>> {
        (self.try_read)(&mut self.reader, buf)
    }
}

/// IPv4 as such, where a socket for both families has it mapped into IPv6.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// One part of a socket that several share: the descriptor is closed when the last part is dropped.
#[derive(Debug)]
pub struct Part<S>(Arc<S>);

impl<S> Part<S> {
    fn three(socket: S) -> (Self, Self, Self) {
        let socket = Arc::new(socket);
        (
            Self(Arc::clone(&socket)),
            Self(Arc::clone(&socket)),
            Self(socket),
        )
    }
}

#[cfg(unix)]
impl<S: AsFd> Part<S> {
    /// Whatever the socket's own mode is, which its writers share.
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let (n, _) = rustix::net::recv(&*self.0, buf, RecvFlags::DONTWAIT)?;
        Ok(n)
    }
}

impl<S> Read for Part<S>
where
    for<'a> &'a S: Read,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buf)
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self.0).read_vectored(bufs)
    }
}

impl<S> Write for Part<S>
where
    for<'a> &'a S: Write,
{
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self.0).write(buf)
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.0).write_vectored(bufs)
    }
    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

impl Closer for Part<TcpStream> {
    fn limit_reads(&self, limit: Option<Duration>) -> bool {
        self.0.set_read_timeout(limit).is_ok()
    }
    // A failure means that the remote closed already.
    fn close_write(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
    fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Transport for TcpStream {
    type Reader = Part<Self>;
    type Writer = Part<Self>;
    type Closer = Part<Self>;

    /// Also sets TCP_NODELAY: a frame must not wait for the acknowledgement of the one before.
    fn split(self) -> io::Result<(Self::Reader, Self::Writer, Self::Closer)> {
        self.set_nodelay(true)?;
        // On some systems an accepted socket is non-blocking because its listener is.
        self.set_nonblocking(false)?;
        self.set_read_timeout(None)?;
        self.set_write_timeout(None)?;
        Ok(Part::three(self))
    }

    #[cfg(unix)]
    fn try_read(reader: &mut Self::Reader, buf: &mut [u8]) -> Option<io::Result<usize>> {
        Some(Part::try_read(reader, buf))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Self::local_addr(self).ok().map(canonical)
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Self::peer_addr(self).ok().map(canonical)
    }
}

#[cfg(unix)]
impl Closer for Part<UnixStream> {
    fn limit_reads(&self, limit: Option<Duration>) -> bool {
        self.0.set_read_timeout(limit).is_ok()
    }
    fn close_write(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
    fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[cfg(unix)]
impl Transport for UnixStream {
    type Reader = Part<Self>;
    type Writer = Part<Self>;
    type Closer = Part<Self>;

    fn split(self) -> io::Result<(Self::Reader, Self::Writer, Self::Closer)> {
        self.set_nonblocking(false)?;
        self.set_read_timeout(None)?;
        self.set_write_timeout(None)?;
        Ok(Part::three(self))
    }

    fn try_read(reader: &mut Self::Reader, buf: &mut [u8]) -> Option<io::Result<usize>> {
        Some(Part::try_read(reader, buf))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}
