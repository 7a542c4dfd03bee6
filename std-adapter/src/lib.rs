//! devp2p over std threads and sockets.
//!
//! # The layers, bottom to top
//! * [`time`], [`timer`]: the host's clock as the core's instants, and the thread that calls when a deadline comes.
//! * [`enode`], [`key_file`], [`info`]: a node's address, its secret, and what it tells about itself and its peers.
//! * [`keccak`]: the hash under the frames, as this processor does it fastest.
//! * [`transport`]: what carries a session, split into reader, writer and closer.
//! * [`memory`], [`throttle`], [`backoff`]: what bounds memory, inbound attempts and redials.
//! * [`protocol`], [`host`]: what is offered, and what all sessions of a program share.
//! * `connection`, `compressor`, `blocking`, `busy_poll`: the middle of a session; core's machine over memory that grows, who
//!   compresses, which thread reads, and how long that polls.
//! * [`session`]: one session; [`handle`], [`peer`]: what its run closures and the rest of the program hold of it.
//! * [`node`]: listens, dials and admits, and holds all sessions of a host, whatever serves them: threads, or
//! * [`event_loop`]: a few threads for thousands of sessions, with protocols as callbacks.
//! * [`events`], [`counters`]: what is told of sessions.
//! * [`framed`]: sessions of whole messages over a link that is private already, without RLPx.

pub mod backoff;
mod block;
mod blocking;
mod busy_poll;
mod compressor;
mod connection;
pub mod counters;
pub mod enode;
pub mod event_loop;
pub mod events;
pub mod framed;
pub mod handle;
mod hex;
pub mod host;
mod inbox;
pub mod info;
pub mod keccak;
pub mod key_file;
pub mod memory;
pub mod node;
mod offer;
pub mod peer;
pub mod protocol;
mod queue;
mod record;
pub mod session;
mod sync;
mod tasks;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
pub mod throttle;
pub mod time;
pub mod timer;
pub mod transport;
mod turn;
