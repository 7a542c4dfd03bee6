//! Sessions over links that are private already: whole messages over a framing of the test's own, without RLPx.

mod line;
mod machine;
mod threads;

use devp2p_core::MAX_MESSAGE_LENGTH;
use devp2p_core::capability::Protocol;
use devp2p_core::code::WireCode;
use devp2p_core::hello::NodeId;
use devp2p_std::framed::{Decoded, Framing, Settings};

/// A message: its length in four bytes, big-endian, its code in one, its payload.
#[derive(Default)]
struct Prefixed {
    gathered: Vec<u8>,
}

const PREFIX: usize = 5;

fn framed(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[..], &[code], payload].concat()
}

impl Framing for Prefixed {
    fn decode(&mut self, bytes: &[u8]) -> (usize, Option<Decoded>) {
        let have = self.gathered.len();
        let mut take = |upto: usize| {
            let n = upto.saturating_sub(have).min(bytes.len());
            self.gathered.extend_from_slice(&bytes[..n]);
            n
        };
        let n = take(PREFIX);
        let Some(&[a, b, c, d, code]) = self.gathered.first_chunk() else {
            return (n, None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > MAX_MESSAGE_LENGTH {
            self.gathered.clear();
            return (bytes.len(), Some(Decoded::Damaged));
        }
        let left = PREFIX + length as usize - self.gathered.len();
        let more = left.min(bytes.len() - n);
        self.gathered.extend_from_slice(&bytes[n..n + more]);
        if more < left {
            return (n + more, None);
        }
        let payload = std::mem::take(&mut self.gathered).split_off(PREFIX);
        let code = code.into();
        (n + more, Some(Decoded::Message { code, payload }))
    }

    fn is_inside_message(&self) -> bool {
        !self.gathered.is_empty()
    }

    fn encode(&mut self, code: WireCode, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let (Ok(code), true) = (
            u8::try_from(code.0),
            payload.len() <= MAX_MESSAGE_LENGTH as usize,
        ) else {
            return false;
        };
        out.extend_from_slice(&framed(code, payload));
        true
    }
}

fn protocol(name: &str, length: u32) -> Protocol {
    Protocol::new(name, 1, length, 1 << 16).expect("a valid name")
}

/// `a/1` owns 16 to 19; `b/1` owns 20 to 23 where both have it.
fn settings(id: u8) -> Settings {
    Settings::new(NodeId([id; 64]), vec![protocol("a", 4), protocol("b", 4)])
}
