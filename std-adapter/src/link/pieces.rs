//! Large frames, sealed piece by piece: the remote opens the first ones while the last are sealed, and no buffer but the
//! frame's own ever holds all of it.

use std::sync::MutexGuard;

use devp2p_core::peer::Peer;
use devp2p_core::rlpx::transmit::{HEADER_LENGTH, MAC_LENGTH, frame_length};

use super::Link;
use super::burst::Next;
use super::output::Sealer;
use crate::host::MAX_PROTOCOLS;

/// Bytes of a frame that are sealed between two looks at the output: what a cache of the second level holds easily.
const PIECE: usize = 64 * 1024;

/// Bytes sealed at a time within a piece: the MAC finds in the cache of the first level what the cipher wrote.
const CHUNK: usize = 16 * 1024;

/// A frame of so many bytes goes out in pieces.
pub(super) const LARGE: usize = 2 * PIECE;

/// How often each piece is written for others too, before what is left waits for the next one.
const DRAIN_ROUNDS: usize = 1;

impl Link {
    /// Does as [`seal_frame`](Self::seal_frame) for a frame that is at least [`LARGE`], and writes all but its end. The caller
    /// may block for that. Whoever else has something to seal waits meanwhile, for it could not go out before the frame.
    pub(super) fn seal_pieces(
        &self,
        sealer: &mut Sealer,
        frame: &mut [u8],
        body: usize,
    ) -> (MutexGuard<'_, Peer<MAX_PROTOCOLS>>, Next) {
        let frame = &mut frame[..frame_length(body)];
        // A transport that panics leaves half a frame, which nothing may follow.
        sealer.finished = true;
        let body_end = frame.len() - MAC_LENGTH;
        frame[HEADER_LENGTH + body..body_end].fill(0);
        let header = sealer.transmit.header(&sealer.keys, body as u32);
        frame[..HEADER_LENGTH].copy_from_slice(&header);
        let mut from = 0;
        let mut to = HEADER_LENGTH;
        while body_end - to > PIECE {
            let end = to + PIECE;
            seal(sealer, &mut frame[to..end]);
            let (peer, next) = self.append(&frame[from..end], true);
            self.settle(peer);
            if next.watch {
                self.watch_burst();
            }
            if next.drain {
                self.drain(DRAIN_ROUNDS);
            }
            (from, to) = (end, end);
        }
        seal(sealer, &mut frame[to..body_end]);
        let mac = sealer.transmit.finish(&sealer.keys);
        frame[body_end..].copy_from_slice(&mac);
        sealer.finished = false;
        self.append(&frame[from..], true)
    }
}

/// Seals whole blocks of the body in place.
fn seal(sealer: &mut Sealer, blocks: &mut [u8]) {
    for chunk in blocks.chunks_mut(CHUNK) {
        sealer.transmit.body(&sealer.keys, chunk);
    }
}
