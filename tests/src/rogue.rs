//! A peer that knows the handshake and the frames, and then says whatever it is told.

use std::collections::VecDeque;

use devp2p_core::capability::Protocol;
use devp2p_core::error::TransportError;
use devp2p_core::hello::NodeId;
use devp2p_core::rlp;
use devp2p_core::rlpx::handshake::MAX_SENT;
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, MAC_LENGTH, TransmitHalf, frame_length, padded};
use devp2p_core::rlpx::{FrameCipher, FrameKeys, Handshake, Mac, NodeKey, Step};
use devp2p_core::snappy::{self, max_compressed_length};
use devp2p_core::time::{Instant, PollAt};

use crate::endpoint::{Ending, Endpoint};
use crate::fixture;

/// Something to say once the keys are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// A frame with this body: code and payload.
    Frame(Vec<u8>),
    /// The same with one bit of the body's MAC wrong.
    BadMac(Vec<u8>),
    /// Only so many bytes of the frame with this body.
    PartOfFrame(Vec<u8>, usize),
    /// These bytes.
    Bytes(Vec<u8>),
    /// The end of its sending direction.
    HalfClose,
    /// The end of everything.
    Drop,
}

/// How far it goes with the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// To its end.
    Polite,
    /// Not a byte.
    Mute,
    /// This many bytes of its packet.
    Breaks(usize),
}

struct Keys {
    frame: FrameKeys,
    transmit: TransmitHalf,
    cipher: FrameCipher,
    mac: Mac,
}

/// A scripted peer, over whatever framing.
pub trait Remote: Endpoint {
    /// Says this next.
    fn say(&mut self, what: Say);

    /// Its key.
    fn key(&self) -> &NodeKey;

    /// The codes and payloads of the frames that came, as they were on the wire.
    fn messages(&self) -> Vec<(u64, &[u8])>;

    /// When each of them was whole.
    fn times(&self) -> Vec<Instant>;

    /// When the other side ended.
    fn ended(&self) -> Option<Instant>;

    /// Says a whole message next: its code, and its payload as it is on the wire.
    fn say_message(&mut self, code: u32, payload: &[u8]) {
        self.say(Say::Frame(body(code, payload)));
    }

    /// Says a proper Hello next.
    ///
    /// # Panics
    /// If the protocols are too many for a Hello.
    fn say_hello(&mut self, version: u8, protocols: &[Protocol]) {
        let payload = self.hello(version, protocols);
        self.say_message(0, &payload);
    }

    /// The payload of a proper Hello.
    ///
    /// # Panics
    /// If the protocols are too many for a Hello.
    fn hello(&self, version: u8, protocols: &[Protocol]) -> Vec<u8> {
        let mut payload = vec![0; 4096];
        let n = fixture::local(self.key(), version, protocols)
            .encode_hello(&mut payload)
            .expect("a short Hello");
        payload.truncate(n);
        payload
    }

    /// When the frames with this code came.
    fn times_of(&self, code: u64) -> Vec<Instant> {
        let codes = self.messages();
        let times = codes.iter().zip(self.times());
        times
            .filter_map(|((c, _), at)| (*c == code).then_some(at))
            .collect()
    }
}

/// A scripted peer over RLPx.
pub struct Rogue {
    key: NodeKey,
    manners: Manners,
    handshake: Option<Handshake>,
    computes: bool,
    sent: Vec<u8>,
    wanted: usize,
    gathered: Vec<u8>,
    keys: Option<Keys>,
    script: VecDeque<Say>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// The length of the body whose header was opened.
    opened: Option<usize>,
    /// The bodies of the frames that came, code and payload.
    pub frames: Vec<Vec<u8>>,
    /// When each of them was whole.
    pub times: Vec<Instant>,
    /// When the other side ended.
    pub ended: Option<Instant>,
    endings: VecDeque<Ending>,
}

impl Rogue {
    /// One that dials `remote`.
    pub fn dial(seed: u64, remote: NodeId, manners: Manners) -> Self {
        Self::new(
            seed,
            Handshake::initiator(remote, fixture::entropy(seed)),
            manners,
        )
    }

    /// One that is dialled.
    pub fn accept(seed: u64, manners: Manners) -> Self {
        Self::new(seed, Handshake::recipient(fixture::entropy(seed)), manners)
    }

