//! A peer that knows the frames of [`Checked`](super::Checked), and says whatever it is told.

use std::collections::VecDeque;

use devp2p_core::code::WireCode;
use devp2p_core::error::TransportError;
use devp2p_core::framed::{Decoded, Framing};
use devp2p_core::rlp;
use devp2p_core::rlpx::NodeKey;
use devp2p_core::time::{Instant, PollAt};

use super::Checked;
use crate::endpoint::{Ending, Endpoint};
use crate::fixture;
use crate::rogue::{Remote, Say};

/// A scripted peer without RLPx.
pub struct Speaker {
    key: NodeKey,
    framing: Checked,
    outgoing: Vec<u8>,
    endings: VecDeque<Ending>,
    /// Codes and payloads of the frames that came, and when each was whole.
    frames: Vec<(u64, Vec<u8>, Option<Instant>)>,
    ended: Option<Instant>,
}

impl Speaker {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            key: fixture::key(seed),
            framing: Checked::default(),
            outgoing: Vec::new(),
            endings: VecDeque::new(),
            frames: Vec::new(),
            ended: None,
        }
    }

    /// A body without a code that can be read is the payload of code 0.
    fn frame(&mut self, body: &[u8]) -> Vec<u8> {
        let (code, n) = rlp::decode_code(body).unwrap_or_default();
        let code = WireCode(code.try_into().expect("a code of 32 bits"));
        let mut payload = body[n..].to_vec();
        let header = self.framing.begin(code, payload.len());
        self.framing.payload(&mut payload);
        let trailer = self.framing.finish(true);
        [
            header.expect("a frame").as_bytes(),
            &payload,
            trailer.as_bytes(),
        ]
        .concat()
    }
}

impl Remote for Speaker {
    fn say(&mut self, what: Say) {
        match what {
            Say::Frame(body) => {
                let frame = self.frame(&body);
                self.outgoing.extend(frame);
            }
            Say::BadMac(body) => {
                let mut frame = self.frame(&body);
                *frame.last_mut().expect("a trailer") ^= 1;
                self.outgoing.extend(frame);
            }
            Say::PartOfFrame(body, n) => {
                let frame = self.frame(&body);
                self.outgoing.extend(frame.iter().take(n));
            }
            Say::Bytes(bytes) => self.outgoing.extend(bytes),
            Say::HalfClose => self.endings.push_back(Ending::HalfClose),
            Say::Drop => self.endings.push_back(Ending::Drop),
        }
    }

    fn key(&self) -> &NodeKey {
        &self.key
    }

    fn messages(&self) -> Vec<(u64, &[u8])> {
        let frames = self.frames.iter();
        frames
            .map(|(code, payload, _)| (*code, &payload[..]))
            .collect()
    }

    fn times(&self) -> Vec<Instant> {
        self.frames.iter().filter_map(|(_, _, at)| *at).collect()
    }

    fn ended(&self) -> Option<Instant> {
        self.ended
    }
}

impl Endpoint for Speaker {
    fn advance(&mut self, _now: Instant, _trace: &mut dyn FnMut(String)) -> bool {
        false
    }

    fn output(&self) -> &[u8] {
        &self.outgoing
    }

    fn consume_output(&mut self, _now: Instant, n: usize) {
        self.outgoing.drain(..n);
    }

    fn wants_input(&mut self) -> bool {
        true
    }

    fn handle_input(&mut self, now: Instant, bytes: &mut [u8]) -> usize {
        let mut taken = 0;
        loop {
            let (n, decoded) = self.framing.decode(&mut bytes[taken..]);
            taken += n;
            match decoded {
                None => return bytes.len(),
                Some(Decoded::Message { code, .. }) => self.frames.push((code, Vec::new(), None)),
                Some(Decoded::Payload(piece)) => {
                    let (_, payload, _) = self.frames.last_mut().expect("a header");
                    payload.extend_from_slice(piece);
                }
                Some(Decoded::Complete) => {
                    self.frames.last_mut().expect("a header").2 = Some(now);
                }
                Some(other) => panic!("a node says {other:?}"),
            }
        }
    }

    fn handle_end(&mut self, now: Instant, _error: TransportError) {
        self.ended = Some(now);
    }

    fn take_ending(&mut self) -> Option<Ending> {
        match self.outgoing.is_empty() {
            true => self.endings.pop_front(),
            false => None,
        }
    }

    fn poll_at(&self) -> PollAt {
        PollAt::Idle
    }
}
