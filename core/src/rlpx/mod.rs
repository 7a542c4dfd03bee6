//! RLPx: the encrypted, authenticated transport.
//!
//! * [`handshake`]: keys agreed on and identities proved, in small steps; over [`curve`], ECIES and [`secrets`].
//! * [`cipher`] and [`mac`], with [`sponge`] and [`permutation`] under it: what each direction of the frames needs.
//! * [`receive`] and [`transmit`]: the two directions, chunk by chunk; [`message`]: one message through a small ring.

mod body;
pub mod cipher;
pub mod curve;
mod ecies;
mod entropy;
pub mod handshake;
mod key_stream;
pub mod mac;
pub mod message;
pub mod permutation;
pub mod receive;
pub mod secrets;
pub mod sponge;
pub mod transmit;
mod types;
mod wipe;

pub use cipher::{FrameCipher, FrameKeys};
#[cfg(feature = "libsecp256k1")]
pub use curve::Libsecp256k1;
pub use curve::{Curve, DefaultCurve, K256, NodeKey};
pub use handshake::{
    Entropy, Established, Handshake, HandshakeError, MAX_RECEIVED, MAX_SENT, Role, Step,
};
pub use mac::Mac;
pub use permutation::{Permutation, Portable};
pub use secrets::Secrets;
pub use sponge::{Keccak256, Sponge, keccak256};
pub use wipe::wipe_stack;
