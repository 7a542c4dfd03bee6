//! devp2p sessions on any Embassy executor, over any network stack: `no_std`, no allocator, no `unsafe`.
//!
//! * [`Resources`]: all memory, for one `StaticCell`; [`new`] divides it.
//! * [`Runner`]: drives one session at a time over the halves of a connection.
//! * [`Peer`]: a copyable handle on the session; [`Subprotocol`]: one handle each, which outlives sessions and gives a
//!   [`Guard`] for each.
//!
//! ```text
//! static RESOURCES: StaticCell<Resources<'static, NoopRawMutex, 2, 8192, 1024, 512>> = StaticCell::new();
//! let (mut runner, peer, [mut echo, sensor]) = devp2p_embassy::new(RESOURCES.init(Resources::new()), &KEY, LOCAL, Config::new())?;
//! // One task: connect a socket, then
//! let ended = runner.dial(remote, &mut rng, &mut reader, &mut writer).await;
//! // Another task:
//! let mut session = echo.session().await?;
//! let message = session.read(&mut buffer).await?;
//! session.write(1, &buffer[..message.length]).await?;
//! ```
//!
//! The longest time that a session keeps the executor from its other tasks is one step of the handshake, a point
//! multiplication or the recovery of a key; after each of them the runner yields.
#![no_std]

mod event;
mod peer;
mod reader;
mod resources;
mod runner;
mod shared;
mod subprotocol;
mod waiters;
mod writer;

pub use event::{Events, Lagged, PeerEvent};
pub use peer::{Counters, Info, Peer};
pub use reader::{Incoming, ReadError, Reader};
pub use resources::{Resources, new};
pub use runner::{Close, Ended, Runner};
pub use subprotocol::{Guard, NotShared, Subprotocol};
pub use writer::Writer;
