//! A session and its socket: what it writes, and who is told of its messages.

use std::io::{self, Write};

use devp2p_core::capability::Capability;
use devp2p_core::code::LocalCode;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::inbox::Meta;
use devp2p_core::time::Instant;
use mio::net::TcpStream;

use super::Host;
use super::Tools;
use super::handle::Handle;
use crate::connection::Connection;
use crate::counters::Counters;
use crate::events::PeerEvent;
use crate::inbox::Observer;

/// Bytes that wait before they are written in the midst of a turn.
const MUCH: usize = 128 * 1024;
/// A session and its socket, without the handler: what a callback may change.
pub(super) struct Open {
    pub(super) connection: Connection,
    pub(super) socket: TcpStream,
    pub(super) readable: bool,
    /// The remote ended its direction, or the socket failed: to be read to the end.
    pub(super) hung_up: bool,
    pub(super) writable: bool,
    pub(super) cut: bool,
    /// The handler was told to wait.
    pub(super) wants_room: bool,
    pub(super) timer: Option<Instant>,
}

impl Open {
    pub(super) fn now(tools: &Tools) -> Instant {
        tools.host.clock.now()
    }

    /// Writes one message of the handler, which is called when there is room if there is none now.
    pub(super) fn write(
        &mut self,
        tools: &mut Tools,
        handle: &Handle,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
    ) -> Result<(), WriteError> {
        let result = self.write_or_flush(tools, handle, now, subprotocol, code, payload);
        self.wants_room |= matches!(result, Err(WriteError::WouldBlock { .. }));
        result
    }

    pub(super) fn write_or_flush(
        &mut self,
        tools: &mut Tools,
        handle: &Handle,
        now: Instant,
        subprotocol: usize,
        code: LocalCode,
        payload: &[&[u8]],
    ) -> Result<(), WriteError> {
        let mut result = self
            .connection
            .try_write(now, tools, subprotocol, code, payload);
        if matches!(result, Err(WriteError::WouldBlock { .. })) && self.writable {
            self.flush(tools);
            result = self
                .connection
                .try_write(now, tools, subprotocol, code, payload);
        }
        let written = result?;
        let observer = Told::new(&tools.host, handle);
        observer.counters(subprotocol).for_each(|counters| {
            counters.sent(written.length, written.wire_length);
        });
        if let Some(capability) = observer.capability(subprotocol) {
            tools.host.events.send_message(|| PeerEvent::MessageSent {
                peer: handle.id(),
                capability,
                code,
                length: written.length,
            });
        }
        if self.connection.output.len() >= MUCH {
            self.flush(tools);
        }
        Ok(())
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self, tools: &mut Tools) {
        while self.writable && !self.connection.output.is_empty() {
            match self.socket.write(self.connection.output.readable()) {
                Ok(0) => self.cut(&io::ErrorKind::WriteZero.into()),
                Ok(n) => self.connection.on_taken(Self::now(tools), n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.cut(&error),
            }
        }
        self.connection.output.release(&mut tools.spare);
    }

    fn cut(&mut self, error: &io::Error) {
        log::debug!("writing failed: {error}");
        self.cut = true;
        // What has arrived may tell why.
        self.readable = true;
        self.connection.cut_output();
    }

    pub(super) fn close(&mut self, now: Instant, reason: CloseReason) {
        self.connection.close(now, reason);
    }

    /// Whether a handler that was told to wait may go on.
    pub(super) fn has_room(&self, tools: &Tools) -> bool {
        self.connection.output.len() <= tools.output_limit / 2
    }
}

/// Counts messages and tells subscribers of them.
pub(super) struct Told<'a> {
    host: &'a Host,
    handle: &'a Handle,
}

impl<'a> Told<'a> {
    pub(super) fn new(host: &'a Host, handle: &'a Handle) -> Self {
        Self { host, handle }
    }

    fn counters(&self, subprotocol: usize) -> impl Iterator<Item = &Counters> {
        [&self.handle.0.counters[..], &self.host.counters[..]]
            .into_iter()
            .filter_map(move |all| all.get(subprotocol))
    }

    fn capability(&self, subprotocol: usize) -> Option<Capability> {
        let protocol = self.host.protocols.get(subprotocol)?;
        Some(protocol.capability())
    }
}

impl Observer for Told<'_> {
    fn received(&self, subprotocol: usize, meta: &Meta) {
        self.counters(subprotocol)
            .for_each(|counters| counters.received(meta.length, meta.wire_length));
        let Some(capability) = self.capability(subprotocol) else {
            return;
        };
        self.host
            .events
            .send_message(|| PeerEvent::MessageReceived {
                peer: self.handle.id(),
                capability,
                code: meta.code,
                length: meta.length,
            });
    }

    fn dropped(&self, subprotocol: usize, _meta: &Meta) {
        self.counters(subprotocol).for_each(Counters::dropped);
    }
}
