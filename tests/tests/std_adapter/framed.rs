//! Sessions over links that are private already: whole messages over a framing of the test's own, without RLPx.

mod alike;
mod line;
mod machine;
mod threads;

use devp2p_core::MAX_MESSAGE_LENGTH;
use devp2p_core::capability::Protocol;
use devp2p_core::code::WireCode;
use devp2p_core::hello::NodeId;
use devp2p_std::framed::{Decoded, Framing, Mark, Settings};

/// A message: its length in four bytes, big-endian, its code in one, its payload.
#[derive(Default)]
struct Prefixed {
    prefix: Vec<u8>,
    /// Bytes of payload still to come.
    left: usize,
}

const PREFIX: usize = 5;

fn framed(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[..], &[code], payload].concat()
}

impl Framing for Prefixed {
    fn decode<'a>(&mut self, bytes: &'a mut [u8]) -> (usize, Option<Decoded<'a>>) {
        if self.prefix.len() == PREFIX {
            if self.left == 0 {
                self.prefix.clear();
                return (0, Some(Decoded::Complete));
            }
            let n = self.left.min(bytes.len());
            self.left -= n;
            return (n, (n > 0).then_some(Decoded::Payload(&bytes[..n])));
        }
        let n = bytes.len().min(PREFIX - self.prefix.len());
        self.prefix.extend_from_slice(&bytes[..n]);
        let Some(&[a, b, c, d, code]) = self.prefix.first_chunk() else {
            return (n, None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > MAX_MESSAGE_LENGTH {
            self.prefix.clear();
            return (bytes.len(), Some(Decoded::Damaged));
        }
        let (code, length) = (code.into(), length as usize);
        self.left = length;
        (n, Some(Decoded::Message { code, length }))
    }

    fn is_inside_frame(&self) -> bool {
        !self.prefix.is_empty()
    }

    fn header_length(&self) -> usize {
        PREFIX
    }

    fn trailer_length(&self) -> usize {
        0
    }

    fn begin(&mut self, code: WireCode, length: usize) -> Option<Mark> {
        let code = u8::try_from(code.0).ok()?;
        let length = u32::try_from(length).ok()?;
        Some(Mark::EMPTY.and(&length.to_be_bytes()).and(&[code]))
    }

    fn finish(&mut self, _intact: bool) -> Mark {
        Mark::EMPTY
    }
}

fn protocol(name: &str, length: u32) -> Protocol {
    Protocol::new(name, 1, length, 1 << 16).expect("a valid name")
}

/// `a/1` owns 16 to 19; `b/1` owns 20 to 23 where both have it.
fn settings(id: u8) -> Settings {
    Settings::new(NodeId([id; 64]), vec![protocol("a", 4), protocol("b", 4)])
}
