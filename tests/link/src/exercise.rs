//! What the image does with the core. Inputs and results pass through `black_box`, so that none of it is computed at build time.

use core::hint::black_box;

use devp2p_core::capability::{InvalidName, Protocol};
use devp2p_core::config::{Config, Local};
use devp2p_core::hello::NodeId;
use devp2p_core::time::{Instant, PollAt};

/// Runs it once; the result depends on everything that was done.
pub(crate) fn exercise() -> Result<bool, InvalidName> {
    let protocols = [Protocol::new(black_box("demo"), 1, 8, 1024)?];
    let local = black_box(Local {
        id: NodeId([7; 64]),
        client_name: "link",
        version: 5,
        listen_port: 0,
        protocols: &protocols,
    });
    let config = black_box(Config::new());
    let start = Instant::from_micros(black_box(1));
    let ping = PollAt::At(start.saturating_add(config.ping_interval));
    let deadline = PollAt::At(start.saturating_add(config.handshake_timeout)).min(ping);
    let ours = local
        .protocols
        .iter()
        .all(|protocol| protocol.capability.name.as_bytes() == b"demo");
    Ok(ours && deadline.is_due(Instant::from_micros(black_box(2))))
}
