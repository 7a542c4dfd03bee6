//! The host's end of the line: the std adapter's sessions over frames of `qemu-framing`.

use std::error::Error;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use devp2p_core::code::LocalCode;
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;
use devp2p_core::hello::NodeId;
use devp2p_std::framed::{Endpoint, Session, Settings, Subprotocol};
use qemu_bare::protocols::{ECHO, SENSOR, protocols};
use qemu_framing::Line;

use crate::cable::{Cable, Cutter};

/// What can go wrong, as text for the one who runs the program.
pub(crate) type Fallible<T = ()> = Result<T, Box<dyn Error>>;

/// How long anything may take; the board runs on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(30);
/// Bytes of inbox for `echo/1`.
const INBOX: usize = 1 << 18;

/// The host's end.
pub(crate) struct Host {
    listener: UnixListener,
    endpoint: Endpoint,
    cutter: Cutter,
    live: Option<Live>,
}

/// The session that there is.
struct Live {
    session: Session,
    /// By the index of their protocol.
    subprotocols: [Subprotocol; 2],
}

impl Host {
    /// Waits for QEMU at this path.
    pub(crate) fn listen(path: &str) -> Fallible<Self> {
        let listener = UnixListener::bind(path)?;
        let (endpoint, cutter) = connect(&listener)?;
        Ok(Self {
            listener,
            endpoint,
            cutter,
            live: None,
        })
    }

    /// Cuts the line inside the next `length` bytes that the board sends, and starts anew, as a program that was killed, once
    /// QEMU has connected again.
    pub(crate) fn cut(&mut self, length: usize) -> Fallible {
        self.cutter.cut_after(length / 2);
        self.request_echo(length)?;
        if !self.endpoint.wait_end(BOUND) {
            return Err("the board sends nothing to be cut".into());
        }
        self.live = None;
        (self.endpoint, self.cutter) = connect(&self.listener)?;
        Ok(())
    }

    fn request_echo(&mut self, length: usize) -> Fallible {
        let request = qemu_bare::protocols::ECHO_REQUEST;
        self.write(ECHO, request, &vec![0x55; length])
    }

    /// Says what is still to be said, until the board is gone.
    pub(crate) fn leave(&mut self) -> Fallible {
        match self.endpoint.wait_end(BOUND) {
            true => Ok(()),
            false => Err("the board stays".into()),
        }
    }

    /// Waits until the session is active.
    pub(crate) fn activate(&mut self) -> Fallible {
        if self.live.is_none() {
            let mut session = self.endpoint.session(BOUND)?;
            let mut take = |index| session.take(index).ok_or("the board lacks a protocol");
            let subprotocols = [take(ECHO)?, take(SENSOR)?];
            self.live = Some(Live {
                session,
                subprotocols,
            });
        }
        Ok(())
    }

    fn live(&self) -> Fallible<&Live> {
        self.live.as_ref().ok_or_else(|| "no session".into())
    }

    /// Waits until the session is closed; the next one can begin.
    pub(crate) fn close(&mut self) -> Fallible<CloseReason> {
        let reason = self.live()?.session.peer().closed();
        self.live = None;
        Ok(reason)
    }

    /// Waits for a Pong that answers a Ping of ours.
    pub(crate) fn ping(&self) -> Fallible {
        let peer = self.live()?.session.peer();
        let (before, since) = (peer.pongs(), Instant::now());
        peer.ping();
        while peer.pongs() == before {
            self.pass(Duration::from_millis(2))?;
            if since.elapsed() > BOUND {
                return Err("no Pong comes".into());
            }
        }
        Ok(())
    }

    /// Waits for so long, with the session alive.
    pub(crate) fn pass(&self, span: Duration) -> Fallible {
        std::thread::sleep(span);
        match self.live()?.session.peer().close_reason() {
            None => Ok(()),
            Some(reason) => Err(format!("silence: the session is closed: {reason}").into()),
        }
    }

    pub(crate) fn disconnect(&self, reason: DisconnectReason) -> Fallible {
        self.live()?.session.peer().disconnect(reason);
        Ok(())
    }

    pub(crate) fn write(&self, subprotocol: usize, code: LocalCode, payload: &[u8]) -> Fallible {
        let subprotocol = &self.live()?.subprotocols[subprotocol];
        Ok(subprotocol.write_timeout(code.0, payload, BOUND)?)
    }

    /// The next message `code` of `subprotocol`; others are passed over.
    pub(crate) fn read(&self, subprotocol: usize, code: LocalCode) -> Fallible<Vec<u8>> {
        let from = &self.live()?.subprotocols[subprotocol];
        loop {
            match from.read_timeout(BOUND)? {
                Some(message) if message.code == code.0 => return Ok(message.payload),
                Some(_) => {}
                None => {
                    return Err(format!("no message {code} of subprotocol {subprotocol}").into());
                }
            }
        }
    }
}

fn connect(listener: &UnixListener) -> Fallible<(Endpoint, Cutter)> {
    let (cable, cutter) = Cable::accept(listener)?;
    let settings = Settings {
        client_name: "serial-host".to_owned(),
        ..Settings::new(NodeId([b'H'; 64]), protocols(INBOX).to_vec())
    };
    Ok((Endpoint::start(settings, cable, Line::new())?, cutter))
}
