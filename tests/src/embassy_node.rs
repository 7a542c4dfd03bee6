//! Two peers of the Embassy adapter and the connection between them.

use std::convert::Infallible;

use devp2p_core::capability::Protocol;
use devp2p_core::config::{Config, Local};
use devp2p_core::hello::NodeId;
use devp2p_core::rlpx::NodeKey;
use devp2p_embassy::{Ended, Peer, Resources, Runner, Subprotocol};
use embassy_sync::blocking_mutex::raw::{NoopRawMutex, RawMutex};
use rand_core::{TryCryptoRng, TryRng};

use crate::embassy_pipe::{Broken, End, Shape, Wire, pipe};
use crate::embassy_sim::{Sim, Task};
use crate::fixture;
use crate::random::Random;

/// Protocols that a node registers.
pub const PROTOCOLS: usize = 2;
/// Bytes of inbox memory of a node.
pub const INBOX: usize = 4096;
/// Bytes of transmit ring of a node.
pub const RING: usize = 1024;
/// Entries of a node's compression table.
pub const TABLE: usize = 256;

/// The memory of a node.
pub type Memory<M> = Resources<'static, M, PROTOCOLS, INBOX, RING, TABLE>;
/// What a session of a node ends with.
pub type Outcome = Ended<Broken, Broken>;

/// Random numbers from a seed.
pub struct Rng(Random);

impl Rng {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed ^ 0x726e_6700))
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u64() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Rng {}

/// What a node is made of.
#[derive(Clone)]
pub struct Spec {
    /// Of its key.
    pub seed: u64,
    /// Its protocols, at most [`PROTOCOLS`].
    pub protocols: Vec<Protocol>,
    /// Its deadlines.
    pub config: Config,
    /// The base protocol version that it says: 5, or 4 for no Snappy.
    pub version: u8,
}

impl Spec {
    /// `echo/1` and `sense/1`, with two codes and 2 048 bytes of inbox each.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            protocols: vec![
                fixture::protocol("echo", 2, 2048),
                fixture::protocol("sense", 2, 2048),
            ],
            config: Config::new(),
            version: 5,
        }
    }

    /// With this configuration.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// With these protocols.
    #[must_use]
    pub fn protocols(mut self, protocols: &[Protocol]) -> Self {
        self.protocols = protocols.to_vec();
        self
    }

    /// A node in its own memory.
    ///
    /// # Panics
    /// If the memory does not suffice.
    pub fn build<M: RawMutex + 'static>(&self) -> Node<M> {
        let key: &'static NodeKey = Box::leak(Box::new(fixture::key(self.seed)));
        let memory: &'static mut Memory<M> = Box::leak(Box::new(Resources::new()));
        let local = Local {
            id: *key.id(),
            client_name: "board",
            version: self.version,
            listen_port: 0,
            protocols: Vec::leak(self.protocols.clone()),
        };
        let (runner, peer, [echo, sense]) =
            devp2p_embassy::new(memory, key, local, self.config).expect("memory enough");
        Node {
            runner,
            peer,
            echo,
            sense,
            id: *key.id(),
            rng: Rng::new(self.seed),
        }
    }
}

/// A peer.
pub struct Node<M: RawMutex + 'static = NoopRawMutex> {
    /// Its runner.
    pub runner: Runner<'static, M, PROTOCOLS>,
    /// Its handle.
    pub peer: Peer<'static, M, PROTOCOLS>,
    /// The handle of its first protocol.
    pub echo: Subprotocol<'static, M, PROTOCOLS>,
    /// The handle of its second protocol.
    pub sense: Subprotocol<'static, M, PROTOCOLS>,
    /// Who it is.
    pub id: NodeId,
    /// Its randomness.
    pub rng: Rng,
}

/// Handles of a peer whose runner is a task of its own.
pub struct Handles {
    /// Its handle.
    pub peer: Peer<'static, NoopRawMutex, PROTOCOLS>,
    /// The handle of its first protocol.
    pub echo: Subprotocol<'static, NoopRawMutex, PROTOCOLS>,
    /// The handle of its second protocol.
    pub sense: Subprotocol<'static, NoopRawMutex, PROTOCOLS>,
    /// The task that runs its session.
    pub run: Task<Outcome>,
}

/// Two peers, of which the first dials the second, and the wires from the first to the second and back.
pub struct Two {
    /// The executor.
    pub sim: Sim,
    /// Who dials.
    pub a: Handles,
    /// Who is dialled.
    pub b: Handles,
    /// From `a` to `b`, and back.
    pub wires: [Wire; 2],
}

impl Two {
    /// Two peers of these making; nothing has run yet.
    pub fn new(a: &Spec, b: &Spec, shape: Shape) -> Self {
        let mut sim = Sim::new();
        let (first, second, wires) = pipe(shape);
        let (a, b) = (a.build::<NoopRawMutex>(), b.build::<NoopRawMutex>());
        let remote = b.id;
        let a = dialling(&mut sim, a, remote, first);
        let b = accepting(&mut sim, b, second);
        Self { sim, a, b, wires }
    }

    /// Two ordinary peers.
    pub fn plain() -> Self {
        Self::new(&Spec::new(1), &Spec::new(2), Shape::default())
    }
}

fn dialling(sim: &mut Sim, node: Node, remote: NodeId, end: End) -> Handles {
    let Node {
        mut runner,
        peer,
        echo,
        sense,
        mut rng,
        ..
    } = node;
    let run = sim.spawn("a runs", async move {
        let End {
            mut reader,
            mut writer,
        } = end;
        runner
            .dial(remote, &mut rng, &mut reader, &mut writer)
            .await
    });
    Handles {
        peer,
        echo,
        sense,
        run,
    }
}

fn accepting(sim: &mut Sim, node: Node, end: End) -> Handles {
    let Node {
        mut runner,
        peer,
        echo,
        sense,
        mut rng,
        ..
    } = node;
    let run = sim.spawn("b runs", async move {
        let End {
            mut reader,
            mut writer,
        } = end;
        runner
            .accept(&mut rng, &mut reader, &mut writer, |_| Ok(()))
            .await
    });
    Handles {
        peer,
        echo,
        sense,
        run,
    }
}
