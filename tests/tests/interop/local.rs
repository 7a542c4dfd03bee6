//! Our side of a session with the go-ethereum peer.
use std::cell::OnceCell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, TransportError};
use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::NodeKey;
use devp2p_std::enode::Enode;
use devp2p_std::host::{Builder, Host};
use devp2p_std::node::Service;
use devp2p_std::peer::PeerHandle;
use devp2p_std::protocol::Protocol;
use devp2p_std::session::{Candidate, Report, Session};
use devp2p_tests::geth::{BOUND, Geth};
use serde_json::{Value, json};

/// Begins a host with an identity of its own.
pub(crate) fn host<S: Service>() -> Builder<S> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("randomness");
    Host::builder(NodeKey::new(&secret).expect("a valid secret"))
}

/// A host with these protocols.
pub(crate) fn host_with(protocols: impl IntoIterator<Item = Protocol>) -> Arc<Host> {
    let builder = protocols.into_iter().fold(host(), Builder::protocol);
    builder.build().expect("a host")
}

/// A subprotocol that reads until the session closes.
pub(crate) fn idle(name: &str, version: u32, length: u32) -> Protocol {
    Protocol::new(name, version, length, |subprotocol| {
        loop {
            subprotocol.read()?;
        }
    })
    .expect("a valid name")
}

/// Answers code 0 by code 1 with the same payload, until the session closes.
pub(crate) fn echo() -> Protocol {
    Protocol::new("echo", 1, 2, |subprotocol| {
        loop {
            let message = subprotocol.read()?;
            subprotocol.write(1, &message.payload)?;
        }
    })
    .expect("a valid name")
}

/// Whether the session ended with its connection: by an end of the stream or an error, which of them is chance.
pub(crate) fn is_broken(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Transport(TransportError::EndOfStream | TransportError::Io)
    )
}

/// One session that runs in a thread.
pub(crate) struct Running {
    report: Receiver<Report>,
    peers: Receiver<PeerHandle>,
    peer: OnceCell<PeerHandle>,
}

impl Running {
    fn new(session: Session) -> Self {
        Self::new_with(session, |_| Ok(()))
    }

    /// With a word in who is admitted.
    pub(crate) fn new_with(
        session: Session,
        admit: impl Fn(&Candidate) -> Result<(), DisconnectReason> + Send + 'static,
    ) -> Self {
        let (added, peers) = channel();
        let (ended, report) = channel();
        thread::spawn(move || {
            let _ = ended.send(session.run_with(|candidate| {
                admit(candidate)?;
                if let Some(peer) = &candidate.peer {
                    let _ = added.send(peer.clone());
                }
                Ok(())
            }));
        });
        Self {
            report,
            peers,
            peer: OnceCell::new(),
        }
    }

    /// The peer, once the session is active.
    pub(crate) fn peer(&self) -> PeerHandle {
        let arrives = || self.peers.recv_timeout(BOUND);
        let peer = self
            .peer
            .get_or_init(|| arrives().expect("the session becomes active"));
        peer.clone()
    }

    /// How it ended.
    pub(crate) fn report(self) -> Report {
        let report = self.report.recv_timeout(BOUND);
        report.expect("the session ends, and without a panic")
    }
}

/// Dials the go-ethereum peer.
pub(crate) fn dial(host: &Arc<Host>, geth: &Geth) -> Running {
    dial_as(host, geth, geth.id())
}

/// Dials the go-ethereum peer, expecting this identity.
pub(crate) fn dial_as(host: &Arc<Host>, geth: &Geth, id: NodeId) -> Running {
    let stream = TcpStream::connect(geth.address()).expect("a connection");
    Running::new(Session::dial(host, stream, id).expect("a session"))
}

/// Who dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialler {
    Us,
    Them,
}

/// Starts a session.
pub(crate) fn connect(dialler: Dialler, host: &Arc<Host>, geth: &Geth) -> Running {
    match dialler {
        Dialler::Us => dial(host, geth),
        Dialler::Them => {
            let listening = Listening::new();
            let tag = geth.begin(json!({"cmd": "dial", "enode": listening.enode(host)}));
            let session = listening.accept(host);
            // A session may fail on purpose.
            geth.done(tag);
            session
        }
    }
}

/// Starts a session with a raw peer; its commands go on once the connection stands.
pub(crate) fn connect_raw(dialler: Dialler, host: &Arc<Host>, geth: &Geth) -> Running {
    match dialler {
        Dialler::Us => {
            geth.begin(json!({"cmd": "accept"}));
            dial(host, geth)
        }
        Dialler::Them => {
            let listening = Listening::new();
            geth.begin(json!({"cmd": "connect", "enode": listening.enode(host)}));
            listening.accept(host)
        }
    }
}

/// The reason with which a raw peer is turned away: in place of our Hello, or after it and then compressed.
pub(crate) fn refusal(geth: &Geth) -> Value {
    let mut message = geth.ok(json!({"cmd": "read"}));
    if message["code"] == 0 {
        geth.ok(json!({"cmd": "snappy", "on": true}));
        message = geth.ok(json!({"cmd": "read"}));
    }
    assert_eq!(message["code"], 1, "{message}");
    message["reason"].clone()
}

/// Makes two tests of each function: one in which we dial, one in which we are dialled.
macro_rules! both_ways {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn dialling() {
                super::$name(crate::local::Dialler::Us);
            }

            #[test]
            fn accepting() {
                super::$name(crate::local::Dialler::Them);
            }
        }
    )+};
}
pub(crate) use both_ways;

/// A listener on our side.
pub(crate) struct Listening(TcpListener);

impl Listening {
    /// On any port.
    pub(crate) fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("its address")
    }

    /// The URL by which a node is dialled here.
    pub(crate) fn enode(&self, host: &Host) -> String {
        Enode::new(host.id(), self.address()).to_string()
    }

    /// The next connection.
    pub(crate) fn connection(&self) -> TcpStream {
        let listener = self.0.try_clone().expect("one more handle");
        let (sender, receiver) = channel();
        thread::spawn(move || sender.send(listener.accept()));
        let accepted = receiver.recv_timeout(BOUND).expect("somebody connects");
        accepted.expect("a connection").0
    }

    /// A session over the next connection.
    pub(crate) fn accept(&self, host: &Arc<Host>) -> Running {
        Running::new(Session::accept(host, self.connection()).expect("a session"))
    }
}
