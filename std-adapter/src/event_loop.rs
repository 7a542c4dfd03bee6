//! Thousands of sessions from a few threads: protocols as callbacks.
//!
//! An [`EventNode`] runs a few loops, each a thread with a poller of its own. A connection, accepted or dialled, is given to
//! the loop that has the fewest and stays there. Each session has a [`Handler`], whose callbacks its loop calls; what a
//! callback writes leaves in one write with everything else that is due. Other threads reach a session by its [`Handle`].
//!
//! # Which form
//! * A thread for each subprotocol ([`Node`](crate::node::Node)): code that reads and writes in the order in which things
//!   happen, and may block. A thread for each and some 16 KiB for an idle session: for tens to hundreds of peers, or for
//!   work that takes long.
//! * The event loop: code as callbacks, which must not block. A few KiB for each session that is idle, and a fixed number of
//!   threads: for thousands of peers, for gateways, crawlers and simulations.
//!
//! Both speak the same wire, with the same deadlines, limits and close reasons, and both are one [`Node`](crate::node::Node).
//!
//! # What is bounded
//! What waits for the wire, by [`Builder::output_limit`](crate::node::Builder::output_limit); what handles have queued, by as much again; what waits for a
//! handler that paused a subprotocol, by the protocol's inbox, and beyond it no bytes are taken from the socket, but for at most
//! 64 KiB that were read already; and what arrives and waits in all sessions together, by
//! [`memory_limit`](crate::host::Builder::memory_limit). Buffers are the loop's, and lent to the session that needs them: an idle session has none.
//!
//! ```
//! use devp2p_core::error::WriteError;
//! use devp2p_core::rlpx::NodeKey;
//! use devp2p_std::event_loop::{EventNode, Handler, Message, Session};
//! use devp2p_std::host::Host;
//! use devp2p_std::protocol::{Failure, Protocol};
//!
//! /// Answers code 0 by code 1 with the same payload.
//! #[derive(Default)]
//! struct Echo {
//!     /// The answer that waits for a remote which does not read.
//!     unsent: Vec<u8>,
//! }
//!
//! impl Handler for Echo {
//!     fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) -> Result<(), Failure> {
//!         match session.try_write(0, 1, message.payload) {
//!             Err(WriteError::WouldBlock { .. }) => {
//!                 self.unsent = message.payload.to_vec();
//!                 session.pause(0);
//!                 Ok(())
//!             }
//!             written => Ok(written?),
//!         }
//!     }
//!
//!     fn on_writable(&mut self, session: &mut Session<'_>) {
//!         if session.try_write(0, 1, &self.unsent).is_ok() {
//!             session.resume(0);
//!         }
//!     }
//! }
//!
//! # let key = NodeKey::new(&[1; 32])?;
//! let host = Host::builder(key).protocol(Protocol::for_handlers("echo", 1, 2)?).build()?;
//! let node = EventNode::with_handlers(host, |_remote| Ok(Echo::default()))
//!     .listen("127.0.0.1:0")
//!     .loops(2)
//!     .max_peers(10_000)
//!     .start()?;
//! # node.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod deadlines;
mod entry;
mod handle;
mod handler;
pub(crate) mod lane;
mod lateness;
mod loops;
mod open;
mod slots;
pub(crate) mod tools;
mod worker;

pub use handle::Handle;
pub use handler::{Handler, Message, Oversize, Session};
pub use lateness::Punctuality;
pub use loops::{EventNode, Loops};

/// A host whose sessions the loops serve.
type Host = crate::host::Host<Loops>;
/// What the sessions of one loop share.
type Tools = tools::Tools<Loops>;