    fn new(seed: u64, handshake: Handshake, manners: Manners) -> Self {
        Self {
            key: fixture::key(seed),
            manners,
            handshake: Some(handshake),
            computes: manners != Manners::Mute,
            sent: vec![0; MAX_SENT],
            wanted: 0,
            gathered: Vec::new(),
            keys: None,
            script: VecDeque::new(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            opened: None,
            frames: Vec::new(),
            times: Vec::new(),
            ended: None,
            endings: VecDeque::new(),
        }
    }

    /// Its identity.
    pub fn id(&self) -> NodeId {
        *self.key.id()
    }

    /// Whether the handshake is done.
    pub fn is_established(&self) -> bool {
        self.keys.is_some()
    }

    fn step_handshake(&mut self) -> bool {
        let Some(handshake) = self.handshake.as_mut().filter(|_| self.computes) else {
            return false;
        };
        match handshake.poll(&self.key, &mut self.sent, &self.gathered) {
            Ok(Step::Working) => {}
            Ok(Step::Send(n)) => {
                let n = match self.manners {
                    Manners::Breaks(most) => {
                        self.computes = false;
                        n.min(most)
                    }
                    _ => n,
                };
                self.outgoing.extend(&self.sent[..n]);
            }
            Ok(Step::Receive(total)) => {
                self.wanted = total;
                self.computes = self.gathered.len() >= total;
            }
            Ok(Step::Done(established)) => {
                let secrets = established.secrets;
                self.keys = Some(Keys {
                    frame: secrets.keys,
                    transmit: TransmitHalf::new(secrets.egress),
                    cipher: FrameCipher::default(),
                    mac: secrets.ingress,
                });
                self.handshake = None;
            }
            Err(_) => self.handshake = None,
        }
        true
    }

    fn act(&mut self) -> bool {
        let Some(keys) = &mut self.keys else {
            return false;
        };
        let Some(say) = self.script.pop_front() else {
            return false;
        };
        match say {
            Say::Frame(body) => self.outgoing.extend(seal(keys, &body)),
            Say::BadMac(body) => {
                let mut frame = seal(keys, &body);
                if let Some(last) = frame.last_mut() {
                    *last ^= 1;
                }
                self.outgoing.extend(frame);
            }
            Say::PartOfFrame(body, n) => self.outgoing.extend(seal(keys, &body).iter().take(n)),
            Say::Bytes(bytes) => self.outgoing.extend(bytes),
            Say::HalfClose => self.endings.push_back(Ending::HalfClose),
            Say::Drop => self.endings.push_back(Ending::Drop),
        }
        true
    }

    /// Opens the frames that came whole, checking their MACs.
    fn open_frames(&mut self) {
        let Some(keys) = &mut self.keys else {
            return;
        };
        loop {
            let whole = match self.opened {
                None => HEADER_LENGTH,
                Some(length) => padded(length) + MAC_LENGTH,
            };
            if self.incoming.len() < whole {
                return;
            }
            let mut bytes: Vec<u8> = self.incoming.drain(..whole).collect();
            if let Some(length) = self.opened.take() {
                let (body, tag) = bytes.split_at_mut(whole - MAC_LENGTH);
                keys.mac.update(body);
                assert_eq!(keys.mac.body(&keys.frame.mac), tag, "the MAC of a body");
                keys.cipher.apply(&keys.frame.frame, body);
                self.frames.push(body[..length].to_vec());
            } else {
                let header: &mut [u8; 16] = bytes.first_chunk_mut().expect("half a header");
                let tag = keys.mac.header(&keys.frame.mac, header);
                keys.cipher.apply(&keys.frame.frame, header);
                let [a, b, c, ..] = *header;
                assert_eq!(bytes[16..], tag, "the MAC of a header");
                self.opened = Some(u32::from_be_bytes([0, a, b, c]) as usize);
            }
        }
    }
}

/// The body of a frame: code and payload.
pub fn body(code: u32, payload: &[u8]) -> Vec<u8> {
    let (code, n) = rlp::encode_code(code);
    [&code[..n], payload].concat()
}

/// A payload as Snappy's literal block.
pub fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; max_compressed_length(payload.len())];
    let n = snappy::compress(payload, None, &mut out).expect("room enough");
    out.truncate(n);
    out
}

fn seal(keys: &mut Keys, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; frame_length(body.len())];
    frame[HEADER_LENGTH..][..body.len()].copy_from_slice(body);
    assert!(
        keys.transmit.seal(&keys.frame, &mut frame, body.len()),
        "the frame has the right size"
    );
    frame
}

impl Remote for Rogue {
    fn say(&mut self, what: Say) {
        self.script.push_back(what);
    }

    fn key(&self) -> &NodeKey {
        &self.key
    }

    fn messages(&self) -> Vec<(u64, &[u8])> {
        let split = |frame: &'_ Vec<u8>| rlp::decode_code(frame).ok();
        let frames = self.frames.iter();
        frames
            .filter_map(|frame| split(frame).map(|(code, n)| (code, &frame[n..])))
            .collect()
    }

    fn times(&self) -> Vec<Instant> {
        self.times.clone()
    }

    fn ended(&self) -> Option<Instant> {
        self.ended
    }
}

impl Endpoint for Rogue {
    fn advance(&mut self, _now: Instant, trace: &mut dyn FnMut(String)) -> bool {
        let mut any = false;
        while self.step_handshake() {
            any = true;
        }
        while let Some(say) = self.script.front().filter(|_| self.keys.is_some()) {
            let text = format!("{say:?}");
            trace(text.chars().take(60).collect());
            any |= self.act();
        }
        any
    }

    fn output(&self) -> &[u8] {
        &self.outgoing
    }

    fn consume_output(&mut self, _now: Instant, n: usize) {
        self.outgoing.drain(..n);
    }

    fn wants_input(&mut self) -> bool {
        self.handshake.is_none() || self.gathered.len() < self.wanted
    }

    fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        if self.handshake.is_some() {
            let n = bytes.len().min(self.wanted - self.gathered.len());
            self.gathered.extend(&bytes[..n]);
            self.computes = self.gathered.len() >= self.wanted;
            return n;
        }
        self.incoming.extend_from_slice(bytes);
        self.open_frames();
        self.times.resize(self.frames.len(), now);
        bytes.len()
    }

    fn handle_end(&mut self, now: Instant, _error: TransportError) {
        self.ended = Some(now);
    }

    fn take_ending(&mut self) -> Option<Ending> {
        if self.outgoing.is_empty() {
            self.endings.pop_front()
        } else {
            None
        }
    }

    fn poll_at(&self) -> PollAt {
        PollAt::Idle
    }
}
