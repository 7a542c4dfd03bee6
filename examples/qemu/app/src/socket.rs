//! What the application needs of a network, whichever it is: sockets that connect or are connected to, and split.

use core::net::SocketAddrV4;

use devp2p_embassy::Close;
use embedded_io_async::Read;

use crate::fmt::Shown;

/// Where sockets come from.
pub trait Network {
    /// A socket, which borrows what it needs.
    type Socket<'s>: Socket
    where
        Self: 's;

    /// A socket that is not connected. The one before it is gone, whatever it had still to say.
    fn socket(&mut self) -> Self::Socket<'_>;
}

/// One connection at a time.
pub trait Socket {
    /// Why it could not connect.
    type ConnectError: Shown;
    /// Why it could not listen.
    type AcceptError: Shown;
    /// Why it could not say everything.
    type FlushError;
    /// The receiving half.
    type Reader<'a>: Read
    where
        Self: 'a;
    /// The sending half.
    type Writer<'a>: Close
    where
        Self: 'a;

    /// Connects to `remote`. Dropping the future leaves a socket that is to be [aborted](Self::abort).
    fn connect(
        &mut self,
        remote: SocketAddrV4,
    ) -> impl Future<Output = Result<(), Self::ConnectError>>;

    /// Waits for a connection to `port`. Dropping the future leaves a socket that is to be [aborted](Self::abort).
    fn accept(&mut self, port: u16) -> impl Future<Output = Result<(), Self::AcceptError>>;

    /// Ends the connection, or the attempt, at once. The socket can connect again.
    fn abort(&mut self);

    /// The halves of the connection, which can wait at the same time.
    fn split(&mut self) -> (Self::Reader<'_>, Self::Writer<'_>);

    /// Waits until the remote has everything that was written. Dropping the future loses nothing.
    fn flush(&mut self) -> impl Future<Output = Result<(), Self::FlushError>>;
}
