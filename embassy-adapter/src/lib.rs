//! devp2p sessions on any Embassy executor, over any network stack: `no_std`, no allocator, no `unsafe`.
//!
//! * [`Resources`]: all memory, for one `ConstStaticCell`; [`new`] divides it.
//! * [`Runner`]: drives one session at a time over the halves of a connection.
//! * [`Peer`]: a copyable handle on the session; [`Subprotocol`]: one handle each, which outlives sessions and gives a
//!   [`Guard`] for each.
//!
//! ```no_run
//! # use devp2p_core::{config::{Config, Local}, hello::NodeId, rlpx::{Entropy, NodeKey}};
//! # use devp2p_embassy::{Close, Resources};
//! # use embassy_sync::blocking_mutex::raw::NoopRawMutex;
//! # use embedded_io_async::Read;
//! # use static_cell::ConstStaticCell;
//! // All zero, so it costs no flash, and neither main's stack nor a task's future ever holds it. Here for two protocols.
//! static MEMORY: ConstStaticCell<Resources<NoopRawMutex, 2, 8192, 1024, 512>> =
//!     ConstStaticCell::new(Resources::new());
//!
//! # async fn example(
//! #     key: &'static NodeKey,
//! #     local: Local<'static>,
//! #     remote: NodeId,
//! #     mut rng: impl rand_core::CryptoRng,
//! #     (mut reader, mut writer): (impl Read, impl Close),
//! # ) -> Result<(), Box<dyn core::error::Error>> {
//! let memory = MEMORY.take();
//! let (mut runner, peer, [mut echo, sensor]) = devp2p_embassy::new(memory, key, local, Config::new())?;
//! // One task connects a socket, then runs the session over its halves, and begins again when it has ended:
//! let ended = runner.dial(remote, &mut rng, &mut reader, &mut writer).await;
//! // Another task serves one protocol, session after session:
//! let mut buffer = [0; 2048];
//! let mut session = echo.session().await?;
//! let message = session.read(&mut buffer).await?;
//! session.write(1, &buffer[..message.length]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Transports
//! * TCP of embassy-net: [`tcp::Connection`], with the feature `embassy-net`.
//! * A UART, USB CDC, a pipe: [`serial::LineReader`] and [`FlushOnly`].
//! * Anything else whose halves implement [`Read`](embedded_io_async::Read) and [`Close`].
//!
//! # Random numbers
//! Each handshake needs [`Entropy::LENGTH`] random bytes that are good enough for keys.
//! [`Runner::dial`] takes a generator of `rand_core` 0.10 that never fails. One of an earlier `rand_core`, one that can fail, or
//! a peripheral without any trait fills an [`Entropy`]:
//! ```
//! # use devp2p_core::rlpx::Entropy;
//! # struct Trng;
//! # impl Trng { fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), ()> { Ok(()) } }
//! # fn example(mut trng: Trng) -> Result<(), ()> {
//! let entropy = Entropy::try_fill_with(|bytes| trng.try_fill_bytes(bytes))?;
//! // runner.dial_with(remote, entropy, &mut reader, &mut writer).await
//! # Ok(())
//! # }
//! ```
//! A generator that gives the same bytes for two sessions in a row, or what cannot be random, is refused. One that starts anew
//! with the same numbers at each boot cannot be noticed so: seed it from the hardware.
//!
//! [`Entropy`]: devp2p_core::rlpx::Entropy
//! [`Entropy::LENGTH`]: devp2p_core::rlpx::Entropy::LENGTH
//!
//! # How long the executor is kept
//! What a session does between two awaits is bounded by one of these, and the runner yields after each:
//! * one step of the handshake: one multiplication of a point by a scalar, or the recovery of one public key, which is a sum
//!   of two such products. No step has more; a handshake has six of them on the side that dials, seven on the other. The
//!   longest, the recovery, takes 3.0 million instructions on a Cortex-M4, the others 2.3 to 2.9 million.
//! * 512 bytes that arrived: decrypting, authenticating and decompressing them, 0.3 million instructions. As many go out
//!   before it yields.
//!
//! The numbers are for `opt-level = "z"`; `tests/run footprint` measures them.
//!
//! A write compresses its payload twice, first to know the length that the frame's header states, and seals at most a ring
//! full at a time.
#![no_std]

mod event;
mod peer;
mod reader;
mod resources;
mod runner;
pub mod serial;
mod shared;
mod subprotocol;
#[cfg(feature = "embassy-net")]
pub mod tcp;
mod waiters;
mod writer;

pub use event::{Events, Lagged, PeerEvent};
pub use peer::{Counters, Info, Peer};
pub use reader::{Incoming, ReadError, Reader};
pub use resources::{Resources, new};
pub use runner::{Close, Ended, FlushOnly, Runner};
pub use subprotocol::{Guard, NotShared, Subprotocol};
pub use writer::Writer;
