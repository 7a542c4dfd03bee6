//! The socket at QEMU's end of the serial line, as a transport that can be cut inside a message.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use devp2p_std::transport::{Closer, Transport};

use crate::host::{BOUND, Fallible};

/// One connection of QEMU.
pub(crate) struct Cable {
    stream: UnixStream,
    left: Arc<AtomicUsize>,
}

/// Cuts one connection.
pub(crate) struct Cutter(Arc<AtomicUsize>);

impl Cutter {
    /// After so many bytes more from the board the line is dead, in both directions.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Release);
    }
}

impl Cable {
    /// Waits until QEMU connects.
    pub(crate) fn accept(listener: &UnixListener) -> Fallible<(Self, Cutter)> {
        listener.set_nonblocking(true)?;
        let since = Instant::now();
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if since.elapsed() > BOUND {
                return Err("QEMU does not connect".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let cutter = Cutter(Arc::clone(&left));
        Ok((Self { stream, left }, cutter))
    }
}

/// The half that reads, and counts what may still pass.
pub(crate) struct Reader(UnixStream, Arc<AtomicUsize>);

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buf)?;
        let left = self.1.load(Ordering::Acquire);
        if left == usize::MAX {
            return Ok(n);
        }
        let passes = n.min(left);
        self.1.store(left - passes, Ordering::Release);
        if passes < n {
            self.0.shutdown(Shutdown::Both)?;
        }
        Ok(passes)
    }
}

/// The half that writes.
pub(crate) struct Writer(UnixStream);

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Closer for Writer {
    // A failure means that QEMU closed already.
    fn close_write(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
    fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Transport for Cable {
    type Reader = Reader;
    type Writer = Writer;
    type Closer = Writer;

    fn split(self) -> io::Result<(Reader, Writer, Writer)> {
        self.stream.set_nonblocking(false)?;
        let (one, two) = (self.stream.try_clone()?, self.stream.try_clone()?);
        Ok((Reader(one, self.left), Writer(two), Writer(self.stream)))
    }
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}
