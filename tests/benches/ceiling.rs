//! The rate of an implementation that does nothing but what the wire asks for: keccak, AES and the copy over loopback, one
//! after the other.
//!
//! A frame in one direction is encrypted and hashed and written by the sender; read, hashed and decrypted by the receiver, at
//! the same time, on another core. So one side's work bounds the rate: keccak + AES + copy of its frame, where the copy is
//! taken at the rate at which bare TCP carries bytes between two processes, although either of those does only a part of
//! it. The parts run alone, on data in the cache, and the fastest measurement of each counts, so that the ceiling is high rather than low.
//! Composing, compressing, routing, wake-ups and allocation are not in it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use devp2p_core::rlpx::transmit::{MAC_LENGTH, frame_length, padded};
use devp2p_core::rlpx::{Curve as _, FrameCipher, FrameKeys, Sponge as _};
use serde::Serialize;
use serde_json::json;

use crate::console::Answer;
use crate::end::fresh_key;
use crate::fast::{Curve, Sponge};

/// Bytes of a frame that the cipher is given at a time.
const CHUNK: usize = 8 * 1024;
/// How long each part is measured.
const SPAN: Duration = Duration::from_millis(60);

/// The parts of the ceiling for one kind of message, in nanoseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Ceiling {
    pub(crate) frame_bytes: usize,
    pub(crate) keccak_ns: f64,
    pub(crate) aes_ns: f64,
    pub(crate) copy_ns: f64,
}

impl Ceiling {
    /// For a payload that is `wire` bytes long once compressed, over a loopback that carries so many bytes a second.
    pub(crate) fn measure(wire: usize, copied_per_second: f64) -> Self {
        // The code of bench/1 takes one byte.
        let body = wire + 1;
        let mut blocks = vec![0x5a; padded(body)];
        let mut sponge = Sponge::default();
        let keccak = fastest(|| {
            // Header, body and the body's MAC are three digests.
            sponge.absorb(&[1; MAC_LENGTH]);
            black_box(sponge.digest());
            sponge.absorb(&blocks);
            black_box(sponge.digest());
            sponge.absorb(&[2; MAC_LENGTH]);
            black_box(sponge.digest());
        });
        let keys = FrameKeys::new(&[3; 32], &[4; 32]);
        let mut cipher = FrameCipher::default();
        let aes = fastest(|| {
            // The header, and one block for each MAC.
            for _ in 0..3 {
                cipher.apply(&keys.frame, black_box(&mut [0; MAC_LENGTH]));
            }
            for chunk in blocks.chunks_mut(CHUNK) {
                cipher.apply(&keys.frame, chunk);
            }
        });
        let frame_bytes = frame_length(body);
        Self {
            frame_bytes,
            keccak_ns: keccak,
            aes_ns: aes,
            copy_ns: frame_bytes as f64 / copied_per_second * 1e9,
        }
    }

    /// The faster of each part.
    pub(crate) fn best(self, other: Self) -> Self {
        Self {
            frame_bytes: self.frame_bytes,
            keccak_ns: self.keccak_ns.min(other.keccak_ns),
            aes_ns: self.aes_ns.min(other.aes_ns),
            copy_ns: self.copy_ns.min(other.copy_ns),
        }
    }

    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        1e9 / (self.keccak_ns + self.aes_ns + self.copy_ns)
    }
}

/// What bounds any implementation on this machine, as we have it.
pub(crate) fn limits() -> Answer {
    let mut block = vec![0x5a; 1 << 20];
    let mut sponge = Sponge::default();
    let keccak = fastest(|| sponge.absorb(&block));
    let keys = FrameKeys::new(&[3; 32], &[4; 32]);
    let mut cipher = FrameCipher::default();
    let aes = fastest(|| cipher.apply(&keys.frame, &mut block));
    let other = *fresh_key()?.id();
    let secret = [7; 32];
    let multiply = fastest(|| _ = black_box(Curve::shared_x(&secret, &other.0)));
    let base = fastest(|| _ = black_box(Curve::public_key(&secret)));
    let message = [9; 32];
    let signature = Curve::sign(&secret, &message).ok_or("no signature")?;
    let recover = fastest(|| _ = black_box(Curve::recover(&message, &signature)));
    let rate = |ns: f64| block.len() as f64 / ns * 1e9;
    Ok(json!({
        "keccak_bytes_per_second": rate(keccak),
        "aes_bytes_per_second": rate(aes),
        "multiply_us": multiply / 1000.0,
        "base_multiply_us": base / 1000.0,
        "recover_us": recover / 1000.0,
    }))
}

/// The least nanoseconds that one call takes, of batches.
fn fastest(mut call: impl FnMut()) -> f64 {
    let started = Instant::now();
    let (mut least, mut batch) = (f64::MAX, 1u32);
    while started.elapsed() < SPAN {
        let began = Instant::now();
        for _ in 0..batch {
            call();
        }
        let took = began.elapsed();
        least = least.min(took.as_nanos() as f64 / f64::from(batch));
        if took < Duration::from_micros(200) {
            batch *= 2;
        }
    }
    least
}
