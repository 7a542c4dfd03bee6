//! A remote made by hand of the core's parts, which does what no session would.
use std::cell::Cell;
use std::io::{Read, Write};

use devp2p_core::capability::Protocol;
use devp2p_core::config::Local;
use devp2p_core::control::{CONTROL_LENGTH, Control};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::hello::{Hello, MAX_HELLO_LENGTH, NodeId};
use devp2p_core::inbox::{Admit, Inboxes, Meta, Window};
use devp2p_core::peer::BaseMessage;
use devp2p_core::rlp;
use devp2p_core::rlpx::curve::{Curve, PointBytes, SecretBytes, SignatureBytes};
use devp2p_core::rlpx::handshake::{MAX_RECEIVED, MAX_SENT};
use devp2p_core::rlpx::receive::{FIRST_FRAME_BUFFER, First, ReceiveHalf, Status};
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, TransmitHalf, frame_length};
use devp2p_core::rlpx::{DefaultCurve, Entropy, FrameKeys, Handshake, Keccak256, NodeKey, Step};
use devp2p_core::shared_capabilities::SharedCapabilities;
use devp2p_core::time::Instant;

use crate::session_rig::key;

/// Drops everything.
struct Nowhere;

impl Inboxes for Nowhere {
    type Slot = ();
    fn open(&mut self, _: usize, _: u32) -> Admit<()> {
        Admit::Drop
    }
    fn reserve(&mut self, (): &mut (), _: usize) -> bool {
        true
    }
    fn with<R>(&mut self, (): &mut (), f: impl FnOnce(&mut Window<'_>) -> R) -> R {
        f(&mut Window::new(&mut [], 0))
    }
    fn commit(&mut self, (): (), _: Meta) {}
    fn abort(&mut self, (): ()) {}
    fn dropped(&mut self, _: usize, _: Meta) {}
}

pub(crate) struct Raw<S> {
    pub(crate) stream: S,
    keys: FrameKeys,
    transmit: TransmitHalf,
    receive: ReceiveHalf<()>,
    unread: Vec<u8>,
    protocols: Vec<Protocol>,
    shared: SharedCapabilities<4>,
    id: NodeId,
}

impl<S: Read + Write> Raw<S> {
    /// Dials `remote` with the key of `seed`, up to the end of the encrypted handshake.
    pub(crate) fn dial(mut stream: S, seed: u8, remote: NodeId) -> Self {
        let entropy = std::array::from_fn(|i| seed.wrapping_mul(31).wrapping_add(i as u8) | 1);
        let key = key(seed);
        let mut handshake = Handshake::initiator(remote, Entropy::new(&entropy));
        let mut sent = [0; MAX_SENT];
        let mut received = Vec::with_capacity(MAX_RECEIVED);
        let established = loop {
            match handshake
                .poll(&key, &mut sent, &received)
                .expect("a handshake")
            {
                Step::Working => {}
                Step::Send(n) => stream.write_all(&sent[..n]).expect("a write"),
                Step::Receive(total) => {
                    let from = received.len();
                    received.resize(total, 0);
                    stream.read_exact(&mut received[from..]).expect("an ack");
                }
                Step::Done(established) => break established,
            }
        };
        Self {
            stream,
            keys: established.secrets.keys,
            transmit: TransmitHalf::new(established.secrets.egress),
            receive: ReceiveHalf::new(established.secrets.ingress),
            unread: Vec::new(),
            protocols: Vec::new(),
            shared: SharedCapabilities::empty(),
            id: *key.id(),
        }
    }

    /// Seals a frame with this code and payload, as it is on the wire.
    pub(crate) fn frame(&mut self, code: u32, payload: &[u8]) -> Vec<u8> {
        let (code, length) = rlp::encode_code(code);
        let body = length + payload.len();
        let mut frame = vec![0; HEADER_LENGTH];
        frame.extend_from_slice(&code[..length]);
        frame.extend_from_slice(payload);
        frame.resize(frame_length(body), 0);
        assert!(self.transmit.seal(&self.keys, &mut frame, body));
        frame
    }

    pub(crate) fn send(&mut self, code: u32, payload: &[u8]) {
        let frame = self.frame(code, payload);
        self.stream.write_all(&frame).expect("a write");
    }

    fn control(&mut self, control: Control) -> Vec<u8> {
        let protocols = std::mem::take(&mut self.protocols);
        let local = Local {
            id: self.id,
            client_name: "raw",
            version: 5,
            listen_port: 0,
            protocols: &protocols,
        };
        let mut payload = [0; MAX_HELLO_LENGTH + CONTROL_LENGTH];
        let n = control.encode(&local, true, &mut payload).expect("room");
        self.protocols = protocols;
        self.frame(control.code().0, &payload[..n])
    }

