//! A TCP connection of embassy-net, in halves of which the sending one can end alone.
//!
//! The halves of embassy-net's own `split` cannot: its `close` needs the whole socket. So these share it.

use core::cell::RefCell;
use core::future::poll_fn;
use core::pin::pin;

use embassy_net::tcp::{Error, TcpSocket};
use embedded_io_async::{ErrorType, Read, Write};

use crate::Close;

/// A socket whose halves a session is run over.
///
/// ```no_run
/// # use devp2p_core::{hello::NodeId, rlpx::Entropy};
/// # use devp2p_embassy::tcp::Connection;
/// # use embassy_net::tcp::TcpSocket;
/// # async fn example(
/// #     mut runner: devp2p_embassy::Runner<'_, embassy_sync::blocking_mutex::raw::NoopRawMutex, 2>,
/// #     socket: TcpSocket<'_>,
/// #     address: (embassy_net::Ipv4Address, u16),
/// #     remote: NodeId,
/// #     entropy: Entropy,
/// # ) -> Result<(), embassy_net::tcp::ConnectError> {
/// let mut connection = Connection::from(socket);
/// connection.socket().connect(address).await?;
/// let (mut reader, mut writer) = connection.split();
/// let ended = runner.dial_with(remote, entropy, &mut reader, &mut writer).await;
/// // A socket that is dropped forgets what it has still to send.
/// let _ = connection.socket().flush().await;
/// # Ok(())
/// # }
/// ```
pub struct Connection<'s>(RefCell<TcpSocket<'s>>);

impl<'s> From<TcpSocket<'s>> for Connection<'s> {
    fn from(socket: TcpSocket<'s>) -> Self {
        Self(RefCell::new(socket))
    }
}

impl<'s> Connection<'s> {
    /// The socket: to connect, to accept, to flush, to abort.
    pub fn socket(&mut self) -> &mut TcpSocket<'s> {
        self.0.get_mut()
    }

    /// The halves, which can wait at the same time: each borrows the socket only while it is polled.
    pub fn split(&mut self) -> (TcpReader<'_, 's>, TcpWriter<'_, 's>) {
        (TcpReader(&self.0), TcpWriter(&self.0))
    }
}

/// The receiving half. Dropping a `read` future loses no byte.
pub struct TcpReader<'a, 's>(&'a RefCell<TcpSocket<'s>>);

/// The sending half. Dropping a `write` future loses no byte: either it was ready and said how many it took, or it took none.
pub struct TcpWriter<'a, 's>(&'a RefCell<TcpSocket<'s>>);

impl ErrorType for TcpReader<'_, '_> {
    type Error = Error;
}

impl ErrorType for TcpWriter<'_, '_> {
    type Error = Error;
}

// The socket's futures hold no state of their own, so a new one for each poll is the same one.

impl Read for TcpReader<'_, '_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| pin!(self.0.borrow_mut().read(buffer)).poll(cx)).await
    }
}

impl Write for TcpWriter<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| pin!(self.0.borrow_mut().write(bytes)).poll(cx)).await
    }

    /// Waits until the remote has acknowledged everything.
    async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| pin!(self.0.borrow_mut().flush()).poll(cx)).await
    }
}

impl Close for TcpWriter<'_, '_> {
    /// TCP's FIN follows what was written; the receiving half goes on.
    async fn close_write(&mut self) -> Result<(), Error> {
        self.0.borrow_mut().close();
        Ok(())
    }
}

macro_rules! name {
    ($($name:ident),*) => {$(
        impl core::fmt::Debug for $name<'_, '_> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

name!(TcpReader, TcpWriter);

impl core::fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Connection")
    }
}
