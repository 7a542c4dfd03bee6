//! The two halves of a TCP connection, of which the writing one can be ended by itself.
//!
//! The halves that embassy-net's own `split` gives cannot do that: its `close` needs the whole socket. So these share it.

use core::cell::RefCell;
use core::future::poll_fn;
use core::pin::pin;

use devp2p_embassy::Close;
use embassy_net::tcp::{Error, TcpSocket};
use embedded_io_async::{ErrorType, Read, Write};

/// The receiving half. Dropping a `read` future loses no byte.
#[derive(Clone, Copy)]
pub struct Reader<'a, 's>(&'a RefCell<TcpSocket<'s>>);

/// The sending half. Dropping a `write` future loses no byte: either it was ready and said how many it took, or it took none.
#[derive(Clone, Copy)]
pub struct Writer<'a, 's>(&'a RefCell<TcpSocket<'s>>);

/// The halves of a connection. Each call borrows the socket only while it is polled, so that they can wait at the same time.
pub fn split<'a, 's>(socket: &'a RefCell<TcpSocket<'s>>) -> (Reader<'a, 's>, Writer<'a, 's>) {
    (Reader(socket), Writer(socket))
}

impl ErrorType for Reader<'_, '_> {
    type Error = Error;
}

impl ErrorType for Writer<'_, '_> {
    type Error = Error;
}

// The socket's futures hold no state of their own, so a new one for each poll is the same one.

impl Read for Reader<'_, '_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| pin!(self.0.borrow_mut().read(buffer)).poll(cx)).await
    }
}

impl Write for Writer<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| pin!(self.0.borrow_mut().write(bytes)).poll(cx)).await
    }

    /// Waits until the remote has acknowledged everything.
    async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| pin!(self.0.borrow_mut().flush()).poll(cx)).await
    }
}

impl Close for Writer<'_, '_> {
    async fn close_write(&mut self) -> Result<(), Error> {
        self.0.borrow_mut().close();
        Ok(())
    }
}
