//! The host's sockets as the application takes them.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};

use async_io::Async;
use devp2p_embassy::Close;
use embedded_io_async::{ErrorType, Read, Write};
use qemu_app::socket::{Network, Socket};

/// Sockets, and the listener that stays while they come and go.
#[derive(Debug)]
pub(crate) struct Sockets(Option<Async<TcpListener>>);

impl Sockets {
    /// With a listener on this port of 127.0.0.1, if there is to be one.
    pub(crate) fn new(port: Option<u16>) -> io::Result<Self> {
        let listener = port.map(|port| Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, port)));
        Ok(Self(listener.transpose()?))
    }
}

impl Network for Sockets {
    type Socket<'s> = Connection<'s>;

    fn socket(&mut self) -> Connection<'_> {
        Connection {
            listener: self.0.as_ref(),
            stream: None,
        }
    }
}

/// A connection, or none yet.
#[derive(Debug)]
pub(crate) struct Connection<'s> {
    listener: Option<&'s Async<TcpListener>>,
    stream: Option<Async<TcpStream>>,
}

impl Socket for Connection<'_> {
    type ConnectError = io::Error;
    type AcceptError = io::Error;
    type FlushError = io::Error;
    type Reader<'a>
        = Half<'a>
    where
        Self: 'a;
    type Writer<'a>
        = Half<'a>
    where
        Self: 'a;

    async fn connect(&mut self, remote: SocketAddrV4) -> io::Result<()> {
        self.started(Async::<TcpStream>::connect(remote).await?)
    }

    async fn accept(&mut self, _port: u16) -> io::Result<()> {
        let listener = self.listener.ok_or(io::ErrorKind::NotConnected)?;
        log::info!("listening at {}", listener.get_ref().local_addr()?);
        let (stream, _) = listener.accept().await?;
        self.started(stream)
    }

    fn abort(&mut self) {
        self.stream = None;
    }

    fn split(&mut self) -> (Half<'_>, Half<'_>) {
        let half = Half(self.stream.as_ref());
        (half, half)
    }

    /// The system sends what it has taken, also when the socket is gone.
    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection<'_> {
    fn started(&mut self, stream: Async<TcpStream>) -> io::Result<()> {
        stream.get_ref().set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }
}

/// One half of a connection. Dropping a future of it loses no byte: it was ready and done, or did nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Half<'a>(Option<&'a Async<TcpStream>>);

impl<'a> Half<'a> {
    fn stream(self) -> io::Result<&'a Async<TcpStream>> {
        Ok(self.0.ok_or(io::ErrorKind::NotConnected)?)
    }
}

impl ErrorType for Half<'_> {
    type Error = io::Error;
}

impl Read for Half<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = self.stream()?;
        stream.read_with(|mut stream| stream.read(buffer)).await
    }
}

impl Write for Half<'_> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = self.stream()?;
        stream.write_with(|mut stream| stream.write(bytes)).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Close for Half<'_> {
    async fn close_write(&mut self) -> io::Result<()> {
        self.stream()?.get_ref().shutdown(Shutdown::Write)
    }
}