    pub(crate) fn ping_frame(&mut self) -> Vec<u8> {
        self.control(Control::Ping)
    }

    pub(crate) fn disconnect(&mut self, reason: DisconnectReason) {
        let frame = self.control(Control::Disconnect(reason));
        self.stream.write_all(&frame).expect("a write");
    }

    /// Exchanges Hello, offering these protocols.
    pub(crate) fn greet(&mut self, protocols: &[Protocol]) {
        self.protocols = protocols.to_vec();
        let hello = self.control(Control::Hello);
        self.stream.write_all(&hello).expect("a write");
        let (code, payload) = self.receive_first();
        assert_eq!(code, 0);
        let hello = Hello::decode(&payload).expect("a Hello");
        self.shared = SharedCapabilities::new(protocols, hello.capabilities()).expect("a table");
    }

    fn fill(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let n = self.stream.read(&mut bytes).unwrap_or(0);
        self.unread.extend_from_slice(&bytes[..n]);
        n > 0
    }

    /// The code of the first message, and its payload.
    pub(crate) fn receive_first(&mut self) -> (u64, Vec<u8>) {
        let mut gathered = vec![0; FIRST_FRAME_BUFFER];
        loop {
            let (n, first) = self
                .receive
                .handle_first(&self.keys, &self.unread, &mut gathered);
            self.unread.drain(..n);
            match first {
                First::NeedInput => assert!(self.fill(), "the stream ended"),
                First::Message(code, payload) => {
                    self.receive.set_compressed(true);
                    return (code, payload.to_vec());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message of the base protocol; `None` at the end of the stream.
    pub(crate) fn receive_base(&mut self) -> Option<BaseMessage> {
        loop {
            let now = Instant::ZERO;
            let (n, status) = self.receive.handle(
                &self.keys,
                now,
                &mut self.unread,
                &self.shared,
                &mut Nowhere,
            );
            self.unread.drain(..n);
            match status {
                Status::Base(message) => return Some(message),
                Status::NeedInput => {
                    if !self.fill() {
                        return None;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The reason of the Disconnect that comes before the end of the stream, Pings and Pongs apart.
    pub(crate) fn receive_disconnect(&mut self) -> Option<DisconnectReason> {
        while let Some(message) = self.receive_base() {
            if let BaseMessage::Disconnect(reason) = message {
                return reason;
            }
        }
        None
    }
}

thread_local! {
    static CLAIMED: Cell<NodeId> = const { Cell::new(NodeId([0; 64])) };
}

/// The secret that stands for the one which a forger does not have.
const UNKNOWN: SecretBytes = [0x66; 32];

/// A curve on which a public key can be had without its secret.
enum Forger {}

impl Curve for Forger {
    fn public_key(secret: &SecretBytes) -> Option<PointBytes> {
        match *secret == UNKNOWN {
            true => Some(CLAIMED.get().0),
            false => DefaultCurve::public_key(secret),
        }
    }

    fn shared_x(secret: &SecretBytes, point: &PointBytes) -> Option<[u8; 32]> {
        DefaultCurve::shared_x(secret, point)
    }

    fn sign(secret: &SecretBytes, message: &[u8; 32]) -> Option<SignatureBytes> {
        DefaultCurve::sign(secret, message)
    }

    fn recover(message: &[u8; 32], signature: &SignatureBytes) -> Option<PointBytes> {
        DefaultCurve::recover(message, signature)
    }
}

/// Claims to `remote` to be `claimed`, whose secret it does not have, and returns once the remote has taken that: after its ack
/// it says Hello, or why not.
pub(crate) fn claim<S: Read + Write>(stream: &mut S, remote: NodeId, claimed: NodeId, seed: u8) {
    CLAIMED.set(claimed);
    let key = NodeKey::with_curve::<Forger>(&UNKNOWN).expect("a key");
    let entropy = std::array::from_fn(|i| seed.wrapping_mul(29).wrapping_add(i as u8) | 1);
    let entropy = Entropy::new(&entropy);
    let mut handshake = Handshake::<Forger, Keccak256>::initiator_with(remote, entropy);
    let mut sent = [0; MAX_SENT];
    loop {
        match handshake.poll(&key, &mut sent, &[]).expect("an auth") {
            Step::Send(n) => stream.write_all(&sent[..n]).expect("a write"),
            Step::Receive(_) => break,
            _ => {}
        }
    }
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix).expect("an ack");
    let mut ack = vec![0; u16::from_be_bytes(prefix).into()];
    stream.read_exact(&mut ack).expect("an ack");
    stream.read_exact(&mut [0]).expect("a frame");
}
