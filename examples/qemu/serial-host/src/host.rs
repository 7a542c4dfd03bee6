//! One end of the line over a Unix socket, driven by whoever waits for something.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use devp2p_core::code::LocalCode;
use devp2p_core::config::{Config, Local};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};
use devp2p_core::hello::NodeId;
use devp2p_core::time;
use qemu_bare::line::{Event, Line};
use qemu_bare::protocols::protocols;

/// What can go wrong, as text for the one who runs the program.
pub(crate) type Fallible<T = ()> = Result<T, Box<dyn Error>>;

/// How long anything may take; the board runs on a busy machine.
const BOUND: Duration = Duration::from_secs(30);
/// The longest wait for a byte before time is looked at.
const TURN: Duration = Duration::from_millis(2);
/// Bytes of inbox for `echo/1`, and of frames that wait for the line.
const MEMORY: usize = 1 << 18;

/// The host's end.
pub(crate) struct Host {
    listener: UnixListener,
    stream: UnixStream,
    line: Line<'static>,
    start: Instant,
    active: bool,
    closed: Option<CloseReason>,
    /// What came and was not taken yet.
    input: Vec<u8>,
}

impl Host {
    /// Waits for QEMU at this path.
    pub(crate) fn listen(path: &str) -> Fallible<Self> {
        let listener = UnixListener::bind(path)?;
        let stream = accept(&listener)?;
        let start = Instant::now();
        Ok(Self {
            listener,
            stream,
            line: line(time::Instant::ZERO)?,
            start,
            active: false,
            closed: None,
            input: Vec::new(),
        })
    }

    /// Cuts the line as it is, as a program does that is killed, and starts anew once QEMU has connected again.
    pub(crate) fn cut(&mut self) -> Fallible {
        self.stream.shutdown(std::net::Shutdown::Both)?;
        self.stream = accept(&self.listener)?;
        self.line = line(self.now())?;
        (self.active, self.closed) = (false, None);
        self.input.clear();
        Ok(())
    }

    /// Says what is still to be said, until the board is gone.
    pub(crate) fn leave(&mut self) -> Fallible {
        let since = Instant::now();
        while self.turn().is_ok() {
            if since.elapsed() > BOUND {
                return Err("the board stays".into());
            }
        }
        Ok(())
    }

    fn now(&self) -> time::Instant {
        time::Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    /// Does what there is to do, and waits a moment for a byte.
    fn turn(&mut self) -> Fallible {
        let now = self.now();
        let taken = self.line.handle_input(now, &self.input);
        self.input.drain(..taken);
        while let Some(event) = self.line.poll(now) {
            match event {
                Event::Active => self.active = true,
                Event::Closed(reason) => self.closed = Some(reason),
            }
        }
        let mut sent = 0;
        while !self.line.output().is_empty() {
            match self.stream.write(self.line.output()) {
                Ok(0) => return Err("the line is closed".into()),
                Ok(n) => {
                    self.line.consume_output(now, n);
                    sent += n;
                }
                Err(error) if is_early(error.kind()) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.input.is_empty() {
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the board hung up".into()),
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(error) if is_early(error.kind()) => {}
                Err(error) => return Err(error.into()),
            }
        } else if sent == 0 && taken == 0 {
            std::thread::sleep(TURN);
        }
        Ok(())
    }

    /// Drives the line until `done` has something to say.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Line<'static>, time::Instant) -> Option<T>,
    ) -> Fallible<T> {
        let since = Instant::now();
        loop {
            let now = self.now();
            if let Some(found) = done(&mut self.line, now) {
                return Ok(found);
            }
            if let Some(reason) = self.closed {
                return Err(format!("{what}: the session is closed: {reason}").into());
            }
            if since.elapsed() > BOUND {
                return Err(format!("{what}: not in {} s", BOUND.as_secs()).into());
            }
            self.turn()?;
        }
    }

    /// Waits until the session is active.
    pub(crate) fn activate(&mut self) -> Fallible {
        let since = Instant::now();
        while !self.active {
            if since.elapsed() > BOUND {
                return Err("no session with the board".into());
            }
            self.turn()?;
            if self.closed.take().is_some() && !self.active {
                self.line.restart(self.now());
            }
        }
        Ok(())
    }

    /// Waits until the session is closed; the next one begins.
    pub(crate) fn close(&mut self) -> Fallible<CloseReason> {
        let since = Instant::now();
        loop {
            if let Some(reason) = self.closed.take() {
                self.active = false;
                self.line.restart(self.now());
                return Ok(reason);
            }
            if since.elapsed() > BOUND {
                return Err("the session does not close".into());
            }
            let turned = self.turn();
            // The board may have hung up after its last word.
            if self.closed.is_none() {
                turned?;
            }
        }
    }

    /// Waits for so long, with the session alive.
    pub(crate) fn pass(&mut self, span: Duration) -> Fallible {
        let since = Instant::now();
        while since.elapsed() < span {
            self.wait("silence", |_, _| Some(()))?;
            self.turn()?;
        }
        Ok(())
    }

    pub(crate) fn disconnect(&mut self, reason: DisconnectReason) {
        self.line.disconnect(self.now(), reason);
    }

    pub(crate) fn write(
        &mut self,
        subprotocol: usize,
        code: LocalCode,
        payload: &[u8],
    ) -> Fallible {
        let written = self.wait("a write", |line, now| {
            match line.try_write(now, subprotocol, code, payload) {
                Err(WriteError::WouldBlock { .. }) => None,
                other => Some(other),
            }
        })?;
        Ok(written?)
    }

    /// The next message `code` of `subprotocol`; others are passed over.
    pub(crate) fn read(&mut self, subprotocol: usize, code: LocalCode) -> Fallible<Vec<u8>> {
        self.wait(
            &format!("message {code} of subprotocol {subprotocol}"),
            |line, _| {
                let message = line.peek(subprotocol)?;
                let is_it = message.meta.code == code;
                let payload = message.payload.unwrap_or_default().to_vec();
                line.pop(subprotocol);
                is_it.then_some(payload)
            },
        )
    }
}

fn is_early(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn accept(listener: &UnixListener) -> Fallible<UnixStream> {
    listener.set_nonblocking(true)?;
    let since = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(TURN))?;
                stream.set_write_timeout(Some(TURN))?;
                return Ok(stream);
            }
            Err(error) if is_early(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
        if since.elapsed() > BOUND {
            return Err("QEMU does not connect".into());
        }
        std::thread::sleep(TURN);
    }
}

fn line(now: time::Instant) -> Fallible<Line<'static>> {
    let protocols = Vec::leak(protocols(MEMORY).to_vec());
    let local = Local {
        id: NodeId([b'H'; 64]),
        client_name: "serial-host",
        version: 4,
        listen_port: 0,
        protocols,
    };
    let inboxes = protocols.iter().map(|protocol| protocol.inbox).sum();
    let inboxes = Vec::leak(vec![0; inboxes]);
    let ring = Vec::leak(vec![0; MEMORY]);
    Ok(Line::new(local, Config::new(), inboxes, ring, now)?)
}
