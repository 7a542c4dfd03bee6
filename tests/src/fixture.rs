//! Keys, randomness for handshakes, protocols.

use devp2p_core::capability::Protocol;
use devp2p_core::config::{Config, Local};
use devp2p_core::rlpx::{Entropy, NodeKey};
use devp2p_core::time::{Duration, Instant};

use crate::random::Random;

/// A valid key for this seed.
pub fn key(seed: u64) -> NodeKey {
    secret_and_key(seed).1
}

/// The secret of that key.
pub fn secret(seed: u64) -> [u8; 32] {
    secret_and_key(seed).0
}

fn secret_and_key(seed: u64) -> ([u8; 32], NodeKey) {
    let mut random = Random::new(seed ^ 0x6b65_7900);
    loop {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        if let Ok(key) = NodeKey::new(&secret) {
            return (secret, key);
        }
    }
}

/// The randomness of one handshake. (That a secret in it is not below the group order is too rare to care.)
pub fn entropy(seed: u64) -> Entropy {
    let mut bytes = [0; Entropy::LENGTH];
    Random::new(seed ^ 0x656e_7472).fill(&mut bytes);
    Entropy::new(&bytes)
}

/// A protocol `name/1`.
///
/// # Panics
/// If the name is not a capability's.
pub fn protocol(name: &str, length: u32, inbox: usize) -> Protocol {
    Protocol::new(name, 1, length, inbox).expect("a capability's name")
}

/// What a node says of itself.
pub fn local<'a>(key: &NodeKey, version: u8, protocols: &'a [Protocol]) -> Local<'a> {
    Local {
        id: *key.id(),
        client_name: "test",
        version,
        listen_port: 0,
        protocols,
    }
}

/// The default configuration, changed by `change`.
pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::new();
    change(&mut config);
    config
}

/// Seconds after the epoch.
pub const fn at_secs(n: u64) -> Instant {
    Instant::from_micros(n * 1_000_000)
}

/// Milliseconds after the epoch.
pub const fn at_millis(n: u64) -> Instant {
    Instant::from_micros(n * 1_000)
}

/// A span of seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A span of milliseconds.
pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
