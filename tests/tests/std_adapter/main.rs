//! What the std adapter's sessions stand on: addresses, keys, transports, limits, deadlines.
mod backoff;
mod enode;
mod info;
mod key_file;
mod learn;
mod memory;
mod node;
mod node_schedule;
mod session;
mod throttle;
mod time;
mod timer;
mod transport;
