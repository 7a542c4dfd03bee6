//! What a session is configured with: our side of Hello, and the deadlines.

use crate::capability::Protocol;
use crate::node_id::NodeId;
use crate::time::Duration;

/// What this side says of itself in Hello.
#[derive(Debug, Clone, Copy)]
pub struct Local<'a> {
    /// Our identity: the public key of our static key.
    pub id: NodeId,
    /// Client name, UTF-8.
    pub client_name: &'a str,
    /// Base protocol version: 5, or 4 for sessions without Snappy.
    pub version: u8,
    /// TCP port that we listen on; 0 if none.
    pub listen_port: u16,
    /// The protocols registered here, at most [`MAX_PROTOCOLS`](crate::MAX_PROTOCOLS), in any order.
    pub protocols: &'a [Protocol],
}

/// Deadlines and policies of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Config {
    /// Handshake and Hello together, from the first byte. Default: 5 s.
    pub handshake_timeout: Duration,
    /// From the end of one ping exchange to the next Ping. Default: 15 s.
    pub ping_interval: Duration,
    /// From our Ping to any message of the remote, without the time in which we hold back or a message is in progress.
    /// Default: 15 s.
    pub pong_timeout: Duration,
    /// From the first byte of a message to its last. Default: 30 s.
    pub message_timeout: Duration,
    /// From sealing bytes until the wire took them. Default: 20 s.
    pub write_timeout: Duration,
    /// How long a full inbox may hold back the transport, without the time in which the wire does not take our bytes; and how
    /// long one wait for memory shared by sessions may, before the session that holds most goes. Default: 15 s.
    pub hold_back_limit: Duration,
    /// Closing, from the cause to the end. Default: 2 s.
    pub closing_timeout: Duration,
    /// The lowest base protocol version accepted from the remote. Default: 4.
    pub lowest_version: u8,
    /// Whether a remote that shares no capability is disconnected as useless. Default: true.
    pub require_shared: bool,
}

impl Config {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(15),
            pong_timeout: Duration::from_secs(15),
            message_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(20),
            hold_back_limit: Duration::from_secs(15),
            closing_timeout: Duration::from_secs(2),
            lowest_version: 4,
            require_shared: true,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}
