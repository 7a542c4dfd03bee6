//! devp2p over std threads and sockets.
//!
//! # The layers, bottom to top
//! * [`time`], [`timer`]: the host's clock as the core's instants, and the thread that calls when a deadline comes.
//! * [`enode`], [`key_file`], [`info`]: a node's address, its secret, and what it tells about itself and its peers.
//! * [`transport`]: what carries a session, split into reader, writer and closer.
//! * [`memory`], [`throttle`], [`backoff`]: what bounds memory, inbound attempts and redials.

pub mod backoff;
pub mod enode;
mod hex;
pub mod info;
pub mod key_file;
pub mod memory;
pub mod throttle;
pub mod time;
pub mod timer;
pub mod transport;
