//! devp2p sessions on any Embassy executor, over any network stack: `no_std`, no allocator.
//!
//! What is here so far is the choice of transport: the two halves of a connection are [`embedded_io_async::Read`] and
//! [`embedded_io_async::Write`], which every Embassy network stack implements, and [`Close`], for the one thing that these
//! traits lack. The runner and the handles are still to come; until then a firmware drives
//! [`devp2p_core::session::Session`] by itself.
#![no_std]

use embedded_io_async::Write;

/// Ends the sending direction of a connection whose receiving direction goes on.
///
/// A closing session says Disconnect, half-closes, and then reads to the end of the stream: dropped at once, the connection
/// would be reset, and the reason lost with it.
pub trait Close: Write {
    /// Lets the transport send what was written, and then the end of the stream. Does not wait for the remote.
    ///
    /// Dropping the future loses nothing that was written; whether the end is announced is then open, and the call can be
    /// repeated.
    ///
    /// # Errors
    /// The transport's own, if the connection is gone already.
    fn close_write(&mut self) -> impl Future<Output = Result<(), Self::Error>>;
}
